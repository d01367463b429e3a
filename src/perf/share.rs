//! What the cores of a run share with the thread that waits for it: the phase, counters with one writer each, and, once,
//! what came of it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use corelane_reactors::stats::{Counter, Histogram};

use crate::perf::{Mismatch, Outage};

/// What the whole run does; set by the thread that waits, read by every core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// Lanes connect; no load.
    Connecting,
    /// Load that is not measured.
    WarmUp,
    /// Load that is.
    Measuring,
    /// No new load: finish, read back, leave.
    Ending,
    /// The same, without reading back.
    Abandoning,
}

const PHASES: [Phase; 5] =
    [Phase::Connecting, Phase::WarmUp, Phase::Measuring, Phase::Ending, Phase::Abandoning];

/// Where one core is; set by the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Standing {
    /// Not every lane is up yet.
    Connecting,
    /// Every lane was up.
    Ready,
    /// It has begun to measure.
    Measuring,
    /// It reads back what was written.
    ReadingBack,
    /// Its outcome is there, and nothing more will come.
    Over,
}

const STANDINGS: [Standing; 5] =
    [Standing::Connecting, Standing::Ready, Standing::Measuring, Standing::ReadingBack, Standing::Over];

/// Shared by all cores.
#[derive(Debug, Default)]
pub(super) struct Shared {
    phase: AtomicU8,
}

impl Shared {
    pub(super) fn phase(&self) -> Phase {
        // Acquire: partner of `set_phase`; nothing else is ordered by it.
        PHASES[usize::from(self.phase.load(Ordering::Acquire))]
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
}

/// Of one core.
#[derive(Debug)]
pub(super) struct CoreShared {
    standing: AtomicU8,
    /// Commands that failed.
    pub(super) errors: Counter,
    /// Times that an association was lost.
    pub(super) outages: Counter,
    /// By lane.
    pub(super) lanes: Box<[Arc<LaneStats>]>,
    outcome: Mutex<Option<Outcome>>,
}

impl CoreShared {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            standing: AtomicU8::new(Standing::Connecting as u8),
            errors: Counter::default(),
            outages: Counter::default(),
            lanes: (0..lanes).map(|_| Arc::default()).collect(),
            outcome: Mutex::default(),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        // Acquire: whoever sees `Over` sees the outcome and every counter.
        STANDINGS[usize::from(self.standing.load(Ordering::Acquire))]
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
    }

    pub(super) fn set_outcome(&self, outcome: Outcome) {
        *self.lock() = Some(outcome);
        self.set_standing(Standing::Over);
    }

    pub(super) fn take_outcome(&self) -> Option<Outcome> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.outcome.lock().expect("nothing panics while it holds this lock")
    }
}

/// Of one lane; written by its core.
#[derive(Debug, Default)]
pub(super) struct LaneStats {
    /// Latencies of what succeeded while it was measured, in nanoseconds.
    pub(super) latency: Histogram,
    /// Reads among those.
    pub(super) reads: Counter,
    /// Writes among those.
    pub(super) writes: Counter,
    /// Commands that succeeded, at any time.
    pub(super) done: Counter,
}

/// How one core's part ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How long it was measured.
    pub(super) measured: Duration,
    /// What commands failed with, in words, and how often.
    pub(super) errors: Vec<(String, u64)>,
    /// Why lanes went down, and how often.
    pub(super) outages: Vec<(Outage, u64)>,
    /// Commands that were sent again after an outage.
    pub(super) repeated: u64,
    /// Why the target was given up.
    pub(super) gave_up: Option<Outage>,
    /// Commands that were still under way when the time to finish them was over.
    pub(super) unfinished: u64,
    /// Times that the kernel gave the core to another thread while it was measured.
    pub(super) preemptions: Option<u64>,
    pub(super) verified: Findings,
}

/// What verifying has found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Logical blocks that were compared.
    pub(super) compared: u64,
    /// Of these, how many did not hold what they should.
    pub(super) wrong: u64,
    /// The first of them.
    pub(super) first: Vec<Mismatch>,
    /// Units that were read back at the end.
    pub(super) read_back: u64,
    /// Units that were written, and for which there was no time at the end.
    pub(super) unread: u64,
}

impl Findings {
    /// Wrong blocks that are told one by one.
    pub(super) const TOLD_MAX: usize = 16;

    pub(super) fn wrong(&mut self, mismatch: Mismatch) {
        self.wrong += 1;
        if self.first.len() < Self::TOLD_MAX {
            self.first.push(mismatch);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.compared += other.compared;
        self.wrong += other.wrong;
        self.read_back += other.read_back;
        self.unread += other.unread;
        let room = Self::TOLD_MAX - self.first.len();
        self.first.extend(other.first.into_iter().take(room));
    }
}
