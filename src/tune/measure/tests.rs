//! What is tried on which machine, what of it is best, and how it is drawn.

use super::*;
use crate::config::{Config, CorePlace};

const BOTH: [EngineName; 2] = [EngineName::Epoll, EngineName::IoUring];

/// Cores that may be used, those of the load, and what is tried for I/O.
type LayoutRow = (&'static [usize], &'static [usize], &'static [&'static [usize]]);
/// Numbers, and their median, least and most.
type SummaryRow = (&'static [f64], Option<(f64, f64, f64)>);

fn layouts(trial: &Trial) -> Vec<(usize, Vec<usize>)> {
    let mut layouts: Vec<_> = trial.candidates.iter().map(|it| (it.management, it.io.clone())).collect();
    layouts.dedup();
    layouts
}

#[test]
fn layouts_leave_cores_to_the_load() {
    let rows: [LayoutRow; 5] = [
        // may use     load      I/O
        (&[3], &[3], &[&[3]]),
        (&[0, 1], &[1], &[&[0], &[0, 1]]),
        (&[0, 1, 2], &[2], &[&[0], &[1], &[0, 1]]),
        (&[0, 1, 2, 3], &[3], &[&[0], &[1, 2], &[0, 1, 2]]),
        (&[2, 3, 4, 5, 6, 7], &[6, 7], &[&[2], &[3, 4, 5], &[2, 3, 4, 5]]),
    ];
    for (cores, clients, io) in rows {
        let trial = trial(&Topology::flat(cores), &BOTH).unwrap();
        assert_eq!(trial.clients, clients, "{cores:?}");
        let expected: Vec<_> = io.iter().map(|io| (cores[0], io.to_vec())).collect();
        assert_eq!(layouts(&trial), expected, "{cores:?}");
        // Each layout with both engines and all idle policies.
        assert_eq!(trial.candidates.len(), io.len() * 2 * 3);
    }
    assert_eq!(trial(&Topology::flat(&[]), &BOTH), None);
}

#[test]
fn threads_of_one_core_come_after_whole_cores() {
    let place = |core| CorePlace { core, physical: core / 2, node: None };
    let trial = trial(&Topology::new((0..8).map(place).collect()), &[EngineName::Epoll]).unwrap();
    assert_eq!(trial.clients, [5, 7]);
    assert_eq!(layouts(&trial).last(), Some(&(0, vec![0, 2, 4, 6, 1, 3])));
}

#[test]
fn candidates_change_the_layout_and_nothing_else() {
    let base = Config::embedded_default(&[0, 1, 2]).unwrap();
    for candidate in trial(&Topology::flat(&[0, 1, 2]), &BOTH).unwrap().candidates {
        let reactors = candidate.on(&base.reactors);
        let Reactors { placement, budgets, rebalance, .. } = base.reactors;
        assert_eq!(reactors.budgets, budgets);
        assert_eq!((reactors.placement, reactors.rebalance), (placement, rebalance));
        let config = Config { reactors, ..base.clone() };
        let text = crate::config::Document::from(&config).to_json();
        assert_eq!(crate::config::parse(&text, &[0, 1, 2]).unwrap().config, config, "{candidate}");
    }
}

fn candidate(io: usize, idle: Idle) -> Candidate {
    Candidate { management: 0, io: (0..io).collect(), engine: EngineName::Epoll, idle }
}

fn runs(numbers: &[(f64, f64)]) -> Vec<Run> {
    numbers.iter().map(|&(iops, p50_us)| Run { iops, p50_us, p99_us: 2.0 * p50_us }).collect()
}

#[test]
fn the_best_is_faster_by_more_than_runs_differ_then_sooner_then_thriftier() {
    let spin = || candidate(1, Idle::Spin);
    let park = || candidate(1, Idle::Park);
    let two = || candidate(2, Idle::Park);
    let rows = [
        // Faster by more than the spread.
        (
            vec![
                (park(), runs(&[(100.0, 9.0), (101.0, 9.0)])),
                (spin(), runs(&[(120.0, 20.0), (125.0, 20.0)])),
            ],
            Some(1),
        ),
        // Not by more: the one that answers sooner.
        (
            vec![
                (park(), runs(&[(110.0, 30.0), (100.0, 30.0)])),
                (spin(), runs(&[(112.0, 20.0), (101.0, 20.0), (99.0, 21.0)])),
            ],
            Some(1),
        ),
        // In about the same time: the thriftier.
        (
            vec![
                (spin(), runs(&[(100.0, 20.0), (102.0, 20.0)])),
                (park(), runs(&[(101.0, 21.0), (99.0, 21.0)])),
            ],
            Some(1),
        ),
        (vec![(two(), runs(&[(100.0, 20.0)])), (spin(), runs(&[(100.0, 20.0)]))], Some(1)),
        // What could not be tried is not the best.
        (vec![(park(), vec![]), (spin(), runs(&[(1.0, 900.0)]))], Some(1)),
        (vec![(park(), vec![])], None),
        (vec![], None),
    ];
    for (number, (tried, expected)) in rows.into_iter().enumerate() {
        assert_eq!(best(&tried), expected, "row {number}");
    }
}

#[test]
fn medians_are_what_lies_in_the_middle() {
    let rows: [SummaryRow; 4] = [
        (&[], None),
        (&[3.0], Some((3.0, 3.0, 3.0))),
        (&[3.0, 1.0, 9.0], Some((3.0, 1.0, 9.0))),
        (&[4.0, 1.0, 2.0, 3.0], Some((2.0, 1.0, 4.0))),
    ];
    for (numbers, expected) in rows {
        let expected = expected.map(|(median, min, max)| Summary { median, min, max });
        assert_eq!(Summary::of(numbers.iter().copied()), expected);
    }
}

#[test]
fn a_plot_names_every_candidate() {
    let tried = vec![
        (candidate(1, Idle::Spin), runs(&[(1e5, 20.0), (2e5, 21.0)])),
        (candidate(2, Idle::Park), vec![]),
    ];
    let picture = plot::candidates(&tried, Some(0), "a machine").unwrap();
    assert!(picture.starts_with("<svg "), "{picture}");
    for words in ["I/O 0, epoll, spin (20 us)", "I/O 0,1, epoll, park", "a machine", "#1F4E79"] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    assert!(plot::candidates(&tried[1..], None, "").is_err());
}
