//! Initialize Connection Request (TCP transport 1.0, section 3.6.2.2).

use zerocopy::FromBytes;

use crate::pdu::PduError;
use crate::pdu::header::{self, Agreement};
use crate::spec::tcp::{ALIGNMENT_DWORDS_Z_MAX, CommonHeader, Icreq, PduType, digest};

const PFV_OFFSET: u8 = 8;
const HPDA_OFFSET: u8 = 10;

/// What a host asks for when it opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The host wants header digests.
    pub header_digest: bool,
    /// The host wants data digests.
    pub data_digest: bool,
    /// Alignment of data sent to the host, in bytes: a multiple of 4 from 4 to 128.
    pub alignment: usize,
    /// R2Ts that may be outstanding for one command: 1 and up.
    pub r2t_max: u64,
}

/// Judges an ICReq.
///
/// # Errors
/// [`PduError::Unsupported`] for another PDU format version, [`PduError::HeaderField`] for an HPDA above 31.
pub fn decode(bytes: &[u8]) -> Result<Request, PduError> {
    let (request, _) = Icreq::ref_from_prefix(bytes).map_err(|_| PduError::HeaderField { offset: 4 })?;
    if request.pfv.get() != 0 {
        return Err(PduError::Unsupported { offset: PFV_OFFSET });
    }
    if request.hpda_z > ALIGNMENT_DWORDS_Z_MAX {
        return Err(PduError::HeaderField { offset: HPDA_OFFSET });
    }
    Ok(Request {
        header_digest: request.dgst & digest::HEADER != 0,
        data_digest: request.dgst & digest::DATA != 0,
        alignment: (usize::from(request.hpda_z) + 1) * 4,
        r2t_max: u64::from(request.maxr2t_z.get()) + 1,
    })
}

/// Writes an ICReq to `out`; returns its length, 128 bytes.
pub fn encode(out: &mut [u8], request: &Request) -> usize {
    assert!(request.alignment.is_multiple_of(4));
    assert!((4..=128).contains(&request.alignment));
    let common = CommonHeader { pdu_type: PduType::ICREQ, flags: 0, hlen: 128, pdo: 0, plen: 128.into() };
    let dgst = if request.header_digest { digest::HEADER } else { 0 }
        | if request.data_digest { digest::DATA } else { 0 };
    let hpda_z = u8::try_from(request.alignment / 4 - 1).expect("alignment is 128 at most");
    let maxr2t_z = u32::try_from(request.r2t_max - 1).unwrap_or(u32::MAX);
    let pdu =
        Icreq { header: common, pfv: 0.into(), hpda_z, dgst, maxr2t_z: maxr2t_z.into(), reserved: [0; 112] };
    header::write(out, &pdu, &Agreement::NONE)
}
