//! What the conformance suite does not ask: how commands share the ring, and how they end early.

use std::os::unix::fs::MetadataExt;

use corelane_reactors::poller::Wake;

use super::*;

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    for directory in directories() {
        let (file, path) = device(directory.path(), 512, 64);
        let mut rig = Rig::new(&file);
        rig.write(3, 5, 0xA7).unwrap();
        rig.run(&Command::Flush).unwrap();
        drop((rig, file));
        let file = File::open("f0", &options(&path, 512, None)).unwrap();
        assert_eq!(
            Rig::new(&file).read(2, 7).unwrap(),
            [[0; 512].as_slice(), &[0xA7; 2560], &[0; 512]].concat()
        );
    }
}

#[test]
fn deallocated_storage_is_given_back() {
    for directory in directories() {
        let (file, path) = device(directory.path(), 4096, 64);
        let mut rig = Rig::new(&file);
        rig.write(0, 64, 1).unwrap();
        rig.run(&Command::Flush).unwrap();
        let full = fs::metadata(&path).unwrap().blocks();
        assert!(file.geometry().features.deallocate, "neither ext4 nor tmpfs");
        let ranges = [Blocks { first: 0, count: 16 }, Blocks { first: 32, count: 16 }];
        rig.run(&Command::Deallocate { ranges: &ranges }).unwrap();
        let half = fs::metadata(&path).unwrap().blocks();
        assert!(half <= full / 2, "{half} of {full}");
        let zeroes = |deallocate| Command::WriteZeroes {
            blocks: Blocks { first: 0, count: 64 },
            deallocate,
            force_unit_access: true,
        };
        // Zeros that are not to be deallocated take storage again.
        rig.run(&zeroes(false)).unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() >= full);
        rig.run(&zeroes(true)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().blocks(), 0);
    }
}

#[test]
fn more_commands_than_the_ring_takes_wait_and_the_rest_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let (file, _) = device(directory.path(), 4096, 64);
    let ring = Ring::open(&Options { operations: 4, ..Options::default() }).unwrap();
    let mut rig = Rig::new(&file);
    rig.channel = file.open(&Home::default().with_ring(ring.clone())).unwrap();
    rig.ring = ring;
    rig.write(0, 64, 0x33).unwrap();
    let into = [rig.bytes(1)];
    let with = [into[0].read_only()];
    let blocks = Blocks { first: 0, count: 1 };
    let mut pending = 0;
    let refused = loop {
        let compare = Command::Compare { blocks, with: &with };
        let command = if pending % 2 == 0 { Command::Read { blocks, into: &into } } else { compare };
        match rig.submit(pending, &command) {
            Submitted::Pending => pending += 1,
            Submitted::Done(result) => break result,
        }
    };
    assert_eq!((pending, refused), (2048, Err(BdevError::Busy)));
    assert_eq!(rig.channel.outstanding(), 2048);
    let mut tags = Vec::new();
    while rig.channel.outstanding() > 0 {
        for (tag, result) in rig.next() {
            assert_eq!(result, Ok(()), "{tag}");
            tags.push(tag);
        }
    }
    tags.sort_unstable();
    assert_eq!(tags, (0..2048).collect::<Vec<_>>());
    assert_eq!(rig.channel.wake(), Wake::Never);
}

#[test]
fn what_waits_can_be_aborted() {
    let directory = tempfile::tempdir().unwrap();
    let (file, _) = device(directory.path(), 4096, 64);
    let ring = Ring::open(&Options { operations: 1, ..Options::default() }).unwrap();
    let mut rig = Rig::new(&file);
    rig.channel = file.open(&Home::default().with_ring(ring.clone())).unwrap();
    rig.ring = ring;
    rig.write(0, 2, 0x11).unwrap();
    let bytes = rig.bytes(1);
    mem::copy_in(&[0x22; 4096], bytes);
    let from = [bytes.read_only()];
    let write =
        |first| Command::Write { blocks: Blocks { first, count: 1 }, from: &from, force_unit_access: false };
    assert_eq!(rig.submit(0, &write(0)), Submitted::Pending);
    assert_eq!(rig.submit(1, &write(1)), Submitted::Pending);
    assert!(rig.channel.abort(Tag(1)));
    let mut completions = Vec::new();
    while completions.len() < 2 {
        completions.extend(rig.next());
    }
    completions.sort_unstable_by_key(|(tag, _)| *tag);
    assert_eq!(completions, [(0, Ok(())), (1, Err(BdevError::Aborted))]);
    assert_eq!(rig.read(0, 2).unwrap(), [[0x22; 4096], [0x11; 4096]].concat());
}

