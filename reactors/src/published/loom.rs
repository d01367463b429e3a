//! Models of `published` and `quiescence`: the shipped types under loom's memory model. Loom reports a
//! read of a value that is not ordered before the value is freed.

use loom::{cell::UnsafeCell, thread};

use super::{Publisher, Subscriber, published};
use crate::{
    quiescence::{Presence, Quiescence, SharedQuiescence},
    reactor::Turn,
};

const FREED: u64 = u64::MAX;

struct Value(UnsafeCell<u64>);

// SAFETY: loom checks every access to the cell, and fails the model when two conflict.
unsafe impl Sync for Value {}

impl Value {
    fn new(version: u64) -> Self {
        let value = Value(UnsafeCell::new(FREED));
        // A write that the model sees: whoever reads the value must have it ordered before.
        // SAFETY: the pointer is valid within `with_mut`, and nobody else has the value yet.
        value.0.with_mut(|place| unsafe { *place = version });
        value
    }

    fn version(&self) -> u64 {
        // SAFETY: the pointer is valid within `with`; that nobody writes is what the model checks.
        self.0.with(|version| unsafe { *version })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the pointer is valid within `with_mut`; that nobody reads is what the model checks.
        self.0.with_mut(|version| unsafe { *version = FREED });
    }
}

fn setup() -> (SharedQuiescence, Publisher<Value>, Subscriber<Value>) {
    let quiescence = Quiescence::new(1);
    let (publisher, subscriber) = published(&quiescence, Value::new(0));
    (quiescence, publisher, subscriber)
}

fn turn(presence: &mut Presence, subscriber: &Subscriber<Value>) -> u64 {
    let version = subscriber.read(&Turn::modelled(presence)).version();
    presence.turn_ended();
    version
}

fn publish_and_wait(publisher: &mut Publisher<Value>) {
    let grace = publisher.publish(Value::new(1));
    while !grace.passed() {
        thread::yield_now();
    }
    publisher.reclaim();
}

#[test]
fn turns_never_read_what_was_freed() {
    loom::model(|| {
        let (quiescence, mut publisher, subscriber) = setup();
        let reader = thread::spawn(move || {
            let mut presence = Presence::new(quiescence, 0);
            presence.enter();
            let first = turn(&mut presence, &subscriber);
            let second = turn(&mut presence, &subscriber);
            assert!(first <= second && second <= 1, "{first} {second}");
        });
        publish_and_wait(&mut publisher);
        reader.join().unwrap();
    });
}

#[test]
fn unparked_reactor_never_reads_what_was_freed() {
    loom::model(|| {
        let (quiescence, mut publisher, subscriber) = setup();
        let reader = thread::spawn(move || {
            let mut presence = Presence::new(quiescence, 0);
            presence.enter();
            let first = turn(&mut presence, &subscriber);
            presence.leave();
            presence.enter();
            let second = turn(&mut presence, &subscriber);
            assert!(first <= second && second <= 1, "{first} {second}");
        });
        publish_and_wait(&mut publisher);
        reader.join().unwrap();
    });
}

#[test]
fn value_outlives_its_last_subscriber_for_the_turn() {
    loom::model(|| {
        let (quiescence, publisher, subscriber) = setup();
        let shared = SharedQuiescence::clone(&quiescence);
        let reader = thread::spawn(move || {
            let mut presence = Presence::new(quiescence, 0);
            presence.enter();
            let turn = Turn::modelled(&presence);
            let value = subscriber.read(&turn);
            drop(subscriber);
            assert_eq!(value.version(), 0);
            presence.turn_ended();
        });
        drop(publisher);
        shared.reclaim();
        reader.join().unwrap();
    });
}
