//! Claims to stripes: who comes in when, and that everybody does.

use std::collections::VecDeque;

use super::{
    super::claims::{Claim, Claimant, Claims, LOOKS_MAX, Word},
    *,
};
use crate::bdev::random::Random;

/// A word: readers, whether there is a writer, whose turn it is, who waits.
fn word(readers: u64, writer: bool, turn: Option<u64>, waiting: &[u32]) -> Word {
    let waiting: u64 = waiting.iter().map(|slot| 1 << (32 + slot)).sum();
    Word(readers | u64::from(writer) << 24 | turn.map_or(0, |turn| turn + 1) << 25 | waiting)
}

const READ: bool = false;
const WRITE: bool = true;

#[test]
fn one_writer_or_any_readers_are_in_and_those_who_wait_come_in_turn() {
    let nobody = Word::default();
    let rows = [
        // before, slot, mode, looks, after (`None`: refused)
        (nobody, 3, READ, 0, Some(word(1, false, None, &[]))),
        (nobody, 3, WRITE, 0, Some(word(0, true, None, &[]))),
        (word(5, false, None, &[]), 3, READ, 0, Some(word(6, false, None, &[]))),
        (word(5, false, None, &[]), 3, WRITE, 0, None),
        (word(0, true, None, &[]), 3, READ, 0, None),
        (word(0, true, None, &[]), 3, WRITE, 0, None),
        // A reader holds back while somebody else waits.
        (word(5, false, Some(1), &[1]), 3, READ, 0, None),
        (word(5, false, Some(1), &[1, 3]), 3, READ, 1, None),
        // And while others of its slot do.
        (word(5, false, Some(3), &[3]), 3, READ, 0, None),
        // Whose turn it is comes in: a reader has the next one come, too, and a writer waits for the readers to leave.
        (word(5, false, Some(3), &[1, 3]), 3, READ, 1, Some(word(6, false, Some(1), &[1]))),
        (word(5, false, Some(3), &[3]), 3, READ, 1, Some(word(6, false, None, &[]))),
        (word(1, false, Some(3), &[1, 3]), 3, WRITE, 1, None),
        (word(0, false, Some(3), &[1, 3]), 3, WRITE, 1, Some(word(0, true, None, &[1]))),
        (word(0, false, Some(31), &[31]), 31, WRITE, 1, Some(word(0, true, None, &[]))),
        // A turn that nobody takes.
        (word(0, false, Some(1), &[1, 3]), 3, READ, LOOKS_MAX, None),
        (word(0, false, Some(1), &[1, 3]), 3, READ, LOOKS_MAX + 1, Some(word(1, false, Some(1), &[1]))),
        (word(0, false, Some(1), &[1, 3]), 3, WRITE, LOOKS_MAX + 1, Some(word(0, true, None, &[1]))),
    ];
    for (before, slot, mode, looks, after) in rows {
        assert_eq!(before.taken(slot, mode, looks), after, "{before:x?} {slot} {mode} {looks}");
    }
    let waits = [
        (word(0, true, None, &[]), 3, word(0, true, None, &[3])),
        (word(2, false, None, &[]), 3, word(2, false, Some(3), &[3])),
        (word(2, false, Some(3), &[3]), 1, word(2, false, Some(3), &[1, 3])),
    ];
    for (before, slot, after) in waits {
        assert_eq!(before.waited_for(slot), after, "{before:x?}");
    }
    let leaves = [
        (word(0, true, None, &[]), 3, WRITE, nobody),
        (word(0, true, None, &[1, 3, 7]), 3, WRITE, word(0, false, Some(7), &[1, 3, 7])),
        (word(0, true, None, &[1, 3]), 3, WRITE, word(0, false, Some(1), &[1, 3])),
        (word(0, true, None, &[3]), 3, WRITE, word(0, false, Some(3), &[3])),
        (word(0, true, None, &[0]), 31, WRITE, word(0, false, Some(0), &[0])),
        (word(2, false, Some(3), &[3]), 1, READ, word(1, false, Some(3), &[3])),
    ];
    for (before, slot, mode, after) in leaves {
        assert_eq!(before.given_back(slot, mode), after, "{before:x?}");
    }
    let resigns = [
        (word(1, false, Some(3), &[3]), word(1, false, None, &[])),
        (word(1, false, Some(3), &[1, 3]), word(1, false, Some(1), &[1])),
        (word(1, false, Some(1), &[1, 3]), word(1, false, Some(1), &[1])),
        (word(0, true, None, &[3]), word(0, true, None, &[])),
        (word(0, false, Some(1), &[1]), word(0, false, Some(1), &[1])),
    ];
    for (before, after) in resigns {
        assert_eq!(before.resigned(3), after, "{before:x?}");
    }
}

/// Stripes of the tests, of 4 KiB.
const STRIPES: usize = 8;

fn claimants<const N: usize>() -> [Claimant; N] {
    let claims = Arc::new(Claims::with_stripes(STRIPES, 4096));
    std::array::from_fn(|_| claims.claimant())
}

