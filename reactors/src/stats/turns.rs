//! The counters of one reactor, and where its time goes.
//!
//! Invariant: all time before the beginning of the last turn is in `busy_ns`, `idle_ns` or `parked_ns`, and in one
//! of them only; while `parked_since_ns` is not 0, the reactor sleeps since then, which is not in `parked_ns` yet.

use std::{
    sync::atomic::{Ordering, fence},
    time::Duration,
};

use crate::{
    clock::Time,
    stats::{Counter, Histogram, Stats},
};

/// Attempts to read how long a reactor has slept, while it wakes up and falls asleep.
const ATTEMPTS_MAX: usize = 64;

/// To what the time since the beginning of the last turn belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Idle,
    Busy,
    Parked,
}

/// Where one reactor counts.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    pub(crate) turns: Counter,
    pub(crate) busy_turns: Counter,
    parks: Counter,
    pub(crate) wakes: Counter,
    busy_ns: Counter,
    idle_ns: Counter,
    parked_ns: Counter,
    parked_since_ns: Counter,
    pub(crate) lengths: Histogram,
    pub(crate) batches: Histogram,
    pub(crate) lateness: Histogram,
}

impl Counters {
    /// A turn begins, `passed` after the beginning of the one before it.
    #[inline]
    pub(crate) fn begin(&self, mode: Mode, passed: Duration) {
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        match mode {
            Mode::Idle => self.idle_ns.add(passed),
            Mode::Busy => {
                self.busy_ns.add(passed);
                self.lengths.record(passed);
            }
            Mode::Parked => {
                self.parked_since_ns.set(0);
                // Partner: the fence in `parked`. Who sees the sum sees that the sleep is over.
                fence(Ordering::Release);
                self.parked_ns.add(passed);
            }
        }
    }

    /// The reactor falls asleep; its last turn began at `turn`.
    pub(crate) fn park(&self, turn: Time) {
        self.parks.add(1);
        self.parked_since_ns.set(turn.as_nanos());
    }

    /// The counters at `now`. A sleep that is not over is counted, too: it may have been long.
    pub(crate) fn snapshot(&self, now: Time) -> Stats {
        Stats {
            turns: self.turns.read(),
            busy_turns: self.busy_turns.read(),
            parks: self.parks.read(),
            wakes: self.wakes.read(),
            busy: Duration::from_nanos(self.busy_ns.read()),
            idle: Duration::from_nanos(self.idle_ns.read()),
            parked: Duration::from_nanos(self.parked(now)),
        }
    }

    fn parked(&self, now: Time) -> u64 {
        for _ in 0..ATTEMPTS_MAX {
            let since = self.parked_since_ns.read();
            let parked = self.parked_ns.read();
            // Partner: the fence in `begin`.
            fence(Ordering::Acquire);
            if self.parked_since_ns.read() == since {
                let open = if since == 0 { 0 } else { now.as_nanos().saturating_sub(since) };
                return parked + open;
            }
        }
        self.parked_ns.read()
    }
}
