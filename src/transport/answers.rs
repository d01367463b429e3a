//! What a command is answered that was not carried out, or not by its bdev.

use crate::nvmf::access::Access;
use crate::spec::opcode::FabricsType;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// CRD of Command Interrupted: the first of the delays that Identify announces.
const RETRY_DELAY: u8 = 1;

/// What a victim's command is answered. One that was not carried out says why, however its device was brought to end it.
pub(super) fn preempted(status: Status) -> Status {
    let ended = status.is(Status::ABORT_REQUESTED) || status.is(Status::INTERNAL_ERROR);
    if ended { Status::ABORTED_PREEMPT } else { status }
}

/// What another command is answered. One that a reset of its channel ended did nothing wrong, and its host did not ask
/// for the end: Namespace Not Ready without DNR is the status that any host may get and tries again after (base 2.1,
/// section 4.2.3.1). Command Interrupted is for hosts that enabled advanced retries.
pub(super) fn interrupted(status: Status) -> Status {
    if status.is(Status::ABORT_REQUESTED) { Status::NAMESPACE_NOT_READY } else { status }
}

/// How a status is said to a host. Command Interrupted is for those that enabled advanced retries, and comes with a delay;
/// the others are told what any host tries again after (base 2.1, section 4.2.3.1).
pub(super) fn worded(status: Status, access: &Access) -> Status {
    if !status.is(Status::INTERRUPTED) {
        status
    } else if access.has_advanced_retry() {
        Status::INTERRUPTED.with_retry_delay(RETRY_DELAY)
    } else {
        Status::NAMESPACE_NOT_READY
    }
}

/// What a fabrics command is answered on an I/O queue that is connected (base 2.1, section 3.3.2).
pub(super) fn fabrics_status(sqe: &Sqe) -> Status {
    match sqe.fabrics_type() {
        Some(FabricsType::CONNECT) => Status::COMMAND_SEQUENCE_ERROR.with_dnr(),
        _ => Status::INVALID_OPCODE.with_dnr(),
    }
}