/// A claim to stripes, counted from the first of the file.
fn claim(claimant: &Claimant, stripes: std::ops::Range<u64>, mode: bool) -> Claim {
    claimant.claim(&(stripes.start * 4096..stripes.end * 4096), mode)
}

#[test]
fn claims_are_to_every_stripe_that_they_touch() {
    let claims = Arc::new(Claims::new(1 << 20, 512));
    let (one, other) = (claims.claimant(), claims.claimant());
    let rows = [
        (512..1024, 0..512, true),
        (0..4096, 4096..8192, false),
        (4095..4097, 8191..8192, true),
        (0..1 << 20, (1 << 20) - 512..1 << 20, true),
        (8192..12288, 4096..8192, false),
    ];
    for (held, wanted, meet) in rows {
        let mut first = one.claim(&held, WRITE);
        assert!(one.take(&mut first));
        let mut second = other.claim(&wanted, READ);
        assert_eq!(other.take(&mut second), !meet, "{held:?} {wanted:?}");
        one.give_back(&mut first);
        assert!(other.take(&mut second), "{held:?} {wanted:?}");
        other.give_back(&mut second);
    }
    // Stripes are no smaller than blocks.
    let claims = Arc::new(Claims::new(1 << 20, 64 << 10));
    let (one, other) = (claims.claimant(), claims.claimant());
    assert!(one.take(&mut one.claim(&(0..64 << 10), WRITE)));
    assert!(!other.take(&mut other.claim(&(32 << 10..36 << 10), READ)));
}

#[test]
fn claims_that_go_around_the_end_do_not_wait_in_a_circle() {
    let [one, other] = claimants();
    // Both touch the last and the first: the lower index comes first for both.
    let (mut around, mut ahead) = (claim(&one, 7..9, WRITE), claim(&other, 8..16, WRITE));
    assert!(one.take(&mut around));
    assert!(!other.take(&mut ahead));
    one.give_back(&mut around);
    let mut again = claim(&one, 15..17, WRITE);
    assert!(!one.take(&mut again), "it is the other one's turn");
    assert!(other.take(&mut ahead));
    assert!(!one.take(&mut again));
    other.give_back(&mut ahead);
    assert!(one.take(&mut again));
}

#[test]
fn who_gives_up_leaves_nothing_behind() {
    let [one, other, third] = claimants();
    let (mut held, mut waits) = (claim(&one, 3..4, WRITE), claim(&other, 1..5, WRITE));
    assert!(one.take(&mut held) && !other.take(&mut waits));
    // It has 1 and 2, and waits for 3.
    let mut behind = claim(&third, 2..3, READ);
    assert!(!third.take(&mut behind));
    other.give_back(&mut waits);
    assert!(third.take(&mut behind));
    one.give_back(&mut held);
    third.give_back(&mut behind);
    // Also when it was its turn.
    let (mut held, mut waits) = (claim(&one, 3..4, READ), claim(&other, 3..4, WRITE));
    assert!(one.take(&mut held) && !other.take(&mut waits));
    let mut behind = claim(&third, 3..4, READ);
    assert!(!third.take(&mut behind));
    other.give_back(&mut waits);
    assert!(third.take(&mut behind));
}

#[test]
fn nobody_is_kept_out_by_others_that_come_again_and_again() {
    for (busy, patient) in [(READ, WRITE), (WRITE, READ), (WRITE, WRITE)] {
        let [one, other, third] = claimants();
        let mut busy_ones =
            [(&one, claim(&one, 3..4, busy), false), (&other, claim(&other, 3..4, busy), false)];
        let mut patient_one = claim(&third, 3..4, patient);
        let mut rounds = 0;
        // Whoever is busy is always tried first, and comes again before the other one has left.
        loop {
            for (claimant, claim_of_it, has_it) in &mut busy_ones {
                if *has_it {
                    claimant.give_back(claim_of_it);
                    *claim_of_it = claim(claimant, 3..4, busy);
                }
                *has_it = claimant.take(claim_of_it);
            }
            if third.take(&mut patient_one) {
                break;
            }
            rounds += 1;
            assert!(rounds < 4, "{busy} {patient}");
        }
    }
}

/// A claim of the schedule, and the steps since it was made.
struct Job {
    claim: Claim,
    stripes: std::ops::Range<u64>,
    mode: bool,
    steps: u32,
}

/// A channel of the schedule: what waits, in the order in which it is tried, and what has all of its claim.
struct Lane {
    claimant: Claimant,
    waiting: VecDeque<Job>,
    held: Vec<Job>,
}

impl Lane {
    /// Tries all that wait; each that comes in must be alone there, or among readers.
    fn poll(&mut self, inside: &mut [(u32, u32); STRIPES]) -> u32 {
        let mut longest = 0;
        for _ in 0..self.waiting.len() {
            let mut job = self.waiting.pop_front().unwrap();
            if !self.claimant.take(&mut job.claim) {
                self.waiting.push_back(job);
                continue;
            }
            for stripe in job.stripes.clone() {
                let (readers, writers) = &mut inside[place(stripe)];
                let (before, count) =
                    ((*readers, *writers), if job.mode == WRITE { writers } else { readers });
                *count += 1;
                assert!(before == (0, 0) || job.mode == READ && before.1 == 0, "{stripe}");
            }
            longest = longest.max(job.steps);
            self.held.push(job);
        }
        longest
    }

