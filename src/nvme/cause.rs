//! What a failure means to whoever stands above the driver and knows no status codes.

#[cfg(test)]
mod tests;

use super::Failure;
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
    /// The controller is gone.
    Gone,
    /// Anything else: the controller's fault, or ours.
    Device {
        /// It may succeed when it is tried again: the controller did not say otherwise (DNR).
        again: bool,
    },
}

impl Failure {
    /// What it means.
    pub fn cause(self) -> Cause {
        let status = match self {
            Self::Status(status) | Self::Partly(status, _) => status,
            Self::Aborted => return Cause::Aborted,
            Self::Gone => return Cause::Gone,
        };
        let named = [
            (Status::LBA_OUT_OF_RANGE, Cause::OutOfRange),
            (Status::COMPARE_FAILURE, Cause::Miscompare),
            (Status::WRITE_FAULT, Cause::WriteFault),
            (Status::WRITE_PROTECTED, Cause::WriteProtected),
            (Status::CAPACITY_EXCEEDED, Cause::NoSpace),
            (Status::INVALID_OPCODE, Cause::Unsupported),
            (Status::ABORT_REQUESTED, Cause::Aborted),
            (Status::ABORTED_SQ_DELETION, Cause::Aborted),
            (Status::ACCESS_DENIED, Cause::Device { again: false }),
        ];
        match named.into_iter().find(|(named, _)| status.is(*named)) {
            Some((_, cause)) => cause,
            // What is left of the media errors is about contents: unreadable, or not what its tags say.
            None if status.kind() == StatusType::MEDIA => Cause::ReadFault,
            None => Cause::Device { again: !status.dnr() },
        }
    }
}
