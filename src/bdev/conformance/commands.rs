//! Each command alone.

use super::{
    Contents, Subject,
    rig::{Rig, pattern},
};
use crate::bdev::{BdevError, Blocks, Command, Geometry};

pub(super) fn run(subject: &Subject<'_>) {
    the_geometry_is_possible(&mut Rig::new(subject));
    what_is_written_is_read(&mut Rig::new(subject));
    a_flush_succeeds(&mut Rig::new(subject));
    zeroes_leave_the_neighbours(&mut Rig::new(subject));
    deallocated_blocks_read_as_zeros(&mut Rig::new(subject));
    a_compare_finds_every_difference(&mut Rig::new(subject));
    what_is_lent_is_what_is_read(&mut Rig::new(subject));
}

fn the_geometry_is_possible(rig: &mut Rig<'_>) {
    let Geometry { block_size, blocks, .. } = rig.geometry;
    assert_eq!(Geometry::divide(rig.geometry.bytes(), block_size), Ok(blocks));
}

fn what_is_written_is_read(rig: &mut Rig<'_>) {
    let last = rig.geometry.blocks - 3;
    for (first, force_unit_access) in [(0, false), (7, true), (last, false), (last, true)] {
        let bytes = pattern(first ^ u64::from(force_unit_access), rig.bytes_of(3));
        let from = [rig.filled(&bytes)];
        let blocks = Blocks { first, count: 3 };
        rig.run(&Command::Write { blocks, from: &from, force_unit_access }).unwrap();
        rig.reuse();
        let expected = rig.kept(&bytes);
        assert!(rig.read(first, 3) == expected, "{first} {force_unit_access}");
        assert!(rig.read(first + 1, 1) == expected[rig.bytes_of(1)..rig.bytes_of(2)]);
    }
}

fn a_flush_succeeds(rig: &mut Rig<'_>) {
    let bytes = pattern(1, rig.bytes_of(1));
    rig.write(5, &bytes);
    let expected = if rig.features().flush { Ok(()) } else { Err(BdevError::Unsupported) };
    assert_eq!(rig.run(&Command::Flush), expected);
    let expected = rig.kept(&bytes);
    assert!(rig.read(5, 1) == expected);
}

fn zeroes_leave_the_neighbours(rig: &mut Rig<'_>) {
    let bytes = pattern(2, rig.bytes_of(32));
    for (first, count) in [(3, 1), (0, 8), (5, 17), (31, 1)] {
        for (deallocate, force_unit_access) in [(false, false), (true, false), (false, true), (true, true)] {
            rig.write(0, &bytes);
            let blocks = Blocks { first, count };
            let result = rig.run(&Command::WriteZeroes { blocks, deallocate, force_unit_access });
            if !rig.features().write_zeroes {
                assert_eq!(result, Err(BdevError::Unsupported));
                continue;
            }
            assert_eq!(result, Ok(()));
            let mut expected = rig.kept(&bytes);
            let start = rig.bytes_of(1) * usize::try_from(first).unwrap();
            expected[start..start + rig.bytes_of(count)].fill(0);
            assert!(rig.read(0, 32) == expected, "{first} {count} {deallocate}");
        }
    }
}

fn deallocated_blocks_read_as_zeros(rig: &mut Rig<'_>) {
    let range = |first, count| Blocks { first, count };
    let lists: [&[Blocks]; 5] = [
        &[],
        &[range(2, 0)],
        &[range(1, 1)],
        &[range(30, 2), range(0, 1), range(4, 0), range(8, 13)],
        &[range(3, 10), range(5, 20), range(3, 10)],
    ];
    let bytes = pattern(3, rig.bytes_of(32));
    for ranges in lists {
        rig.write(0, &bytes);
        let result = rig.run(&Command::Deallocate { ranges });
        if !rig.features().deallocate {
            assert_eq!(result, Err(BdevError::Unsupported));
            continue;
        }
        assert_eq!(result, Ok(()));
        let read = rig.read(0, 32);
        let kept = rig.kept(&bytes);
        for (block, (read, kept)) in (0..).zip(read.chunks(rig.bytes_of(1)).zip(kept.chunks(rig.bytes_of(1))))
        {
            let inside =
                |range: &&Blocks| (range.first..range.first + u64::from(range.count)).contains(&block);
            if ranges.iter().find(inside).is_none() {
                assert!(read == kept, "block {block} is not in {ranges:?}");
            } else if rig.features().deallocated_reads_zeros {
                assert!(read.iter().all(|&byte| byte == 0), "block {block} is in {ranges:?}");
            }
        }
    }
}

fn a_compare_finds_every_difference(rig: &mut Rig<'_>) {
    let bytes = pattern(4, rig.bytes_of(3));
    rig.write(9, &bytes);
    let kept = rig.kept(&bytes);
    let blocks = Blocks { first: 9, count: 3 };
    let compare = |rig: &mut Rig<'_>, bytes: &[u8]| {
        let with = [rig.filled(bytes)];
        let result = rig.run(&Command::Compare { blocks, with: &with });
        rig.reuse();
        result
    };
    if !rig.features().compare {
        assert_eq!(compare(rig, &kept), Err(BdevError::Unsupported));
        return;
    }
    assert_eq!(compare(rig, &kept), Ok(()));
    for at in [0, 1, rig.bytes_of(1) - 1, rig.bytes_of(1), rig.bytes_of(2) + 77, rig.bytes_of(3) - 1] {
        let mut other = kept.clone();
        other[at] ^= 0x10;
        assert_eq!(compare(rig, &other), Err(BdevError::Miscompare), "byte {at}");
    }
    assert!(rig.read(9, 3) == kept, "a compare changes nothing");
}

fn what_is_lent_is_what_is_read(rig: &mut Rig<'_>) {
    let bytes = pattern(5, rig.bytes_of(8));
    rig.write(16, &bytes);
    let end = rig.geometry.blocks;
    for (first, count) in [(16, 1), (16, 8), (18, 3), (0, 2), (end - 1, 1), (end - 20, 20)] {
        if let Some(lent) = rig.lend(Blocks { first, count }) {
            assert!(lent == rig.read(first, count), "{first} {count}");
        }
    }
    for (first, count) in [(end, 1), (end - 1, 2), (u64::MAX, 1), (u64::MAX, u32::MAX), (0, u32::MAX)] {
        if first.checked_add(u64::from(count)).is_none_or(|beyond| beyond > end) {
            assert!(rig.lend(Blocks { first, count }).is_none(), "{first} {count}");
        }
    }
    if rig.contents == Contents::Kept && rig.lend(Blocks { first: 16, count: 1 }).is_some() {
        let changed = pattern(6, rig.bytes_of(1));
        rig.write(16, &changed);
        assert!(rig.lend(Blocks { first: 16, count: 1 }).is_some_and(|lent| lent == changed));
    }
}
