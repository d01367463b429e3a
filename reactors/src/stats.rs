//! What reactors count about themselves, written by one core and read from anywhere.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer: adding is a load and a store, no locked instruction.
///
/// Two threads that add at the same time lose counts; reading is free for all. Put counters of
/// different reactors on different cache lines, for instance with [`crate::per_core::PerCore`].
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`; only the one writer may.
    pub fn add(&self, count: u64) {
        // Relaxed, and not a read-modify-write: there is one writer, and readers want a number only.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The count as last seen by this core.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one reactor.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    pub(crate) turns: Counter,
    pub(crate) busy_turns: Counter,
    pub(crate) parks: Counter,
    pub(crate) wakes: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            turns: self.turns.read(),
            busy_turns: self.busy_turns.read(),
            parks: self.parks.read(),
            wakes: self.wakes.read(),
        }
    }
}

/// What one reactor has done since it was created. The numbers are read one after another while the
/// reactor runs: each is true, their sum need not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Turns taken.
    pub turns: u64,
    /// Turns in which some poller was busy.
    pub busy_turns: u64,
    /// Times it went to sleep.
    pub parks: u64,
    /// Sleeps that a message, a stop or [`crate::group::Handle::wake`] ended; the others ended by
    /// time or by a poller's descriptor.
    pub wakes: u64,
}
