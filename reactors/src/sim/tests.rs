//! Reactors that talk to each other under many seeds. A failure names its seed.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::*;
use crate::{
    mailbox::{Mailbox, Sender, Slot},
    poller::{Phase, Poll, Poller, Wake},
    published::{Grace, Publisher, Subscriber},
    reactor::Turn,
    timer::Wheel,
};

const SEEDS: u64 = 300;
const STEPS_MAX: usize = 100_000;

struct Request {
    from: ReactorIndex,
    number: u32,
    reply: Slot<u32>,
}

/// Asks every reactor, itself included, and answers what it is asked.
struct Peer {
    requests: Mailbox<Request>,
    replies: Mailbox<u32>,
    others: Vec<Sender<Request>>,
    next: u32,
    last_asked: Vec<u32>,
    replies_left: Rc<Cell<u32>>,
}

const NUMBERS: u32 = 20;

impl Poller for Peer {
    fn name(&self) -> &str {
        "peer"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let mut busy = false;
        if let Some(Request { from, number, reply }) = self.requests.receive() {
            assert!(number > self.last_asked[from], "in order");
            self.last_asked[from] = number;
            reply.send(number);
            busy = true;
        }
        if self.replies.receive().is_some() {
            self.replies_left.set(self.replies_left.get() - 1);
            busy = true;
        }
        let room = self.replies.sender();
        let all = NUMBERS * u32::try_from(self.others.len()).unwrap();
        while self.next < all {
            let to = self.next as usize % self.others.len();
            let Some(reply) = room.reserve() else { break };
            let number = self.next / u32::try_from(self.others.len()).unwrap() + 1;
            // A full mailbox gives the request back, and with it the room for its reply.
            if self.others[to].send(Request { from: turn.reactor(), number, reply }).is_err() {
                // Its owner will take something out in its next turn; nobody tells when.
                return if busy { Poll::Busy } else { Poll::Idle(Wake::Soon) };
            }
            self.next += 1;
            busy = true;
        }
        if busy { Poll::Busy } else { Poll::Idle(Wake::Never) }
    }

    fn ready(&self) -> bool {
        !self.requests.is_empty() || !self.replies.is_empty()
    }
}

#[test]
fn every_request_among_three_reactors_is_answered() {
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(3, seed).unwrap();
        let left = Rc::new(Cell::new(3 * 3 * NUMBERS));
        let ends: Vec<_> = (0..3).map(|index| simulation.group().mailbox(index, 2)).collect();
        let others: Vec<_> = ends.iter().map(|(sender, _)| sender.clone()).collect();
        for (index, (_, requests)) in ends.into_iter().enumerate() {
            let (_, replies) = simulation.group().mailbox(index, 2);
            let peer = Peer {
                requests,
                replies,
                others: others.clone(),
                next: 0,
                last_asked: vec![0; 3],
                replies_left: Rc::clone(&left),
            };
            simulation.reactor(index).add_poller(Phase::Mailbox, Box::new(peer)).unwrap();
        }
        assert!(simulation.run_until_quiet(STEPS_MAX), "seed {seed}: not quiet");
        assert_eq!(left.get(), 0, "seed {seed}: replies missing");
        assert_eq!(simulation.now(), Time::ORIGIN, "seed {seed}");
    }
}

/// Publishes the next version whenever the grace of the one before has passed.
struct Writer {
    publisher: Publisher<u64>,
    grace: Option<Grace>,
    published: Rc<Cell<u64>>,
    /// The last version whose grace has passed.
    observed: Rc<Cell<u64>>,
}

const VERSIONS: u64 = 30;

impl Poller for Writer {
    fn name(&self) -> &str {
        "writer"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        if self.grace.as_ref().is_some_and(|grace| !grace.passed()) {
            return Poll::Idle(Wake::Soon);
        }
        let version = self.published.get();
        self.observed.set(version);
        if version == VERSIONS {
            self.grace = None;
            return Poll::Idle(Wake::Never);
        }
        self.grace = Some(self.publisher.publish(version + 1));
        self.published.set(version + 1);
        Poll::Busy
    }
}

/// Reads in every turn, and sleeps now and then.
struct Reader {
    versions: Subscriber<u64>,
    seen: Rc<RefCell<Vec<u64>>>,
    turns_left: u32,
}

impl Poller for Reader {
    fn name(&self) -> &str {
        "reader"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        self.seen.borrow_mut()[turn.reactor()] = *self.versions.read(turn);
        let Some(left) = self.turns_left.checked_sub(1) else { return Poll::Idle(Wake::Never) };
        self.turns_left = left;
        if left.is_multiple_of(5) {
            Poll::Idle(Wake::At(turn.now() + Duration::from_micros(7)))
        } else {
            Poll::Busy
        }
    }
}

