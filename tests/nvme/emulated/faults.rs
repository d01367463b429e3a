//! One fault at a time, and all at once, under a load: whatever happens, each command completes once, when the device no
//! longer touches its memory; the blocks hold what they may; and the driver serves again when the device does.

use corelane::nvme::Failure;
use corelane::nvme::emulated::{Emulated, Fault, Faults, On, Options as DeviceOptions, ShadowDoorbells};
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::status::Status;

use super::world::{World, aborted, aborted_or_gone};
use crate::suite::{Load, Rig, Shape};

/// Runs a load while something is wrong, and another one after that.
fn survives(
    name: &str,
    options: &DeviceOptions,
    replay: bool,
    wrong: &dyn Fn(&mut Faults),
    allowed: &dyn Fn(Failure) -> bool,
) {
    println!("fault: {name}, replay {replay}");
    let mut world = World::new(options);
    world.options.replay = replay;
    world.run(|device, rig| {
        let mut load = Load::new(rig, 1);
        load.run(rig, 50, &|_| false);
        load.end(rig, &|_| false);
        device.faults(wrong);
        load.run(rig, 600, allowed);
        load.end(rig, allowed);
        device.faults(Faults::end);
        serves(rig, &mut load);
    });
    world.assert_obeyed();
}

/// Everything works, and is where it was.
fn serves(rig: &mut Rig<'_, Emulated>, load: &mut Load) {
    rig.recover();
    load.verify(rig);
    load.run(rig, 300, &|_| false);
    load.end(rig, &|_| false);
    load.verify(rig);
}

#[test]
fn late_and_reordered_completions_are_no_failures() {
    for odds in [[(Fault::Late(1), 4), (Fault::Late(3), 8)], [(Fault::Late(40), 16), (Fault::Late(1), 2)]] {
        let wrong = move |faults: &mut Faults| faults.at_random(2, &odds);
        survives("late", &DeviceOptions::default(), false, &wrong, &|_| false);
    }
}

#[test]
fn doubled_completions_complete_nothing_else() {
    let wrong = |faults: &mut Faults| faults.at_random(3, &[(Fault::Twice, 3)]);
    survives("twice", &DeviceOptions::default(), false, &wrong, &|_| false);
}

#[test]
fn a_completion_that_never_comes_or_is_wrong_costs_a_reset_and_no_more() {
    let faults = [
        Fault::Lost,
        Fault::Late(20_000),
        Fault::WrongCid,
        Fault::StaleCid,
        Fault::StuckPhase,
        Fault::WrongSqid,
    ];
    let kinds = [
        DeviceOptions::default(),
        DeviceOptions {
            shadow_doorbells: ShadowDoorbells::Polled,
            sgls: false,
            mdts: 1,
            ..DeviceOptions::default()
        },
    ];
    for fault in faults {
        for kind in &kinds {
            for replay in [false, true] {
                let once = |faults: &mut Faults| faults.next(On::Io, fault);
                survives(&format!("{fault:?} once"), kind, replay, &once, &aborted);
                let often = |faults: &mut Faults| faults.at_random(4, &[(fault, 100)]);
                survives(&format!("{fault:?} often"), kind, replay, &often, &aborted);
            }
        }
    }
}

#[test]
fn a_fatal_error_costs_a_reset_and_many_in_a_row_the_controller() {
    for replay in [false, true] {
        let once = |faults: &mut Faults| faults.next(On::Io, Fault::Fatal);
        survives("fatal once", &DeviceOptions::default(), replay, &once, &aborted);
        let world = World::new(&DeviceOptions::default());
        world.run(|device, rig| {
            let mut load = Load::new(rig, 3);
            device.faults(|faults| faults.at_random(5, &[(Fault::Fatal, 20)]));
            rig.until("given up", |rig| {
                load.run(rig, 1, &aborted_or_gone);
                rig.controller.fault().is_some()
            });
            load.end(rig, &aborted_or_gone);
            assert!(rig.controller.fault().is_some_and(|fault| fault.to_string().contains("fatal error")));
        });
        world.assert_obeyed();
    }
}

#[test]
fn every_fault_at_once() {
    for seed in 0..12 {
        let odds = [
            (Fault::Late(2), 8),
            (Fault::Twice, 16),
            (Fault::Lost, 400),
            (Fault::WrongCid, 400),
            (Fault::StaleCid, 400),
            (Fault::StuckPhase, 800),
            (Fault::WrongSqid, 200),
            (Fault::Fatal, 4000),
            (Fault::Fails(Status::INTERNAL_ERROR), 50),
        ];
        let wrong = move |faults: &mut Faults| faults.at_random(seed, &odds);
        let failed = |failure| {
            aborted(failure)
                || matches!(failure, Failure::Status(status) if status.is(Status::INTERNAL_ERROR))
        };
        survives(&format!("all, seed {seed}"), &DeviceOptions::default(), seed % 2 == 1, &wrong, &failed);
    }
}

#[test]
fn admin_commands_that_are_not_answered_lead_to_a_reset() {
    for opcode in [AdminOpcode::ABORT, AdminOpcode::DELETE_SQ, AdminOpcode::DELETE_CQ] {
        let wrong = |faults: &mut Faults| {
            faults.silent.push(opcode);
            faults.next(On::Io, Fault::Lost);
        };
        survives(&format!("{opcode:?} is silent"), &DeviceOptions::default(), false, &wrong, &aborted);
    }
}

#[test]
fn blocks_that_fail_fail_alone() {
    let world = World::new(&DeviceOptions::default());
    world.run(|device, rig| {
        let shape = Shape::default();
        let bytes = vec![0x5A; 16 * rig.block_size];
        rig.write(0, 0, &bytes, &shape).unwrap();
        device.faults(|faults| faults.failing.push((5..6, Status::UNRECOVERED_READ_ERROR)));
        let failed = rig.read(0, 0, 16, &shape).unwrap_err();
        assert!(matches!(failed, Failure::Status(status) if status.is(Status::UNRECOVERED_READ_ERROR)));
        assert!(rig.read(0, 0, 5, &shape).unwrap() == bytes[..5 * rig.block_size]);
        assert!(rig.read(1, 6, 10, &shape).unwrap() == bytes[..10 * rig.block_size]);
        // A command that is split fails as a whole, and once.
        let blocks = u32::try_from(400 << 10).unwrap() / u32::try_from(rig.block_size).unwrap();
        assert!(rig.read(0, 0, blocks, &shape).is_err());
        assert!(rig.read(0, 6, blocks, &shape).is_ok());
    });
    world.assert_obeyed();
}

#[test]
fn a_device_that_does_not_stop_is_reset_as_a_function() {
    let wrong = |faults: &mut Faults| {
        faults.never_unready = true;
        faults.next(On::Io, Fault::Lost);
        faults.silent.push(AdminOpcode::DELETE_SQ);
    };
    survives("never un-ready", &DeviceOptions::default(), false, &wrong, &aborted);
}
