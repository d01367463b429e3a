//! Turns and the two halves of sleeping, on the tests' own thread.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    thread,
    time::Duration,
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::*;
use crate::{
    cpu,
    group::{Group, Layout},
    timer::Wheel,
};

fn group(clock: Clock) -> Group {
    let cpu = cpu::allowed()[0];
    Group::new(&Layout { management: cpu, io: vec![cpu] }, IdlePolicy::Park, clock).unwrap()
}

/// Answers as told, and notes its name at each turn.
struct Scripted {
    name: &'static str,
    answer: Poll,
    calls: Rc<RefCell<Vec<&'static str>>>,
}

impl Poller for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        self.calls.borrow_mut().push(self.name);
        self.answer
    }
}

#[test]
fn phases_run_in_order_whatever_the_order_of_adding() {
    let group = group(Clock::simulated().0);
    let mut reactor = group.local(0);
    let calls = Rc::default();
    let mut add = |phase, name| {
        let poller = Scripted { name, answer: Poll::Busy, calls: Rc::clone(&calls) };
        reactor.add_poller(phase, Box::new(poller)).unwrap()
    };
    add(Phase::Flush, "flush");
    add(Phase::Timers, "timers 1");
    add(Phase::Mailbox, "mailbox");
    let gone = add(Phase::Submit, "submit");
    add(Phase::Timers, "timers 2");
    add(Phase::Ingress, "ingress");
    add(Phase::Completions, "completions");
    assert!(reactor.remove_poller(gone).is_some());
    assert!(reactor.remove_poller(gone).is_none());
    assert_eq!(reactor.turn(), Activity::Busy);
    assert_eq!(*calls.borrow(), ["mailbox", "completions", "timers 1", "timers 2", "ingress", "flush"]);
}

/// Panics in its second turn.
struct Fragile(u32);

impl Poller for Fragile {
    fn name(&self) -> &str {
        "fragile"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        self.0 += 1;
        assert!(self.0 < 2, "broken");
        Poll::Busy
    }
}

#[test]
fn a_loop_of_ones_own_can_ask_which_poller_panicked() {
    let group = group(Clock::simulated().0);
    let mut reactor = group.local(0);
    let idle = Scripted { name: "idle", answer: Poll::Idle(Wake::Never), calls: Rc::default() };
    reactor.add_poller(Phase::Mailbox, Box::new(idle)).unwrap();
    reactor.add_poller(Phase::Submit, Box::new(Fragile(0))).unwrap();
    assert_eq!(reactor.turn(), Activity::Busy);
    assert_eq!(reactor.polled(), None, "between turns");
    let turn = panic::catch_unwind(AssertUnwindSafe(|| reactor.turn()));
    assert!(turn.is_err());
    assert_eq!(reactor.polled(), Some(Polled { name: "fragile".to_owned(), phase: Phase::Submit }));
}

#[test]
fn what_pollers_wait_for_adds_up() {
    let at = |nanoseconds| Poll::Idle(Wake::At(Time::from_nanos(nanoseconds)));
    let idle = |until: Option<u64>, may_park| Activity::Idle { until: until.map(Time::from_nanos), may_park };
    let never = Poll::Idle(Wake::Never);
    let soon = Poll::Idle(Wake::Soon);
    let rows = [
        (vec![], idle(None, true)),
        (vec![never, never], idle(None, true)),
        (vec![at(5), never, at(3)], idle(Some(3), true)),
        (vec![at(5), soon], idle(Some(5), false)),
        (vec![soon, at(5), Poll::Busy], Activity::Busy),
    ];
    for (answers, expected) in rows {
        let group = group(Clock::simulated().0);
        let mut reactor = group.local(0);
        for answer in &answers {
            let poller = Scripted { name: "scripted", answer: *answer, calls: Rc::default() };
            reactor.add_poller(Phase::Ingress, Box::new(poller)).unwrap();
        }
        assert_eq!(reactor.turn(), expected, "{answers:?}");
        let stats = group.stats(0);
        assert_eq!((stats.turns, stats.busy_turns), (1, u64::from(expected == Activity::Busy)));
    }
}

