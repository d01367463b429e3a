//! Time as reactors see it: nanoseconds since the origin of one clock, read once per turn.
//!
//! A real clock is the calibrated time stamp counter; a simulated one moves only when its
//! [`VirtualClock`] is told to. Times of different clocks must not be compared: nothing checks it.
//!
//! # A clock that steps
//!
//! Wall-clock time is read nowhere, so setting the date changes nothing. The time stamp counter is used where the kernel
//! calls it constant and synchronised, otherwise `CLOCK_MONOTONIC`; neither is known to step. If one does all the same,
//! when a virtual machine is moved for instance:
//!
//! - backward: the time of turns stands still until the clock has caught up ([`crate::reactor::Turn::now`]). Nothing expires
//!   early or twice; timers are late by the step, and an adaptive reactor spins meanwhile.
//! - forward: what has come due is due at once, in batches of the budget given to [`crate::timer::Wheel::expire`]; messages
//!   and sockets get their share of each turn in between.

use std::{
    ops::Add,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A point in time: nanoseconds since the origin of the clock that was read.
///
/// 64 bits last for 584 years; arithmetic saturates instead of wrapping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(u64);

impl Time {
    /// The origin of every clock.
    pub const ORIGIN: Time = Time(0);
    /// The last time that can be expressed; as a deadline it means never.
    pub const MAX: Time = Time(u64::MAX);

    /// The time `nanoseconds` after the origin.
    pub const fn from_nanos(nanoseconds: u64) -> Time {
        Time(nanoseconds)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed from `earlier` to this, zero when `earlier` is later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanoseconds))
    }
}

/// What reactors read the time from. Clones share the origin.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Real { counter: quanta::Clock, origin: u64 },
    Simulated(Arc<AtomicU64>),
}

impl Clock {
    /// The time stamp counter, calibrated, or `CLOCK_MONOTONIC` where it cannot be trusted.
    ///
    /// The first call in a process calibrates, which takes up to 200 ms.
    pub fn real() -> Clock {
        let counter = quanta::Clock::new();
        let origin = counter.raw();
        Clock(Source::Real { counter, origin })
    }

    /// A clock that stands at its origin until the returned [`VirtualClock`] moves it.
    pub fn simulated() -> (Clock, VirtualClock) {
        let nanoseconds = Arc::new(AtomicU64::new(0));
        (Clock(Source::Simulated(Arc::clone(&nanoseconds))), VirtualClock(nanoseconds))
    }

    /// The time now.
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::Real { counter, origin } => Time(counter.delta_as_nanos(*origin, counter.raw())),
            // Relaxed: the time orders nothing by itself.
            Source::Simulated(nanoseconds) => Time(nanoseconds.load(Ordering::Relaxed)),
        }
    }

    /// Whether this clock stands still until it is moved. Such a clock cannot end a kernel's wait.
    pub fn is_simulated(&self) -> bool {
        matches!(self.0, Source::Simulated(_))
    }
}

/// The hand that moves a simulated [`Clock`].
#[derive(Debug)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.advance_to(self.now() + by);
    }

    /// Moves the clock forward to `time`; a time that has passed changes nothing.
    pub fn advance_to(&self, time: Time) {
        // Relaxed: see `Clock::now`.
        self.0.fetch_max(time.as_nanos(), Ordering::Relaxed);
    }

    /// Moves the clock to `time`, backward too, as no clock should.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) fn step_to(&self, time: Time) {
        // Relaxed: see `Clock::now`.
        self.0.store(time.as_nanos(), Ordering::Relaxed);
    }

    /// The time the clock stands at.
    pub fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
