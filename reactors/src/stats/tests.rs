//! What reactors say of themselves, on a clock that only the tests move.

use std::{cell::RefCell, rc::Rc};

use super::*;
use crate::{
    clock::{Clock, Time, VirtualClock},
    cpu,
    group::{Group, Layout},
    idle::IdlePolicy,
    poller::{Phase, Poll, Poller, Wake},
    reactor::{Activity, Turn},
};

const STEP: Duration = Duration::from_nanos(100);

fn group() -> (Group, VirtualClock) {
    let (clock, hand) = Clock::simulated();
    hand.advance(STEP);
    let cpu = cpu::allowed()[0];
    let layout = Layout { management: cpu, io: vec![cpu] };
    (Group::new(&layout, IdlePolicy::Park, clock).unwrap(), hand)
}

/// Answers as told, after as much time.
struct Told {
    name: &'static str,
    hand: Rc<VirtualClock>,
    answer: Rc<RefCell<(Poll, u64, Duration)>>,
}

impl Poller for Told {
    fn name(&self) -> &str {
        self.name
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let (poll, did, takes) = *self.answer.borrow();
        turn.did(did);
        self.hand.advance(takes);
        poll
    }
}

const IDLE: (Poll, u64, Duration) = (Poll::Idle(Wake::Never), 0, Duration::ZERO);

#[test]
#[cfg_attr(miri, ignore = "miri has no epoll_pwait2")]
fn time_is_busy_idle_or_parked_and_adds_up() {
    let (group, hand) = group();
    let hand = Rc::new(hand);
    let mut reactor = group.local(0);
    let answer = Rc::new(RefCell::new(IDLE));
    let told = Told { name: "told", hand: Rc::clone(&hand), answer: Rc::clone(&answer) };
    reactor.add_poller(Phase::Ingress, Box::new(told)).unwrap();
    let start = hand.now();
    let times = || {
        let stats = group.stats(0);
        assert_eq!(stats.parked + stats.busy + stats.idle, group.clock().now().since(start));
        (stats.busy, stats.idle, stats.parked)
    };
    let _ = reactor.turn();
    hand.advance(STEP);
    let _ = reactor.turn();
    assert_eq!(times(), (Duration::ZERO, STEP, Duration::ZERO));

    assert!(reactor.settle(None));
    hand.advance(7 * STEP);
    assert_eq!(times(), (Duration::ZERO, STEP, 7 * STEP), "a sleep that is not over");
    *answer.borrow_mut() = (Poll::Busy, 1, 3 * STEP);
    let _ = reactor.turn();
    *answer.borrow_mut() = IDLE;
    let _ = reactor.turn();
    assert_eq!(times(), (3 * STEP, STEP, 7 * STEP));

    let stats = group.stats(0);
    assert_eq!((stats.turns, stats.busy_turns, stats.parks), (4, 1, 1));
    assert!((stats.utilisation_since(&Stats::default()) - 3.0 / 11.0).abs() < 1e-9);
    assert_eq!(stats.utilisation_since(&stats), 0.0);
    let report = group.report(0);
    assert_eq!(report.stats, stats);
    assert_eq!((report.busy_turns.count(), report.busy_turns.max()), (1, 300));
}

#[test]
fn pollers_are_told_apart() {
    let (group, hand) = group();
    let hand = Rc::new(hand);
    let mut reactor = group.local(0);
    let mut add = |name, phase, answer| {
        let answer = Rc::new(RefCell::new(answer));
        let told = Told { name, hand: Rc::clone(&hand), answer };
        reactor.add_poller(phase, Box::new(told)).unwrap()
    };
    add("lazy", Phase::Ingress, (Poll::Busy, 0, 3 * STEP));
    add("idle", Phase::Timers, IDLE);
    let gone = add("eager", Phase::Completions, (Poll::Busy, 5, STEP));
    for _ in 0..20 {
        assert_eq!(reactor.turn(), Activity::Busy);
    }
    let told = |name: &str| {
        let pollers = group.report(0).pollers;
        pollers.into_iter().find(|poller| poller.name == name)
    };
    let [lazy, idle, eager] = ["lazy", "idle", "eager"].map(|name| told(name).unwrap());
    assert_eq!((lazy.runs, lazy.busy_runs, lazy.done, lazy.time), (20, 20, 20, 60 * STEP));
    assert_eq!((idle.runs, idle.busy_runs, idle.done, idle.time), (20, 0, 0, Duration::ZERO));
    assert_eq!((eager.runs, eager.busy_runs, eager.done, eager.time), (20, 20, 100, 20 * STEP));
    assert_eq!(eager.phase, Phase::Completions);
    let batches = group.report(0).batches;
    assert_eq!((batches.count(), batches.sum(), batches.max()), (40, 120, 5));
    reactor.remove_poller(gone).unwrap();
    assert_eq!(told("eager"), None);
}

#[test]
fn a_turn_that_comes_late_is_noted_once() {
    let (group, hand) = group();
    let hand = Rc::new(hand);
    let mut reactor = group.local(0);
    let at = |time: Time| (Poll::Idle(Wake::At(time)), 0, Duration::ZERO);
    let due = hand.now() + 10 * STEP;
    let answer = Rc::new(RefCell::new(at(due)));
    let told = Told { name: "waiting", hand: Rc::clone(&hand), answer: Rc::clone(&answer) };
    reactor.add_poller(Phase::Timers, Box::new(told)).unwrap();
    let late = || {
        let lateness = group.report(0).lateness;
        (lateness.count(), lateness.max())
    };
    let _ = reactor.turn();
    hand.advance(9 * STEP);
    let _ = reactor.turn();
    assert_eq!(late(), (0, 0), "too early");
    hand.advance(3 * STEP);
    let _ = reactor.turn();
    assert_eq!(late(), (1, 200));
    // It names the past: it wants to be polled at once, and waits for nothing.
    let _ = reactor.turn();
    assert_eq!(late(), (1, 200));
}

#[test]
fn mailboxes_tell_their_depth_and_what_they_refused() {
    let (group, _hand) = group();
    let (sender, mailbox) = group.mailbox::<u8>(0, 4);
    let told = || {
        let [stats] = &group.report(0).mailboxes[..] else { panic!("one mailbox") };
        stats.clone()
    };
    let slot = sender.reserve().unwrap();
    for number in 0..3 {
        sender.send(number).unwrap();
    }
    assert_eq!(sender.send(3), Err(3));
    assert!(sender.reserve().is_none());
    let expected = MailboxStats { name: None, capacity: 4, depth: 3, depth_max: 3, received: 0, refused: 2 };
    assert_eq!(told(), expected);

    let mut reactor = group.local(0);
    let id = reactor.add_poller(Phase::Mailbox, mailbox.into_poller("numbers", 2, |_, _| ())).unwrap();
    assert_eq!(reactor.turn(), Activity::Busy);
    let expected = MailboxStats { name: Some("numbers"), depth: 1, received: 2, ..expected };
    assert_eq!(told(), expected);
    assert_eq!(reactor.turn(), Activity::Busy);
    assert_eq!(told(), MailboxStats { depth: 0, received: 3, ..expected }, "the most stays");
    let [poller] = &group.report(0).pollers[..] else { panic!("one poller") };
    assert_eq!((poller.busy_runs, poller.done), (2, 3));

    drop(slot);
    drop((reactor.remove_poller(id), sender));
    assert_eq!(group.report(0).mailboxes, [], "it is gone");
}
