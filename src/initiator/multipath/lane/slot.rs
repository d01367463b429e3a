//! A command of a lane, and the part of it that is sent next.

use corelane_reactors::buffer::{Segment, SegmentMut};
use corelane_reactors::clock::Time;

use crate::initiator::Transfer;
use crate::initiator::command::{self, BLOCKS_MAX};
use crate::spec::sqe::Sqe;

/// A command, with its data in one piece. The memory belongs to the lane until the command has ended.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// Reads blocks; `into` has as many bytes as they have.
    Read {
        /// The first block.
        lba: u64,
        /// Where to.
        into: SegmentMut,
    },
    /// Writes blocks; `from` has as many bytes as they have.
    Write {
        /// The first block.
        lba: u64,
        /// The data.
        from: Segment,
        /// Complete only when it is durable.
        force_unit_access: bool,
    },
    /// Compares blocks; `with` has as many bytes as they have.
    Compare {
        /// The first block.
        lba: u64,
        /// What with.
        with: Segment,
    },
    /// Writes zeros.
    WriteZeroes {
        /// The first block.
        lba: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
        /// They may be deallocated.
        deallocate: bool,
        /// Complete only when they are durable.
        force_unit_access: bool,
    },
    /// Deallocates ranges, 1 to 256, that lie in `ranges` as [`command::dataset_range`] makes them.
    Deallocate {
        /// The ranges.
        ranges: Segment,
    },
    /// Reads blocks and hands them to nobody.
    Verify {
        /// The first block.
        lba: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
    },
    /// Makes blocks unreadable until they are written.
    WriteUncorrectable {
        /// The first block.
        lba: u64,
        /// Number of blocks, at least 1.
        blocks: u32,
    },
    /// Copies ranges, 1 to 128, that lie in `ranges` as [`command::copy_range`] makes them. It is sent again like any other
    /// command, which does no harm where what is read is not also written.
    Copy {
        /// The ranges.
        ranges: Segment,
        /// The first block to write.
        lba: u64,
        /// Complete only when it is durable.
        force_unit_access: bool,
    },
    /// Makes what was written durable.
    Flush,
}

/// Where a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Out { way: usize },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) tag: u64,
    request: Request,
    pub(super) state: State,
    /// When the part under way was sent.
    pub(super) sent: Time,
    /// How often it was sent.
    pub(super) sendings: u8,
    /// Blocks that are done, and blocks of the part under way.
    done: u32,
    part: u32,
    /// Blocks of all parts.
    blocks: u32,
}

impl Slot {
    pub(super) fn empty() -> Self {
        Self::new(0, Request::Flush)
    }

    pub(super) fn new(tag: u64, request: Request) -> Self {
        Self {
            tag,
            request,
            state: State::Waiting,
            sent: Time::ORIGIN,
            sendings: 0,
            done: 0,
            part: 0,
            blocks: 0,
        }
    }

    pub(super) fn is_copy(&self) -> bool {
        matches!(self.request, Request::Copy { .. })
    }

    /// The part that is next: as much as the controller takes at once.
    pub(super) fn part(&mut self, nsid: u32, block_size: u32, transfer_bytes_max: u32) -> (Sqe, Transfer) {
        let bytes = match self.request {
            Request::Read { into, .. } => into.len(),
            Request::Write { from, .. } => from.len(),
            Request::Compare { with, .. } => with.len(),
            Request::WriteZeroes { .. }
            | Request::Deallocate { .. }
            | Request::Verify { .. }
            | Request::WriteUncorrectable { .. }
            | Request::Copy { .. }
            | Request::Flush => 0,
        };
        self.blocks = match self.request {
            Request::WriteZeroes { blocks, .. }
            | Request::Verify { blocks, .. }
            | Request::WriteUncorrectable { blocks, .. } => blocks,
            // Shorter than the 2^32 blocks that a command has at most.
            _ => u32::try_from(bytes / block_size as usize).unwrap_or(u32::MAX),
        };
        let left = self.blocks - self.done;
        let at_once = (transfer_bytes_max / block_size).clamp(1, BLOCKS_MAX);
        let done = u64::from(self.done);
        let start = self.done as usize * block_size as usize;
        self.part = left.min(at_once);
        let range = start..start + self.part as usize * block_size as usize;
        match self.request {
            Request::Read { lba, into } => {
                (command::read(nsid, lba + done, self.part), Transfer::ToHost(into.slice(range)))
            }
            Request::Write { lba, from, force_unit_access } => (
                command::write(nsid, lba + done, self.part, force_unit_access),
                Transfer::ToController(from.slice(range)),
            ),
            Request::Compare { lba, with } => {
                (command::compare(nsid, lba + done, self.part), Transfer::ToController(with.slice(range)))
            }
            Request::WriteZeroes { lba, deallocate, force_unit_access, .. } => {
                self.part = left.min(BLOCKS_MAX);
                let make =
                    if force_unit_access { command::write_zeroes_through } else { command::write_zeroes };
                (make(nsid, lba + done, self.part, deallocate), Transfer::None)
            }
            Request::Deallocate { ranges } => {
                let count = ranges.len() / command::DATASET_RANGE_BYTES;
                (command::deallocate(nsid, count), Transfer::ToController(ranges))
            }
            Request::Verify { lba, .. } => (command::verify(nsid, lba + done, self.part), Transfer::None),
            Request::WriteUncorrectable { lba, .. } => {
                (command::write_uncorrectable(nsid, lba + done, self.part), Transfer::None)
            }
            Request::Copy { ranges, lba, force_unit_access } => {
                let count = ranges.len() / command::COPY_RANGE_BYTES;
                (command::copy(nsid, lba, count, force_unit_access), Transfer::ToController(ranges))
            }
            Request::Flush => (command::flush(nsid), Transfer::None),
        }
    }

    /// The part under way is done; true if it was the last.
    pub(super) fn advance(&mut self) -> bool {
        self.done += self.part;
        self.sendings = 0;
        self.done == self.blocks
    }
}
