//! When to try again.

use std::time::Duration;

use corelane_reactors::clock::Time;

/// How long to wait between attempts: twice as long after each, up to a limit; and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub most: Duration,
    /// From the first failure to giving up; zero for no second attempt.
    pub give_up_after: Duration,
}

impl Backoff {
    /// From 10 milliseconds to 2 seconds, for 10 seconds.
    pub const DEFAULT: Self = Self {
        first: Duration::from_millis(10),
        most: Duration::from_secs(2),
        give_up_after: Duration::from_secs(10),
    };
}

/// The attempts of one association.
#[derive(Debug)]
pub(in crate::initiator) struct Attempts {
    backoff: Backoff,
    /// The first failure since something worked, and the wait after the last.
    failing: Option<(Time, Duration)>,
}

impl Attempts {
    pub(in crate::initiator) fn new(backoff: Backoff) -> Self {
        Self { backoff, failing: None }
    }

    /// An attempt failed, or what it had made ended: when to try again; `None` to give up.
    pub(in crate::initiator) fn failed(&mut self, now: Time) -> Option<Time> {
        let Backoff { first, most, give_up_after } = self.backoff;
        let (since, wait) = match self.failing {
            None => (now, first),
            Some((since, wait)) => (since, (wait * 2).min(most)),
        };
        self.failing = Some((since, wait));
        let again = now + wait;
        (again.since(since) < give_up_after).then_some(again)
    }

    /// Something worked: the next failure is a first one.
    pub(in crate::initiator) fn worked(&mut self) {
        self.failing = None;
    }
}
