//! Commands of block devices and what they fail with.

use std::ops::Range;

use corelane_reactors::buffer::{Segment, SegmentMut};

use super::{Features, Geometry};
use crate::mem;

/// The submitter's name for a command in flight, unique on its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// A range of logical blocks. Any values: the bdev checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blocks {
    /// First block, counted from 0.
    pub first: u64,
    /// Number of blocks. Zero is a range that holds nothing.
    pub count: u32,
}

impl Blocks {
    /// The byte range on a device of this geometry.
    ///
    /// # Errors
    ///
    /// [`BdevError::OutOfRange`] when it ends beyond the last block.
    pub fn bytes(self, geometry: &Geometry) -> Result<Range<u64>, BdevError> {
        let end = self.first.checked_add(u64::from(self.count)).ok_or(BdevError::OutOfRange)?;
        if end > geometry.blocks {
            return Err(BdevError::OutOfRange);
        }
        let block_size = u64::from(geometry.block_size);
        Ok(self.first * block_size..end * block_size)
    }
}

/// A command, with lists that live for the call only.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// Fills the segments, in order, with the contents of the blocks.
    Read {
        /// What to read.
        blocks: Blocks,
        /// Where to put it: as many bytes as the blocks have.
        into: &'a [SegmentMut],
    },
    /// Writes the bytes of the segments, in order, to the blocks.
    Write {
        /// What to overwrite.
        blocks: Blocks,
        /// What to write: as many bytes as the blocks have.
        from: &'a [Segment],
        /// Complete only when the data is durable.
        force_unit_access: bool,
    },
    /// Makes every write that completed before this command durable.
    Flush,
    /// Makes the blocks read as zeros.
    WriteZeroes {
        /// What to overwrite.
        blocks: Blocks,
        /// The device may give the storage back.
        deallocate: bool,
        /// Complete only when the zeros are durable.
        force_unit_access: bool,
    },
    /// Tells that the contents of the ranges are not needed. All ranges are checked before any is touched.
    Deallocate {
        /// What is not needed.
        ranges: &'a [Blocks],
    },
    /// Compares the blocks with the bytes of the segments: [`BdevError::Miscompare`] when they differ.
    Compare {
        /// What to compare.
        blocks: Blocks,
        /// What to compare it with: as many bytes as the blocks have.
        with: &'a [Segment],
    },
    /// Reads the blocks and hands them to nobody: [`BdevError::Media`] where they cannot be read.
    Verify {
        /// What to read.
        blocks: Blocks,
    },
    /// Makes the blocks unreadable, [`BdevError::Media`] to whatever reads them, until they are written, made zero or
    /// deallocated: for as long as the device would have kept their contents.
    WriteUncorrectable {
        /// What to make unreadable.
        blocks: Blocks,
    },
    /// Copies the ranges, one behind the other, to `to` and what follows it. All ranges are checked before any is
    /// touched; a copy that fails later leaves old blocks and new ones. What blocks hold that are both read and written is
    /// not said.
    Copy {
        /// What to read, as much of it as [`super::CopyLimits`] allows.
        ranges: &'a [Blocks],
        /// The first block to write.
        to: u64,
        /// Complete only when the copy is durable.
        force_unit_access: bool,
    },
}

impl Command<'_> {
    /// Whether a device with these features carries out commands of this kind.
    pub fn is_offered(&self, features: &Features) -> bool {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::Flush => true,
            Self::WriteZeroes { .. } => features.write_zeroes,
            Self::Deallocate { .. } => features.deallocate,
            Self::Compare { .. } => features.compare,
            Self::Verify { .. } => features.verify,
            Self::WriteUncorrectable { .. } => features.write_uncorrectable,
            Self::Copy { .. } => features.copy.is_some(),
        }
    }

    /// Checks ranges and lengths, which every device does before it touches anything.
    ///
    /// # Errors
    ///
    /// [`BdevError::OutOfRange`] when a range ends beyond the last block; otherwise [`BdevError::Length`]
    /// when the segments do not add up to the blocks, or a copy is longer than the device takes.
    pub fn check(&self, geometry: &Geometry) -> Result<(), BdevError> {
        let (blocks, length) = match *self {
            Self::Flush => return Ok(()),
            Self::Deallocate { ranges } => {
                return ranges.iter().try_for_each(|blocks| blocks.bytes(geometry).map(drop));
            }
            Self::WriteZeroes { blocks, .. }
            | Self::Verify { blocks }
            | Self::WriteUncorrectable { blocks } => return blocks.bytes(geometry).map(drop),
            Self::Copy { ranges, to, .. } => {
                ranges.iter().try_for_each(|blocks| blocks.bytes(geometry).map(drop))?;
                let count = total(ranges).ok_or(BdevError::OutOfRange)?;
                Blocks { first: to, count }.bytes(geometry)?;
                let Some(limits) = geometry.features.copy else { return Ok(()) };
                let short = ranges.iter().all(|blocks| blocks.count <= limits.range_blocks);
                let few = ranges.len() <= usize::from(limits.ranges) && count <= limits.blocks;
                return if short && few { Ok(()) } else { Err(BdevError::Length) };
            }
            Self::Read { blocks, into } => (blocks, mem::length_mut(into)),
            Self::Write { blocks, from, .. } => (blocks, mem::length(from)),
            Self::Compare { blocks, with } => (blocks, mem::length(with)),
        };
        let bytes = blocks.bytes(geometry)?;
        if u64::try_from(length) != Ok(bytes.end - bytes.start) {
            return Err(BdevError::Length);
        }
        Ok(())
    }
}

