//! What a run came to.

use std::cmp::Reverse;
use std::time::Duration;

use corelane_reactors::stats::Distribution;

use crate::perf::share::{CoreShared, Findings, Outcome};
use crate::perf::{Mismatch, Plan};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked for.
    pub plan: Plan,
    /// How long was measured.
    pub measured: Duration,
    /// Commands in a second, while it was measured.
    pub iops: f64,
    /// Reads that succeeded while it was measured.
    pub reads: u64,
    /// Writes that did.
    pub writes: u64,
    /// Latencies of both, in nanoseconds.
    pub latency: Distribution,
    /// What went wrong, in words, and how often, the most frequent first.
    pub errors: Vec<(String, u64)>,
    /// Why connections were lost without anything else being wrong, and how often, attempts to connect again included.
    pub losses: Vec<(String, u64)>,
    /// Times that an association went down.
    pub outages: u64,
    /// Commands that were sent again after that.
    pub repeated: u64,
    /// Why the target was given up, if it was.
    pub gave_up: Option<String>,
    /// Times that the kernel gave a core of the load to another thread; `None` where it does not say.
    pub preemptions: Option<u64>,
    /// Somebody asked for the end before the time was over.
    pub interrupted: bool,
    /// What verifying found, if that was asked for.
    pub verified: Option<Verified>,
}

/// What verifying found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Logical blocks that were compared.
    pub compared: u64,
    /// How many of them did not hold what they should.
    pub wrong: u64,
    /// The first of these.
    pub first: Vec<Mismatch>,
    /// Commands that read back, at the end, what the run had written.
    pub read_back: u64,
    /// Commands' worth of blocks that were written and for which there was no time at the end.
    pub unread: u64,
}

impl Report {
    pub(super) fn new(plan: &Plan, cores: &[impl AsRef<CoreShared>], interrupted: bool) -> Self {
        let mut report = Self {
            plan: plan.clone(),
            measured: Duration::ZERO,
            iops: 0.0,
            reads: 0,
            writes: 0,
            latency: Distribution::default(),
            errors: Vec::new(),
            losses: Vec::new(),
            outages: 0,
            repeated: 0,
            gave_up: None,
            preemptions: Some(0),
            interrupted,
            verified: None,
        };
        let mut findings = Findings::default();
        for core in cores {
            report.add(core.as_ref(), &mut findings);
        }
        report.errors.sort_by_key(|&(_, count)| Reverse(count));
        if plan.verify {
            let Findings { compared, wrong, first, read_back, unread } = findings;
            report.verified = Some(Verified { compared, wrong, first, read_back, unread });
        }
        report
    }

    /// Bytes in a second, while it was measured.
    pub fn bytes_per_second(&self) -> f64 {
        self.iops * f64::from(self.plan.block_bytes)
    }

    /// How much went wrong altogether; blocks that were found wrong are counted by [`Report::verified`].
    pub fn error_count(&self) -> u64 {
        self.errors.iter().map(|(_, count)| count).sum()
    }

    /// Nothing went wrong, and something was done.
    pub fn is_clean(&self) -> bool {
        let intact = self.verified.as_ref().is_none_or(|verified| verified.wrong == 0);
        self.error_count() == 0 && intact && self.gave_up.is_none() && (self.interrupted || self.iops > 0.0)
    }

    fn add(&mut self, core: &CoreShared, findings: &mut Findings) {
        let outcome = core.take_outcome().unwrap_or_default();
        let Outcome { measured, errors, outages, repeated, gave_up, unfinished, preemptions, verified } =
            outcome;
        findings.merge(verified);
        let mut done = 0;
        for lane in &core.lanes {
            (self.reads, self.writes) = (self.reads + lane.reads.read(), self.writes + lane.writes.read());
            done += lane.reads.read() + lane.writes.read();
            self.latency.merge(&lane.latency.distribution());
        }
        if !measured.is_zero() {
            self.iops += done as f64 / measured.as_secs_f64();
        }
        self.measured = self.measured.max(measured);
        for (words, count) in errors {
            add(&mut self.errors, words, count);
        }
        for (outage, count) in outages {
            let list = if outage.is_loss() { &mut self.losses } else { &mut self.errors };
            add(list, outage.to_string(), count);
        }
        if unfinished > 0 {
            add(&mut self.errors, "not answered when the run was over".to_owned(), unfinished);
        }
        self.outages += core.outages.read();
        self.repeated += repeated;
        self.gave_up = self.gave_up.take().or(gave_up.map(|outage| outage.to_string()));
        self.preemptions = self.preemptions.zip(preemptions).map(|(one, other)| one + other);
    }
}

fn add(list: &mut Vec<(String, u64)>, words: String, count: u64) {
    match list.iter_mut().find(|(known, _)| *known == words) {
        Some((_, times)) => *times += count,
        None => list.push((words, count)),
    }
}
