//! When a reactor that found nothing to do gives its core back to the kernel.

use std::time::Duration;

use crate::{clock::Time, reactor::Activity};

/// What a reactor does between idle turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdlePolicy {
    /// Takes the next turn at once, for ever. Lowest latency; the core is never idle.
    Spin,
    /// Sleeps after the first idle turn. Lowest use of the core; each wake-up costs microseconds.
    Park,
    /// Spins until nothing has happened for this long, then sleeps.
    Adaptive {
        /// How long to spin after the last busy turn.
        spin: Duration,
    },
}

impl Default for IdlePolicy {
    /// [`IdlePolicy::Adaptive`] with 100 microseconds: longer than a wake-up and a round trip within
    /// a rack, so that a steady request stream is never slept over.
    fn default() -> Self {
        IdlePolicy::Adaptive { spin: Duration::from_micros(100) }
    }
}

/// The policy applied: remembers since when a reactor has been idle.
#[derive(Debug)]
pub(crate) struct Idleness {
    policy: IdlePolicy,
    since: Option<Time>,
}

impl Idleness {
    pub(crate) fn new(policy: IdlePolicy) -> Self {
        Idleness { policy, since: None }
    }

    /// Whether to sleep after a turn that began at `now` and came out as `activity`.
    ///
    /// Being woken does not end idleness, doing something does: a spurious wake-up is not followed
    /// by another round of spinning.
    pub(crate) fn should_park(&mut self, activity: Activity, now: Time) -> bool {
        let Activity::Idle { may_park, .. } = activity else {
            self.since = None;
            return false;
        };
        let since = *self.since.get_or_insert(now);
        may_park
            && match self.policy {
                IdlePolicy::Spin => false,
                IdlePolicy::Park => true,
                IdlePolicy::Adaptive { spin } => now.since(since) >= spin,
            }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
