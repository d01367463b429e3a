//! How counts are read and judged. A test of its own, since the bench is a program without a test runner.

mod callgrind;
mod record;

use callgrind::{Calls, Profile};
use record::{Counts, Record};

const COUNTS: Counts = Counts { instructions: 1_000.0, system_calls: 0.5, copying: 375.0 };

/// Counts of one row, `name`, and of another that nothing happens to.
fn record(made_with: &str, name: &str, counts: Counts) -> Record {
    let rows = vec![(name.to_owned(), counts), ("initiator, write".to_owned(), COUNTS)];
    Record { made_with: made_with.to_owned(), rows }
}

#[test]
fn what_is_more_by_over_the_tolerance_fails() {
    let recorded = record("rustc 1", "target, read", COUNTS);
    let rows = [
        // now, whether it holds, what is said
        (COUNTS, true, None),
        (Counts { instructions: 1_029.0, ..COUNTS }, true, None),
        (Counts { instructions: 1_040.0, ..COUNTS }, false, Some("MORE")),
        (Counts { instructions: 960.0, ..COUNTS }, true, Some("FEWER")),
        (Counts { system_calls: 0.59, ..COUNTS }, true, None),
        (Counts { system_calls: 0.61, ..COUNTS }, false, Some("MORE")),
        (Counts { copying: 750.0, ..COUNTS }, false, Some("MORE")),
        (Counts { copying: 0.0, ..COUNTS }, true, Some("FEWER")),
    ];
    for (now, holds, said) in rows {
        let comparison = record("rustc 1", "target, read", now).compare(&recorded, true);
        assert_eq!(comparison.holds, holds, "{now:?}: {}", comparison.text);
        assert_eq!(recorded.is_exceeded("target, read", now), !holds, "{now:?}");
        for mark in ["MORE", "FEWER"] {
            assert_eq!(comparison.text.contains(mark), said == Some(mark), "{now:?}: {}", comparison.text);
        }
        assert_eq!(comparison.text.contains("-- --record"), said.is_some(), "{now:?}: {}", comparison.text);
    }
}

#[test]
fn a_row_that_is_not_recorded_fails_and_so_does_one_that_is_gone() {
    let recorded = record("rustc 1", "target, read", COUNTS);
    let now = record("rustc 1", "target, flush", COUNTS);
    assert!(!now.compare(&recorded, false).holds);
    let mut fewer = recorded.clone();
    fewer.rows.pop();
    assert!(fewer.compare(&recorded, false).holds, "a part was asked for");
    assert!(!fewer.compare(&recorded, true).holds);
    assert!(!recorded.compare(&Record::parse("rustc 1").unwrap(), true).holds, "nothing is recorded");
}

#[test]
fn counts_of_another_compiler_are_printed_and_not_judged() {
    let recorded = record("rustc 1", "target, read", COUNTS);
    let now = record("rustc 2", "target, read", Counts { instructions: 2_000.0, ..COUNTS });
    let comparison = now.compare(&recorded, true);
    assert!(comparison.holds);
    for words in ["2000.0", "recorded with rustc 1, so nothing is judged", "-- --record"] {
        assert!(comparison.text.contains(words), "{}", comparison.text);
    }
}

#[test]
fn of_two_runs_the_lower_counts_are_taken() {
    let other = Counts { instructions: 900.0, system_calls: 0.7, copying: 375.5 };
    assert_eq!(COUNTS.least(other), Counts { instructions: 900.0, ..COUNTS });
}

#[test]
fn what_is_written_is_read_again() {
    let written = record("rustc 1", "target, 4 KiB read, 128 at a time", COUNTS);
    assert_eq!(Record::parse(&written.to_string()).unwrap(), written);
    assert!(Record::parse("rustc 1\n1.0 2.0 target, read\n").is_err());
}

#[test]
fn a_part_that_is_recorded_leaves_the_rest() {
    let mut recorded = record("rustc 1", "target, read", COUNTS);
    let mut part = record("rustc 1", "target, read", Counts { instructions: 900.0, ..COUNTS });
    part.rows.pop();
    recorded.replace(part.clone(), false).unwrap();
    assert_eq!(recorded.rows.len(), 2);
    assert!(recorded.rows.contains(&part.rows[0]));
    part.made_with = "rustc 2".to_owned();
    assert!(recorded.replace(part.clone(), false).is_err(), "of two compilers");
    recorded.replace(part.clone(), true).unwrap();
    assert_eq!(recorded, part);
}

#[test]
fn the_counts_in_the_tree_can_be_read() {
    let recorded = Record::parse(include_str!("recorded.txt")).unwrap();
    assert!(recorded.made_with.starts_with("rustc "), "{}", recorded.made_with);
    assert!(!recorded.rows.is_empty());
}

#[test]
fn costs_of_calls_are_summed_and_missing_ones_are_zero() {
    // As callgrind 3.19 wrote it, shortened.
    let profile = Profile::parse(
        "events: Ir sysCount sysTime\nfn=commands::round\n10 5\ncfn=commands::serve_target\ncalls=40 120 \n16 4000 7 9\n\
         cfn=commands::drive_initiator\ncalls=1 130 \n17 90\nfn=commands::main\n11 3\ncfn=commands::serve_target\n\
         calls=2 120 \n18 500\n",
    );
    let calls = profile.calls_of(|name| name.ends_with("serve_target"));
    assert_eq!(calls, Calls { calls: 42, instructions: 4_500, system_calls: 7 });
}
