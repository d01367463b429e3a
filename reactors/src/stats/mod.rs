//! What reactors count about themselves, written by one core and read from anywhere.
//!
//! What it costs: a counter is a load and a store on a cache line of its reactor. Time is counted without
//! a clock of its own: what lies between the beginnings of two turns belongs to the first of them. Only
//! the time of single pollers needs more, and is sampled: see [`PollerStats::time`].

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

pub use histogram::{Distribution, Histogram, Sample};
pub(crate) use mailboxes::MailboxCounters;
pub use mailboxes::MailboxStats;
pub(crate) use pollers::PollerCounters;
pub use pollers::PollerStats;
pub(crate) use registry::{Registry, Watched};
pub(crate) use turns::{Counters, Mode};

mod histogram;
mod mailboxes;
mod pollers;
mod registry;
mod turns;

/// A counter with one writer: adding is a load and a store, no locked instruction.
///
/// Two threads that add at the same time lose counts; reading is free for all. Put counters of
/// different reactors on different cache lines, for instance with [`crate::per_core::PerCore`].
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`; only the one writer may.
    #[inline]
    pub fn add(&self, count: u64) {
        // Relaxed, and not a read-modify-write: there is one writer, and readers want a number only.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Makes it `value`, as a gauge; only the one writer may.
    #[inline]
    pub fn set(&self, value: u64) {
        // Relaxed: see `add`.
        self.0.store(value, Ordering::Relaxed);
    }

    /// Makes it `value` if that is more; only the one writer may.
    #[inline]
    pub fn raise(&self, value: u64) {
        if value > self.read() {
            self.set(value);
        }
    }

    /// The count as last seen by this core.
    #[inline]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
    /// Time from the beginning of busy turns to the next turn.
    pub busy: Duration,
    /// Time from the beginning of idle turns to the next turn, where the reactor did not sleep between.
    pub idle: Duration,
    /// Time from the beginning of idle turns to the next turn, where it slept between.
    pub parked: Duration,
}

impl Stats {
    /// The share of the time in which it was busy, from 0 to 1, since `earlier`; 0 where no time has passed.
    pub fn utilisation_since(&self, earlier: &Stats) -> f64 {
        let busy = self.busy.saturating_sub(earlier.busy).as_secs_f64();
        let others = (self.idle + self.parked).saturating_sub(earlier.idle + earlier.parked).as_secs_f64();
        if busy + others > 0.0 { busy / (busy + others) } else { 0.0 }
    }
}

/// All that is known of one reactor: see [`crate::group::Group::report`].
#[derive(Clone, Debug)]
pub struct Report {
    /// Its counters.
    pub stats: Stats,
    /// Lengths of busy turns, in nanoseconds, from the beginning of one to the beginning of the next.
    pub busy_turns: Distribution,
    /// What busy pollers did in one run, in the units of [`crate::reactor::Turn::did`].
    pub batches: Distribution,
    /// How many nanoseconds after the time for which a poller had asked ([`crate::poller::Wake::At`]) the next turn
    /// began. Of all times that pollers wait for, the earliest counts, once it has passed.
    pub lateness: Distribution,
    /// Its pollers, in the order in which they were added.
    pub pollers: Vec<PollerStats>,
    /// Mailboxes that it receives, in the order in which they were made.
    pub mailboxes: Vec<MailboxStats>,
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
