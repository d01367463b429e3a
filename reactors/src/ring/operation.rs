//! What can be asked of the kernel, and how it is written down for it. Submits nothing.

use std::{cell::Cell, fmt};

use io_uring::{opcode, squeue::Entry, types};

use super::{FixedFile, SEGMENTS_MAX, memory::Pinned};
use crate::buffer::{Segment, SegmentMut};

/// Most bytes that the kernel moves in one operation; it cuts what is longer, and so do we.
const TRANSFER_BYTES_MAX: usize = 0x7FFF_F000;

/// Something to be done with a file. Lists need to live for the call only, the memory that they name until the
/// operation completes.
#[derive(Clone, Copy)]
pub enum Operation<'a> {
    /// Reads into the segments, in order. Completes with the number of bytes, which may be fewer than asked for; 0 is the
    /// end of the file.
    Read {
        /// Where from.
        file: &'a FixedFile,
        /// From which byte on; of no account for pipes and sockets.
        offset: u64,
        /// At most [`SEGMENTS_MAX`] segments.
        into: &'a [SegmentMut],
    },
    /// Writes the bytes of the segments, in order. Completes with the number of bytes, which may be fewer.
    Write {
        /// Where to.
        file: &'a FixedFile,
        /// From which byte on; of no account for pipes and sockets.
        offset: u64,
        /// At most [`SEGMENTS_MAX`] segments.
        from: &'a [Segment],
        /// Complete only when the bytes are durable (`RWF_DSYNC`).
        durable: bool,
    },
    /// Makes everything durable that was written before (fdatasync). Completes with 0.
    Sync {
        /// What.
        file: &'a FixedFile,
    },
    /// Changes how a range is stored, without changing the size of the file. Completes with 0.
    Allocate {
        /// Where.
        file: &'a FixedFile,
        /// First byte of the range.
        offset: u64,
        /// Bytes of the range, at least 1.
        length: u64,
        /// What becomes of it.
        allocation: Allocation,
    },
}

/// What becomes of a range of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allocation {
    /// It reads as zeros and its storage is given back.
    Hole,
    /// It reads as zeros and has storage.
    Zeros,
}

impl Operation<'_> {
    pub(super) fn file(&self) -> &FixedFile {
        match self {
            Self::Read { file, .. }
            | Self::Write { file, .. }
            | Self::Sync { file }
            | Self::Allocate { file, .. } => file,
        }
    }

    /// The entry for the kernel. A list of several segments is copied into `list`, which the entry then names and which
    /// must stay as it is until the entry was handed over; one segment is named by itself.
    ///
    /// # Panics
    /// If there are more segments than `list` has room for.
    pub(super) fn entry(&self, list: &[Cell<Segment>], pinned: &Pinned) -> Entry {
        let file = types::Fixed(self.file().index());
        match *self {
            Self::Read { offset, into, .. } => {
                let [only] = into else {
                    let (list, count) = copy(into.iter().map(SegmentMut::read_only), list);
                    return opcode::Readv::new(file, list, count).offset(offset).build();
                };
                let (address, length) = (only.pointer(), cut(only.len()));
                match pinned.find(only.read_only()) {
                    Some(index) => {
                        opcode::ReadFixed::new(file, address, length, index).offset(offset).build()
                    }
                    None => opcode::Read::new(file, address, length).offset(offset).build(),
                }
            }
            Self::Write { offset, from, durable, .. } => {
                let flags = if durable { libc::RWF_DSYNC } else { 0 };
                let [only] = from else {
                    let (list, count) = copy(from.iter().copied(), list);
                    return opcode::Writev::new(file, list, count).offset(offset).rw_flags(flags).build();
                };
                let (address, length) = (only.pointer(), cut(only.len()));
                match pinned.find(*only) {
                    Some(index) => opcode::WriteFixed::new(file, address, length, index)
                        .offset(offset)
                        .rw_flags(flags)
                        .build(),
                    None => opcode::Write::new(file, address, length).offset(offset).rw_flags(flags).build(),
                }
            }
            Self::Sync { .. } => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
            Self::Allocate { offset, length, allocation, .. } => {
                let mode = match allocation {
                    Allocation::Hole => libc::FALLOC_FL_PUNCH_HOLE,
                    Allocation::Zeros => libc::FALLOC_FL_ZERO_RANGE,
                };
                let mode = mode | libc::FALLOC_FL_KEEP_SIZE;
                opcode::Fallocate::new(file, length).offset(offset).mode(mode).build()
            }
        }
    }
}

impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { offset, into, .. } => write!(f, "Read({offset}, {into:?})"),
            Self::Write { offset, from, durable, .. } => write!(f, "Write({offset}, {from:?}, {durable})"),
            Self::Sync { .. } => f.write_str("Sync"),
            Self::Allocate { offset, length, allocation, .. } => {
                write!(f, "Allocate({offset}, {length}, {allocation:?})")
            }
        }
    }
}

/// Copies segments into `list`; returns it as the kernel takes it.
fn copy(
    segments: impl ExactSizeIterator<Item = Segment>,
    list: &[Cell<Segment>],
) -> (*const libc::iovec, u32) {
    let count = segments.len();
    assert!(count <= list.len());
    assert!(list.len() <= SEGMENTS_MAX);
    for (place, segment) in list.iter().zip(segments) {
        place.set(segment);
    }
    // A segment has the layout of an iovec, and a cell that of what is in it.
    (list.as_ptr().cast(), u32::try_from(count).unwrap_or(0))
}

fn cut(length: usize) -> u32 {
    u32::try_from(length.min(TRANSFER_BYTES_MAX)).unwrap_or(u32::MAX)
}
