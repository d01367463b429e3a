//! H2CData and C2HData (TCP transport 1.0, sections 3.6.2.8 and 3.6.2.9).

use zerocopy::FromBytes;

use crate::pdu::PduError;
use crate::pdu::header::{self, Agreement, Layout, Role};
use crate::spec::tcp::{DWORD_BYTES, DataPdu, PduType, flags};

/// Offset of FLAGS in bytes, for errors.
pub const FLAGS_OFFSET: u8 = 1;
/// Offset of CCCID in bytes, for errors.
pub const CCCID_OFFSET: u8 = 8;
/// Offset of TTAG in bytes, for errors.
pub const TTAG_OFFSET: u8 = 10;
/// Offset of DATAO in bytes, for errors.
pub const DATAO_OFFSET: u8 = 12;
/// Offset of DATAL in bytes, for errors.
pub const DATAL_OFFSET: u8 = 16;

/// The header of a data PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// CID of the command whose data this is.
    pub cid: u16,
    /// Transfer tag (H2CData); 0 in C2HData.
    pub ttag: u16,
    /// Offset in the command's data, in bytes.
    pub offset: u32,
    /// Length in bytes, not 0.
    pub bytes: u32,
    /// The last PDU of its transfer.
    pub last: bool,
    /// The command is complete with it (C2HData).
    pub success: bool,
}

/// Judges the header of a data PDU.
///
/// # Errors
/// [`PduError::HeaderField`] where DATAL is not what PLEN says or the PDU carries nothing, where DATAO or DATAL is no
/// multiple of dwords, or where SUCCESS comes without LAST_PDU; [`PduError::OutOfRange`] where offset plus length overflow.
pub fn decode(bytes: &[u8], layout: &Layout) -> Result<Chunk, PduError> {
    let field = |offset| PduError::HeaderField { offset };
    let (pdu, _) = DataPdu::ref_from_prefix(bytes).map_err(|_| field(4))?;
    let last = layout.flags & flags::LAST != 0;
    let success = layout.pdu_type == PduType::C2H_DATA && layout.flags & flags::SUCCESS != 0;
    if success && !last {
        return Err(field(FLAGS_OFFSET));
    }
    let (offset, length) = (pdu.datao.get(), pdu.datal.get());
    if length == 0 || length as usize != layout.data_bytes {
        return Err(field(DATAL_OFFSET));
    }
    if offset.checked_add(length).is_none() {
        return Err(PduError::OutOfRange);
    }
    if !(offset | length).is_multiple_of(DWORD_BYTES) {
        let wrong = if offset.is_multiple_of(DWORD_BYTES) { DATAL_OFFSET } else { DATAO_OFFSET };
        return Err(field(wrong));
    }
    let ttag = if layout.pdu_type == PduType::H2C_DATA { pdu.ttag.get() } else { 0 };
    Ok(Chunk { cid: pdu.cccid.get(), ttag, offset, bytes: length, last, success })
}

/// Writes the header of a data PDU that `from` sends; returns where its data goes.
#[inline]
pub fn encode(out: &mut [u8], from: Role, chunk: &Chunk, agreement: &Agreement) -> usize {
    assert!(chunk.bytes > 0);
    assert!(chunk.last || !chunk.success);
    let pdu_type = match from {
        Role::Host => PduType::H2C_DATA,
        Role::Controller => PduType::C2H_DATA,
    };
    let more = if chunk.last { flags::LAST } else { 0 } | if chunk.success { flags::SUCCESS } else { 0 };
    let pdu = DataPdu {
        header: header::outgoing(pdu_type, more, 24, chunk.bytes as usize, agreement),
        cccid: chunk.cid.into(),
        ttag: chunk.ttag.into(),
        datao: chunk.offset.into(),
        datal: chunk.bytes.into(),
        reserved: [0; 4],
    };
    header::write(out, &pdu, agreement)
}
