//! Many commands in flight on one channel.

use std::collections::BTreeMap;

use super::{
    Subject,
    rig::{Rig, contents_of, pattern},
};
use crate::{
    bdev::{BdevError, Blocks, Command, Tag},
    mem,
};

/// Commands in flight at once: less than any backend holds.
const DEPTH: u32 = 32;

/// Bytes that are cleared at most.
const CLEARED_MAX: u64 = 32 << 20;

pub(super) fn run(subject: &Subject<'_>) {
    each_command_completes_once_with_its_own_result(&mut Rig::new(subject));
    clearing_much_completes_like_clearing_little(&mut Rig::new(subject));
    an_aborted_command_completes_once(&mut Rig::new(subject));
}

fn each_command_completes_once_with_its_own_result(rig: &mut Rig<'_>) {
    let bytes = pattern(1, rig.bytes_of(DEPTH));
    let block = rig.bytes_of(1);
    let mut expected = BTreeMap::new();
    for (index, bytes) in (0..).zip(bytes.chunks(block)) {
        let from = [rig.filled(bytes)];
        // Every fourth one misses the device.
        let (first, result) = match index % 4 {
            3 => (rig.geometry.blocks + index, Err(BdevError::OutOfRange)),
            _ => (index, Ok(())),
        };
        let blocks = Blocks { first, count: 1 };
        let tag = rig.submit(&Command::Write { blocks, from: &from, force_unit_access: false });
        assert!(expected.insert(tag, result).is_none());
    }
    assert_eq!(BTreeMap::from_iter(rig.settle()), expected);
    rig.reuse();

    let mut reads = Vec::new();
    for first in 0..u64::from(DEPTH) {
        let into = rig.buffer(block);
        rig.submit(&Command::Read { blocks: Blocks { first, count: 1 }, into: &[into] });
        reads.push((first, into));
    }
    let completions = rig.settle();
    assert_eq!(completions.len(), reads.len());
    assert!(completions.iter().all(|(_, result)| result.is_ok()));
    let kept = rig.kept(&bytes);
    for ((first, into), kept) in reads.into_iter().zip(kept.chunks(block)) {
        if first % 4 != 3 {
            assert!(contents_of(into.read_only()) == kept, "block {first}");
        }
    }
}

fn clearing_much_completes_like_clearing_little(rig: &mut Rig<'_>) {
    if !rig.features().write_zeroes || !rig.features().deallocate {
        return;
    }
    let count = CLEARED_MAX / u64::from(rig.geometry.block_size);
    let count = u32::try_from(count.min(rig.geometry.blocks - 1)).unwrap();
    let bytes = pattern(2, rig.bytes_of(1));
    let mut tags = Vec::new();
    for first in [0, u64::from(count / 2), u64::from(count - 1), u64::from(count)] {
        rig.write(first, &bytes);
    }
    // From 1 on, so that nothing is aligned.
    let blocks = Blocks { first: 1, count: count - 1 };
    tags.push(rig.submit(&Command::WriteZeroes { blocks, deallocate: false, force_unit_access: false }));
    tags.push(rig.submit(&Command::Deallocate { ranges: &[blocks, Blocks { first: 1, count: 0 }, blocks] }));
    tags.push(rig.submit(&Command::Deallocate { ranges: &[] }));
    tags.push(rig.submit(&Command::WriteZeroes { blocks, deallocate: true, force_unit_access: true }));
    let mut completions = rig.settle();
    completions.sort_unstable_by_key(|&(Tag(tag), _)| tag.wrapping_add(1));
    assert_eq!(completions, tags.into_iter().map(|tag| (tag, Ok(()))).collect::<Vec<_>>());
    let kept = rig.kept(&bytes);
    assert!(rig.read(0, 1) == kept);
    assert!(rig.read(u64::from(count), 1) == kept);
    for first in [u64::from(count / 2), u64::from(count - 1)] {
        assert!(rig.read(first, 1).iter().all(|&byte| byte == 0), "block {first} of {count}");
    }
}

fn an_aborted_command_completes_once(rig: &mut Rig<'_>) {
    assert!(!rig.abort(Tag(12345)), "an unknown tag cannot be aborted");
    let bytes = pattern(3, rig.bytes_of(1));
    rig.write(0, &bytes);
    let other = vec![0x77; bytes.len()];
    let from = [rig.filled(&other)];
    let blocks = Blocks { first: 0, count: 1 };
    let tag = rig.submit(&Command::Write { blocks, from: &from, force_unit_access: false });
    let followed = rig.abort(tag);
    let completions = rig.settle();
    rig.reuse();
    let kept = match completions[..] {
        [(completed, Ok(()))] if completed == tag => rig.kept(&other),
        [(completed, Err(BdevError::Aborted))] if completed == tag && followed => rig.kept(&bytes),
        _ => panic!("{completions:?}"),
    };
    assert!(rig.read(0, 1) == kept);
    assert!(!rig.abort(tag), "a completed command cannot be aborted");
    mem::zero(rig.buffer(1));
    rig.reuse();
}
