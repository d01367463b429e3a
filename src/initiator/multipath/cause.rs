//! What becomes of a command that failed on one of several paths.

use crate::spec::cause::Cause;
use crate::spec::status::{Status, StatusType};

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
    /// Its data came damaged: send it again, but not for ever. In the end, tell it.
    Damaged(Cause),
    /// Try another path, and look at this one.
    OtherPath,
    /// The namespace is not what it was: look at the path, and try again.
    Look,
}

/// Sorts the status of a command that failed.
pub(super) fn remedy(status: Status) -> Remedy {
    // A queue that is on its way out tells its end next.
    if status.kind() == StatusType::PATH || status.is(Status::ABORTED_SQ_DELETION) {
        Remedy::OtherPath
    } else if status.is(Status::INVALID_NAMESPACE) {
        Remedy::Look
    } else if status.is(Status::TRANSIENT_TRANSPORT_ERROR) && !status.dnr() {
        // The controller has found a data digest that does not match (TCP transport 1.0, section 3.5).
        Remedy::Damaged(Cause::of(status))
    } else {
        Remedy::Tell(Cause::of(status))
    }
}
