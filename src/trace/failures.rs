//! The newest commands of one queue that failed: small records that whoever answers for the queue reads at any time,
//! without holding it up.

use corelane_reactors::clock::Time;

use super::ring::Ring;

/// Failures that a ring keeps.
pub const FAILURES_KEPT: usize = 64;

/// One failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its number on its ring, from 0.
    pub number: u64,
    /// When, by the clock of the reactors.
    pub time: Time,
    /// What the writer knows of it.
    pub values: [u64; 3],
}

/// The newest [`FAILURES_KEPT`] failures of one queue: 4 KiB.
pub struct FailureRing(Ring<4>);

impl FailureRing {
    /// Writes a failure. Only the reactor that has the queue may call it.
    pub fn write(&self, time: Time, [first, second, third]: [u64; 3]) {
        self.0.write([time.as_nanos(), first, second, third]);
    }

    /// Failures that were written since the ring was made, those that were overwritten included.
    pub fn written(&self) -> u64 {
        self.0.written()
    }

    /// The failures that are kept and have at least the number `first`, oldest first. Those that are overwritten meanwhile
    /// are left out.
    pub fn since(&self, first: u64) -> impl Iterator<Item = Failure> {
        self.0.since(first).into_iter().map(|(number, [time, first, second, third])| Failure {
            number,
            time: Time::from_nanos(time),
            values: [first, second, third],
        })
    }
}

impl Default for FailureRing {
    fn default() -> Self {
        Self(Ring::new(FAILURES_KEPT))
    }
}

impl std::fmt::Debug for FailureRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FailureRing").field("written", &self.written()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
