//! A reactor with a ring: when it makes system calls, when it may sleep, and what wakes it.

use std::{cell::Cell, io::Write, os::fd::BorrowedFd, rc::Rc, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::{
    clock::Clock,
    cpu,
    group::{Group, Layout},
    idle::IdlePolicy,
    poller::{Phase, Poll, Poller, Wake},
    reactor::{Activity, Turn},
};

/// Turns after which a reactor should have come to rest.
const TURNS_MAX: u32 = 1000;

/// Takes completions of a user.
struct Taker {
    user: Rc<User>,
    taken: Rc<Cell<u32>>,
}

impl Poller for Taker {
    fn name(&self) -> &str {
        "taker"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        let Some(completion) = self.user.take() else { return Poll::Idle(Wake::Never) };
        assert!(completion.result.is_ok(), "{completion:?}");
        self.taken.set(self.taken.get() + 1);
        Poll::Busy
    }
}

struct Scene {
    group: Group,
    reactor: Reactor,
    ring: Ring,
    user: Rc<User>,
    taken: Rc<Cell<u32>>,
}

impl Scene {
    fn new(mode: Mode) -> Self {
        let core = cpu::allowed()[0];
        let layout = Layout { management: core, io: vec![core] };
        let group = Group::new(&layout, IdlePolicy::Park, Clock::real()).unwrap();
        let mut reactor = group.local(0);
        let ring = ring_as(&Options::default(), mode);
        ring.attach(&mut reactor).unwrap();
        let user = Rc::new(ring.user(8).unwrap());
        let taken = Rc::new(Cell::new(0));
        let taker = Taker { user: Rc::clone(&user), taken: Rc::clone(&taken) };
        reactor.add_poller(Phase::Completions, Box::new(taker)).unwrap();
        Self { group, reactor, ring, user, taken }
    }

    /// Turns until there is nothing to do.
    fn rest(&mut self) {
        for _ in 0..TURNS_MAX {
            match self.reactor.turn() {
                Activity::Busy => {}
                Activity::Idle { until, may_park } => return assert!(until.is_none() && may_park),
            }
        }
        panic!("it finds no rest");
    }
}

/// Whether a descriptor becomes readable within so many seconds.
fn readable(descriptor: BorrowedFd<'_>, seconds: i64) -> bool {
    let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() == 1
}

#[test]
fn what_completes_wakes_a_reactor_that_sleeps() {
    for mode in Mode::ALL {
        let mut scene = Scene::new(mode);
        let (reader, mut writer) = pipe();
        let file = scene.ring.add_file(&reader).unwrap();
        for round in 1..=3 {
            scene.user.submit(1, &read(&file, memory(&[0; 1]))).unwrap();
            scene.rest();
            assert!(scene.reactor.settle(None), "{mode:?}");
            assert!(!readable(scene.reactor.descriptor(), 0), "{mode:?}: nothing has completed");
            writer.write_all(b"x").unwrap();
            assert!(readable(scene.reactor.descriptor(), 10), "{mode:?}: it sleeps on");
            scene.rest();
            assert_eq!(scene.taken.get(), round, "{mode:?}");
        }
        assert_eq!(scene.group.stats(0).parks, 3);
    }
}

#[test]
fn what_completed_before_the_sleep_prevents_it() {
    for mode in Mode::ALL {
        let mut scene = Scene::new(mode);
        let (reader, mut writer) = pipe();
        let file = scene.ring.add_file(&reader).unwrap();
        scene.user.submit(1, &read(&file, memory(&[0; 1]))).unwrap();
        scene.rest();
        writer.write_all(b"x").unwrap();
        assert!(!scene.reactor.settle(None), "{mode:?}");
        scene.rest();
        assert_eq!(scene.taken.get(), 1, "{mode:?}");
        // Submitted after the turn: it must not be slept over either.
        scene.user.submit(2, &read(&file, memory(&[0; 1]))).unwrap();
        assert!(!scene.reactor.settle(None), "{mode:?}");
    }
}

#[test]
fn a_parked_thread_is_woken() {
    let mut scene = Scene::new(Mode::DeferredInOrder);
    let (reader, mut writer) = pipe();
    let file = scene.ring.add_file(&reader).unwrap();
    scene.user.submit(1, &read(&file, memory(&[0; 1]))).unwrap();
    scene.rest();
    let handle = scene.group.handle(0);
    let other = std::thread::spawn(move || {
        // It counts a park before it waits; whether this comes before or during the wait must not matter.
        while handle.stats().parks == 0 {
            std::thread::yield_now();
        }
        writer.write_all(b"x").unwrap();
        writer
    });
    let limit = scene.reactor.clock().now() + Duration::from_secs(10);
    while scene.taken.get() == 0 {
        if scene.reactor.turn() != Activity::Busy {
            scene.reactor.park(Some(limit)).unwrap();
        }
        assert!(scene.reactor.clock().now() < limit, "it sleeps on");
    }
    other.join().unwrap();
}

#[test]
fn an_idle_turn_makes_no_system_call_and_a_busy_one_makes_one() {
    for mode in [Mode::Deferred, Mode::DeferredInOrder] {
        let mut scene = Scene::new(mode);
        let (reader, mut writer) = pipe();
        let files = [scene.ring.add_file(&reader).unwrap(), scene.ring.add_file(&file(b"abcd")).unwrap()];
        let other = scene.ring.user(4).unwrap();
        scene.user.submit(1, &read(&files[0], memory(&[0; 1]))).unwrap();
        other.submit(1, &read(&files[0], memory(&[0; 1]))).unwrap();
        scene.rest();
        // One hand-over for both users.
        assert_eq!(scene.ring.enters(), 1, "{mode:?}");
        for _ in 0..100 {
            assert_ne!(scene.reactor.turn(), Activity::Busy);
        }
        assert_eq!(scene.ring.enters(), 1, "{mode:?}: an idle turn enters the kernel");
        writer.write_all(b"xy").unwrap();
        assert_eq!(scene.reactor.turn(), Activity::Busy);
        assert_eq!((scene.ring.enters(), scene.taken.get()), (2, 1), "{mode:?}");
        assert!(other.take().is_some());
        // What completes inside of the hand-over costs no other one.
        scene.user.submit(2, &read(&files[1], memory(&[0; 1]))).unwrap();
        scene.rest();
        assert_eq!((scene.ring.enters(), scene.taken.get()), (3, 2), "{mode:?}");
    }
}

#[test]
fn a_wake_up_that_was_followed_wakes_no_more() {
    for mode in Mode::ALL {
        let mut scene = Scene::new(mode);
        let (reader, mut writer) = pipe();
        let file = scene.ring.add_file(&reader).unwrap();
        scene.user.submit(1, &read(&file, memory(&[0; 1]))).unwrap();
        scene.rest();
        assert!(scene.reactor.settle(None));
        writer.write_all(b"x").unwrap();
        scene.rest();
        // With nothing in flight, and with something.
        for _ in 0..2 {
            assert!(scene.reactor.settle(None), "{mode:?}");
            assert!(!readable(scene.reactor.descriptor(), 0), "{mode:?}: it wakes for nothing");
            scene.user.submit(2, &read(&file, memory(&[0; 1]))).unwrap();
            scene.rest();
        }
    }
}

#[test]
fn a_ring_is_attached_once() {
    let mut scene = Scene::new(Mode::Cooperative);
    assert!(scene.ring.attach(&mut scene.reactor).is_err());
}
