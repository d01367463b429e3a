//! Files of the machine that runs the tests: on the file system of the temporary directory, and in memory.

mod blocks;
mod claims;
mod commands;
mod devices;
mod faults;
mod opening;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use corelane_reactors::{
    buffer::{Segment, SegmentMut},
    ring::{Options, Ring},
};
use tempfile::TempDir;

use super::{open::Reason, *};
use crate::{
    bdev::{
        BdevError, Blocks, Command, Submitted, Tag,
        conformance::{Subject, conformance_of},
    },
    mem::{self, Extent},
};

/// A file system in memory that every Linux has.
const IN_MEMORY: &str = "/dev/shm";

/// Polls without a completion after which a command counts as lost.
const POLLS_MAX: u32 = 50_000_000;

thread_local! {
    /// The ring of this thread, as its reactor would have it.
    static RING: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

fn ring() -> Ring {
    RING.with_borrow_mut(|ring| {
        let open = || Ring::open(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
        ring.get_or_insert_with(open).clone()
    })
}

fn home() -> Home {
    Home::default().with_ring(ring())
}

/// What the pollers of a reactor do.
fn drive() {
    let ring = ring();
    ring.submit();
    ring.reap();
}

fn options(path: &Path, block_size: u32, size: Option<u64>) -> FileOptions {
    FileOptions { path: path.to_owned(), block_size, size, preallocate: false }
}

/// A directory on the disk of the machine, and one in memory.
fn directories() -> [TempDir; 2] {
    [tempfile::tempdir().unwrap(), tempfile::tempdir_in(IN_MEMORY).unwrap()]
}

/// A new device of so many blocks.
fn device(directory: &Path, block_size: u32, blocks: u64) -> (File, PathBuf) {
    let path = directory.join("device");
    let file = File::open("f0", &options(&path, block_size, Some(u64::from(block_size) * blocks)));
    (file.unwrap_or_else(|error| panic!("{error}")), path)
}

/// One channel and its memory.
struct Rig {
    channel: Box<dyn Channel>,
    memory: Extent,
    ring: Ring,
    block: usize,
}

impl Rig {
    fn new(file: &File) -> Self {
        let block = file.geometry().block_size as usize;
        let (channel, memory) = (file.open(&home()).unwrap(), Extent::ordinary(64 * block).unwrap());
        Self { channel, memory, ring: ring(), block }
    }

    fn bytes(&self, count: u32) -> SegmentMut {
        self.memory.segment_mut(0..count as usize * self.block)
    }

    fn submit(&mut self, tag: u64, command: &Command<'_>) -> Submitted {
        self.channel.submit(Tag(tag), command)
    }

    /// The next completions.
    fn next(&mut self) -> Vec<(u64, Result<(), BdevError>)> {
        let mut completions = Vec::new();
        for poll in 0..POLLS_MAX {
            self.channel.poll(&mut |Tag(tag), result| completions.push((tag, result)));
            if !completions.is_empty() {
                return completions;
            }
            self.ring.submit();
            self.ring.reap();
            // Cores may be fewer than threads here, and who waits for a block would keep who has it from its core.
            if poll % 16 == 15 {
                std::thread::yield_now();
            }
        }
        panic!("lost");
    }

    fn run(&mut self, command: &Command<'_>) -> Result<(), BdevError> {
        match self.submit(1, command) {
            Submitted::Done(result) => result,
            Submitted::Pending => match self.next()[..] {
                [(1, result)] => result,
                ref other => panic!("{other:?}"),
            },
        }
    }

    fn write(&mut self, first: u64, count: u32, fill: u8) -> Result<(), BdevError> {
        let bytes = self.bytes(count);
        mem::copy_in(&vec![fill; bytes.len()], bytes);
        let from = [bytes.read_only()];
        self.run(&Command::Write { blocks: Blocks { first, count }, from: &from, force_unit_access: false })
    }

    fn read(&mut self, first: u64, count: u32) -> Result<Vec<u8>, BdevError> {
        let into = self.bytes(count);
        self.run(&Command::Read { blocks: Blocks { first, count }, into: &[into] })?;
        Ok(contents(into.read_only()))
    }
}

fn contents(segment: Segment) -> Vec<u8> {
    let mut bytes = vec![0; segment.len()];
    mem::copy_out(segment, &mut bytes);
    bytes
}

#[test]
fn conforms() {
    for directory in directories() {
        let made = RefCell::new(0);
        for block_size in [512, 4096, 64 << 10] {
            let make = || -> Arc<dyn Bdev> {
                *made.borrow_mut() += 1;
                let path = directory.path().join(format!("{}", made.borrow()));
                let file = File::open("f0", &options(&path, block_size, Some(u64::from(block_size) * 1024)));
                Arc::new(file.unwrap_or_else(|error| panic!("{error}")))
            };
            conformance_of(&Subject { idle: &|_| drive(), home: &home, ..Subject::plain(&make) });
        }
    }
}

#[test]
fn a_reactor_without_a_ring_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (file, _) = device(directory.path(), 4096, 8);
    assert_eq!(file.open(&Home::default()).map(|_| ()), Err(OpenError::NoRing));
}
