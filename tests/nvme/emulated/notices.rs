//! What a controller reports by itself.

use corelane::nvme::emulated::{NamespaceOptions, Options as DeviceOptions};
use corelane::nvme::{AdminCommand, AdminReply, Event, IoCommand, SubmitError};
use corelane::spec::opcode::NvmOpcode;
use corelane::spec::status::Status;

use super::world::World;
use crate::suite::{Load, Shape};

#[test]
fn namespaces_that_come_and_go_and_change_are_noticed() {
    let namespaces = vec![NamespaceOptions::default(); 2];
    let world = World::new(&DeviceOptions { namespaces, ..DeviceOptions::default() });
    world.run(|device, rig| {
        let blocks = |rig: &crate::suite::Rig<'_, _>, nsid| {
            rig.controller.namespaces().iter().find(|info| info.nsid == nsid).map(|info| info.blocks)
        };
        while rig.controller.take_event().is_some() {}
        device.attach(2, false);
        rig.until("removed", |rig| blocks(rig, 2).is_none());
        assert_eq!(rig.controller.take_event(), Some(Event::NamespaceRemoved(2)));
        let read = IoCommand::Verify { nsid: 2, slba: 0, blocks: 1 };
        assert_eq!(rig.queues[0].submit(1, &read), Err(SubmitError::Namespace));
        device.attach(2, true);
        rig.until("added", |rig| blocks(rig, 2).is_some());
        device.resize(1, 100);
        rig.until("resized", |rig| blocks(rig, 1) == Some(100));
        assert!(rig.read(0, 100, 1, &Shape::default()).is_err());
        assert!(rig.read(0, 99, 1, &Shape::default()).is_ok());
    });
    world.assert_obeyed();
}

#[test]
fn a_flood_of_events_drowns_nobody() {
    let world = World::new(&DeviceOptions::default());
    world.run(|device, rig| {
        let mut load = Load::new(rig, 9);
        device.faults(|faults| faults.event_flood = 100_000);
        load.run(rig, 1000, &|_| false);
        load.end(rig, &|_| false);
        let kept = std::iter::from_fn(|| rig.controller.take_event()).count();
        assert!(kept <= 1024, "{kept}");
        load.verify(rig);
    });
    world.assert_obeyed();
}

#[test]
fn log_pages_are_read() {
    let world = World::new(&DeviceOptions::default());
    world.run(|device, rig| {
        device.warn(4);
        match rig.ask(&AdminCommand::Smart) {
            AdminReply::Smart(page) => assert_eq!(page.critical_warning, 4),
            other => panic!("{other:?}"),
        }
    });
    world.assert_obeyed();
}

#[test]
fn the_error_log_tells_what_failed_and_a_reset_empties_it() {
    let world = World::new(&DeviceOptions::default());
    world.run(|_, rig| {
        let errors =
            |rig: &mut crate::suite::Rig<'_, _>, entries| match rig.ask(&AdminCommand::Errors { entries }) {
                AdminReply::Errors(entries) => entries,
                other => panic!("{other:?}"),
            };
        // Setting up asks for what not every controller has.
        let before = errors(rig, 8);
        assert!(before.iter().all(|entry| entry.sqid.get() == 0), "{before:?}");
        let count = before.first().map_or(0, |entry| entry.error_count.get());
        let beyond = rig.blocks + 5;
        for round in 0..10 {
            assert!(rig.read(0, beyond + round, 1, &Shape::default()).is_err());
        }
        assert!(rig.read(0, 0, 1, &Shape::default()).is_ok());
        // The newest first, as many as are kept, or as were asked for.
        let entries = errors(rig, 64);
        let told: Vec<_> = entries.iter().map(|entry| (entry.error_count.get(), entry.lba.get())).collect();
        let expected: Vec<_> = (2..10).rev().map(|round| (count + round + 1, beyond + round)).collect();
        assert_eq!(told, expected);
        for entry in &entries {
            let status = Status::from_wire(entry.status.get());
            assert!(status.is(Status::LBA_OUT_OF_RANGE), "{status}");
            let of = (entry.sqid.get(), entry.nsid.get(), entry.opcode);
            assert_eq!(of, (1, rig.nsid, NvmOpcode::READ.0));
        }
        assert_eq!(errors(rig, 1), entries[..1]);
        let now = rig.now();
        rig.controller.reset(now);
        rig.recover();
        let after = errors(rig, 8);
        assert!(after.len() == before.len() && after.iter().all(|entry| entry.sqid.get() == 0), "{after:?}");
    });
    world.assert_obeyed();
}
