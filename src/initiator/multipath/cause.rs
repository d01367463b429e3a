//! What the failure of a command means to whoever knows no status codes.

use crate::spec::status::{Status, StatusType};

/// Why a command failed, sorted by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Blocks beyond the end of the namespace.
    OutOfRange,
    /// A Compare found a difference.
    Miscompare,
    /// Data could not be read.
    ReadFault,
    /// Data could not be written.
    WriteFault,
    /// The namespace may not be written.
    WriteProtected,
    /// The namespace has no room left.
    NoSpace,
    /// The controller does not have this command.
    Unsupported,
    /// It was ended before it was carried out.
    Aborted,
    /// No path has the namespace any more.
    Gone,
    /// No path worked for as long as commands wait; it may have been carried out.
    NoPath,
    /// Anything else.
    Other {
        /// It may succeed when it is tried again: the controller did not say otherwise (DNR).
        again: bool,
    },
}

/// How a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub cause: Cause,
    /// Of a Copy, DW0 of its completion: how many ranges are copied. 0 for others, and where there was no completion.
    pub dw0: u32,
}

impl From<Cause> for Failed {
    fn from(cause: Cause) -> Self {
        Self { cause, dw0: 0 }
    }
}

/// What is to be done about a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Tell it.
    Tell(Cause),
    /// Try another path, and look at this one.
    OtherPath,
    /// The namespace is not what it was: look at the path, and try again.
    Look,
}

/// Sorts the status of a command that failed.
pub(super) fn remedy(status: Status) -> Remedy {
    let named = [
        (Status::LBA_OUT_OF_RANGE, Cause::OutOfRange),
        (Status::COMPARE_FAILURE, Cause::Miscompare),
        (Status::WRITE_FAULT, Cause::WriteFault),
        (Status::WRITE_PROTECTED, Cause::WriteProtected),
        (Status::CAPACITY_EXCEEDED, Cause::NoSpace),
        (Status::INVALID_OPCODE, Cause::Unsupported),
        (Status::ABORT_REQUESTED, Cause::Aborted),
        (Status::ACCESS_DENIED, Cause::Other { again: false }),
    ];
    match named.into_iter().find(|(named, _)| status.is(*named)) {
        Some((_, cause)) => Remedy::Tell(cause),
        // The queue is on its way out; its end is told next.
        None if status.is(Status::ABORTED_SQ_DELETION) => Remedy::OtherPath,
        None if status.is(Status::INVALID_NAMESPACE) => Remedy::Look,
        None if status.kind() == StatusType::PATH => Remedy::OtherPath,
        None if status.kind() == StatusType::MEDIA => Remedy::Tell(Cause::ReadFault),
        None => Remedy::Tell(Cause::Other { again: !status.dnr() }),
    }
}
