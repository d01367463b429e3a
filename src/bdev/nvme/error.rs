//! What the driver says, in the words of block devices.

use crate::bdev::BdevError;
use crate::nvme::{Failure, FormatError, SubmitError};

/// Why a namespace cannot be a block device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The controller has no such active namespace.
    #[error("the controller has no active namespace {nsid}; active are {active:?}")]
    NoSuchNamespace {
        /// What was asked for.
        nsid: u32,
        /// What there is.
        active: Vec<u32>,
    },
    /// The namespace is formatted in a way that is not supported.
    #[error(transparent)]
    Format(FormatError),
}

/// Of a command that was taken.
pub(super) fn of_failure(failure: Failure) -> BdevError {
    let error = BdevError::from(failure.cause());
    // Only a Copy says how far it came.
    if let Failure::Partly(_, ranges) = failure { error.after(ranges) } else { error }
}

/// Of a command that was not taken.
pub(super) fn of_refusal(refusal: SubmitError) -> BdevError {
    match refusal {
        SubmitError::Full | SubmitError::Resetting => BdevError::Busy,
        // A namespace that was detached, or formatted anew, is not the one that this device stands for.
        SubmitError::Gone | SubmitError::Namespace => BdevError::Gone,
        SubmitError::Unsupported => BdevError::Unsupported,
        SubmitError::Length => BdevError::Length,
        SubmitError::TooLong | SubmitError::Unmapped | SubmitError::Hole => {
            BdevError::Device { again: false }
        }
    }
}
