//! Random commands, several in flight at once, against an oracle.

use std::{
    collections::BTreeMap,
    env,
    hash::{BuildHasher, RandomState},
};

use corelane_reactors::buffer::SegmentMut;

use super::{
    Subject,
    oracle::Oracle,
    rig::{Rig, contents_of, pattern, read_only},
};
use crate::{
    bdev::{BdevError, Blocks, Command, Tag, random::Random},
    mem,
};

/// Rounds of one run; fewer when the blocks are large.
const ROUNDS_MAX: usize = 150;

/// Bytes of the rounds of one run, were each to use the whole window.
const ROUNDS_BYTES: usize = 64 << 20;

/// Parts of the device that are used at the same time: commands in flight have no order, so each keeps to
/// its own.
const LANES: u64 = 8;

/// Blocks of a lane.
const LANE_BLOCKS: u64 = 8;

pub(super) fn run(subject: &Subject<'_>) {
    let seed = match env::var("CORELANE_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => RandomState::new().hash_one("conformance"),
    };
    println!("CORELANE_SEED={seed}");
    let mut random = Random::new(seed);
    let mut rig = Rig::new(subject);
    work(&mut rig, &mut random, 0);
}

/// Random commands on `LANES * LANE_BLOCKS` blocks from `base` on, which are set to zeros first.
pub(super) fn work(rig: &mut Rig<'_>, random: &mut Random, base: u64) {
    let window = rig.bytes_of(1) * usize::try_from(LANES * LANE_BLOCKS).unwrap();
    let mut oracle = Oracle::new(window, rig.contents);
    rig.write(base, &vec![0; window]);
    for _ in 0..ROUNDS_MAX.min(ROUNDS_BYTES / window) {
        let mut expected = BTreeMap::new();
        let mut reads = Vec::new();
        for lane in 0..=random.up_to(LANES - 1) {
            let (tag, result, read) = start(rig, random, &mut oracle, base, lane);
            expected.insert(tag, result);
            reads.extend(read);
        }
        assert_eq!(BTreeMap::from_iter(rig.settle()), expected);
        for (at, target) in reads {
            assert!(contents_of(target.read_only()) == oracle.read(at, target.len()), "byte {at}");
            rig.assert_guarded(target);
        }
        rig.reuse();
    }
    let count = u32::try_from(LANES * LANE_BLOCKS).unwrap();
    assert!(rig.read(base, count) == oracle.read(0, window));
}

type Started = (Tag, Result<(), BdevError>, Option<(usize, SegmentMut)>);

/// Submits a random command on a lane; returns what must become of it.
fn start(rig: &mut Rig<'_>, random: &mut Random, oracle: &mut Oracle, base: u64, lane: u64) -> Started {
    let inside = random.up_to(LANE_BLOCKS - 1);
    let count = u32::try_from(random.up_to(LANE_BLOCKS - inside)).unwrap();
    let first = lane * LANE_BLOCKS + inside;
    let at = usize::try_from(first).unwrap() * rig.bytes_of(1);
    let blocks = Blocks { first: base + first, count };
    let bytes = rig.bytes_of(count);
    let buffer = rig.buffer(bytes);
    let cuts: Vec<_> = (0..random.up_to(4))
        .map(|_| usize::try_from(random.up_to(u64::try_from(bytes).unwrap())).unwrap())
        .collect();
    let list = rig.cut(buffer, &cuts);
    let from = read_only(&list);
    let force_unit_access = random.up_to(1) == 1;
    match random.up_to(8) {
        0 | 1 => {
            let data = pattern(random.next(), bytes);
            mem::copy_in(&data, buffer);
            oracle.write(at, &data);
            (rig.submit(&Command::Write { blocks, from: &from, force_unit_access }), Ok(()), None)
        }
        2 if rig.features().write_zeroes => {
            oracle.write(at, &vec![0; bytes]);
            let deallocate = random.up_to(1) == 1;
            (rig.submit(&Command::WriteZeroes { blocks, deallocate, force_unit_access }), Ok(()), None)
        }
        3 if rig.features().deallocate && rig.features().deallocated_reads_zeros => {
            oracle.write(at, &vec![0; bytes]);
            (rig.submit(&Command::Deallocate { ranges: &[blocks] }), Ok(()), None)
        }
        4 if rig.features().compare => {
            let mut data = oracle.read(at, bytes).to_vec();
            if bytes > 0 && random.up_to(1) == 1 {
                data[usize::try_from(random.next() % u64::try_from(bytes).unwrap()).unwrap()] ^= 1;
            }
            mem::copy_in(&data, buffer);
            let result = oracle.compare(at, &data);
            (rig.submit(&Command::Compare { blocks, with: &from }), result, None)
        }
        5 if rig.features().verify => (rig.submit(&Command::Verify { blocks }), Ok(()), None),
        6 if rig.features().copy.is_some() && inside > 0 => {
            // The beginning of the lane to what is behind it.
            let count = count.min(u32::try_from(inside).unwrap());
            let from = usize::try_from(lane * LANE_BLOCKS).unwrap() * rig.bytes_of(1);
            let data = oracle.read(from, rig.bytes_of(count)).to_vec();
            oracle.write(at, &data);
            let ranges = [Blocks { first: base + lane * LANE_BLOCKS, count }];
            let to = base + first;
            (rig.submit(&Command::Copy { ranges: &ranges, to, force_unit_access }), Ok(()), None)
        }
        _ => {
            mem::copy_in(&vec![0xEE; bytes], buffer);
            (rig.submit(&Command::Read { blocks, into: &list }), Ok(()), Some((at, buffer)))
        }
    }
}
