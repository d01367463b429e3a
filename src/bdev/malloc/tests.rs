//! The memory device: the conformance suite at several geometries, and what is its own.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::bdev::conformance::conformance;
use crate::mem;

#[test]
fn conforms() {
    for (bytes, block_size) in [(64 << 10, 512), (48 << 20, 512), (48 << 20, 4096), (16 << 20, 64 << 10)] {
        conformance(|| Arc::new(Malloc::new("ram", bytes, block_size).unwrap()));
        conformance(|| Arc::new(Malloc::new("ram", bytes, block_size).unwrap().for_one_reactor()));
    }
}

#[test]
fn conforms_with_atomic_writes() {
    for (bytes, block_size) in [(64 << 10, 512), (48 << 20, 4096), (16 << 20, 64 << 10)] {
        conformance(|| Arc::new(Malloc::new("ram", bytes, block_size).unwrap().with_atomic_writes()));
    }
}

/// Two writers on threads of their own fill a stripe with their number, again and again. How many of so many reads find two
/// numbers in one of their pieces of `whole` bytes.
fn look_while_writers_meet(malloc: &Malloc, looks: u32, whole: usize) -> u32 {
    const STRIPE: usize = 128 << 10;
    let count = 131_072 / malloc.geometry().block_size;
    let blocks = Blocks { first: count.into(), count };
    let over = AtomicBool::new(false);
    let torn = std::thread::scope(|scope| {
        for number in [1, 2] {
            let over = &over;
            scope.spawn(move || {
                let mut channel = malloc.open(&Home::default()).unwrap();
                let data = Extent::ordinary(STRIPE).unwrap();
                mem::copy_in(&vec![number; STRIPE], data.segment_mut(0..STRIPE));
                // In pieces, as a host's data comes, but so small ones that a write takes long.
                let from: Vec<_> =
                    (0..STRIPE).step_by(60).map(|at| data.segment(at..STRIPE.min(at + 60))).collect();
                let write = Command::Write { blocks, from: &from, force_unit_access: false };
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(channel.submit(Tag(0), &write), Submitted::Done(Ok(())));
                    // Cores may be fewer than threads here, and who spins would wait for who sleeps.
                    std::thread::yield_now();
                }
            });
        }
        let mut channel = malloc.open(&Home::default()).unwrap();
        let data = Extent::ordinary(STRIPE).unwrap();
        let mut read = vec![0; STRIPE];
        let mut torn = 0;
        for _ in 0..looks {
            let into = [data.segment_mut(0..9), data.segment_mut(9..STRIPE)];
            let command = Command::Read { blocks, into: &into };
            assert_eq!(channel.submit(Tag(0), &command), Submitted::Done(Ok(())));
            mem::copy_out(data.segment(0..STRIPE), &mut read);
            torn += u32::from(read.chunks(whole).any(|piece| piece.iter().any(|byte| *byte != piece[0])));
        }
        over.store(true, Ordering::Relaxed);
        torn
    });
    println!("{torn} of {looks} reads were torn");
    torn
}

#[test]
fn atomic_writes_are_never_torn() {
    let malloc = Malloc::new("ram", 1 << 20, 4096).unwrap().with_atomic_writes();
    assert_eq!(malloc.geometry().atomicity, Atomicity { normal: 32, power_fail: 1, boundary: 32 });
    assert_eq!(look_while_writers_meet(&malloc, 300, 128 << 10), 0);
    assert!(!lends(&malloc) && !lends(&malloc.for_one_reactor()));
}

#[test]
fn a_block_is_never_torn() {
    for block_size in [4096_u16, 32_768] {
        let malloc = Malloc::new("ram", 1 << 20, block_size.into()).unwrap();
        assert_eq!(malloc.geometry().atomicity, Atomicity::BLOCK);
        assert_eq!(look_while_writers_meet(&malloc, 300, block_size.into()), 0, "blocks of {block_size}");
        assert!(!lends(&malloc));
        // That it would be seen depends on chance: told, not asserted.
        look_while_writers_meet(&malloc.for_one_reactor(), 300, block_size.into());
    }
}

