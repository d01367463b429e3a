//! The search for an order, on small histories.

use std::time::Duration;

use corelane::initiator::command::reservation;
use corelane::spec::host::HostId;
use corelane::spec::nqn::Nqn;
use corelane::spec::reservation::{AcquireAction, PersistChange, RegisterAction, ReservationType};

use super::*;
use crate::storm::bytes;

/// A command of host `number`, sent and answered at these milliseconds after `epoch`.
fn sent(epoch: Instant, number: u8, command: (Sqe, Vec<u8>), began: u64, ended: Option<u64>) -> Sent {
    let nqn = Nqn::parse(&format!("nqn.2026-11.io.corelane:host{number}")).unwrap();
    let host = host::Host { nqn, id: HostId([number; 16]) };
    let answer = ended.map(|end| (epoch + Duration::from_millis(end), Ok(())));
    Sent { began: epoch + Duration::from_millis(began), answer, ..Sent::now(&host, &command.0, &command.1) }
}

fn register(key: u64) -> (Sqe, Vec<u8>) {
    bytes(reservation::register(1, RegisterAction::REGISTER, PersistChange::SET, 0, key))
}

fn acquire(key: u64) -> (Sqe, Vec<u8>) {
    bytes(reservation::acquire(1, AcquireAction::ACQUIRE, ReservationType::WRITE_EXCLUSIVE, key, 0))
}

#[test]
fn what_was_answered_is_there_and_what_was_not_may_be() {
    let at = Instant::now();
    let one = vec![sent(at, 1, register(1), 0, Some(3)), sent(at, 1, acquire(1), 4, None)];
    let two = vec![sent(at, 2, register(2), 1, Some(2)), sent(at, 2, register(2), 3, Some(5))];
    let mut ends = ends(&State::new(), &[one, two]);
    ends.sort_by_key(|state| state.reservation().is_some());
    let told =
        ends.iter().map(|state| (state.generation(), state.registrants().len(), state.kind().is_some()));
    assert_eq!(told.collect::<Vec<_>>(), [(3, 2, false), (3, 2, true)]);
}

#[test]
fn two_holders_are_explained_by_no_order() {
    let at = Instant::now();
    let host = |number| {
        let key = u64::from(number);
        vec![sent(at, number, register(key), 0, Some(1)), sent(at, number, acquire(key), 2, Some(3))]
    };
    assert_eq!(ends(&State::new(), &[host(1), host(2)]), []);
}

#[test]
fn an_order_that_a_host_saw_is_kept_to() {
    let at = Instant::now();
    let preempt =
        bytes(reservation::acquire(1, AcquireAction::PREEMPT, ReservationType::WRITE_EXCLUSIVE, 1, 2));
    let one = |began| {
        vec![sent(at, 1, register(1), 0, Some(1)), sent(at, 1, preempt.clone(), began, Some(began + 1))]
    };
    let two = || vec![sent(at, 2, register(2), 3, Some(6))];
    let registrants = |ends: Vec<State>| {
        let mut counts: Vec<usize> = ends.iter().map(|state| state.registrants().len()).collect();
        counts.sort_unstable();
        counts
    };
    assert_eq!(registrants(ends(&State::new(), &[one(4), two()])), [1, 2], "at the same time");
    assert_eq!(registrants(ends(&State::new(), &[one(7), two()])), [1], "registered, then preempted");
}
