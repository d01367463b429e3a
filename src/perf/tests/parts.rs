//! Stamps, the ledger, places and plans.

use std::collections::BTreeSet;

use super::fake::{SPACE, plan};
use crate::perf::ledger::Ledger;
use crate::perf::places::{Places, Random};
use crate::perf::stamp::Stamp;
use crate::perf::{Meaning, Pattern, Plan, PlanError, Space};

const STAMP: Stamp = Stamp { run: 5, nsid: 1, lba: 1234, generation: 3 };

fn block(stamp: Stamp) -> Vec<u8> {
    let mut block = vec![0xee; 512];
    stamp.fill(&mut block);
    block
}

#[test]
fn a_stamp_is_read_back_and_every_flipped_bit_is_found() {
    let good = block(STAMP);
    assert_eq!(Stamp::read(&good), Some(STAMP));
    assert_eq!(STAMP.check(&good, 3..=3), Ok(()));
    for byte in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[byte] ^= 1 << bit;
            let found = STAMP.check(&bad, 3..=3).unwrap_err();
            assert_eq!((found.lba, found.offset as usize), (1234, byte));
            assert_eq!((found.expected, found.got), (good[byte], bad[byte]));
            assert_eq!(found.meaning, Meaning::Flipped { bits: 1 });
        }
    }
}

#[test]
fn every_allowed_generation_passes_and_no_other() {
    for generation in 0..8 {
        let checked = STAMP.check(&block(Stamp { generation, ..STAMP }), 3..=5);
        assert_eq!(checked.is_ok(), (3..=5).contains(&generation), "{generation}");
    }
    let stale = STAMP.check(&block(Stamp { generation: 2, ..STAMP }), 3..=5).unwrap_err();
    assert_eq!(stale.meaning, Meaning::Stale { generation: 2, acknowledged: 3 });
    let words = stale.to_string();
    assert!(words.starts_with("namespace 1, LBA 1234, byte 20: expected 0x0"), "{words}");
    assert!(words.contains("write 2 of it, and write 3 was acknowledged"), "{words}");
}

#[test]
fn blocks_of_others_are_told_apart() {
    assert!(Stamp::is_ours(&block(STAMP)));
    assert!(Stamp::is_ours(&[0; 512]));
    assert!(!Stamp::is_ours(&[0xa5; 512]));
    assert!(!Stamp::is_ours(&[0x55; 8]), "a block shorter than a head");
    for other in [vec![0xa5; 512], vec![0; 512], block(Stamp { nsid: 2, ..STAMP })] {
        assert_eq!(STAMP.check(&other, 3..=3).unwrap_err().meaning, Meaning::Foreign);
    }
    for other in [Stamp { run: 6, ..STAMP }, Stamp { run: 6, lba: 7, generation: 0, ..STAMP }] {
        assert_eq!(STAMP.check(&block(other), 3..=3).unwrap_err().meaning, Meaning::OtherRun);
    }
}

#[test]
fn the_ledger_allows_what_may_be_there() {
    let mut ledger = Ledger::new(100, 4);
    assert!(ledger.is_unknown(101));
    assert_eq!(ledger.begin_write(101), 1);
    assert!(ledger.is_busy(101) && !ledger.is_busy(100));
    ledger.end(101, false);
    assert!(ledger.is_unknown(101), "a first write that failed may have left anything");
    assert_eq!(ledger.begin_write(101), 2);
    ledger.end(101, true);
    assert_eq!(ledger.allowed(101), 2..=2);
    assert_eq!(ledger.begin_write(101), 3);
    ledger.end(101, false);
    ledger.begin_read(101);
    assert_eq!(ledger.allowed(101), 2..=3, "old or new");
    ledger.end(101, false);
    assert_eq!(ledger.begin_write(101), 4);
    ledger.end(101, true);
    assert_eq!(ledger.allowed(101), 4..=4);
}

#[test]
fn sequences_wrap_and_random_places_are_even() {
    let mut random = Random::new(1, 0);
    let mut sequence = Places::new(Pattern::Sequential, 10, 3, 2);
    let places: Vec<_> = (0..5).map(|_| sequence.next(&mut random)).collect();
    assert_eq!(places, [12, 10, 11, 12, 10]);
    let mut spread = Places::new(Pattern::Random, 10, 16, 0);
    let mut counts = [0_u32; 16];
    for _ in 0..16_000 {
        counts[usize::try_from(spread.next(&mut random) - 10).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
}

#[test]
fn verified_regions_share_no_block_and_leave_none_out() {
    for connections in [1, 2, 3, 7, 64] {
        let plan = Plan { connections, ..plan() };
        let mut all = BTreeSet::new();
        for lane in 0..connections.into() {
            let (first, count) = plan.region(&SPACE, lane);
            assert!(count > 0);
            assert!((first..first + count).all(|unit| all.insert(unit)), "{connections}");
        }
        assert_eq!(all.len() as u64, plan.units(&SPACE));
    }
}

#[test]
fn impossible_plans_are_refused() {
    let good = plan();
    assert_eq!(good.check(&SPACE), Ok(()));
    let rows = [
        (Plan { block_bytes: 1000, ..good.clone() }, "not a multiple of the 512"),
        (Plan { block_bytes: 0, ..good.clone() }, "not a multiple"),
        (Plan { block_bytes: 1 << 18, ..good.clone() }, "more than the 131072"),
        (Plan { cores: vec![0, 1, 2], ..good.clone() }, "at least as many connections"),
        (Plan { block_bytes: 1 << 17, connections: 100, ..good.clone() }, "too few"),
    ];
    for (plan, part) in rows {
        let error: PlanError = plan.check(&SPACE).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let huge = Space { blocks: u64::MAX, ..SPACE };
    assert_eq!(good.units(&huge), Plan::VERIFIED_MAX);
}
