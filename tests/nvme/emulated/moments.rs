//! The same misfortune at every moment: of a load, and of the driver's own recovery.

use std::time::Duration;

use corelane::nvme::Failure;
use corelane::nvme::emulated::{Emulated, Fault, On, Options as DeviceOptions, Violation};
use corelane::spec::opcode::AdminOpcode;

use super::world::{World, aborted, aborted_or_gone};
use crate::suite::{Load, Rig, Shape};

/// What happens to a device.
type Happening = fn(&Emulated);

/// Turns after which something happens: close together at first, then further apart, beyond time-outs and resets.
fn moments() -> impl Iterator<Item = u32> {
    (0..24).chain((3..40).map(|step| step * step))
}

/// Runs a load to which `happens` after so many turns.
fn load_until(
    rig: &mut Rig<'_, Emulated>,
    moment: u32,
    allowed: &dyn Fn(Failure) -> bool,
    happens: &dyn Fn(),
) -> Load {
    let mut load = Load::new(rig, u64::from(moment));
    load.run(rig, 30 + moment % 7, allowed);
    happens();
    load.run(rig, 60, allowed);
    load
}

#[test]
fn a_fatal_error_or_a_crash_or_a_reset_at_any_moment_is_recovered_from() {
    let happenings: [(_, Happening); 3] = [
        ("fatal error", Emulated::fail),
        ("crash", Emulated::crash),
        ("loss of its functions", |device| {
            corelane::nvme::Device::reset(device).unwrap();
        }),
    ];
    for (name, happens) in happenings {
        for moment in moments().step_by(3) {
            println!("{name} in the middle of a load, and again {moment} turns later");
            let world = World::new(&DeviceOptions::default());
            world.run(|device, rig| {
                let mut load = load_until(rig, moment, &aborted, &|| happens(device));
                load.run(rig, moment, &aborted);
                happens(device);
                load.end(rig, &aborted);
                rig.recover();
                load.verify(rig);
            });
            world.assert_obeyed();
        }
    }
}

#[test]
fn removal_at_any_moment_ends_everything_once() {
    for moment in moments() {
        println!("removal {moment} turns after a command was lost");
        let world = World::new(&DeviceOptions::default());
        world.run(|device, rig| {
            let mut load = load_until(rig, moment, &aborted_or_gone, &|| {
                device.faults(|faults| faults.next(On::Io, Fault::Lost));
            });
            load.run(rig, moment, &aborted_or_gone);
            device.remove();
            load.end(rig, &aborted_or_gone);
            rig.until("given up", |rig| rig.controller.fault().is_some());
            assert!(rig.controller.fault().unwrap().to_string().contains("gone"));
            assert_eq!(rig.read(0, 0, 1, &Shape::default()), Err(Failure::Gone));
            rig.pass(Duration::from_millis(5));
            rig.buffers.check();
        });
        world.assert_obeyed();
    }
}

#[test]
fn a_device_that_neither_stops_nor_can_be_reset_is_cut_off() {
    for moment in moments().step_by(4) {
        let world = World::new(&DeviceOptions { ready_timeout: 1, ..DeviceOptions::default() });
        world.run(|device, rig| {
            let mut load = load_until(rig, moment, &aborted_or_gone, &|| {
                device.faults(|faults| {
                    faults.never_unready = true;
                    faults.never_reset = true;
                    faults.silent.push(AdminOpcode::DELETE_SQ);
                    faults.at_random(1, &[(Fault::Lost, 20)]);
                });
            });
            rig.until("given up", |rig| {
                load.run(rig, 1, &aborted_or_gone);
                rig.controller.fault().is_some()
            });
            load.end(rig, &aborted_or_gone);
            // It goes on, but reaches nothing.
            rig.pass(Duration::from_millis(20));
            rig.buffers.check();
            assert_eq!(rig.read(0, 0, 1, &Shape::default()), Err(Failure::Gone));
        });
        let only_memory = |violation: &Violation| {
            matches!(violation, Violation::Memory { .. } | Violation::DataPointer { .. })
        };
        assert!(world.device.violations().iter().all(only_memory), "{:?}", world.device.violations());
    }
}

#[test]
fn a_device_that_is_not_ready_again_is_given_up() {
    let world = World::new(&DeviceOptions { ready_timeout: 1, ..DeviceOptions::default() });
    world.run(|device, rig| {
        let mut load = load_until(rig, 5, &aborted_or_gone, &|| {
            device.faults(|faults| faults.never_ready = true);
            device.fail();
        });
        load.end(rig, &aborted_or_gone);
        rig.until("given up", |rig| rig.controller.fault().is_some());
        assert!(rig.controller.fault().unwrap().to_string().contains("did not become ready"));
    });
    world.assert_obeyed();
}

#[test]
fn power_may_be_lost_and_what_was_flushed_is_there() {
    for seed in 0..8 {
        let world = World::new(&DeviceOptions::default());
        world.run(|device, rig| {
            let mut load = Load::new(rig, seed);
            load.run(rig, 200, &|_| false);
            load.end(rig, &|_| false);
            let nsid = rig.nsid;
            rig.run(0, &corelane::nvme::IoCommand::Flush { nsid }).unwrap();
            device.lose_power(seed);
            rig.until("noticed", |rig| !rig.controller.is_ready());
            rig.until("ready", |rig| rig.controller.is_ready());
            load.verify(rig);
        });
        world.assert_obeyed();
    }
}
