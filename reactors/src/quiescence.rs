//! Knows when every reactor of a group has passed a point at which it holds no snapshot, and frees
//! what was replaced only then. Nobody is woken or waited for.
//!
//! Each reactor has a counter: odd while it runs, even while it is parked, stopped or not yet
//! started; +2 at each turn's end, +1 when it parks and when it unparks. Invariant: a snapshot is
//! loaded, and used, only while the loading reactor's counter is odd, and within one turn, that is,
//! between two steps of the counter.

use std::{fmt, mem, sync::Arc as Owned};

use crossbeam::utils::CachePadded;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering, fence};

/// The counters of one group, and what waits for them. Its address is the group's identity.
pub(crate) struct Quiescence {
    /// By reactor index; written by that reactor's [`Presence`] only.
    ///
    /// Partner: [`Quiescence::sample`] and [`Sample::passed`]. Release with Acquire: what a reactor
    /// read before the step happens before what an observer of the step frees. The fence after each
    /// step orders it before the loads of snapshots that follow; a store followed by a load may
    /// otherwise pass it, on x86 too.
    counters: Box<[CachePadded<AtomicU64>]>,
    /// Values that some reactor may still be reading. Locked by whoever publishes or drops the last
    /// end of a published value; never in a turn's ordinary course.
    deferred: Mutex<Vec<Deferred>>,
}

struct Deferred {
    sample: Sample,
    /// Only ever dropped. The one owner; an `Arc`, because readers may still refer to the value while it waits here, which a
    /// `Box` rules out.
    _value: Owned<dyn Send + Sync>,
}

/// One for the group, its reactors and its published values.
pub(crate) type SharedQuiescence = Arc<Quiescence>;

impl Quiescence {
    pub(crate) fn new(reactors: usize) -> SharedQuiescence {
        Arc::new(Quiescence {
            counters: (0..reactors).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
            deferred: Mutex::new(Vec::new()),
        })
    }

    /// Which reactors are in a turn that may have loaded what was current before the caller replaced it.
    pub(crate) fn sample(&self) -> Sample {
        // Partner: the fence in `Presence::step`. Either the counter read below shows that step, or
        // the reactor's loads after it see the replacement.
        fence(Ordering::SeqCst);
        let counters = self.counters.iter().map(|counter| counter.load(Ordering::Acquire));
        Sample { running: counters.enumerate().filter(|(_, count)| count % 2 == 1).collect() }
    }

    /// Drops `value` once every reactor has passed the point of `sample`.
    pub(crate) fn defer(&self, sample: Sample, value: Owned<dyn Send + Sync>) {
        self.lock().push(Deferred { sample, _value: value });
    }

    /// Drops what was deferred and is no longer read. Returns how many values that were.
    pub(crate) fn reclaim(&self) -> usize {
        let mut deferred = self.lock();
        let (passed, waiting) = mem::take(&mut *deferred).into_iter().partition(|d| d.sample.passed(self));
        *deferred = waiting;
        drop(deferred);
        // Outside of the lock: dropping a value may drop a subscriber in it, which defers in turn.
        let passed: Vec<Deferred> = passed;
        passed.len()
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = Vec<Deferred>> + '_ {
        self.deferred.lock().expect("nothing panics while it holds this lock")
    }
}

impl fmt::Debug for Quiescence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quiescence").field("reactors", &self.counters.len()).finish_non_exhaustive()
    }
}

/// The reactors that ran when the sample was taken, each with its count.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    running: Vec<(usize, u64)>,
}

impl Sample {
    /// Whether each of them has ended that turn since.
    pub(crate) fn passed(&self, quiescence: &Quiescence) -> bool {
        // An odd count that has changed: the turn ended, whatever the reactor does now.
        self.running.iter().all(|&(index, count)| quiescence.counters[index].load(Ordering::Acquire) != count)
    }
}

/// The one writer of a reactor's counter. Dropping it leaves the counter even.
#[derive(Debug)]
pub(crate) struct Presence {
    quiescence: SharedQuiescence,
    index: usize,
    count: u64,
}

impl Presence {
    /// There must be one for each index only.
    pub(crate) fn new(quiescence: SharedQuiescence, index: usize) -> Self {
        assert!(index < quiescence.counters.len());
        Presence { quiescence, index, count: 0 }
    }

    pub(crate) fn quiescence(&self) -> &Quiescence {
        &self.quiescence
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn is_running(&self) -> bool {
        self.count % 2 == 1
    }

    /// Started or unparked. Snapshots may be read from here on.
    pub(crate) fn enter(&mut self) {
        assert!(!self.is_running());
        self.step(1);
    }

    /// No snapshot that was read before is used after.
    pub(crate) fn turn_ended(&mut self) {
        assert!(self.is_running());
        self.step(2);
    }

    /// About to park, or to end. No snapshot is used until [`Presence::enter`].
    pub(crate) fn leave(&mut self) {
        assert!(self.is_running());
        self.step(1);
    }

    fn step(&mut self, by: u64) {
        self.count += by;
        self.quiescence.counters[self.index].store(self.count, Ordering::Release);
        // Partner: the fence in `Quiescence::sample`.
        fence(Ordering::SeqCst);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.is_running() {
            self.leave();
        }
    }
}
