//! What single pollers do. Nothing is counted for a poller that is idle.

use std::time::Duration;

use crate::{poller::Phase, stats::Counter};

/// Where one poller is counted, by the reactor that runs it.
#[derive(Debug)]
pub(crate) struct PollerCounters {
    name: String,
    phase: Phase,
    /// Turns of the reactor before it was added.
    before: u64,
    busy_runs: Counter,
    done: Counter,
    timed_runs: Counter,
    timed_ns: Counter,
}

impl PollerCounters {
    pub(crate) fn new(name: &str, phase: Phase, before: u64) -> Self {
        PollerCounters {
            name: name.to_owned(),
            phase,
            before,
            busy_runs: Counter::default(),
            done: Counter::default(),
            timed_runs: Counter::default(),
            timed_ns: Counter::default(),
        }
    }

    /// It was busy, and did as much.
    pub(crate) fn busy(&self, done: u64) {
        self.busy_runs.add(1);
        self.done.add(done);
    }

    /// The busy run just counted took as long.
    pub(crate) fn took(&self, time: Duration) {
        self.timed_runs.add(1);
        self.timed_ns.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn snapshot(&self, turns: u64) -> PollerStats {
        let (busy_runs, timed) = (self.busy_runs.read(), self.timed_runs.read().max(1));
        let estimate = u128::from(self.timed_ns.read()) * u128::from(busy_runs) / u128::from(timed);
        PollerStats {
            name: self.name.clone(),
            phase: self.phase,
            runs: turns.saturating_sub(self.before),
            busy_runs,
            done: self.done.read(),
            time: Duration::from_nanos(u64::try_from(estimate).unwrap_or(u64::MAX)),
        }
    }
}

/// What one poller has done since it was added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PollerStats {
    /// [`crate::poller::Poller::name`], as it was when it was added.
    pub name: String,
    /// Its place in the turn.
    pub phase: Phase,
    /// How often it was polled.
    pub runs: u64,
    /// Runs in which it was busy.
    pub busy_runs: u64,
    /// What it did in all of them, in the units of [`crate::reactor::Turn::did`]; at least one a busy run.
    pub done: u64,
    /// The time of its busy runs, estimated: each seventh busy turn is timed. It includes that of idle pollers
    /// that ran between it and the busy one before it. Zero until the first busy turn that was timed.
    pub time: Duration,
}