#[test]
fn settles_only_when_there_is_nothing_to_do() {
    let (clock, hand) = Clock::simulated();
    let group = group(clock);
    let (sender, mailbox) = group.mailbox(0, 1);
    let mut reactor = group.local(0);
    reactor.add_poller(Phase::Mailbox, mailbox.into_poller("numbers", 1, |_, _: u8| ())).unwrap();
    let due = Time::from_nanos(10);

    assert!(reactor.settle(Some(due)));
    assert!(reactor.settle(Some(due)), "settled already");
    assert_ne!(reactor.turn(), Activity::Busy);

    sender.send(1).unwrap();
    assert!(!reactor.settle(Some(due)), "a message");
    assert_eq!(reactor.turn(), Activity::Busy);

    hand.advance_to(due);
    assert!(!reactor.settle(Some(due)), "a time");
    assert!(reactor.settle(None));
    assert_ne!(reactor.turn(), Activity::Busy);

    group.stop();
    assert!(!reactor.settle(None), "a stop");
}

const BUDGET: usize = 2;
const TURNS: usize = 50;

fn expiries(notes: &[Note]) -> Vec<u64> {
    notes.iter().flat_map(|(_, expired)| expired.clone()).collect()
}

/// The time of a turn, and what a wheel expired in it.
type Note = (u64, Vec<u64>);

/// Takes notes of each turn.
struct Timed {
    wheel: Wheel<u64>,
    notes: Rc<RefCell<Vec<Note>>>,
}

impl Poller for Timed {
    fn name(&self) -> &str {
        "timed"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let mut expired = Vec::new();
        self.wheel.expire(turn.now(), BUDGET, |value| expired.push(value));
        self.notes.borrow_mut().push((turn.now().as_nanos(), expired));
        Poll::Idle(self.wheel.next().map_or(Wake::Never, Wake::At))
    }
}

#[test]
fn a_clock_that_steps_back_holds_turns_still_and_expires_nothing_twice_or_early() {
    let (clock, hand) = Clock::simulated();
    let group = group(clock);
    let mut reactor = group.local(0);
    let notes: Rc<RefCell<Vec<Note>>> = Rc::default();
    let mut wheel = Wheel::with_capacity(8);
    let millisecond = 1_000_000;
    for due in [5, 12, 100, 101, 102] {
        wheel.insert(Time::from_nanos(due * millisecond), due);
    }
    let timed = Timed { wheel, notes: Rc::clone(&notes) };
    reactor.add_poller(Phase::Timers, Box::new(timed)).unwrap();
    let rows = [
        // the clock, the turn's time, what it expires
        (10, 10, vec![5]),
        (3, 10, vec![]),
        (9, 10, vec![]),
        (13, 13, vec![12]),
        (12, 13, vec![]),
    ];
    for (now, turn, expired) in rows {
        hand.step_to(Time::from_nanos(now * millisecond));
        // Enough for timers that move down through the levels of the wheel before they expire.
        (0..TURNS).for_each(|_| {
            let _ = reactor.turn();
        });
        let seen = notes.take();
        assert!(seen.iter().all(|(time, _)| *time == turn * millisecond), "the clock at {now} ms: {seen:?}");
        assert_eq!(expiries(&seen), expired, "the clock at {now} ms");
    }
    // A jump: no more than the budget in a turn, and the rest in those that follow, though the clock is back again.
    notes.borrow_mut().clear();
    for now in [1_000_000, 0, 0, 0, 0, 0] {
        hand.step_to(Time::from_nanos(now * millisecond));
        let _ = reactor.turn();
    }
    assert!(
        notes.borrow().iter().all(|(turn, expired)| *turn == 1_000_000 * millisecond && expired.len() <= 2)
    );
    let expired: Vec<u64> = notes.borrow().iter().flat_map(|(_, expired)| expired.clone()).collect();
    assert_eq!(expired, [100, 101, 102]);
}

