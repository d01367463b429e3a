//! Command and response capsules (TCP transport 1.0, sections 3.6.2.6 and 3.6.2.7).

use zerocopy::FromBytes;

use crate::pdu::PduError;
use crate::pdu::header::{self, Agreement};
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;
use crate::spec::tcp::{CapsuleCmd, CapsuleResp, PduType};

/// The submission queue entry of a command capsule.
///
/// # Errors
/// [`PduError::HeaderField`] if it is truncated.
#[inline]
pub fn decode_command(bytes: &[u8]) -> Result<&Sqe, PduError> {
    let (capsule, _) = CapsuleCmd::ref_from_prefix(bytes).map_err(|_| PduError::HeaderField { offset: 4 })?;
    Ok(&capsule.sqe)
}

/// The completion queue entry of a response capsule.
///
/// # Errors
/// [`PduError::HeaderField`] if it is truncated.
pub fn decode_response(bytes: &[u8]) -> Result<&Cqe, PduError> {
    let (capsule, _) =
        CapsuleResp::ref_from_prefix(bytes).map_err(|_| PduError::HeaderField { offset: 4 })?;
    Ok(&capsule.cqe)
}

/// Writes the header of a command capsule that carries `data_bytes` of in-capsule data; returns where the data goes.
pub fn encode_command(out: &mut [u8], sqe: &Sqe, data_bytes: usize, agreement: &Agreement) -> usize {
    let common = header::outgoing(PduType::CAPSULE_CMD, 0, 72, data_bytes, agreement);
    header::write(out, &CapsuleCmd { header: common, sqe: *sqe }, agreement)
}

/// Writes a response capsule; returns its length.
#[inline]
pub fn encode_response(out: &mut [u8], cqe: &Cqe, agreement: &Agreement) -> usize {
    let common = header::outgoing(PduType::CAPSULE_RESP, 0, 24, 0, agreement);
    header::write(out, &CapsuleResp { header: common, cqe: *cqe }, agreement)
}
