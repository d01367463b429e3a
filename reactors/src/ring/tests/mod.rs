//! Rings of the machine that runs the tests, on real files, pipes and sockets, in every mode that the kernel has.

mod bounds;
mod forbidden;
mod life;
mod sleep;
mod transfer;

use std::{fs::File, io::PipeReader, io::PipeWriter};

use super::*;
use crate::buffer::{Segment, SegmentMut};

/// Looks for a completion after which it counts as lost.
const LOOKS_MAX: u32 = 50_000_000;

/// Runs a test in every mode.
fn in_every_mode(test: impl Fn(&Ring)) {
    for mode in Mode::ALL {
        test(&ring_as(&Options::default(), mode));
    }
}

fn ring_as(options: &Options, mode: Mode) -> Ring {
    Ring::open_as(options, &[mode]).unwrap_or_else(|error| panic!("{mode:?}: {error}"))
}

fn ring(options: &Options) -> Ring {
    Ring::open(options).unwrap_or_else(|error| panic!("{error}"))
}

/// Memory that lasts as long as the process.
fn memory(bytes: &[u8]) -> SegmentMut {
    SegmentMut::of(Box::leak(bytes.to_vec().into_boxed_slice()))
}

/// What lies in a segment now.
fn contents(segment: Segment) -> Vec<u8> {
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut bytes = vec![0; segment.len()];
    // Through the kernel: no reference may cover the memory of a segment.
    let ring = ring(&Options::default());
    let user = ring.user(1).expect("a user");
    let file = ring.add_file(&writer).expect("a file");
    for (index, chunk) in bytes.chunks_mut(4096).enumerate() {
        let from = [segment.slice(index * 4096..index * 4096 + chunk.len())];
        user.submit(0, &Operation::Write { file: &file, offset: 0, from: &from, durable: false }).unwrap();
        assert_eq!(next(&ring, &user).result, Ok(u32::try_from(chunk.len()).unwrap()));
        io::Read::read_exact(&mut &reader, chunk).expect("what was written");
    }
    bytes
}

/// The next completion of a user.
fn next(ring: &Ring, user: &User) -> Completion {
    for _ in 0..LOOKS_MAX {
        if let Some(completion) = user.take() {
            return completion;
        }
        ring.reap();
        ring.submit();
    }
    panic!("lost: {user:?}");
}

/// The result of one operation.
fn run(ring: &Ring, user: &User, operation: &Operation<'_>) -> Result<u32, Errno> {
    user.submit(99, operation).unwrap();
    let completion = next(ring, user);
    assert_eq!(completion.token, 99);
    completion.result
}

/// A file with these bytes, without a name.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile();
    io::Write::write_all(&mut file, bytes).expect("room in the temporary directory");
    file
}

fn tempfile() -> File {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let directory = std::env::temp_dir();
    openat(CWD, &directory, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR | Mode::WUSR)
        .expect("O_TMPFILE")
        .into()
}

fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().expect("a pipe")
}

/// A read of a pipe into four bytes.
fn read(file: &FixedFile, into: SegmentMut) -> Operation<'_> {
    // The list needs to live for the call only, but a function cannot return it.
    Operation::Read { file, offset: 0, into: Box::leak(Box::new([into])) }
}
