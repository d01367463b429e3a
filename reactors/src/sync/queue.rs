//! A bounded queue for models, in place of crossbeam's: the same methods, with orderings that loom sees and that are no
//! stronger than what crossbeam documents or does.
//!
//! A push is a release store to a place, a pop or a look an acquire load of it; the counters that choose the place order
//! nothing. Differs in one thing on purpose: a push to a place that the pusher does not see free panics, where the real one
//! looks again. So a model fails when a credit does not order the pop that freed a place before the push that uses it.

use std::sync::Mutex;

use loom::sync::atomic::{AtomicUsize, Ordering};

pub(crate) struct ArrayQueue<M> {
    places: Box<[Place<M>]>,
    head: AtomicUsize,
    tail: AtomicUsize,
}

struct Place<M> {
    /// Free for push number `stamp`, or holding what push number `stamp - 1` brought.
    stamp: AtomicUsize,
    /// Never contended: loom runs one thread at a time and switches at its own types only.
    message: Mutex<Option<M>>,
}

impl<M> ArrayQueue<M> {
    pub(crate) fn new(capacity: usize) -> Self {
        let place = |stamp| Place { stamp: AtomicUsize::new(stamp), message: Mutex::new(None) };
        // Stamps of the filled and of the freed place must differ.
        let places = (0..capacity).map(|index| place(2 * index)).collect();
        ArrayQueue { places, head: AtomicUsize::new(0), tail: AtomicUsize::new(0) }
    }

    pub(crate) fn push(&self, message: M) -> Result<(), M> {
        let number = self.tail.fetch_add(1, Ordering::Relaxed);
        let place = self.place(number);
        assert_eq!(place.stamp.load(Ordering::Acquire), 2 * number, "the pusher does not see the place free");
        *place.message.lock().unwrap() = Some(message);
        place.stamp.store(2 * number + 1, Ordering::Release);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<M> {
        let number = self.head.load(Ordering::Relaxed);
        let place = self.place(number);
        let full = place.stamp.load(Ordering::Acquire) == 2 * number + 1;
        let next = number + 1;
        // Lost to another one who empties the queue: that one goes on.
        let won =
            full && self.head.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !won {
            return None;
        }
        let message = place.message.lock().unwrap().take();
        place.stamp.store(2 * (number + self.places.len()), Ordering::Release);
        message
    }

    pub(crate) fn is_empty(&self) -> bool {
        let number = self.head.load(Ordering::Relaxed);
        self.place(number).stamp.load(Ordering::Acquire) != 2 * number + 1
    }

    pub(crate) fn len(&self) -> usize {
        self.places.iter().filter(|place| place.message.lock().unwrap().is_some()).count()
    }

    fn place(&self, number: usize) -> &Place<M> {
        &self.places[number % self.places.len()]
    }
}
