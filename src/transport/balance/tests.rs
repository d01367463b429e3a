//! What is chosen, by hand and over random loads that stay as they are.

use super::*;

fn candidate(lane: usize, work: u64) -> Candidate {
    Candidate { lane, work, rests: false }
}

/// What comes of so many looks at the same thing.
fn looks(count: u32, busy: &[f64], candidates: &[Candidate]) -> Vec<Option<Choice>> {
    let mut streak = Streak::default();
    (0..count).map(|_| streak.choose(busy, candidates)).collect()
}

#[test]
fn the_queue_that_evens_the_load_out_best_moves_and_no_other() {
    let rests = |mut candidate: Candidate| {
        candidate.rests = true;
        candidate
    };
    let (light, heavy) = (candidate(0, 100), candidate(0, 900));
    let rows = [
        // busy, queues, which of them moves, to which lane
        (vec![1.0, 0.0], vec![candidate(0, 500), candidate(0, 500)], Some((1, 1))),
        (vec![0.0, 1.0], vec![candidate(1, 100), candidate(1, 400), candidate(1, 500)], Some((2, 0))),
        // The light ones get their core back.
        (vec![1.0, 0.0], vec![light, heavy], Some((0, 1))),
        (vec![1.0, 0.5, 0.1], vec![candidate(0, 500), candidate(0, 400), candidate(2, 9)], Some((1, 2))),
        // Alone with its load.
        (vec![1.0, 0.0], vec![candidate(0, 500), candidate(0, 0)], None),
        (vec![1.0, 0.0], vec![candidate(0, 500), candidate(1, 1)], None),
        // Not busy enough, or none idle enough.
        (vec![0.7, 0.0], vec![candidate(0, 500), candidate(0, 500)], None),
        (vec![1.0, 0.8], vec![candidate(0, 500), candidate(0, 500)], None),
        // What would gain most rests, or nothing gains enough.
        (vec![1.0, 0.0], vec![rests(candidate(0, 500)), candidate(0, 300), candidate(0, 200)], Some((1, 1))),
        (vec![1.0, 0.0], vec![rests(candidate(0, 500)), rests(candidate(0, 500))], None),
        (vec![1.0, 0.7], vec![candidate(0, 1000), candidate(0, 10)], None),
        // Nothing to move at all.
        (vec![1.0, 0.0], vec![], None),
        (vec![1.0], vec![candidate(0, 500), candidate(0, 500)], None),
        (vec![], vec![], None),
    ];
    for (busy, candidates, expected) in rows {
        let expected = expected.map(|(candidate, lane)| Choice { candidate, lane });
        let found = looks(STREAK, &busy, &candidates);
        assert_eq!(found.last(), Some(&expected), "{busy:?} {candidates:?}");
        assert!(found[..found.len() - 1].iter().all(Option::is_none), "too early: {found:?}");
    }
}

#[test]
fn a_burst_moves_nobody_and_one_look_moves_one() {
    let queues = [candidate(0, 500), candidate(0, 500), candidate(0, 500)];
    let mut streak = Streak::default();
    for _ in 0..10 {
        for busy in [[1.0, 0.0], [1.0, 0.0], [0.1, 0.0]] {
            assert_eq!(streak.choose(&busy, &queues), None);
        }
    }
    // Two that take turns at being busy have no idle one to move to.
    for round in 0..10 {
        let busy = if round % 2 == 0 { [1.0, 0.0] } else { [0.0, 1.0] };
        assert_eq!(streak.choose(&busy, &queues), None);
    }
    let moves = looks(3 * STREAK, &[1.0, 0.0], &queues);
    assert_eq!(moves.iter().flatten().count(), 3);
    assert!(moves.windows(STREAK as usize).all(|window| window.iter().flatten().count() <= 1));
}

/// A generator of numbers, xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What lanes are busy with, as a share of time, where queues want so much of a thousandth each; more than all is all.
fn busy(lanes: usize, queues: &[(usize, u64)]) -> Vec<f64> {
    let sum = |lane| queues.iter().filter(|queue| queue.0 == lane).map(|queue| queue.1).sum::<u64>();
    (0..lanes).map(|lane| (sum(lane) as f64 / 1000.0).min(1.0)).collect()
}

#[test]
fn loads_that_stay_come_to_rest_whether_or_not_queues_do() {
    let mut moved = 0;
    for seed in 1..500 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let lanes = 2 + usize::try_from(random.below(4)).unwrap();
        let count = 1 + random.below(24);
        let mut queues: Vec<(usize, u64)> = (0..count)
            .map(|_| (usize::try_from(random.below(lanes as u64)).unwrap(), random.below(400)))
            .collect();
        let mut streak = Streak::default();
        let mut still = 0;
        for look in 0.. {
            assert!(look < 1000, "seed {seed} goes to and fro: {queues:?}");
            let loads = busy(lanes, &queues);
            // What a queue gets done: its share of its lane.
            let candidates: Vec<_> = queues.iter().map(|&(lane, wants)| candidate(lane, wants)).collect();
            match streak.choose(&loads, &candidates) {
                None => still += 1,
                Some(Choice { candidate, lane }) => {
                    assert_ne!(queues[candidate].0, lane);
                    queues[candidate].0 = lane;
                    (still, moved) = (0, moved + 1);
                }
            }
            if still > 2 * STREAK {
                break;
            }
        }
    }
    assert!(moved > 100, "{moved} moves");
}
