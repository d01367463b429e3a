//! Fuzz entry of what a target answers: a target may lie.

use std::time::Duration;

use corelane_reactors::clock::Time;
use zerocopy::FromBytes;

use super::blocking::Discovered;
use super::command::reservation::Report;
use super::{Enabling, Step, multipath};
use crate::spec::cqe::Cqe;
use crate::spec::discovery::DiscoveryEntry;

/// I/O queues that are asked for.
const QUEUES: u16 = 4;
/// Longer than a controller may take until it is ready (CAP.TO).
const PATIENCE: Duration = Duration::from_secs(128);

/// Reads the bytes as each page that the initiator asks a target for, and as answers to the commands that enable a
/// controller: a completion, and data where some is due, one after the other.
///
/// # Panics
/// When what is read promises what it does not hold, which is a bug of this module.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    multipath::fuzz(bytes);
    enable(bytes);
    if let Some(report) = Report::decode(bytes) {
        assert!(report.registrants.len() <= usize::from(report.header.regstrnt.get()));
    }
    if let Ok((entry, _)) = DiscoveryEntry::read_from_prefix(bytes)
        && let Ok(found) = Discovered::try_from(entry)
    {
        assert!(!found.subsystem.contains('\0') && !found.address.ends_with(['\0', ' ']));
    }
}

fn enable(bytes: &[u8]) {
    let (mut enabling, mut rest, mut now) = (Enabling::new(QUEUES), bytes, Time::ORIGIN);
    loop {
        match enabling.step(now) {
            Step::Wait(until) => {
                assert!(until > now && until <= Time::ORIGIN + PATIENCE);
                now = until;
            }
            Step::Submit { receives, .. } => {
                let Ok((cqe, tail)) = Cqe::read_from_prefix(rest) else { return };
                let (data, tail) = tail.split_at(receives.min(tail.len()));
                rest = tail;
                if enabling.completed(now, &cqe, data).is_err() {
                    return;
                }
            }
            Step::Done => break,
        }
    }
    let controller = enabling.into_controller().expect("the sequence is at its end");
    assert!((1..=QUEUES).contains(&controller.queues) && controller.depth_max() > 0);
    assert!(controller.transfer_bytes_max().is_none_or(|bytes| bytes >= 4096));
    let _ = controller.in_capsule_bytes_max();
}
