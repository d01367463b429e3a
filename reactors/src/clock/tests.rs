//! Times and clocks.

use super::*;

#[test]
fn arithmetic_saturates_at_both_ends() {
    let second = Duration::from_secs(1);
    assert_eq!(Time::from_nanos(5) + second, Time::from_nanos(1_000_000_005));
    assert_eq!(Time::MAX + second, Time::MAX);
    assert_eq!(Time::ORIGIN + Duration::MAX, Time::MAX);
    assert_eq!(Time::from_nanos(7).since(Time::from_nanos(3)), Duration::from_nanos(4));
    assert_eq!(Time::from_nanos(3).since(Time::from_nanos(7)), Duration::ZERO);
}

#[test]
fn virtual_time_moves_by_hand_and_never_back() {
    let (clock, hand) = Clock::simulated();
    let copy = clock.clone();
    assert_eq!(clock.now(), Time::ORIGIN);
    hand.advance(Duration::from_nanos(10));
    hand.advance_to(Time::from_nanos(4));
    assert_eq!(
        (clock.now(), copy.now(), hand.now()),
        (Time::from_nanos(10), Time::from_nanos(10), Time::from_nanos(10))
    );
    assert!(clock.is_simulated());
}

#[test]
#[cfg_attr(miri, ignore = "miri has no time stamp counter")]
fn real_time_keeps_pace_with_the_kernel() {
    let clock = Clock::real();
    let origin = std::time::Instant::now();
    let before = clock.now();
    while origin.elapsed() < Duration::from_millis(20) {
        std::hint::spin_loop();
    }
    let passed = clock.now().since(before);
    let kernel = origin.elapsed();
    // Calibration is exact to far better than one in a thousand; being descheduled between two
    // readings is not ours to test.
    assert!(passed > Duration::from_micros(19_900), "{passed:?}");
    assert!(passed < kernel + Duration::from_secs(1), "{passed:?} {kernel:?}");
}
