//! Buckets without gaps, quantiles against sorted values, and what adding and subtracting do.

use proptest::prelude::*;

use super::*;
use crate::cases::{drawn, steps};

fn recorded(values: &[u64]) -> Histogram {
    let histogram = Histogram::new();
    values.iter().for_each(|&value| histogram.record(value));
    histogram
}

#[test]
fn buckets_lie_side_by_side_and_are_narrow() {
    assert_eq!(low(0), 0);
    for number in 0..BUCKETS {
        let (first, next) = (low(number), low(number + 1));
        assert_eq!((bucket(first), bucket(next - 1)), (number, number));
        assert!(next - first == 1 || (next - first) * PER_OCTAVE <= first, "bucket {number} is too wide");
    }
    assert_eq!(low(BUCKETS), VALUE_MAX + 1);
    assert_eq!((bucket(VALUE_MAX + 1), bucket(u64::MAX)), (BUCKETS - 1, BUCKETS - 1));
}

#[test]
fn an_empty_one_has_no_quantiles() {
    for empty in [Distribution::default(), Histogram::new().distribution()] {
        assert_eq!((empty.count(), empty.sum(), empty.max(), empty.quantile(0.5)), (0, 0, 0, None));
    }
}

#[test]
fn a_sample_of_many_is_as_many_samples() {
    let (many, each) = (Histogram::new(), Histogram::new());
    for (value, count) in [(0, 3), (77, 128), (u64::MAX, 2), (VALUE_MAX, 1)] {
        many.add_many(Sample::of(value), count);
        (0..count).for_each(|_| each.record(value));
    }
    assert_eq!(many.distribution(), each.distribution());
}

#[test]
fn values_beyond_the_buckets_are_counted_and_told_as_the_greatest() {
    let distribution = recorded(&[1, VALUE_MAX + 5, u64::MAX]).distribution();
    assert_eq!((distribution.count(), distribution.max()), (3, u64::MAX));
    assert_eq!(distribution.quantile(1.0), Some(u64::MAX));
    assert_eq!(distribution.below(VALUE_MAX + 1), 1);
}

#[test]
fn what_came_since_is_the_difference() {
    let histogram = recorded(&[5, 1000]);
    let earlier = histogram.distribution();
    histogram.record(7);
    let later = histogram.distribution().since(&earlier);
    assert_eq!((later.count(), later.sum(), later.quantile(0.5)), (1, 7, Some(7)));
}

fn values() -> impl Strategy<Value = Vec<u64>> {
    // As many small ones as large ones.
    prop::collection::vec(
        (0u32..36, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1)),
        1..steps(200),
    )
}

proptest! {
    #![proptest_config(drawn(256))]

    #[test]
    fn quantiles_are_as_exact_as_promised(mut values in values(), quantile in 0.0..=1.0f64) {
        let distribution = recorded(&values).distribution();
        values.sort_unstable();
        let told = distribution.quantile(quantile).unwrap();
        let wanted = quantile * values.len() as f64;
        let rank = (1..=values.len()).find(|&rank| rank as f64 >= wanted).unwrap();
        let exact = values[rank - 1];
        prop_assert!(told.abs_diff(exact) * 64 <= exact, "{} is told as {}", exact, told);
    }

    #[test]
    fn merging_is_recording_into_one(one in values(), other in values()) {
        let mut merged = Distribution::default();
        merged.merge(&recorded(&one).distribution());
        merged.merge(&recorded(&other).distribution());
        prop_assert_eq!(merged, recorded(&[one, other].concat()).distribution());
    }

    #[test]
    fn counts_below_powers_of_two_are_exact(values in values(), bits in 1u32..=36) {
        let bound = 1 << bits;
        let exact = values.iter().filter(|&&value| value < bound).count() as u64;
        prop_assert_eq!(recorded(&values).distribution().below(bound), exact);
    }
}
