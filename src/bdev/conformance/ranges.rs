//! Every command at the end of the device, beyond it, with nothing in it, and with the wrong length.

use super::{
    Subject,
    rig::{Rig, contents_of, pattern},
};
use crate::bdev::{BdevError, Blocks, Command};

pub(super) fn run(subject: &Subject<'_>) {
    ranges_beyond_the_end_are_refused(&mut Rig::new(subject));
    empty_ranges_succeed_where_the_device_is(&mut Rig::new(subject));
    a_bad_range_spoils_the_whole_deallocate(&mut Rig::new(subject));
    lists_of_the_wrong_length_are_refused(&mut Rig::new(subject));
}

/// The features that a command depends on.
fn supported(rig: &Rig<'_>, command: &Command<'_>) -> bool {
    match command {
        Command::Read { .. } | Command::Write { .. } => true,
        Command::Flush => rig.features().flush,
        Command::WriteZeroes { .. } => rig.features().write_zeroes,
        Command::Deallocate { .. } => rig.features().deallocate,
        Command::Compare { .. } => rig.features().compare,
        Command::Verify { .. } => rig.features().verify,
        Command::WriteUncorrectable { .. } => rig.features().write_uncorrectable,
        Command::Copy { .. } => rig.features().copy.is_some(),
    }
}

/// Every command with `blocks` and `bytes` of data, whose result must be `expected`.
fn assert_all(rig: &mut Rig<'_>, blocks: Blocks, bytes: usize, expected: Result<(), BdevError>) {
    let into = rig.buffer(bytes);
    crate::mem::copy_in(&vec![0; bytes], into);
    let (into, from) = ([into], [into.read_only()]);
    let commands = [
        Command::Read { blocks, into: &into },
        Command::Write { blocks, from: &from, force_unit_access: false },
        Command::WriteZeroes { blocks, deallocate: true, force_unit_access: false },
        Command::Deallocate { ranges: &[blocks] },
        Command::Compare { blocks, with: &from },
        Command::Verify { blocks },
        Command::WriteUncorrectable { blocks },
        Command::Copy { ranges: &[blocks], to: 0, force_unit_access: false },
    ];
    for (index, command) in commands.iter().enumerate() {
        let result = rig.run(command);
        let expected = if supported(rig, command) { expected } else { Err(BdevError::Unsupported) };
        assert_eq!(result, expected, "command {index} of {blocks:?}");
    }
    assert!(contents_of(into[0].read_only()).iter().all(|&byte| byte == 0));
    rig.assert_guarded(into[0]);
    rig.reuse();
}

fn ranges_beyond_the_end_are_refused(rig: &mut Rig<'_>) {
    let end = rig.geometry.blocks;
    let bytes = pattern(1, rig.bytes_of(2));
    rig.write(end - 2, &bytes);
    let rows = [
        (end, 1),
        (end - 1, 2),
        (end - 2, 3),
        (end + 1, 1),
        (u64::MAX, 1),
        (u64::MAX, 2),
        (u64::MAX - 1, 1),
        (u64::MAX - 1, 2),
        (u64::MAX - u64::from(u32::MAX), u32::MAX),
        (u64::MAX - u64::from(u32::MAX) + 2, u32::MAX),
        (u64::MAX / u64::from(rig.geometry.block_size) + 1, 1),
    ];
    for (first, count) in rows {
        let data = rig.bytes_of(count.min(4));
        assert_all(rig, Blocks { first, count }, data, Err(BdevError::OutOfRange));
    }
    let expected = rig.kept(&bytes);
    assert!(rig.read(end - 2, 2) == expected, "a refused command changes nothing");
}

fn empty_ranges_succeed_where_the_device_is(rig: &mut Rig<'_>) {
    let end = rig.geometry.blocks;
    let bytes = pattern(2, rig.bytes_of(1));
    rig.write(0, &bytes);
    rig.write(end - 1, &bytes);
    for first in [0, 1, end - 1, end] {
        assert_all(rig, Blocks { first, count: 0 }, 0, Ok(()));
    }
    for first in [end + 1, u64::MAX] {
        assert_all(rig, Blocks { first, count: 0 }, 0, Err(BdevError::OutOfRange));
    }
    let blocks = Blocks { first: 0, count: 0 };
    assert_eq!(rig.run(&Command::Read { blocks, into: &[] }), Ok(()));
    assert_eq!(rig.run(&Command::Write { blocks, from: &[], force_unit_access: true }), Ok(()));
    let expected = rig.kept(&bytes);
    assert!(rig.read(0, 1) == expected);
    assert!(rig.read(end - 1, 1) == expected);
}

fn a_bad_range_spoils_the_whole_deallocate(rig: &mut Rig<'_>) {
    if !rig.features().deallocate {
        return;
    }
    let bytes = pattern(3, rig.bytes_of(4));
    rig.write(0, &bytes);
    let ranges = [Blocks { first: 0, count: 4 }, Blocks { first: rig.geometry.blocks, count: 1 }];
    assert_eq!(rig.run(&Command::Deallocate { ranges: &ranges }), Err(BdevError::OutOfRange));
    let expected = rig.kept(&bytes);
    assert!(rig.read(0, 4) == expected);
}

fn lists_of_the_wrong_length_are_refused(rig: &mut Rig<'_>) {
    let bytes = pattern(4, rig.bytes_of(2));
    rig.write(0, &bytes);
    let block = rig.bytes_of(1);
    for length in [0, 1, block, 2 * block - 1, 2 * block + 1, 3 * block] {
        let into = [rig.buffer(length)];
        let from = [into[0].read_only()];
        let blocks = Blocks { first: 0, count: 2 };
        let write = Command::Write { blocks, from: &from, force_unit_access: false };
        for command in
            [Command::Read { blocks, into: &into }, write, Command::Compare { blocks, with: &from }]
        {
            if supported(rig, &command) {
                assert_eq!(rig.run(&command), Err(BdevError::Length), "{length} bytes");
            }
        }
        rig.reuse();
    }
    let expected = rig.kept(&bytes);
    assert!(rig.read(0, 2) == expected);
}
