//! How many lines of one kind the log takes.

use std::time::{Duration, Instant};

use crate::cli::quota::{Kind, LINE_TIME, LINES_MAX};

/// Takes `count` lines; how many were said, and the numbers that were told as withheld.
fn flood(kind: &mut Kind, count: u32, now: Instant) -> (u32, Vec<u64>) {
    let said: Vec<u64> = (0..count).filter_map(|_| kind.take(now)).collect();
    (u32::try_from(said.len()).unwrap(), said.into_iter().filter(|&withheld| withheld > 0).collect())
}

#[test]
fn a_flood_is_cut_short_and_counted() {
    let start = Instant::now();
    let mut kind = Kind::new(start);
    assert_eq!(flood(&mut kind, LINES_MAX + 700, start), (LINES_MAX, vec![]));
    assert_eq!(kind.take(start + LINE_TIME - Duration::from_nanos(1)), None);
    // One line for the time, and with it what was withheld.
    assert_eq!(flood(&mut kind, 500, start + LINE_TIME), (1, vec![701]));
    assert_eq!(flood(&mut kind, 500, start + LINE_TIME * 5 / 2), (1, vec![499]));
    // Halves of the time are not lost.
    assert_eq!(flood(&mut kind, 500, start + LINE_TIME * 3), (1, vec![499]));
}

#[test]
fn a_quiet_time_gives_everything_back_and_no_more() {
    let start = Instant::now();
    let mut kind = Kind::new(start);
    flood(&mut kind, LINES_MAX * 2, start);
    let later = start + LINE_TIME * LINES_MAX * 10;
    assert_eq!(flood(&mut kind, LINES_MAX * 2, later), (LINES_MAX, vec![u64::from(LINES_MAX)]));
    // A clock that goes back gives nothing.
    assert_eq!(kind.take(start), None);
}

#[test]
fn lines_that_come_seldom_are_all_said() {
    let mut now = Instant::now();
    let mut kind = Kind::new(now);
    for _ in 0..LINES_MAX * 3 {
        assert_eq!(kind.take(now), Some(0));
        now += LINE_TIME;
    }
}
