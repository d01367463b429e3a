//! Whether a connection is to move from a busy I/O reactor to an idle one, and which. Decides; moves nothing itself, which
//! [`relocation`](super::relocation) does.
//!
//! The management reactor looks every [`INTERVAL`] at the statistics of the I/O reactors and at what each I/O queue has
//! answered since. A queue's share of its reactor's busy time is estimated by its share of what the reactor's queues did.
//! It moves one queue when all of this holds:
//!
//! - one reactor is at least [`BUSY_MIN`] busy, another less by at least [`GAP_MIN`], and that since [`STREAK`] looks, for
//!   the same busy one: a burst moves nobody;
//! - the queue takes the greater of the two loads down by at least [`GAIN_MIN`]. A move back would raise it by as much, so
//!   no queue goes to and fro while the load stays as it is;
//! - it has not moved for [`REST`], and did not refuse to lately: a load that swings takes nobody with it.
//!
//! A queue that is alone with its load on a reactor gains nothing elsewhere, and stays. Estimates are rough where queues
//! have different kinds of work; [`REST`] and [`GAIN_MIN`] keep what comes of that slow and small.

use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::group::Handle;
use corelane_reactors::stats::Stats;

use crate::trace::CommandTrace;

/// Between two looks, and so between two moves at least. Long enough for shares to mean something, short enough that a load
/// that lasts seconds is spread.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
/// Looks in a row that find the same reactor too busy before something moves.
const STREAK: u32 = 3;
/// A reactor that is less busy than this, as a share of time, keeps its queues: there is room for its work.
const BUSY_MIN: f64 = 0.75;
/// How much less busy the other has to be, as a share of time.
const GAP_MIN: f64 = 0.25;
/// How much the greater of the two loads has to fall, as a share of time.
const GAIN_MIN: f64 = 0.05;
/// Gains that differ by less are alike, as a share of time.
const GAIN_STEP: f64 = 0.01;
/// How long a queue stays where it came to, or where it could not leave.
pub(super) const REST: Duration = Duration::from_secs(10);
/// Bytes that cost a reactor about as much as a command without data.
const BYTES_PER_COMMAND: u64 = 16 << 10;

/// What a queue has done, in the work of a command without data.
pub(super) fn work(trace: &CommandTrace) -> u64 {
    trace.commands() + trace.bytes() / BYTES_PER_COMMAND
}

/// A queue that could move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) lane: usize,
    /// What it has done since the last look.
    pub(super) work: u64,
    /// It moved, or refused to, a short while ago.
    pub(super) rests: bool,
}

/// A queue, and where it is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    /// The index of the candidate.
    pub(super) candidate: usize,
    pub(super) lane: usize,
}

/// What the management reactor remembers between two looks.
#[derive(Debug)]
pub(super) struct Balance {
    /// Of the I/O reactors, by lane.
    reactors: Vec<Handle>,
    /// What they had counted at the last look.
    seen: Vec<Stats>,
    next: Time,
    streak: Streak,
}

/// The reactor that was too busy, and at how many looks in a row.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Streak {
    lane: usize,
    looks: u32,
}

impl Balance {
    pub(super) fn new(reactors: Vec<Handle>) -> Self {
        let seen = reactors.iter().map(Handle::stats).collect();
        Self { reactors, seen, next: Time::ORIGIN, streak: Streak::default() }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Time {
        self.next
    }

    /// The shares of time in which the reactors were busy since the last look, by lane, if it is time for one.
    pub(super) fn look(&mut self, now: Time) -> Option<Vec<f64>> {
        if now < self.next {
            return None;
        }
        self.next = now + INTERVAL;
        let stats: Vec<Stats> = self.reactors.iter().map(Handle::stats).collect();
        let busy = stats.iter().zip(&self.seen).map(|(now, before)| now.utilisation_since(before)).collect();
        self.seen = stats;
        Some(busy)
    }

    /// The move that is worth it, if there is one.
    pub(super) fn choose(&mut self, busy: &[f64], candidates: &[Candidate]) -> Option<Choice> {
        self.streak.choose(busy, candidates)
    }
}

impl Streak {
    /// As [`Balance::choose`]; `busy` by lane, each from 0 to 1.
    pub(super) fn choose(&mut self, busy: &[f64], candidates: &[Candidate]) -> Option<Choice> {
        let by_load = |a: &usize, b: &usize| busy[*a].total_cmp(&busy[*b]);
        let from = (0..busy.len()).max_by(by_load)?;
        let to = (0..busy.len()).min_by(by_load)?;
        if busy[from] < BUSY_MIN || busy[from] - busy[to] < GAP_MIN {
            *self = Self::default();
            return None;
        }
        let before = if self.lane == from { self.looks } else { 0 };
        *self = Self { lane: from, looks: before + 1 };
        if self.looks < STREAK {
            return None;
        }
        let there = || candidates.iter().enumerate().filter(|(_, candidate)| candidate.lane == from);
        let total: u64 = there().map(|(_, candidate)| candidate.work).sum();
        let gain = |candidate: &Candidate| {
            let share = busy[from] * candidate.work as f64 / total as f64;
            busy[from] - (busy[from] - share).max(busy[to] + share)
        };
        let willing = there().filter(|(_, candidate)| !candidate.rests && candidate.work > 0);
        // Of those that gain about as much, the one that does least is disturbed.
        let steps = |candidate: &Candidate| (gain(candidate) / GAIN_STEP).round();
        let (best, candidate) = willing
            .max_by(|(_, a), (_, b)| steps(a).total_cmp(&steps(b)).then_with(|| b.work.cmp(&a.work)))?;
        if gain(candidate) < GAIN_MIN {
            return None;
        }
        self.looks = 0;
        Some(Choice { candidate: best, lane: to })
    }
}

#[cfg(test)]
mod tests;
