//! Commands that move no data of the host: Verify, Write Uncorrectable, and Copy.

use super::{
    Contents, Subject,
    rig::{Rig, pattern},
};
use crate::bdev::{Access, BdevError, Blocks, Command};

const UNREADABLE: Result<(), BdevError> = Err(BdevError::Media { access: Access::Read });

pub(super) fn run(subject: &Subject<'_>) {
    a_verify_succeeds_and_changes_nothing(&mut Rig::new(subject));
    unreadable_blocks_fail_until_they_have_new_contents(&mut Rig::new(subject));
    a_copy_puts_its_ranges_behind_each_other(&mut Rig::new(subject));
    a_copy_that_is_too_long_changes_nothing(&mut Rig::new(subject));
}

fn range(first: u64, count: u32) -> Blocks {
    Blocks { first, count }
}

fn a_verify_succeeds_and_changes_nothing(rig: &mut Rig<'_>) {
    let bytes = pattern(1, rig.bytes_of(20));
    rig.write(3, &bytes);
    for blocks in [range(3, 20), range(7, 1), range(0, 64)] {
        let expected = if rig.features().verify { Ok(()) } else { Err(BdevError::Unsupported) };
        assert_eq!(rig.run(&Command::Verify { blocks }), expected, "{blocks:?}");
    }
    let kept = rig.kept(&bytes);
    assert!(rig.read(3, 20) == kept);
}

/// What every command that reads these blocks answers.
fn assert_reads(rig: &mut Rig<'_>, blocks: Blocks, expected: Result<(), BdevError>) {
    let into = [rig.buffer(rig.bytes_of(blocks.count))];
    assert_eq!(rig.run(&Command::Read { blocks, into: &into }), expected, "read {blocks:?}");
    assert_eq!(rig.lend(blocks).filter(|_| expected.is_err()), None, "lend {blocks:?}");
    let with = [into[0].read_only()];
    if rig.features().compare {
        assert_eq!(rig.run(&Command::Compare { blocks, with: &with }), expected, "compare {blocks:?}");
    }
    if rig.features().verify {
        assert_eq!(rig.run(&Command::Verify { blocks }), expected, "verify {blocks:?}");
    }
    if rig.features().copy.is_some_and(|limits| blocks.count <= limits.range_blocks.min(limits.blocks)) {
        let copy = Command::Copy { ranges: &[blocks], to: 0, force_unit_access: false };
        assert_eq!(rig.run(&copy), expected, "copy {blocks:?}");
    }
    rig.reuse();
}

fn unreadable_blocks_fail_until_they_have_new_contents(rig: &mut Rig<'_>) {
    // Blocks 16 to 31; a copy goes to those from 0 on.
    let (first, count) = (16, 16);
    let bytes = pattern(2, rig.bytes_of(count));
    rig.write(first, &bytes);
    let spoil = Command::WriteUncorrectable { blocks: range(20, 8) };
    if !rig.features().write_uncorrectable {
        assert_eq!(rig.run(&spoil), Err(BdevError::Unsupported));
        assert_reads(rig, range(20, 8), Ok(()));
        return;
    }
    assert_eq!(rig.contents, Contents::Kept, "what is forgotten cannot be unreadable");
    assert_eq!(rig.run(&spoil), Ok(()));
    for blocks in [range(20, 8), range(16, 5), range(27, 3), range(23, 1)] {
        assert_reads(rig, blocks, UNREADABLE);
    }
    for blocks in [range(16, 4), range(28, 4)] {
        assert_reads(rig, blocks, Ok(()));
    }
    // Each way to give a block new contents makes that block readable, and no other.
    let block = pattern(3, rig.bytes_of(1));
    rig.write(20, &block);
    if rig.features().write_zeroes {
        let zeroes =
            Command::WriteZeroes { blocks: range(21, 1), deallocate: false, force_unit_access: false };
        assert_eq!(rig.run(&zeroes), Ok(()));
        assert_reads(rig, range(20, 2), Ok(()));
    }
    if rig.features().deallocate && rig.features().deallocated_reads_zeros {
        assert_eq!(rig.run(&Command::Deallocate { ranges: &[range(22, 1)] }), Ok(()));
        assert_reads(rig, range(22, 1), Ok(()));
    }
    if rig.features().copy.is_some() {
        let copy = Command::Copy { ranges: &[range(20, 1)], to: 23, force_unit_access: false };
        assert_eq!(rig.run(&copy), Ok(()));
        assert!(rig.read(23, 1) == block);
    }
    assert_reads(rig, range(24, 4), UNREADABLE);
    // Again, over what is unreadable and what is not; then nothing is.
    assert_eq!(rig.run(&Command::WriteUncorrectable { blocks: range(26, 4) }), Ok(()));
    assert_reads(rig, range(29, 1), UNREADABLE);
    rig.write(first, &bytes);
    assert_reads(rig, range(first, count), Ok(()));
    assert!(rig.read(first, count) == bytes);
}

