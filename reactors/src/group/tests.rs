//! Layouts, and reactors on threads of their own. Tests wait for messages, never for time; the limit
//! only turns a hang into a failure.

use std::{
    sync::{
        PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    mailbox::Slot,
    poller::{Phase, Poll, Poller, Wake},
    reactor::Turn,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Reactors that spin take turns: two of them fill a small machine.
static SPINNING: Mutex<()> = Mutex::new(());

fn spin_alone() -> MutexGuard<'static, ()> {
    SPINNING.lock().unwrap_or_else(PoisonError::into_inner)
}

const POLICIES: [IdlePolicy; 3] =
    [IdlePolicy::Spin, IdlePolicy::Park, IdlePolicy::Adaptive { spin: Duration::from_micros(5) }];

/// A management reactor and one I/O reactor, on two cores if there are two.
fn group(idle: IdlePolicy) -> Group {
    let cpus = cpu::allowed();
    let layout = Layout { management: cpus[0], io: vec![cpus[cpus.len() - 1]] };
    Group::new(&layout, idle, Clock::real()).unwrap()
}

fn new_group(management: usize, io: &[usize]) -> Result<Group, LayoutError> {
    Group::new(&Layout { management, io: io.to_vec() }, IdlePolicy::Park, Clock::simulated().0)
}

#[test]
fn layouts_number_the_reactors() {
    let cpus = cpu::allowed();
    let (a, b) = (cpus[0], cpus[cpus.len() - 1]);
    let shared = new_group(a, &[a]).unwrap();
    assert_eq!((shared.reactors(), shared.management(), shared.io()), (1, 0, &[0][..]));
    if a != b {
        let apart = new_group(a, &[b]).unwrap();
        assert_eq!((apart.reactors(), apart.management(), apart.io()), (2, 0, &[1][..]));
        let both = new_group(b, &[a, b]).unwrap();
        assert_eq!((both.reactors(), both.management(), both.io()), (2, 0, &[1, 0][..]));
    }
}

#[test]
fn impossible_layouts_are_refused() {
    let cpu = cpu::allowed()[0];
    assert!(matches!(new_group(cpu, &[]), Err(LayoutError::NoIo)));
    assert!(
        matches!(new_group(cpu, &[cpu, cpu]), Err(LayoutError::Duplicate { cpu: twice }) if twice == cpu)
    );
    for absent in [1024, usize::MAX] {
        let refused = |error| matches!(error, Err(LayoutError::NotAllowed { cpu, .. }) if cpu == absent);
        assert!(refused(new_group(absent, &[cpu])));
        assert!(refused(new_group(cpu, &[absent])));
    }
}

#[test]
fn one_reactor_may_be_idle_in_another_way() {
    let mut group = Group::simulated(3, Clock::simulated().0).unwrap();
    group.set_idle(1, IdlePolicy::Spin);
    let policies = [0, 1, 2].map(|index| group.take(index).idle);
    assert_eq!(policies, [IdlePolicy::Park, IdlePolicy::Spin, IdlePolicy::Park]);
    let cpu = cpu::allowed()[0];
    assert_eq!(new_group(cpu, &[cpu]).unwrap().cpu(0), Some(cpu));
    assert_eq!(group.cpu(0), None);
}

/// A request, with the room for its reply.
struct Request(u64, Slot<u64>);

#[test]
fn requests_and_replies_cross_between_pinned_reactors() {
    const REQUESTS: u64 = 1000;
    let _alone = spin_alone();
    for policy in POLICIES {
        let group = group(policy);
        let server = group.io()[0];
        let (requests, request_mailbox) = group.mailbox::<Request>(server, 4);
        let (replies, reply_mailbox) = group.mailbox::<u64>(group.management(), 4);
        let (done, finished) = mpsc::channel();
        let answer = move |reactor: &mut Reactor| {
            let poller = request_mailbox.into_poller("server", 2, |_, Request(n, slot)| slot.send(n + 1));
            reactor.add_poller(Phase::Mailbox, poller).map(|_| ())
        };
        let first = requests.clone();
        let room = replies.clone();
        let ask = move |reactor: &mut Reactor| {
            let poller = reply_mailbox.into_poller("client", 2, move |_, n| {
                if n == REQUESTS {
                    done.send(n).unwrap();
                } else {
                    requests.send(Request(n, room.reserve().unwrap())).ok().unwrap();
                }
            });
            reactor.add_poller(Phase::Mailbox, poller).map(|_| ())
        };
        if server == group.management() {
            group.spawn(server, "both", |reactor| answer(reactor).and_then(|()| ask(reactor))).unwrap();
        } else {
            group.spawn(server, "server", answer).unwrap();
            group.spawn(group.management(), "client", ask).unwrap();
        }
        first.send(Request(0, replies.reserve().unwrap())).ok().unwrap();
        assert_eq!(finished.recv_timeout(LIMIT), Ok(REQUESTS), "{policy:?}");
        group.stop();
        group.join().unwrap();
        let stats = group.stats(server);
        assert!(stats.busy_turns >= REQUESTS / 2);
        match policy {
            IdlePolicy::Spin => assert_eq!(stats.parks, 0),
            // It waits for each request, unless it is also the one that asks.
            IdlePolicy::Park => assert!(stats.parks > 0 || server == group.management()),
            // May never have been idle for long enough.
            IdlePolicy::Adaptive { .. } => {}
        }
    }
}

/// A snapshot whose owner says when it is freed.
struct Version {
    number: u64,
    alive: AtomicBool,
}

impl Version {
    fn new(number: u64) -> Self {
        Version { number, alive: AtomicBool::new(true) }
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
    }
}

struct Reader {
    versions: Subscriber<Version>,
    last: Arc<AtomicU64>,
}

impl Poller for Reader {
    fn name(&self) -> &str {
        "reader"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let version = self.versions.read(turn);
        assert!(version.number >= self.last.load(Ordering::Relaxed));
        for _ in 0..100 {
            assert!(version.alive.load(Ordering::Relaxed));
        }
        self.last.store(version.number, Ordering::Relaxed);
        Poll::Idle(Wake::Soon)
    }
}

#[test]
fn running_reactors_have_observed_a_version_when_its_grace_has_passed() {
    let _alone = spin_alone();
    let group = group(IdlePolicy::Spin);
    let (mut publisher, versions) = group.published(Version::new(0));
    let last: Vec<_> = (0..group.reactors()).map(|_| Arc::new(AtomicU64::new(0))).collect();
    for (index, last) in last.iter().enumerate() {
        let reader = Reader { versions: versions.clone(), last: Arc::clone(last) };
        group
            .spawn(index, "reader", |reactor| {
                reactor.add_poller(Phase::Ingress, Box::new(reader)).map(|_| ())
            })
            .unwrap();
    }
    for number in 1..=50 {
        let grace = publisher.publish(Version::new(number));
        while !grace.passed() {
            thread::yield_now();
        }
        // From its next turn on a reactor has read it.
        let turns: Vec<_> = (0..group.reactors()).map(|index| group.stats(index).turns).collect();
        for (index, turns) in turns.into_iter().enumerate() {
            while group.stats(index).turns < turns + 2 {
                thread::yield_now();
            }
            assert_eq!(last[index].load(Ordering::Relaxed), number);
        }
        publisher.reclaim();
    }
    group.stop();
    group.join().unwrap();
}

#[test]
fn a_parked_or_ended_reactor_holds_up_no_grace_and_is_not_woken() {
    let group = group(IdlePolicy::Park);
    let (mut publisher, _versions) = group.published(0);
    assert!(publisher.publish(1).passed(), "never started");
    let index = group.io()[0];
    group.spawn(index, "parked", |_| Ok(())).unwrap();
    while group.stats(index).parks == 0 {
        thread::yield_now();
    }
    // The counter becomes even just before the park is counted.
    assert!(publisher.publish(2).passed());
    assert_eq!((group.stats(index).turns, group.stats(index).wakes), (1, 0));
    group.stop();
    group.join().unwrap();
    assert!(publisher.publish(3).passed(), "ended");
    assert_eq!(group.stats(index).wakes, 1);
}

#[test]
fn reactors_are_named_and_pinned() {
    let group = group(IdlePolicy::Park);
    let index = group.io()[0];
    let (told, where_it_is) = mpsc::channel();
    group
        .spawn(index, "io-7", move |_| {
            let name = thread::current().name().map(str::to_owned);
            told.send((name, cpu::allowed())).map_err(io::Error::other)
        })
        .unwrap();
    let last = *cpu::allowed().last().unwrap();
    assert_eq!(where_it_is.recv_timeout(LIMIT).unwrap(), (Some("io-7".to_owned()), vec![last]));
    group.stop();
    group.join().unwrap();
}

#[test]
fn a_panic_stops_the_group_and_join_names_the_reactor() {
    let group = group(IdlePolicy::Park);
    let index = group.io()[0];
    let (sender, mailbox) = group.mailbox(index, 1);
    if index != group.management() {
        group.spawn(group.management(), "management", |_| Ok(())).unwrap();
    }
    group
        .spawn(index, "io-0", |reactor| {
            let poller = mailbox.into_poller("fragile", 1, |_, text: &str| panic!("cannot take {text}"));
            reactor.add_poller(Phase::Mailbox, poller).map(|_| ())
        })
        .unwrap();
    sender.send("this").unwrap();
    // No `stop`: the management reactor ends because the other one has.
    let error = group.join().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("reactor {index} (io-0) panicked in poller fragile, phase Mailbox: cannot take this")
    );
}

