//! Which core layouts, engines and idle policies are worth a try on a machine, and which of them was best. Measures nothing
//! itself: who does, brings what it found.
//!
//! The load needs cores, too: a part of those that the process may use is set aside for it, and no reactor is put there but
//! where there are only two cores, of which one is no choice.
//!
//! Invariant: every candidate is a layout that the configuration's own checks take.

pub mod plot;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::config::{EngineName, Idle, Reactors, Topology};

/// One core of so many puts load on the others.
const CORES_PER_CLIENT: usize = 3;
/// Of candidates that answer a lone command in about the same time, as a share of it, the thriftier is better.
const LATENCY_ALIKE: f64 = 0.1;
/// How long an adaptive reactor polls: the default of the configuration.
const SPIN: Duration = Duration::from_micros(100);

/// What is tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Core of the management reactor.
    pub management: usize,
    /// Cores of the I/O reactors.
    pub io: Vec<usize>,
    /// Never [`EngineName::Auto`].
    pub engine: EngineName,
    /// What all reactors do without work.
    pub idle: Idle,
}

/// What is tried on a machine, and from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trial {
    /// Cores that put the load on.
    pub clients: Vec<usize>,
    /// What is tried, in this order in each round.
    pub candidates: Vec<Candidate>,
}

/// What one run of a candidate came to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Run {
    /// Commands in a second, with many under way.
    pub iops: f64,
    /// Median latency of a lone command in microseconds.
    pub p50_us: f64,
    /// 99th percentile of it.
    pub p99_us: f64,
}

/// Median and spread.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Summary {
    /// The one in the middle; the lower of two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Candidate {
    /// `reactors` with this layout, engine and idle policy, and the rest as it is.
    pub fn on(&self, reactors: &Reactors) -> Reactors {
        Reactors {
            management: self.management,
            io: self.io.clone(),
            idle: self.idle,
            overrides: Vec::new(),
            engine: self.engine,
            ..reactors.clone()
        }
    }

    /// What it takes from others, the thriftiest first: cores, then what reactors do without work.
    fn cost(&self) -> (usize, u8) {
        let apart = usize::from(!self.io.contains(&self.management));
        let idle = match self.idle {
            Idle::Park => 0,
            Idle::Adaptive { .. } => 1,
            Idle::Spin => 2,
        };
        (self.io.len() + apart, idle)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let io: Vec<_> = self.io.iter().map(usize::to_string).collect();
        let engine = if self.engine == EngineName::IoUring { "io_uring" } else { "epoll" };
        let idle = match self.idle {
            Idle::Spin => "spin",
            Idle::Park => "park",
            Idle::Adaptive { .. } => "adaptive",
        };
        write!(out, "management {}, I/O {}, {engine}, {idle}", self.management, io.join(","))
    }
}

/// What to try on these cores with these engines; `None` where there is no core.
pub fn trial(topology: &Topology, engines: &[EngineName]) -> Option<Trial> {
    let cores = physical_first(topology);
    let clients = (cores.len() / CORES_PER_CLIENT).max(1);
    let (ours, theirs) = cores.split_at(cores.len().saturating_sub(clients));
    // A single core has to do both.
    let ours = if ours.is_empty() { theirs } else { ours };
    let first = *ours.first()?;
    let mut layouts = vec![vec![first]];
    if ours.len() > 1 {
        layouts.push(ours[1..].to_vec());
        layouts.push(ours.to_vec());
    }
    if cores.len() == 2 {
        layouts.push(cores.clone());
    }
    let mut candidates = Vec::new();
    for io in layouts {
        for &engine in engines {
            for idle in [Idle::Park, Idle::Adaptive { spin: SPIN }, Idle::Spin] {
                candidates.push(Candidate { management: first, io: io.clone(), engine, idle });
            }
        }
    }
    Some(Trial { clients: theirs.to_vec(), candidates })
}

/// The cores, one thread of each physical core before the others.
fn physical_first(topology: &Topology) -> Vec<usize> {
    let mut seen = Vec::new();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for place in topology.places() {
        let known = seen.contains(&place.physical);
        if known {
            others.push(place.core)
        } else {
            first.push(place.core)
        }
        seen.push(place.physical);
    }
    first.extend(others);
    first
}

impl Summary {
    /// Of these numbers; `None` where there are none.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let median = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
        Some(Self { median, min: *sorted.first()?, max: *sorted.last()? })
    }
}

/// The best of what was tried, by its index; `None` where nothing has a run.
///
/// The one with the most commands in a second, unless others are alike: a difference that is smaller than what its own runs
/// differ by is none. Of those that are alike, the one that answers a lone command soonest; and of those that
/// do so in about the same time, the one that takes least from others.
pub fn best(tried: &[(Candidate, Vec<Run>)]) -> Option<usize> {
    let with_runs = tried.iter().enumerate().filter_map(|(index, (candidate, runs))| {
        let iops = Summary::of(runs.iter().map(|run| run.iops))?;
        let latency = Summary::of(runs.iter().map(|run| run.p50_us))?.median;
        Some((index, candidate, iops, latency))
    });
    let all: Vec<_> = with_runs.collect();
    let (.., most, _) = all.iter().max_by(|a, b| a.2.median.total_cmp(&b.2.median))?;
    let spread = most.max - most.min;
    let alike = || all.iter().filter(|(.., iops, _)| most.median - iops.median <= spread);
    let soonest = alike().map(|(.., latency)| *latency).min_by(f64::total_cmp)?;
    let quick = alike().filter(|(.., latency)| *latency <= soonest * (1.0 + LATENCY_ALIKE));
    quick.min_by_key(|(_, candidate, ..)| candidate.cost()).map(|(index, ..)| *index)
}