/// A comparison is of one moment, too, as are zeros and copies.
#[test]
fn a_block_is_compared_as_a_whole_while_it_changes() {
    const BLOCK: u32 = 64 << 10;
    let malloc = Malloc::new("ram", 16 << 20, BLOCK).unwrap();
    let bytes = BLOCK as usize;
    let over = AtomicBool::new(false);
    let (source, target) = (Blocks { first: 4, count: 1 }, Blocks { first: 9, count: 1 });
    let data = Extent::ordinary(3 * bytes).unwrap();
    for (at, byte) in [7, 0, 0].into_iter().enumerate() {
        mem::copy_in(&vec![byte; bytes], data.segment_mut(at * bytes..(at + 1) * bytes));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut channel = malloc.open(&Home::default()).unwrap();
            let mut done = |command: &Command<'_>| {
                assert_eq!(channel.submit(Tag(0), command), Submitted::Done(Ok(())));
            };
            let from = [data.segment(0..bytes)];
            done(&Command::Write { blocks: source, from: &from, force_unit_access: false });
            while !over.load(Ordering::Relaxed) {
                done(&Command::Copy { ranges: &[source], to: target.first, force_unit_access: false });
                std::thread::yield_now();
                done(&Command::WriteZeroes { blocks: target, deallocate: true, force_unit_access: false });
                std::thread::yield_now();
            }
        });
        let mut channel = malloc.open(&Home::default()).unwrap();
        let mut compare = |with| channel.submit(Tag(1), &Command::Compare { blocks: target, with: &[with] });
        let (sevens, mixed) = (data.segment(0..bytes), data.segment(bytes / 2..bytes + bytes / 2));
        let (mut equal, mut halves) = (0, 0);
        for _ in 0..2000 {
            equal += u32::from(compare(sevens) == Submitted::Done(Ok(())));
            halves += u32::from(compare(mixed) == Submitted::Done(Ok(())));
            std::thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
        println!("{equal} of 2000 found the whole block");
        assert_eq!(halves, 0);
    });
}

/// Stripes that are 4096 apart share a guard, and copies that go opposite ways take two of them: nobody waits for himself,
/// or for one who waits for him.
#[test]
fn copies_between_any_stripes_come_to_an_end() {
    const BLOCK: u32 = 64 << 10;
    const STRIPE_BLOCKS: u64 = 2;
    let malloc = Malloc::new("ram", 2 << 30, BLOCK).unwrap();
    let shared = 4096 * STRIPE_BLOCKS;
    std::thread::scope(|scope| {
        for turn in 0..2 {
            let malloc = &malloc;
            scope.spawn(move || {
                let mut channel = malloc.open(&Home::default()).unwrap();
                // Within a stripe, in the next one, in one with the same guard, and in one whose guard is next to it.
                for apart in [1, STRIPE_BLOCKS, STRIPE_BLOCKS + 1, shared, shared + STRIPE_BLOCKS].repeat(200)
                {
                    let ends = [0, apart];
                    let ranges = [Blocks { first: ends[turn], count: 1 }];
                    let copy =
                        Command::Copy { ranges: &ranges, to: ends[1 - turn], force_unit_access: false };
                    assert_eq!(channel.submit(Tag(0), &copy), Submitted::Done(Ok(())));
                    std::thread::yield_now();
                }
            });
        }
    });
}

/// Whether its first block is shown where it lies.
fn lends(malloc: &Malloc) -> bool {
    malloc.open(&Home::default()).unwrap().lend(Blocks { first: 0, count: 1 }).is_some()
}

#[test]
fn what_one_reactor_has_for_itself_is_lent() {
    let malloc = Malloc::new("ram", 64 << 10, 512).unwrap();
    assert!(!lends(&malloc));
    let malloc = malloc.for_one_reactor();
    assert!(lends(&malloc));
    assert!(!lends(&malloc.with_atomic_writes()));
}

