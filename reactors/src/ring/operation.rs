//! What can be asked of the kernel, and how it is written down for it. Submits nothing.

use std::{
    cell::Cell,
    fmt,
    os::fd::{AsRawFd, BorrowedFd},
    rc::Rc,
};

use io_uring::{opcode, squeue::Entry, types};

use super::{FixedFile, Message, SEGMENTS_MAX, Window, memory::Pinned, shared::Shared};
use crate::buffer::{Segment, SegmentMut};

/// Most bytes that the kernel moves in one operation; it cuts what is longer, and so do we.
const TRANSFER_BYTES_MAX: usize = 0x7FFF_F000;

/// Bytes, or an end, which is always told.
const READABLE: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;

/// Everything is sent before it completes; a broken connection is an error and not a signal.
const SEND_FLAGS: u32 = (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;

/// Something to be done with a file or a socket. Lists need to live for the call only, the memory that they name until the
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
    /// Receives what comes, again and again, into the memory that the window offers, in order. Each completion but the
    /// last has `more`, and brings a number of bytes; the last one brings 0 at the end of the stream, `NOBUFS` when the
    /// window is full, or an error. The socket has to stay open until then.
    Receive {
        /// Where from.
        socket: BorrowedFd<'a>,
        /// Where to; nothing else receives into it meanwhile.
        window: &'a Window,
    },
    /// Waits until the socket has something to be received, or has ended. The socket has to stay open until then.
    Readable {
        /// Which.
        socket: BorrowedFd<'a>,
    },
    /// Sends a message, all of it if nothing goes wrong. Completes with the number of bytes, which may be fewer. The
    /// socket has to stay open until then.
    Send {
        /// Where to.
        socket: BorrowedFd<'a>,
        /// What; the ring keeps it until then.
        message: &'a Message,
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
    /// Whether what it names belongs to this ring.
    pub(super) fn is_of(&self, ring: &Rc<Shared>) -> bool {
        match self {
            Self::Read { file, .. }
            | Self::Write { file, .. }
            | Self::Sync { file }
            | Self::Allocate { file, .. } => file.is_of(ring),
            Self::Receive { window, .. } => window.is_of(ring),
            Self::Readable { .. } | Self::Send { .. } => true,
        }
    }

    /// What has to be kept until it completes.
    pub(super) fn message(&self) -> Option<Message> {
        match self {
            Self::Send { message, .. } => Some(message.share()),
            _ => None,
        }
    }

    /// The entry for the kernel. A list of several segments is copied into `list`, which the entry then names and which
    /// must stay as it is until the entry was handed over; one segment is named by itself.
    ///
    /// # Panics
    /// If there are more segments than `list` has room for.
    pub(super) fn entry(&self, list: &[Cell<Segment>], pinned: &Pinned) -> Entry {
        match *self {
            Self::Read { file, offset, into } => {
                let file = types::Fixed(file.index());
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
            Self::Write { file, offset, from, durable } => {
                let file = types::Fixed(file.index());
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
            Self::Sync { file } => {
                let file = types::Fixed(file.index());
                opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build()
            }
            Self::Allocate { file, offset, length, allocation } => {
                let file = types::Fixed(file.index());
                let mode = match allocation {
                    Allocation::Hole => libc::FALLOC_FL_PUNCH_HOLE,
                    Allocation::Zeros => libc::FALLOC_FL_ZERO_RANGE,
                };
                let mode = mode | libc::FALLOC_FL_KEEP_SIZE;
                opcode::Fallocate::new(file, length).offset(offset).mode(mode).build()
            }
            Self::Receive { socket, window } => {
                opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), window.group()).build()
            }
            Self::Readable { socket } => {
                opcode::PollAdd::new(types::Fd(socket.as_raw_fd()), READABLE).build()
            }
            Self::Send { socket, message } => {
                opcode::SendMsg::new(types::Fd(socket.as_raw_fd()), message.header())
                    .flags(SEND_FLAGS)
                    .build()
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
            Self::Receive { socket, .. } => write!(f, "Receive({socket:?})"),
            Self::Readable { socket } => write!(f, "Readable({socket:?})"),
            Self::Send { socket, .. } => write!(f, "Send({socket:?})"),
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
