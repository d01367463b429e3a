//! What a ring of failures keeps, and from where on it tells.

use super::*;

#[test]
fn the_newest_failures_are_told_from_where_the_reader_left_off() {
    let ring = FailureRing::default();
    let kept = FAILURES_KEPT as u64;
    let failure = |number: u64| Failure {
        number,
        time: Time::from_nanos(number * 7),
        values: [number, !number, number << 8],
    };
    for number in 0..kept + 9 {
        ring.write(failure(number).time, failure(number).values);
    }
    assert_eq!(ring.written(), kept + 9);
    for (first, told) in [(0, 9..kept + 9), (9, 9..kept + 9), (kept, kept..kept + 9), (kept + 9, 0..0)] {
        let told: Vec<_> = told.map(failure).collect();
        assert_eq!(ring.since(first).collect::<Vec<_>>(), told, "{first}");
    }
}
