//! Commands of I/O queues as their users write them, and how they end.

use corelane_reactors::buffer::{Segment, SegmentMut};

use crate::spec::cause::Cause;
use crate::spec::reservation::{
    AcquireAction, PersistChange, RegisterAction, ReleaseAction, ReservationType,
};
use crate::spec::status::Status;

/// A range of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The first block.
    pub slba: u64,
    /// The number of blocks.
    pub blocks: u32,
}

/// A command of the NVM command set (NVM command set 1.0, section 3.2) or a reservation command (NVMe base 2.1,
/// sections 7.5 to 7.8), with lists that live for the call only. The memory that they name belongs to the device until
/// the command has completed.
#[derive(Clone, Copy, Debug)]
pub enum IoCommand<'a> {
    /// Reads blocks.
    Read {
        /// The namespace.
        nsid: u32,
        /// The first block.
        slba: u64,
        /// The number of blocks, at least 1.
        blocks: u32,
        /// Where to put them: as many bytes as the blocks have.
        into: &'a [SegmentMut],
    },
    /// Writes blocks.
    Write {
        /// The namespace.
        nsid: u32,
        /// The first block.
        slba: u64,
        /// The number of blocks, at least 1.
        blocks: u32,
        /// What to write: as many bytes as the blocks have.
        from: &'a [Segment],
        /// Complete only when the data is on non-volatile media.
        fua: bool,
    },
    /// Makes completed writes durable.
    Flush {
        /// The namespace, or FFFFFFFFh for all where the controller takes that.
        nsid: u32,
    },
    /// Makes blocks read as zeros.
    WriteZeroes {
        /// The namespace.
        nsid: u32,
        /// The first block.
        slba: u64,
        /// The number of blocks, at least 1.
        blocks: u32,
        /// The storage may be given back.
        deallocate: bool,
        /// Complete only when the zeros are on non-volatile media.
        fua: bool,
    },
    /// Tells that the contents of blocks are not needed (Dataset Management with AD).
    Deallocate {
        /// The namespace.
        nsid: u32,
        /// The ranges, 1 to 256.
        ranges: &'a [BlockRange],
    },
    /// Compares blocks with memory; they differ where it fails with Compare Failure.
    Compare {
        /// The namespace.
        nsid: u32,
        /// The first block.
        slba: u64,
        /// The number of blocks, at least 1.
        blocks: u32,
        /// What to compare with: as many bytes as the blocks have.
        with: &'a [Segment],
    },
    /// Reads blocks without handing them out: fails where they cannot be read.
    Verify {
        /// The namespace.
        nsid: u32,
        /// The first block.
        slba: u64,
        /// The number of blocks, at least 1.
        blocks: u32,
    },
    /// Makes blocks unreadable until they are written again.
    WriteUncorrectable {
        /// The namespace.
        nsid: u32,
        /// The first block.
        slba: u64,
        /// The number of blocks, at least 1.
        blocks: u32,
    },
    /// Copies ranges, one after the other, to `slba` and what follows it, by one command. What is more than the namespace
    /// takes at once ([`super::NamespaceInfo::copy`]) is refused, but for a range that is too long by itself, which is
    /// sent as several.
    Copy {
        /// The namespace.
        nsid: u32,
        /// The first block to write.
        slba: u64,
        /// What to copy: 1 to 128 ranges of 1 block or more.
        from: &'a [BlockRange],
        /// Complete only when the copy is on non-volatile media.
        fua: bool,
    },
    /// Reservation Register.
    ReservationRegister {
        /// The namespace.
        nsid: u32,
        /// RREGA.
        action: RegisterAction,
        /// IEKEY: CRKEY is not looked at.
        ignore_key: bool,
        /// CPTPL.
        persist: PersistChange,
        /// CRKEY.
        current: u64,
        /// NRKEY.
        new: u64,
    },
    /// Reservation Acquire.
    ReservationAcquire {
        /// The namespace.
        nsid: u32,
        /// RACQA.
        action: AcquireAction,
        /// RTYPE.
        kind: ReservationType,
        /// CRKEY.
        current: u64,
        /// PRKEY.
        preempt: u64,
    },
    /// Reservation Release.
    ReservationRelease {
        /// The namespace.
        nsid: u32,
        /// RRELA.
        action: ReleaseAction,
        /// RTYPE.
        kind: ReservationType,
        /// CRKEY.
        current: u64,
    },
    /// Reservation Report: see [`super::ReservationReport::decode`].
    ReservationReport {
        /// The namespace.
        nsid: u32,
        /// Where to put it: a multiple of 4 bytes.
        into: &'a [SegmentMut],
        /// EDS: ask for the extended structure, with host identifiers of 128 bits.
        extended: bool,
    },
}

/// Why a command was not taken. Nothing was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// As many commands are outstanding as can be, or every bounce buffer is in use: try again after a completion.
    #[error("the queue is full")]
    Full,
    /// The queue is being taken down and made anew: try again later.
    #[error("the queue is being reset")]
    Resetting,
    /// The controller is gone or was given up.
    #[error("the controller is gone")]
    Gone,
    /// The namespace is not active, or its format is not supported.
    #[error("no such namespace, or its format is not supported")]
    Namespace,
    /// The controller does not have the command, or has it for other namespaces than this one.
    #[error("the controller does not have this command")]
    Unsupported,
    /// The segments do not add up to the blocks, or there are no blocks.
    #[error("the segments do not add up to the blocks")]
    Length,
    /// More parts than the queue has entries, or more ranges or blocks than the command takes.
    #[error("the command is too long for the queue")]
    TooLong,
    /// A segment is not in memory that the device was given, and there are no bounce buffers.
    #[error("a segment is not in memory that the device reaches")]
    Unmapped,
    /// Segments meet where no page of memory ends, or begin at no multiple of 4, and there are no bounce buffers.
    #[error("the segments cannot be named by pages of memory")]
    Hole,
}

/// Why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The controller says so.
    #[error("{0}")]
    Status(Status),
    /// The controller says so, and says more about it in DW0: of a Copy, how many of its ranges are copied.
    #[error("{0}")]
    Partly(Status, u32),
    /// A reset ended it. Whether it was carried out is not known; it no longer is being carried out. May be tried again.
    #[error("ended by a reset")]
    Aborted,
    /// The controller is gone, or was given up. Whether the command was carried out is not known.
    #[error("the controller is gone")]
    Gone,
}

impl Failure {
    /// What it means.
    pub fn cause(self) -> Cause {
        match self {
            Self::Status(status) | Self::Partly(status, _) => Cause::of(status),
            Self::Aborted => Cause::Aborted,
            Self::Gone => Cause::Gone,
        }
    }
}

/// How a command ended: DW0 of its completion, or why it failed. Of a command that was split, the worst end.
pub type Outcome = Result<u32, Failure>;