#[test]
fn a_reset_ends_everything_and_the_channel_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (file, _) = device(directory.path(), 4096, 64);
    let mut rig = Rig::new(&file);
    rig.write(0, 64, 0x44).unwrap();
    let into = [rig.bytes(1)];
    for tag in 0..64 {
        let read = Command::Read { blocks: Blocks { first: tag, count: 1 }, into: &into };
        assert_eq!(rig.submit(tag, &read), Submitted::Pending);
    }
    assert!(rig.channel.reset());
    let mut completions = 0;
    while rig.channel.outstanding() > 0 {
        for (tag, result) in rig.next() {
            assert!(matches!(result, Ok(()) | Err(BdevError::Aborted)), "{tag}: {result:?}");
            completions += 1;
        }
    }
    assert_eq!(completions, 64);
    assert_eq!(rig.read(0, 1).unwrap(), [0x44; 4096]);
}

#[test]
fn a_retired_device_answers_that_it_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (file, _) = device(directory.path(), 4096, 64);
    let mut rig = Rig::new(&file);
    let into = [rig.bytes(1)];
    let read = Command::Read { blocks: Blocks { first: 0, count: 1 }, into: &into };
    for tag in 0..8 {
        assert_eq!(rig.submit(tag, &read), Submitted::Pending);
    }
    assert!(file.retire() && file.retire());
    let mut completions = Vec::new();
    while rig.channel.outstanding() > 0 {
        completions.extend(rig.next());
    }
    completions.sort_unstable_by_key(|(tag, _)| *tag);
    assert_eq!(completions, (0..8).map(|tag| (tag, Err(BdevError::Gone))).collect::<Vec<_>>());
    assert_eq!(rig.submit(9, &read), Submitted::Done(Err(BdevError::Gone)));
    assert_eq!(Rig::new(&file).run(&Command::Flush), Err(BdevError::Gone));
}

#[test]
fn a_flush_that_failed_is_the_last_that_is_believed() {
    let directory = tempfile::tempdir().unwrap();
    let (file, _) = device(directory.path(), 4096, 64);
    let mut rig = Rig::new(&file);
    rig.run(&Command::Flush).unwrap();
    file.state.sync_failed.store(true, Ordering::Relaxed);
    let failed = Err(BdevError::Media { access: crate::bdev::Access::Write });
    assert_eq!(rig.run(&Command::Flush), failed);
    let blocks = Blocks { first: 0, count: 1 };
    let from = [rig.bytes(1).read_only()];
    assert_eq!(rig.run(&Command::Write { blocks, from: &from, force_unit_access: true }), failed);
    assert_eq!(rig.run(&Command::WriteZeroes { blocks, deallocate: false, force_unit_access: true }), failed);
    assert_eq!(rig.write(0, 1, 9), Ok(()));
}

#[test]
fn as_many_blocks_as_a_command_can_name_are_verified_and_cleared() {
    for directory in directories() {
        let (file, _) = device(directory.path(), 512, (1 << 16) + 2);
        let mut rig = Rig::new(&file);
        for first in [0, 1, 1 << 16, (1 << 16) + 1] {
            rig.write(first, 1, 0x5A).unwrap();
        }
        let blocks = Blocks { first: 1, count: 1 << 16 };
        rig.run(&Command::Verify { blocks }).unwrap();
        for (deallocate, force_unit_access) in [(false, true), (true, false)] {
            rig.run(&Command::WriteZeroes { blocks, deallocate, force_unit_access }).unwrap();
            for (first, fill) in [(0, 0x5A), (1, 0), (1 << 16, 0), ((1 << 16) + 1, 0x5A)] {
                assert_eq!(rig.read(first, 1).unwrap(), [fill; 512], "{first}");
            }
        }
    }
}