fn a_copy_puts_its_ranges_behind_each_other(rig: &mut Rig<'_>) {
    let Some(limits) = rig.features().copy else {
        let copy = Command::Copy { ranges: &[range(0, 1)], to: 8, force_unit_access: false };
        assert_eq!(rig.run(&copy), Err(BdevError::Unsupported));
        return;
    };
    let lists: [&[Blocks]; 5] = [
        &[],
        &[range(3, 1)],
        &[range(0, 16)],
        &[range(9, 3), range(0, 1), range(9, 3)],
        &[range(5, 1), range(4, 1), range(3, 1), range(2, 4)],
    ];
    let bytes = pattern(4, rig.bytes_of(32));
    for (force_unit_access, ranges) in [false, true].into_iter().flat_map(|fua| lists.map(|list| (fua, list)))
    {
        let total: u32 = ranges.iter().map(|blocks| blocks.count).sum();
        let longest = ranges.iter().map(|blocks| blocks.count).max().unwrap_or(0);
        if longest > limits.range_blocks || total > limits.blocks || ranges.len() > usize::from(limits.ranges)
        {
            continue;
        }
        rig.write(0, &bytes);
        rig.write(32, &bytes);
        assert_eq!(rig.run(&Command::Copy { ranges, to: 40, force_unit_access }), Ok(()), "{ranges:?}");
        let mut expected = bytes.clone();
        let mut at = rig.bytes_of(8);
        for blocks in ranges {
            let from = rig.bytes_of(u32::try_from(blocks.first).unwrap());
            let copied = rig.bytes_of(blocks.count);
            expected[at..at + copied].copy_from_slice(&bytes[from..from + copied]);
            at += copied;
        }
        let (sources, copied) = (rig.kept(&bytes), rig.kept(&expected));
        assert!(rig.read(0, 32) == sources, "{ranges:?} changed what it reads");
        assert!(rig.read(32, 32) == copied, "{ranges:?}");
    }
}

fn a_copy_that_is_too_long_changes_nothing(rig: &mut Rig<'_>) {
    let Some(limits) = rig.features().copy else { return };
    let bytes = pattern(5, rig.bytes_of(64));
    rig.write(0, &bytes);
    let end = rig.geometry.blocks;
    let one = [range(0, 1)];
    let many = vec![range(0, 0); usize::from(limits.ranges.saturating_add(1).min(1 << 10))];
    let rows: [(&[Blocks], u64, BdevError); 7] = [
        (&[range(end, 1)], 8, BdevError::OutOfRange),
        (&[range(0, 1), range(end - 1, 2)], 8, BdevError::OutOfRange),
        (&one, end, BdevError::OutOfRange),
        (&one, u64::MAX, BdevError::OutOfRange),
        (&[range(0, 2)], end - 1, BdevError::OutOfRange),
        (&[range(0, u32::MAX), range(0, 2)], 8, BdevError::OutOfRange),
        (&many, 8, BdevError::Length),
    ];
    for (ranges, to, expected) in rows {
        if expected == BdevError::Length && many.len() <= usize::from(limits.ranges) {
            continue;
        }
        let copy = Command::Copy { ranges, to, force_unit_access: false };
        assert_eq!(rig.run(&copy), Err(expected), "{ranges:?} to {to}");
    }
    for (count, times) in [(limits.range_blocks.saturating_add(1), 1), (limits.blocks, 2)] {
        let longer = u64::from(count) * times;
        if longer <= end / 2 && longer > u64::from(limits.range_blocks.min(limits.blocks)) {
            let ranges = vec![range(0, count); usize::try_from(times).unwrap()];
            let copy = Command::Copy { ranges: &ranges, to: end / 2, force_unit_access: false };
            assert_eq!(rig.run(&copy), Err(BdevError::Length), "{ranges:?}");
        }
    }
    let kept = rig.kept(&bytes);
    assert!(rig.read(0, 64) == kept);
}
