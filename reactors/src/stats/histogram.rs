//! A histogram of fixed size with one writer: log-linear, so that its error is relative to the value.
//!
//! Values below 64 have a bucket each. Above, every octave is cut into 32 buckets of one width, up to
//! 2^36 - 1 (as nanoseconds, 68 seconds); greater values go into the last bucket, and [`Distribution::max`]
//! tells how great they were.
//!
//! Invariant: bucket `b` holds the values from `low(b)` to `low(b + 1) - 1`, and `bucket(low(b)) == b`.

use std::{fmt, time::Duration};

use super::Counter;

/// An octave has two to the power of this many buckets.
const PRECISION_BITS: u32 = 5;
/// Values of as many bits have buckets of their own.
const VALUE_BITS: u32 = 36;
const PER_OCTAVE: u64 = 1 << PRECISION_BITS;
const BUCKETS: usize = ((VALUE_BITS - PRECISION_BITS + 1) << PRECISION_BITS) as usize;
const VALUE_MAX: u64 = (1 << VALUE_BITS) - 1;

/// A value and its bucket, found once for all histograms that shall have it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    value: u64,
    bucket: usize,
}

impl Sample {
    /// A value in whatever unit the histogram is kept.
    #[inline]
    pub fn of(value: u64) -> Self {
        Sample { value, bucket: bucket(value) }
    }

    /// A time in nanoseconds.
    #[inline]
    pub fn of_time(time: Duration) -> Self {
        Sample::of(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Counts values by their size: 8 KiB, written by one thread without a locked instruction, read by any.
///
/// Two threads that record at the same time lose samples.
pub struct Histogram {
    buckets: Box<[Counter; BUCKETS]>,
    sum: Counter,
    max: Counter,
}

impl Histogram {
    /// An empty one. Allocates all it will ever need.
    pub fn new() -> Self {
        let buckets: Box<[Counter]> = (0..BUCKETS).map(|_| Counter::default()).collect();
        let Ok(buckets) = buckets.try_into() else { unreachable!("as many as there are") };
        Histogram { buckets, sum: Counter::default(), max: Counter::default() }
    }

    /// Adds a value; only the one writer may.
    #[inline]
    pub fn record(&self, value: u64) {
        self.add(Sample::of(value));
    }

    /// Adds a time in nanoseconds; only the one writer may.
    #[inline]
    pub fn record_time(&self, time: Duration) {
        self.add(Sample::of_time(time));
    }

    /// Adds a sample; only the one writer may.
    #[inline]
    pub fn add(&self, sample: Sample) {
        self.add_many(sample, 1);
    }

    /// Adds a sample that was taken `count` times, at least once; only the one writer may.
    #[inline]
    pub fn add_many(&self, sample: Sample, count: u64) {
        let Sample { value, bucket } = sample;
        self.buckets[bucket].add(count);
        self.sum.add(value.wrapping_mul(count));
        if value > self.max.read() {
            self.max.set(value);
        }
    }

    /// What was recorded so far. The counts are read one after another while the writer goes on.
    pub fn distribution(&self) -> Distribution {
        let buckets: Box<[u64]> = self.buckets.iter().map(Counter::read).collect();
        Distribution { buckets, sum: self.sum.read(), max: self.max.read() }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.distribution().fmt(f)
    }
}

/// What a histogram held at one time: a value that can be added to others, and looked into.
#[derive(Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Empty, or [`BUCKETS`].
    buckets: Box<[u64]>,
    sum: u64,
    max: u64,
}

impl Distribution {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all values; wraps at 2^64.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The greatest value, exactly; 0 where there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that a share `quantile` of all values, from 0 to 1, does not exceed; `None` where there is
    /// none. Exact below 64; above, off by at most 1/64 of it (1.6 %): the middle of its bucket. Values from
    /// 2^36 on are all told as the greatest one.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let wanted = quantile * self.count() as f64;
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if count > 0 && seen as f64 >= wanted {
                let last = bucket == BUCKETS - 1;
                let middle = if last { self.max } else { low(bucket).midpoint(low(bucket + 1) - 1) };
                return Some(middle.min(self.max));
            }
        }
        None
    }

    /// How many values are below `bound`. Exact for bounds that are powers of two from 2 to 2^36, or below 65;
    /// for others, values of the bucket in which the bound lies are left out.
    pub fn below(&self, bound: u64) -> u64 {
        let end = if bound > VALUE_MAX { BUCKETS - 1 } else { bucket(bound) };
        self.buckets.iter().take(end).sum()
    }

    /// Adds what another one holds, for instance that of another reactor.
    pub fn merge(&mut self, other: &Distribution) {
        if self.buckets.is_empty() {
            return self.clone_from(other);
        }
        for (count, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += other;
        }
        self.sum = self.sum.wrapping_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// What came after `earlier`, an older distribution of the same histogram. The greatest value stays that of all.
    #[must_use]
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        let mut rest = self.clone();
        for (count, earlier) in rest.buckets.iter_mut().zip(&earlier.buckets) {
            *count = count.saturating_sub(*earlier);
        }
        rest.sum = self.sum.wrapping_sub(earlier.sum);
        rest
    }
}

impl Default for Distribution {
    /// No values.
    fn default() -> Self {
        Distribution { buckets: Box::new([]), sum: 0, max: 0 }
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distribution")
            .field("count", &self.count())
            .field("median", &self.quantile(0.5))
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// The bucket of a value.
#[inline]
fn bucket(value: u64) -> usize {
    let value = value.min(VALUE_MAX);
    let shift = (value | PER_OCTAVE).ilog2() - PRECISION_BITS;
    // In an octave, `value >> shift` has its highest bit at PRECISION_BITS: it counts from PER_OCTAVE.
    let place = u64::from(shift) * PER_OCTAVE + (value >> shift);
    usize::try_from(place).unwrap_or(0) & (BUCKETS - 1)
}

/// The least value of a bucket; that of the bucket after the last, for the last.
fn low(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let octave = (bucket / PER_OCTAVE).saturating_sub(1);
    (bucket - octave * PER_OCTAVE) << octave
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