/// The blocks of all ranges together; `None` when they are more than a [`Blocks`] counts.
pub(super) fn total(ranges: &[Blocks]) -> Option<u32> {
    ranges.iter().try_fold(0_u32, |sum, blocks| sum.checked_add(blocks.count))
}

/// Why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BdevError {
    /// The range ends beyond the last block. Nothing was changed.
    #[error("the range ends beyond the last block")]
    OutOfRange,
    /// The segments do not add up to the blocks, or a copy is longer than [`super::CopyLimits`] says. Nothing was changed.
    #[error("the segments do not add up to the blocks, or a copy is too long")]
    Length,
    /// The device does not carry out this command: see [`super::Features`].
    #[error("the device does not carry out this command")]
    Unsupported,
    /// The compared bytes differ.
    #[error("the compared bytes differ")]
    Miscompare,
    /// The channel holds as many commands as it can; nothing was started. Try again after a completion.
    #[error("the channel is full")]
    Busy,
    /// The medium failed.
    #[error("the medium failed")]
    Media {
        /// What it failed to do.
        access: Access,
    },
    /// The device may not be written. Nothing was changed.
    #[error("the device is write protected")]
    WriteProtected,
    /// The device has no room for what was to be written.
    #[error("the device has no room left")]
    NoSpace,
    /// The device failed in a way of its own.
    #[error("the device failed")]
    Device {
        /// It may succeed when it is tried again.
        again: bool,
    },
    /// The command was ended before it was carried out; or by force, and then it may have been: the blocks of a write
    /// hold old or new bytes, and nothing changes them any more.
    #[error("the command was aborted")]
    Aborted,
    /// The device is no longer there.
    #[error("the device is gone")]
    Gone,
    /// A copy failed on the way: its first ranges are copied; of the next ones some blocks may be.
    #[error("{fault}; {ranges} ranges were copied before")]
    Copied {
        /// How many ranges are copied, at least 1.
        ranges: u8,
        /// Why the copy failed.
        fault: CopyFault,
    },
}

/// Why a copy failed that had copied something: each is the [`BdevError`] of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyFault {
    /// The channel could not go on.
    #[error("the channel is full")]
    Busy,
    /// The medium failed.
    #[error("the medium failed")]
    Media {
        /// What it failed to do.
        access: Access,
    },
    /// The device may not be written.
    #[error("the device is write protected")]
    WriteProtected,
    /// The device has no room left.
    #[error("the device has no room left")]
    NoSpace,
    /// The device failed in a way of its own.
    #[error("the device failed")]
    Device {
        /// It may succeed when it is tried again.
        again: bool,
    },
    /// It was ended.
    #[error("the command was aborted")]
    Aborted,
    /// The device is no longer there.
    #[error("the device is gone")]
    Gone,
}

impl BdevError {
    /// The same, of a copy whose first `ranges` ranges are copied. What is refused before anything is touched stays what
    /// it is.
    #[must_use]
    pub fn after(self, ranges: u32) -> Self {
        let Ok(ranges @ 1..) = u8::try_from(ranges) else { return self };
        let fault = match self {
            Self::Busy => CopyFault::Busy,
            Self::Media { access } => CopyFault::Media { access },
            Self::WriteProtected => CopyFault::WriteProtected,
            Self::NoSpace => CopyFault::NoSpace,
            Self::Device { again } => CopyFault::Device { again },
            Self::Aborted => CopyFault::Aborted,
            Self::Gone => CopyFault::Gone,
            Self::OutOfRange | Self::Length | Self::Unsupported | Self::Miscompare | Self::Copied { .. } => {
                return self;
            }
        };
        Self::Copied { ranges, fault }
    }

    /// The error without regard to what was copied before, and how many ranges that was.
    pub fn parts(self) -> (Self, u8) {
        let Self::Copied { ranges, fault } = self else { return (self, 0) };
        let error = match fault {
            CopyFault::Busy => Self::Busy,
            CopyFault::Media { access } => Self::Media { access },
            CopyFault::WriteProtected => Self::WriteProtected,
            CopyFault::NoSpace => Self::NoSpace,
            CopyFault::Device { again } => Self::Device { again },
            CopyFault::Aborted => Self::Aborted,
            CopyFault::Gone => Self::Gone,
        };
        (error, ranges)
    }
}

/// Direction of a failed access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Contents could not be read.
    Read,
    /// Contents could not be written; the blocks may hold old or new bytes, or a mixture.
    Write,
}
