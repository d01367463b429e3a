//! Why an I/O failed: as a number that goes through the shim, as an error of the system, and in words.
//!
//! Invariant: a number below [`FIRST`] is no failure, so that a submission can say with one number what became of it.

use corelane::initiator::CommandError;
use corelane::nvme::{self, SubmitError};
use corelane::spec::status::{Status, StatusType};
use libc::c_int;

/// The least number of a failure.
pub(crate) const FIRST: u32 = 2;
/// Where statuses begin: above all others, with the status in the lower half.
const STATUS: u32 = 1 << 16;

/// Why an I/O failed, or was not even begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The controller says so.
    #[error("{0:?}")]
    Status(Status),
    /// It succeeded, but its data came damaged or short.
    #[error("the data came damaged or short")]
    Damaged,
    /// The association ended; it may have been carried out.
    #[error("lost with the connection")]
    Lost,
    /// The driver ended it with a reset; it may have been carried out.
    #[error("ended by a reset")]
    Aborted,
    /// The controller does not answer, or was pulled out; it may have been carried out.
    #[error("the controller is gone")]
    Gone,
    /// Offset or length are not whole blocks, or there are none.
    #[error("offset or length are not multiples of the namespace's block size")]
    Alignment,
    /// More than one command takes.
    #[error("longer than a command of this controller may be")]
    TooLong,
    /// The buffer is not in the memory that the engine gave to fio.
    #[error("the buffer is not in the engine's memory")]
    Memory,
    /// Neither read, write, trim nor sync, or a command that the controller does not have.
    #[error("the controller or this engine does not have this command")]
    Unsupported,
    /// No active namespace with a supported format.
    #[error("no such namespace, or its format is not supported")]
    Namespace,
}

impl Failure {
    const PLAIN: [Self; 9] = [
        Self::Damaged,
        Self::Lost,
        Self::Aborted,
        Self::Gone,
        Self::Alignment,
        Self::TooLong,
        Self::Memory,
        Self::Unsupported,
        Self::Namespace,
    ];

    /// The number of this failure, [`FIRST`] and up.
    pub(crate) fn number(self) -> u32 {
        if let Self::Status(status) = self {
            return STATUS | u32::from(status.to_wire());
        }
        let place = (FIRST..).zip(Self::PLAIN).find(|(_, plain)| *plain == self);
        place.map_or_else(|| unreachable!("the list has all failures without a status"), |(number, _)| number)
    }

    /// The failure of this number; `None` for what is none.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        if number >= STATUS {
            let wire = u16::try_from(number - STATUS).ok()?;
            return Some(Self::Status(Status::from_wire(wire)));
        }
        let place = number.checked_sub(FIRST)?;
        Self::PLAIN.get(usize::try_from(place).ok()?).copied()
    }

    /// The error that Linux makes of it, so that jobs fail with this engine as they do on its block devices.
    pub(crate) fn errno(self) -> c_int {
        match self {
            Self::Status(status) => of_status(status),
            Self::Damaged => libc::EILSEQ,
            Self::Lost => libc::ENOTCONN,
            Self::Aborted => libc::EAGAIN,
            Self::Gone | Self::Namespace => libc::ENODEV,
            Self::Alignment | Self::TooLong => libc::EINVAL,
            Self::Memory => libc::EFAULT,
            Self::Unsupported => libc::EOPNOTSUPP,
        }
    }

    /// Of a command over NVMe/TCP.
    pub(crate) fn of_command(error: CommandError) -> Self {
        match error {
            CommandError::Status { status, .. } => Self::Status(status),
            CommandError::Damaged => Self::Damaged,
            CommandError::Disconnected => Self::Lost,
        }
    }

    /// Of a command of the PCIe driver.
    pub(crate) fn of_outcome(failure: nvme::Failure) -> Self {
        match failure {
            nvme::Failure::Status(status) | nvme::Failure::Partly(status, _) => Self::Status(status),
            nvme::Failure::Aborted => Self::Aborted,
            nvme::Failure::Gone => Self::Gone,
        }
    }

    /// Of a command that the PCIe driver does not take; `None` when it may take it later.
    pub(crate) fn of_refusal(error: SubmitError) -> Option<Self> {
        match error {
            SubmitError::Full | SubmitError::Resetting => None,
            SubmitError::Gone => Some(Self::Gone),
            SubmitError::Namespace => Some(Self::Namespace),
            SubmitError::Unsupported => Some(Self::Unsupported),
            SubmitError::Length => Some(Self::Alignment),
            SubmitError::TooLong => Some(Self::TooLong),
            SubmitError::Unmapped | SubmitError::Hole => Some(Self::Memory),
        }
    }
}

/// As Linux translates statuses for its block layer.
fn of_status(status: Status) -> c_int {
    let is = |known: &[Status]| known.iter().any(|known| known.is(status));
    if is(&[Status::CAPACITY_EXCEEDED]) {
        libc::ENOSPC
    } else if is(&[Status::LBA_OUT_OF_RANGE, Status::COMMAND_SIZE_LIMIT_EXCEEDED]) {
        libc::EREMOTEIO
    } else if is(&[Status::RESERVATION_CONFLICT]) {
        libc::EBADE
    } else if is(&[Status::INVALID_OPCODE, Status::INVALID_FIELD, Status::INVALID_NAMESPACE]) {
        libc::EOPNOTSUPP
    } else if is(&[Status::WRITE_PROTECTED]) {
        libc::EROFS
    } else if is(&[Status::WRITE_FAULT, Status::UNRECOVERED_READ_ERROR, Status::ACCESS_DENIED]) {
        libc::ENODATA
    } else if is(&[Status::NAMESPACE_NOT_READY, Status::INTERRUPTED]) {
        libc::EAGAIN
    } else if status.kind() == StatusType::PATH {
        libc::ENOLINK
    } else {
        libc::EIO
    }
}

#[cfg(test)]
mod tests;
