//! The sequence that makes a controller ready, in virtual time.

use std::time::Duration;

use corelane_reactors::clock::Time;
use zerocopy::{FromZeros, IntoBytes};

use crate::initiator::{Controller, EnableError, Enabling, Step, Task};
use crate::spec::cqe::Cqe;
use crate::spec::feature::NumberOfQueues;
use crate::spec::identify::controller::IdentifyController;
use crate::spec::register::{Cap, Csts};

fn cqe(dw0: u32, dw1: u32) -> Cqe {
    Cqe { dw0: dw0.into(), dw1: dw1.into(), ..Cqe::default() }
}

fn cap(cap: Cap) -> Cqe {
    let [low, high]: [u32; 2] = zerocopy::transmute!(cap.into_bits());
    cqe(low, high)
}

/// A sequence that has read CAP and set CC.
fn configured(queues: u16, capabilities: Cap) -> Enabling {
    let mut enabling = Enabling::new(queues);
    for (task, answer) in [(Task::ReadCapabilities, cap(capabilities)), (Task::Configure, cqe(0, 0))] {
        assert_eq!(enabling.task(), Some(task));
        assert!(matches!(enabling.step(Time::ORIGIN), Step::Submit { receives: 0, .. }));
        enabling.completed(Time::ORIGIN, &answer, &[]).unwrap();
    }
    enabling
}

/// Identify and the number of queues, from a controller that is ready.
fn finished(mut enabling: Enabling, identify: &IdentifyController, queues: Option<u16>) -> Controller {
    let now = Time::ORIGIN;
    assert!(matches!(enabling.step(now), Step::Submit { receives: 0, .. }));
    enabling.completed(now, &cqe(Csts::new().with_rdy(true).into_bits(), 0), &[]).unwrap();
    assert!(matches!(enabling.step(now), Step::Submit { receives: 4096, .. }));
    enabling.completed(now, &cqe(0, 0), identify.as_bytes()).unwrap();
    if let Some(queues) = queues {
        assert_eq!(enabling.task(), Some(Task::CountQueues));
        let given = NumberOfQueues::new().with_submission_z(queues - 1).with_completion_z(queues);
        enabling.completed(now, &cqe(given.into_bits(), 0), &[]).unwrap();
    }
    assert!(matches!(enabling.step(now), Step::Done));
    enabling.into_controller().unwrap()
}

#[test]
fn controller_that_never_becomes_ready_is_given_up_after_cap_to() {
    let mut enabling = configured(1, Cap::new().with_to(4));
    let mut now = Time::ORIGIN;
    for _ in 0..10_000 {
        match enabling.step(now) {
            Step::Submit { .. } => match enabling.completed(now, &cqe(0, 0), &[]) {
                Ok(()) => assert!(now < Time::ORIGIN + Duration::from_secs(2)),
                Err(error) => {
                    assert_eq!(error, EnableError::TimedOut { after: Duration::from_secs(2) });
                    assert!(now >= Time::ORIGIN + Duration::from_secs(2));
                    return;
                }
            },
            Step::Wait(until) => {
                assert!(until > now);
                now = until;
            }
            Step::Done => panic!("it was never ready"),
        }
    }
    panic!("it was never given up");
}

#[test]
fn fatal_status_ends_the_sequence() {
    let mut enabling = configured(1, Cap::new().with_to(4));
    let fatal = cqe(Csts::new().with_cfs(true).into_bits(), 0);
    assert_eq!(enabling.completed(Time::ORIGIN, &fatal, &[]), Err(EnableError::Fatal));
}

#[test]
fn queues_are_counted_only_where_some_are_wanted() {
    let identify = IdentifyController::new_zeroed();
    assert_eq!(finished(configured(0, Cap::new()), &identify, None).queues, 0);
    assert_eq!(finished(configured(4, Cap::new()), &identify, Some(2)).queues, 2);
    // More than were asked for are not used.
    assert_eq!(finished(configured(4, Cap::new()), &identify, Some(64)).queues, 4);
}

#[test]
fn limits_are_widened() {
    let rows = [
        // MDTS, MPSMIN, most bytes of a transfer
        (0, 0, None),
        (1, 0, Some(8 << 10)),
        (5, 0, Some(128 << 10)),
        (5, 4, Some(2 << 20)),
        (19, 0, Some(1 << 31)),
        (20, 0, None),
        (255, 15, None),
    ];
    for (mdts, mpsmin, bytes) in rows {
        let mut identify = IdentifyController::new_zeroed();
        identify.mdts = mdts;
        let controller = finished(configured(0, Cap::new().with_mpsmin(mpsmin)), &identify, None);
        assert_eq!(controller.transfer_bytes_max(), bytes, "MDTS {mdts}, MPSMIN {mpsmin}");
    }
    let rows = [
        // IOCCSZ, ICDOFF, most bytes in a capsule
        (0, 0, 0),
        (4, 0, 0),
        (516, 0, 8192),
        (516, 1, 0),
        (u32::MAX, 0, u32::MAX - 64),
    ];
    for (ioccsz, icdoff, bytes) in rows {
        let mut identify = IdentifyController::new_zeroed();
        identify.ioccsz = ioccsz.into();
        identify.icdoff = icdoff.into();
        let controller = finished(configured(0, Cap::new()), &identify, None);
        assert_eq!(controller.in_capsule_bytes_max(), bytes, "IOCCSZ {ioccsz}, ICDOFF {icdoff}");
    }
    for (mqes_z, depth) in [(0, 1), (1, 1), (127, 127), (u16::MAX, u16::MAX - 1)] {
        let identify = IdentifyController::new_zeroed();
        let controller = finished(configured(0, Cap::new().with_mqes_z(mqes_z)), &identify, None);
        assert_eq!(controller.depth_max(), depth, "MQES {mqes_z}");
    }
}