fn is_readable(descriptor: BorrowedFd<'_>, wait: bool) -> bool {
    let timeout = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut descriptors = [PollFd::new(&descriptor, PollFlags::IN)];
    poll(&mut descriptors, if wait { None } else { Some(&timeout) }).unwrap() == 1
}

#[test]
fn another_loop_can_wait_on_the_descriptor() {
    let group = group(Clock::real());
    let (sender, mailbox) = group.mailbox(0, 2);
    let mut reactor = group.local(0);
    let received = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&received);
    let poller = mailbox.into_poller("numbers", 2, move |_, number: u8| sink.borrow_mut().push(number));
    reactor.add_poller(Phase::Mailbox, poller).unwrap();
    for number in 0..100 {
        assert!(reactor.settle(None));
        assert!(!is_readable(reactor.descriptor(), false));
        let sender = sender.clone();
        let sending = thread::spawn(move || sender.send(number).unwrap());
        assert!(is_readable(reactor.descriptor(), true));
        assert_eq!(reactor.turn(), Activity::Busy);
        sending.join().unwrap();
        assert!(!is_readable(reactor.descriptor(), false), "the turn takes the event away");
    }
    assert_eq!(*received.borrow(), (0..100).collect::<Vec<u8>>());
    assert_eq!(group.stats(0).wakes, 100);
}

#[test]
fn parks_until_its_time_and_not_less() {
    let group = group(Clock::real());
    let mut reactor = group.local(0);
    for wait in [Duration::from_micros(200), Duration::from_millis(3)] {
        let _ = reactor.turn();
        let until = reactor.clock().now() + wait;
        let parks = group.stats(0).parks;
        while reactor.clock().now() < until {
            reactor.park(Some(until)).unwrap();
        }
        // The counter and the kernel's clock may differ by a few nanoseconds: a second, short sleep is
        // legal, spinning is not.
        assert!(group.stats(0).parks - parks <= 3, "spins");
    }
    assert_eq!(group.stats(0).wakes, 0);
}

/// Work arrives through a descriptor of its own.
struct Readable {
    eventfd: Rc<OwnedFd>,
}

impl Poller for Readable {
    fn name(&self) -> &str {
        "readable"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        match rustix::io::read(&self.eventfd, &mut [0; 8]) {
            Ok(_) => Poll::Busy,
            Err(_) => Poll::Idle(Wake::Descriptor),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.eventfd.as_fd())
    }
}

#[test]
fn a_descriptor_of_a_poller_ends_the_sleep() {
    let group = group(Clock::real());
    let mut reactor = group.local(0);
    let eventfd = Rc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
    let id = reactor.add_poller(Phase::Ingress, Box::new(Readable { eventfd: Rc::clone(&eventfd) })).unwrap();
    let twice = Box::new(Readable { eventfd: Rc::clone(&eventfd) });
    assert!(reactor.add_poller(Phase::Ingress, twice).is_err(), "one descriptor, two pollers");
    for _ in 0..3 {
        assert_eq!(reactor.turn(), Activity::Idle { until: None, may_park: true });
        rustix::io::write(&eventfd, &1u64.to_ne_bytes()).unwrap();
        reactor.park(None).unwrap();
        assert_eq!(reactor.turn(), Activity::Busy);
    }
    assert!(reactor.remove_poller(id).is_some());
    rustix::io::write(&eventfd, &1u64.to_ne_bytes()).unwrap();
    assert!(!is_readable(reactor.descriptor(), false));
}

#[test]
#[should_panic(expected = "is_simulated")]
fn a_simulated_clock_cannot_end_a_sleep() {
    let group = group(Clock::simulated().0);
    let _ = group.local(0).run();
}
