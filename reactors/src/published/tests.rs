//! Graces and reclamation on one thread; races are for the models, and threads for those of `group`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::quiescence::{Presence, Quiescence};

struct Counted(u32, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

struct Bench {
    drops: Arc<AtomicUsize>,
    presences: Vec<Presence>,
    publisher: Publisher<Counted>,
    subscriber: Subscriber<Counted>,
}

impl Bench {
    /// Reactors that have not started.
    fn new(reactors: usize) -> Self {
        let quiescence = Quiescence::new(reactors);
        let drops = Arc::new(AtomicUsize::new(0));
        let (publisher, subscriber) = published(&quiescence, Counted(0, Arc::clone(&drops)));
        let presences =
            (0..reactors).map(|index| Presence::new(SharedQuiescence::clone(&quiescence), index)).collect();
        Bench { drops, presences, publisher, subscriber }
    }

    fn publish(&mut self, version: u32) -> Grace {
        self.publisher.publish(Counted(version, Arc::clone(&self.drops)))
    }

    fn drops(&self) -> usize {
        self.drops.load(Ordering::Relaxed)
    }
}

#[test]
fn grace_waits_for_each_running_reactor_and_no_other() {
    // States of three reactors at the publication, and which of them have to end a turn.
    for running in 0..8u32 {
        let mut bench = Bench::new(3);
        let waited_for: Vec<usize> = (0..3).filter(|index| running >> index & 1 == 1).collect();
        waited_for.iter().for_each(|&index| bench.presences[index].enter());
        let grace = bench.publish(1);
        for &index in &waited_for {
            assert!(!grace.passed(), "running {running:03b}, before {index}");
            assert_eq!(bench.publisher.reclaim(), 0);
            bench.presences[index].turn_ended();
        }
        assert!(grace.passed(), "running {running:03b}");
        bench.publisher.reclaim();
        assert_eq!(bench.drops(), 1, "running {running:03b}");
    }
}

#[test]
fn parking_and_ending_pass_a_grace_and_unparking_does_not_undo_it() {
    let mut bench = Bench::new(2);
    bench.presences.iter_mut().for_each(Presence::enter);
    let grace = bench.publish(1);
    bench.presences[0].leave();
    bench.presences.pop();
    assert!(grace.passed());
    bench.presences[0].enter();
    assert!(grace.passed());
}

#[test]
fn a_snapshot_stays_for_its_turn_and_the_next_turn_sees_the_new_one() {
    let mut bench = Bench::new(1);
    bench.presences[0].enter();
    let turn = Turn::modelled(&bench.presences[0]);
    let old = bench.subscriber.read(&turn);
    bench.publisher.publish(Counted(1, Arc::clone(&bench.drops)));
    bench.publisher.reclaim();
    assert_eq!((old.0, bench.drops.load(Ordering::Relaxed)), (0, 0));
    assert_eq!(bench.subscriber.read(&turn).0, 1);
    bench.presences[0].turn_ended();
    assert_eq!(bench.publisher.reclaim(), 1);
    assert_eq!(bench.drops(), 1);
    assert_eq!(bench.publisher.current().0, 1);
}

#[test]
fn every_version_is_freed_once() {
    let mut bench = Bench::new(1);
    bench.presences[0].enter();
    for version in 1..=100 {
        bench.publish(version);
        if version % 7 == 0 {
            bench.presences[0].turn_ended();
        }
    }
    let Bench { drops, presences, publisher, subscriber } = bench;
    drop(publisher);
    let turn = Turn::modelled(&presences[0]);
    assert_eq!(subscriber.read(&turn).0, 100);
    drop(subscriber);
    drop(presences);
    assert_eq!(drops.load(Ordering::Relaxed), 101);
}

#[test]
fn a_value_read_in_a_turn_outlives_both_its_ends() {
    let Bench { drops, mut presences, publisher, subscriber } = Bench::new(1);
    presences[0].enter();
    let turn = Turn::modelled(&presences[0]);
    let value = subscriber.read(&turn);
    drop((publisher, subscriber));
    presences[0].quiescence().reclaim();
    assert_eq!((value.0, drops.load(Ordering::Relaxed)), (0, 0));
    presences[0].turn_ended();
    assert_eq!(presences[0].quiescence().reclaim(), 1);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
#[should_panic(expected = "a turn of another group")]
fn a_turn_of_another_group_is_refused() {
    let bench = Bench::new(1);
    let mut other = Bench::new(1);
    other.presences[0].enter();
    bench.subscriber.read(&Turn::modelled(&other.presences[0]));
}
