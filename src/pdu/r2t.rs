//! Ready to Transfer (TCP transport 1.0, section 3.6.2.10).

use zerocopy::FromBytes;

use crate::pdu::PduError;
use crate::pdu::header::{self, Agreement};
use crate::spec::tcp::{DWORD_BYTES, PduType, R2t};

/// Offset of CCCID in bytes, for errors.
pub const CCCID_OFFSET: u8 = 8;
const R2TO_OFFSET: u8 = 12;
const R2TL_OFFSET: u8 = 16;

/// A controller asks for part of a command's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// CID of the command.
    pub cid: u16,
    /// Transfer tag that the data must carry.
    pub ttag: u16,
    /// Offset in the command's data, in bytes.
    pub offset: u32,
    /// Length in bytes, not 0.
    pub bytes: u32,
}

/// Judges an R2T.
///
/// # Errors
/// [`PduError::HeaderField`] for a length of 0, and where R2TO or R2TL is no multiple of dwords; [`PduError::OutOfRange`] where offset plus length overflow.
pub fn decode(bytes: &[u8]) -> Result<Request, PduError> {
    let (pdu, _) = R2t::ref_from_prefix(bytes).map_err(|_| PduError::HeaderField { offset: 4 })?;
    let (offset, bytes) = (pdu.r2to.get(), pdu.r2tl.get());
    if bytes == 0 {
        return Err(PduError::HeaderField { offset: R2TL_OFFSET });
    }
    if offset.checked_add(bytes).is_none() {
        return Err(PduError::OutOfRange);
    }
    if !(offset | bytes).is_multiple_of(DWORD_BYTES) {
        let wrong = if offset.is_multiple_of(DWORD_BYTES) { R2TL_OFFSET } else { R2TO_OFFSET };
        return Err(PduError::HeaderField { offset: wrong });
    }
    Ok(Request { cid: pdu.cccid.get(), ttag: pdu.ttag.get(), offset, bytes })
}

/// Writes an R2T; returns its length.
pub fn encode(out: &mut [u8], request: &Request, agreement: &Agreement) -> usize {
    assert!(request.bytes > 0);
    let pdu = R2t {
        header: header::outgoing(PduType::R2T, 0, 24, 0, agreement),
        cccid: request.cid.into(),
        ttag: request.ttag.into(),
        r2to: request.offset.into(),
        r2tl: request.bytes.into(),
        reserved: [0; 4],
    };
    header::write(out, &pdu, agreement)
}
