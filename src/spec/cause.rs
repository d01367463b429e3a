//! What the failure of a command means to whoever knows no status codes.

#[cfg(test)]
mod tests;

use crate::spec::status::{Status, StatusType};

/// Why a command failed, sorted by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Blocks beyond the end of the namespace.
    OutOfRange,
    /// A Compare found a difference.
    Miscompare,
    /// Data could not be read, or does not agree with its protection.
    ReadFault,
    /// Data could not be written.
    WriteFault,
    /// The namespace may not be written.
    WriteProtected,
    /// The namespace has no room left.
    NoSpace,
    /// The controller does not have this command.
    Unsupported,
    /// It was ended before it was carried out, or it is not known how far it was.
    Aborted,
    /// The controller is gone, or no path has the namespace any more.
    Gone,
    /// No path worked for as long as commands wait; it may have been carried out.
    NoPath,
    /// Anything else: the controller's fault, or ours.
    Device {
        /// It may succeed when it is tried again: the controller did not say otherwise (DNR).
        again: bool,
    },
}

impl Cause {
    /// What the status of a command that failed means (NVMe base 2.1, section 4.2.3).
    pub fn of(status: Status) -> Self {
        let named = [
            (Status::LBA_OUT_OF_RANGE, Self::OutOfRange),
            (Status::COMPARE_FAILURE, Self::Miscompare),
            (Status::WRITE_FAULT, Self::WriteFault),
            (Status::WRITE_PROTECTED, Self::WriteProtected),
            (Status::CAPACITY_EXCEEDED, Self::NoSpace),
            (Status::INVALID_OPCODE, Self::Unsupported),
            (Status::ABORT_REQUESTED, Self::Aborted),
            (Status::ABORTED_SQ_DELETION, Self::Aborted),
            (Status::ACCESS_DENIED, Self::Device { again: false }),
        ];
        match named.into_iter().find(|(named, _)| status.is(*named)) {
            Some((_, cause)) => cause,
            // What is left of the media errors is about contents: unreadable, or not what its tags say.
            None if status.kind() == StatusType::MEDIA => Self::ReadFault,
            None => Self::Device { again: !status.dnr() },
        }
    }
}
