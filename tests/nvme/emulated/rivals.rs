//! Another host at the same namespace: its reservation, and what it takes to end it.

use corelane::nvme::emulated::Options as DeviceOptions;
use corelane::nvme::{AdminCommand, Failure, IoCommand, Outcome};
use corelane::spec::host::HostId;
use corelane::spec::reservation::{AcquireAction, PersistChange, RegisterAction, ReservationType};
use corelane::spec::status::Status;

use super::world::World;
use crate::suite::{Shape, report};

const OURS: u64 = 0x11;
const THEIRS: u64 = 0x22;
const US: HostId = HostId([1; 16]);
const THEM: HostId = HostId([2; 16]);

fn conflicts(outcome: Outcome) -> bool {
    matches!(outcome, Err(Failure::Status(status)) if status.is(Status::RESERVATION_CONFLICT))
}

#[test]
fn another_host_keeps_us_out_until_it_is_preempted() {
    for action in [AcquireAction::PREEMPT, AcquireAction::PREEMPT_AND_ABORT] {
        let world = World::new(&DeviceOptions::default());
        world.run(|device, rig| {
            let (nsid, kind) = (rig.nsid, ReservationType::EXCLUSIVE_ACCESS);
            let bytes = vec![7; rig.block_size];
            let register = IoCommand::ReservationRegister {
                nsid,
                action: RegisterAction::REGISTER,
                ignore_key: false,
                persist: PersistChange::SET,
                current: 0,
                new: OURS,
            };
            // Who has no identity has no reservations either.
            assert!(matches!(
                rig.run(0, &register),
                Err(Failure::Status(status)) if status.is(Status::COMMAND_SEQUENCE_ERROR)
            ));
            rig.ask(&AdminCommand::SetHostIdentifier(US));
            device.intrude(nsid, THEM, THEIRS, kind);
            assert!(conflicts(rig.write(0, 0, &bytes, &Shape::default())));
            assert!(conflicts(rig.read(1, 0, 1, &Shape::default()).map(|_| 0)));
            let acquire = |action, preempt| IoCommand::ReservationAcquire {
                nsid,
                action,
                kind,
                current: OURS,
                preempt,
            };
            assert!(conflicts(rig.run(0, &acquire(action, THEIRS))), "whoever is not registered cannot");
            rig.run(0, &register).unwrap();
            assert!(conflicts(rig.run(0, &acquire(AcquireAction::ACQUIRE, 0))));
            let told = report(rig);
            assert_eq!((told.registered, told.kind, told.persists), (2, kind, true));
            rig.run(1, &acquire(action, THEIRS)).unwrap();
            rig.write(0, 0, &bytes, &Shape::default()).unwrap();
            let told = report(rig);
            assert_eq!((told.registered, told.kind, told.registrants[0].key), (1, kind, OURS));
            assert!(told.registrants[0].holder);
            // A reset forgets who we are, not what is reserved.
            let now = rig.now();
            rig.controller.reset(now);
            rig.recover();
            assert!(conflicts(rig.write(0, 0, &bytes, &Shape::default())));
            rig.ask(&AdminCommand::SetHostIdentifier(US));
            rig.write(0, 0, &bytes, &Shape::default()).unwrap();
        });
        world.assert_obeyed();
    }
}