    fn finish(&mut self, at: usize, inside: &mut [(u32, u32); STRIPES]) {
        let mut job = self.held.swap_remove(at);
        for stripe in job.stripes {
            let (readers, writers) = &mut inside[place(stripe)];
            *(if job.mode == WRITE { writers } else { readers }) -= 1;
        }
        self.claimant.give_back(&mut job.claim);
    }
}

fn place(stripe: u64) -> usize {
    usize::try_from(stripe).unwrap() % STRIPES
}

/// Steps of a schedule in which claims are made.
const STEPS: u32 = 20_000;

/// Claims of one channel at a time.
const DEPTH: usize = 4;

/// Random claims of so many channels, some given up; returns how many steps one waited at most.
fn schedule(lanes: usize, seed: u64) -> u32 {
    let claims = Arc::new(Claims::with_stripes(STRIPES, 4096));
    let lane = |_| Lane { claimant: claims.claimant(), waiting: VecDeque::new(), held: Vec::new() };
    let mut lanes: Vec<_> = (0..lanes).map(lane).collect();
    let (mut random, mut inside) = (Random::new(seed), [(0, 0); STRIPES]);
    let (mut longest, mut step) = (0, 0);
    loop {
        step += 1;
        let at = usize::try_from(random.up_to(lanes.len() as u64 - 1)).unwrap();
        let lane = &mut lanes[at];
        match random.up_to(15) {
            0..5 if step < STEPS && lane.waiting.len() + lane.held.len() < DEPTH => {
                let first = random.up_to(3 * STRIPES as u64);
                let stripes = first..first + 1 + random.up_to(2);
                let mode = random.up_to(2) == 0;
                let claim = claim(&lane.claimant, stripes.clone(), mode);
                lane.waiting.push_back(Job { claim, stripes, mode, steps: 0 });
            }
            5 if step < STEPS && !lane.waiting.is_empty() => {
                let last = lane.waiting.len() as u64 - 1;
                let mut job = lane.waiting.remove(usize::try_from(random.up_to(last)).unwrap()).unwrap();
                lane.claimant.give_back(&mut job.claim);
            }
            6..11 if !lane.held.is_empty() => lane.finish(0, &mut inside),
            _ => longest = longest.max(lane.poll(&mut inside)),
        }
        lanes.iter_mut().flat_map(|lane| &mut lane.waiting).for_each(|job| job.steps += 1);
        let over = lanes.iter().all(|lane| lane.waiting.is_empty() && lane.held.is_empty());
        if step >= STEPS && over {
            break;
        }
        assert!(
            step < 2 * STEPS,
            "somebody waits for ever: {lanes} channels, seed {seed}",
            lanes = lanes.len()
        );
    }
    assert!(lanes[0].claimant.take(&mut claim(&lanes[0].claimant, 0..STRIPES as u64, WRITE)), "all is free");
    longest
}

#[test]
fn everybody_comes_in_and_no_writer_meets_anybody_in_any_schedule() {
    for (lanes, most) in [(2, 400), (5, 2500), (10, 10_000)] {
        for seed in 0..10 {
            let longest = schedule(lanes, seed);
            println!("{lanes} channels, seed {seed}: waited {longest} steps at most");
            assert!(longest < most, "{lanes} channels, seed {seed}");
        }
    }
    // More than there are slots: those who share one come in as chance has it, but all do.
    schedule(40, 0);
}

#[test]
fn who_does_not_come_for_its_turn_is_passed_over_unless_others_are_still_inside() {
    let [gone, one, other] = claimants();
    let (mut inside, mut lost) = (claim(&one, 3..4, READ), claim(&gone, 3..4, WRITE));
    assert!(one.take(&mut inside) && !gone.take(&mut lost));
    let mut waits = claim(&other, 3..4, READ);
    for _ in 0..10 * LOOKS_MAX {
        assert!(!other.take(&mut waits), "the writer waits for the reader, as it should");
    }
    one.give_back(&mut inside);
    assert_eq!((0..=LOOKS_MAX).filter(|_| other.take(&mut waits)).count(), 1);
    other.give_back(&mut waits);
    // It still waits, and comes next.
    assert!(!one.take(&mut claim(&one, 3..4, READ)));
    assert!(gone.take(&mut lost));
}

#[test]
fn threads_that_claim_the_same_stripe_count_together() {
    const ROUNDS: u64 = 5000;
    let claims = Arc::new(Claims::with_stripes(STRIPES, 4096));
    // Counted in two steps, which another one in between would spoil.
    let count = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (claimant, count) = (claims.claimant(), &count);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let mut claim = claim(&claimant, 6..10, WRITE);
                    while !claimant.take(&mut claim) {
                        std::thread::yield_now();
                    }
                    let before = count.load(Ordering::Relaxed);
                    count.store(before + 1, Ordering::Relaxed);
                    claimant.give_back(&mut claim);
                }
            });
        }
    });
    assert_eq!(count.into_inner(), 3 * ROUNDS);
}