#[test]
fn marks_of_a_sparse_device_are_sparse() {
    let malloc = Malloc::new("ram", 1 << 40, 512).unwrap();
    let mut channel = malloc.open(&Home::default()).unwrap();
    let last = Blocks { first: (1 << 31) - 1, count: 1 };
    let marked = channel.submit(Tag(0), &Command::WriteUncorrectable { blocks: last });
    assert_eq!(marked, Submitted::Done(Ok(())));
    let lost = Submitted::Done(Err(BdevError::Media { access: Access::Read }));
    assert_eq!(channel.submit(Tag(0), &Command::Verify { blocks: last }), lost);
    let all = Blocks { first: 0, count: u32::MAX >> 1 };
    assert_eq!(channel.submit(Tag(0), &Command::Verify { blocks: all }), Submitted::Done(Ok(())));
}

#[test]
fn impossible_geometries_are_refused_with_a_reason() {
    let rows = [
        (4096, 0, "block size 0 is not a power of two from 512 to 65536; use 512 or 4096"),
        (4096, 256, "block size 256 is not a power of two from 512 to 65536; use 512 or 4096"),
        (4096, 520, "block size 520 is not a power of two from 512 to 65536; use 512 or 4096"),
        (1 << 20, 128 << 10, "block size 131072 is not a power of two from 512 to 65536; use 512 or 4096"),
        (0, 512, "size 0 is not a positive multiple of the block size 512"),
        (4097, 4096, "size 4097 is not a positive multiple of the block size 4096"),
    ];
    for (bytes, block_size, message) in rows {
        let error = Malloc::new("ram", bytes, block_size).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn memory_that_cannot_be_had_is_named() {
    let error = Malloc::new("ram", 1 << 60, 4096).unwrap_err();
    assert!(error.to_string().contains("1152921504606846976 bytes"), "{error}");
}

#[test]
fn a_large_device_is_there_at_once_and_reads_as_zeros() {
    let malloc = Malloc::new("ram", 1 << 40, 4096).unwrap().for_one_reactor();
    assert_eq!(malloc.geometry().bytes(), 1 << 40);
    let channel = malloc.open(&Home::default()).unwrap();
    let lent = channel.lend(Blocks { first: (1 << 28) - 1, count: 1 }).unwrap();
    let mut bytes = [0xEE; 4096];
    mem::copy_out(lent, &mut bytes);
    assert_eq!(bytes, [0; 4096]);
}

#[test]
fn announcing_a_write_changes_nothing_wherever_it_goes() {
    let malloc = Malloc::new("ram", 64 << 10, 512).unwrap().for_one_reactor();
    let mut channel = malloc.open(&Home::default()).unwrap();
    for blocks in [(0, 1), (127, 1), (127, 2), (128, 1), (u64::MAX, u32::MAX)] {
        channel.expect_write(Blocks { first: blocks.0, count: blocks.1 });
    }
    assert_eq!(channel.outstanding(), 0);
    assert_eq!(channel.poll(&mut |_, _| panic!("nothing was submitted")), 0);
    let mut bytes = vec![0xEE; 64 << 10];
    mem::copy_out(channel.lend(Blocks { first: 0, count: 128 }).unwrap(), &mut bytes);
    assert!(bytes.iter().all(|&byte| byte == 0));
}

#[test]
fn clearing_much_takes_several_polls() {
    const BLOCKS: u64 = 4096;
    let malloc = Malloc::new("ram", BLOCKS * 4096, 4096).unwrap();
    let mut channel = malloc.open(&Home::default()).unwrap();
    let ranges = [Blocks { first: 0, count: 4096 }];
    let tag = Tag(9);
    assert_eq!(channel.submit(tag, &Command::Deallocate { ranges: &ranges }), Submitted::Pending);
    let mut polls = 0;
    let mut completed = Vec::new();
    while channel.outstanding() > 0 {
        assert_eq!(channel.wake(), Wake::Soon, "nobody else wakes for it");
        channel.poll(&mut |tag, result| completed.push((tag, result)));
        polls += 1;
    }
    assert_eq!(polls, BLOCKS * 4096 / (4 << 20));
    assert_eq!(completed, [(tag, Ok(()))]);
    assert_eq!(channel.wake(), Wake::Never);
}

#[test]
fn as_many_blocks_as_a_command_can_name_are_cleared_in_parts() {
    let malloc = Malloc::new("ram", 512 << 20, 4096).unwrap();
    let mut channel = malloc.open(&Home::default()).unwrap();
    let memory = Extent::ordinary(4096).unwrap();
    let one = |first| Blocks { first, count: 1 };
    let ends = [9, 9 + (1 << 16) - 1];
    for first in ends.into_iter().chain([8, 9 + (1 << 16)]) {
        let bytes = memory.segment_mut(0..4096);
        mem::copy_in(&[0xA7; 4096], bytes);
        let from = [bytes.read_only()];
        let write = Command::Write { blocks: one(first), from: &from, force_unit_access: false };
        assert_eq!(channel.submit(Tag(0), &write), Submitted::Done(Ok(())));
    }
    let blocks = Blocks { first: 9, count: 1 << 16 };
    for command in [Command::Verify { blocks }, Command::WriteUncorrectable { blocks }] {
        assert_eq!(channel.submit(Tag(1), &command), Submitted::Done(Ok(())));
    }
    let zeroes = Command::WriteZeroes { blocks, deallocate: false, force_unit_access: false };
    assert_eq!(channel.submit(Tag(2), &zeroes), Submitted::Pending);
    let mut polls = 0;
    let mut completed = Vec::new();
    while channel.outstanding() > 0 {
        channel.poll(&mut |tag, result| completed.push((tag, result)));
        polls += 1;
    }
    // 256 MiB; what begins inside a step leaves the first poll some of the next.
    assert_eq!((polls, completed), (64, vec![(Tag(2), Ok(()))]));
    assert_eq!(channel.submit(Tag(3), &Command::Verify { blocks }), Submitted::Done(Ok(())));
    for (first, fill) in [(8, 0xA7), (ends[0], 0), (ends[1], 0), (9 + (1 << 16), 0xA7)] {
        let into = [memory.segment_mut(0..4096)];
        let read = Command::Read { blocks: one(first), into: &into };
        assert_eq!(channel.submit(Tag(4), &read), Submitted::Done(Ok(())));
        let mut bytes = [0xEE; 4096];
        mem::copy_out(into[0].read_only(), &mut bytes);
        assert_eq!(bytes, [fill; 4096], "{first}");
    }
}

#[test]
fn a_full_backlog_clears_at_once() {
    let malloc = Malloc::new("ram", 8 << 20, 4096).unwrap();
    let mut channel = malloc.open(&Home::default()).unwrap();
    let all = Blocks { first: 0, count: 2048 };
    for tag in 0..1024 {
        assert_eq!(channel.submit(Tag(tag), &Command::Deallocate { ranges: &[all] }), Submitted::Pending);
    }
    assert_eq!(channel.submit(Tag(1024), &Command::Deallocate { ranges: &[all] }), Submitted::Done(Ok(())));
    // As much as would hold up a reactor is to be tried again.
    let much = [all; 5];
    assert_eq!(
        channel.submit(Tag(1025), &Command::Deallocate { ranges: &much }),
        Submitted::Done(Err(BdevError::Busy))
    );
    let mut tags = Vec::new();
    while channel.outstanding() > 0 {
        channel.poll(&mut |Tag(tag), result| {
            assert_eq!(result, Ok(()));
            tags.push(tag);
        });
    }
    assert_eq!(tags, (0..1024).collect::<Vec<_>>());
}