#[test]
fn a_panic_of_the_setup_names_no_poller() {
    let group = group(IdlePolicy::Park);
    group
        .spawn(0, "management", |reactor| {
            reactor.add_poller(Phase::Timers, Box::new(Owner(None)))?;
            panic!("no setup")
        })
        .unwrap();
    assert_eq!(group.join().unwrap_err().to_string(), "reactor 0 (management) panicked: no setup");
}

/// Owns something until it is dropped; panics when it has it and is polled.
struct Owner(Option<Arc<AtomicBool>>);

impl Poller for Owner {
    fn name(&self) -> &str {
        "owner"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        assert!(self.0.is_none(), "has it");
        Poll::Idle(Wake::Never)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            dropped.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn pollers_of_a_reactor_that_panics_are_dropped_and_the_second_one_is_blamed() {
    let group = group(IdlePolicy::Park);
    let dropped = Arc::new(AtomicBool::new(false));
    let owner = Owner(Some(Arc::clone(&dropped)));
    group
        .spawn(0, "management", |reactor| {
            reactor.add_poller(Phase::Flush, Box::new(owner))?;
            reactor.add_poller(Phase::Timers, Box::new(Owner(None))).map(|_| ())
        })
        .unwrap();
    let failures = group.join().unwrap_err().failures;
    let Cause::Panicked { poller: Some(polled), .. } = &failures[0].cause else { panic!("{failures:?}") };
    assert_eq!((polled.name.as_str(), polled.phase), ("owner", Phase::Flush));
    assert!(dropped.load(Ordering::Relaxed));
}

#[test]
fn an_error_of_setup_is_returned_and_stops_nobody() {
    let group = group(IdlePolicy::Park);
    let error = group.spawn(0, "refused", |_| Err(io::Error::other("no memory"))).unwrap_err();
    assert_eq!(error.to_string(), "no memory");
    assert!(!group.seats[0].stopping());
    group.join().unwrap();
}

#[test]
#[should_panic(expected = "taken once")]
fn a_reactor_is_taken_once() {
    let group = group(IdlePolicy::Park);
    let _first = group.local(0);
    let _second = group.local(0);
}
