//! The memory device: the conformance suite at several geometries, and what is its own.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::bdev::conformance::conformance;
use crate::mem;

#[test]
fn conforms() {
    for (bytes, block_size) in [(64 << 10, 512), (48 << 20, 512), (48 << 20, 4096), (16 << 20, 64 << 10)] {
        conformance(|| Arc::new(Malloc::new("ram", bytes, block_size).unwrap()));
    }
}

#[test]
fn conforms_with_atomic_writes() {
    for (bytes, block_size) in [(64 << 10, 512), (48 << 20, 4096), (16 << 20, 64 << 10)] {
        conformance(|| Arc::new(Malloc::new("ram", bytes, block_size).unwrap().with_atomic_writes()));
    }
}

/// Writers on cores of their own fill a stripe with their number, again and again, and readers and comparisons look.
fn look_while_writers_meet(malloc: &Malloc, looks: u32) -> u32 {
    const STRIPE: usize = 128 << 10;
    let blocks = Blocks { first: 32, count: 32 };
    let over = AtomicBool::new(false);
    let torn = std::thread::scope(|scope| {
        for number in [1, 2] {
            let over = &over;
            scope.spawn(move || {
                let mut channel = malloc.open(&Home::default()).unwrap();
                let data = Extent::ordinary(STRIPE).unwrap();
                mem::copy_in(&vec![number; STRIPE], data.segment_mut(0..STRIPE));
                // In pieces, as a host's data comes.
                let from = [data.segment(0..100), data.segment(100..70_000), data.segment(70_000..STRIPE)];
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
            torn += u32::from(read.iter().any(|byte| *byte != read[0]));
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
    assert_eq!(look_while_writers_meet(&malloc, 300), 0);
    // Without, it depends on chance: told, not asserted.
    look_while_writers_meet(&Malloc::new("ram", 1 << 20, 4096).unwrap(), 300);
    assert!(malloc.open(&Home::default()).unwrap().lend(Blocks { first: 0, count: 1 }).is_none());
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
    let malloc = Malloc::new("ram", 1 << 40, 4096).unwrap();
    assert_eq!(malloc.geometry().bytes(), 1 << 40);
    let channel = malloc.open(&Home::default()).unwrap();
    let lent = channel.lend(Blocks { first: (1 << 28) - 1, count: 1 }).unwrap();
    let mut bytes = [0xEE; 4096];
    mem::copy_out(lent, &mut bytes);
    assert_eq!(bytes, [0; 4096]);
}

#[test]
fn announcing_a_write_changes_nothing_wherever_it_goes() {
    let malloc = Malloc::new("ram", 64 << 10, 512).unwrap();
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
        channel.poll(&mut |tag, result| completed.push((tag, result)));
        polls += 1;
    }
    assert_eq!(polls, BLOCKS * 4096 / (4 << 20));
    assert_eq!(completed, [(tag, Ok(()))]);
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
    let mut tags = Vec::new();
    while channel.outstanding() > 0 {
        channel.poll(&mut |Tag(tag), result| {
            assert_eq!(result, Ok(()));
            tags.push(tag);
        });
    }
    assert_eq!(tags, (0..1024).collect::<Vec<_>>());
}