/// What holds up a grace, by reactor: whether it runs, and the turns and sleeps behind it.
fn census(simulation: &Simulation) -> Vec<(bool, u64)> {
    let state = |(index, simulated): (usize, &Simulated)| {
        let stats = simulation.group().stats(index);
        (simulated.reactor.is_running(), stats.turns + stats.parks)
    };
    simulation.reactors.iter().enumerate().map(state).collect()
}

#[test]
fn a_grace_has_passed_when_every_running_reactor_has_ended_a_turn_and_wakes_nobody() {
    let mut parked_throughout = 0;
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(3, seed).unwrap();
        let (publisher, versions) = simulation.group().published(0);
        let (published, observed) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let seen = Rc::new(RefCell::new(vec![0; 3]));
        let writer = Writer {
            publisher,
            grace: None,
            published: Rc::clone(&published),
            observed: Rc::clone(&observed),
        };
        simulation.reactor(0).add_poller(Phase::Timers, Box::new(writer)).unwrap();
        for index in 1..3 {
            let reader = Reader { versions: versions.clone(), seen: Rc::clone(&seen), turns_left: 200 };
            simulation.reactor(index).add_poller(Phase::Ingress, Box::new(reader)).unwrap();
        }
        let mut at_publication = census(&simulation);
        for steps in 0.. {
            assert!(steps < STEPS_MAX, "seed {seed}: not quiet");
            let before = (published.get(), observed.get());
            let states_before = census(&simulation);
            match simulation.step() {
                Step::Turn { reactor: 0, .. } => {}
                Step::Turn { reactor, .. } => {
                    assert_eq!(seen.borrow()[reactor], published.get(), "seed {seed}")
                }
                Step::Jumped { .. } => {}
                Step::Quiet => break,
            }
            if observed.get() > before.1 {
                for (index, (ran, steps)) in at_publication.iter().enumerate().skip(1) {
                    let steps_now = states_before[index].1;
                    assert!(!*ran || steps_now > *steps, "seed {seed}: reactor {index}");
                    parked_throughout += usize::from(steps_now == *steps);
                }
            }
            if published.get() > before.0 {
                at_publication = states_before;
            }
        }
        assert_eq!(observed.get(), VERSIONS, "seed {seed}: a grace has not passed");
    }
    assert!(parked_throughout > 0);
}

/// Expires timers of a wheel, and says when the next one is due.
struct Alarms {
    wheel: Wheel<Duration>,
    expired: Rc<RefCell<Vec<(Duration, Time)>>>,
}

impl Poller for Alarms {
    fn name(&self) -> &str {
        "alarms"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let now = turn.now();
        let mut expired = self.expired.borrow_mut();
        if self.wheel.expire(now, 4, |after| expired.push((after, now))) > 0 {
            return Poll::Busy;
        }
        Poll::Idle(self.wheel.next().map_or(Wake::Never, Wake::At))
    }
}

#[test]
fn time_jumps_to_each_deadline_and_no_further() {
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(2, seed).unwrap();
        let expired = Rc::new(RefCell::new(Vec::new()));
        let mut waits: Vec<_> =
            [3u64, 70_000, 5_000_000, 1, 120_000_000_000].map(Duration::from_nanos).to_vec();
        for (index, waits) in waits.chunks(2).enumerate() {
            let mut wheel = Wheel::with_capacity(2);
            for &wait in waits {
                wheel.insert(Time::ORIGIN + wait, wait);
            }
            let alarms = Alarms { wheel, expired: Rc::clone(&expired) };
            simulation.reactor(index % 2).add_poller(Phase::Timers, Box::new(alarms)).unwrap();
        }
        assert!(simulation.run_until_quiet(STEPS_MAX), "seed {seed}");
        waits.sort_unstable();
        let expected: Vec<_> = waits.into_iter().map(|wait| (wait, Time::ORIGIN + wait)).collect();
        assert_eq!(*expired.borrow(), expected, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut simulation = Simulation::new(3, seed).unwrap();
        for index in 0..3 {
            let (_publisher, versions) = simulation.group().published(0);
            let seen = Rc::new(RefCell::new(vec![0; 3]));
            let reader = Reader { versions, seen, turns_left: 20 };
            simulation.reactor(index).add_poller(Phase::Ingress, Box::new(reader)).unwrap();
        }
        (0..100).map(|_| simulation.step()).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_stopped_reactor_takes_no_more_turns() {
    let mut simulation = Simulation::new(2, 1).unwrap();
    let (sender, mailbox) = simulation.group().mailbox(1, 4);
    let poller = mailbox.into_poller("numbers", 1, |_, _: u8| ());
    simulation.reactor(1).add_poller(Phase::Mailbox, poller).unwrap();
    assert!(simulation.run_until_quiet(100));
    simulation.group().handle(1).stop();
    let turns = simulation.group().stats(1).turns;
    sender.send(1).unwrap();
    assert!(simulation.run_until_quiet(100));
    assert_eq!(simulation.group().stats(1).turns, turns);
}
