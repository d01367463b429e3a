//! What a controller reports by itself.

use corelane::nvme::emulated::{NamespaceOptions, Options as DeviceOptions};
use corelane::nvme::{AdminCommand, AdminReply, Event, IoCommand, SubmitError};

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
        let now = rig.now();
        let asked = rig.controller.submit_admin(&AdminCommand::Smart, now).unwrap();
        let mut reply = None;
        rig.until("answered", |rig| {
            reply = reply.take().or_else(|| rig.controller.take_reply());
            reply.is_some()
        });
        match reply {
            Some((tag, Ok(AdminReply::Smart(page)))) if tag == asked => assert_eq!(page.critical_warning, 4),
            other => panic!("{other:?}"),
        }
    });
    world.assert_obeyed();
}
