//! Terminate Connection Request, both directions (TCP transport 1.0, sections 3.5, 3.6.2.4 and 3.6.2.5).

use zerocopy::FromBytes;

use crate::pdu::PduError;
use crate::pdu::header::{self, Agreement, Role};
use crate::spec::tcp::{CommonHeader, FatalStatus, PduType, TERMINATE_DATA_BYTES_MAX, TermReq};

/// Length of a terminate request with the longest quotation, in bytes.
pub const BYTES_MAX: usize = size_of::<TermReq>() + TERMINATE_DATA_BYTES_MAX;

/// What a terminate request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Fatal error status; reserved values are possible.
    pub status: FatalStatus,
    /// Fatal error information: an offset or a digest, by status.
    pub information: u32,
}

/// Reads a terminate request.
///
/// # Errors
/// [`PduError::HeaderField`] if it is truncated.
pub fn decode(bytes: &[u8]) -> Result<Termination, PduError> {
    let (request, _) = TermReq::ref_from_prefix(bytes).map_err(|_| PduError::HeaderField { offset: 4 })?;
    Ok(Termination { status: FatalStatus(request.fes.get()), information: request.fei.get() })
}

/// What a terminate request quotes of the refused PDU at the start of `bytes`, which `from` sent: as much of its header
/// as is here. `None` if that PDU is a terminate request itself, which is not answered by another one (section 3.5).
pub fn quotation(bytes: &[u8], from: Role) -> Option<&[u8]> {
    let Some(common) = header::common(bytes) else { return Some(bytes) };
    let hlen = usize::from(common.hlen).max(header::COMMON_BYTES);
    (common.pdu_type != pdu_type(from)).then_some(&bytes[..hlen.min(bytes.len())])
}

/// Writes the terminate request that `from` sends because of `error`, quoting the header `offending` (at most its
/// first 128 bytes); returns its length.
pub fn encode(out: &mut [u8], from: Role, error: PduError, offending: &[u8]) -> usize {
    let quoted = &offending[..offending.len().min(TERMINATE_DATA_BYTES_MAX)];
    let (status, information) = error.wire();
    let plen = u32::try_from(size_of::<TermReq>() + quoted.len()).expect("152 bytes at most");
    let pdu = TermReq {
        header: CommonHeader { pdu_type: pdu_type(from), flags: 0, hlen: 24, pdo: 0, plen: plen.into() },
        fes: status.0.into(),
        fei: information.into(),
        reserved: [0; 10],
    };
    let header_bytes = header::write(out, &pdu, &Agreement::NONE);
    out[header_bytes..header_bytes + quoted.len()].copy_from_slice(quoted);
    header_bytes + quoted.len()
}

fn pdu_type(from: Role) -> PduType {
    match from {
        Role::Host => PduType::H2C_TERM_REQ,
        Role::Controller => PduType::C2H_TERM_REQ,
    }
}
