//! Initialize Connection Response (TCP transport 1.0, section 3.6.2.3).

use zerocopy::FromBytes;

use crate::pdu::PduError;
use crate::pdu::header::{self, Agreement};
use crate::spec::tcp::{ALIGNMENT_DWORDS_Z_MAX, CommonHeader, H2C_DATA_BYTES_MIN, Icresp, PduType, digest};

const PFV_OFFSET: u8 = 8;
const CPDA_OFFSET: u8 = 10;
const MAXH2CDATA_OFFSET: u8 = 12;

/// What a controller answers when a connection opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Header digests are in use.
    pub header_digest: bool,
    /// Data digests are in use.
    pub data_digest: bool,
    /// Alignment of data sent to the controller, in bytes: a multiple of 4 from 4 to 128. Linux accepts 4 only.
    pub alignment: usize,
    /// MAXH2CDATA in bytes: at least 4,096 and a multiple of 4.
    pub h2c_data_bytes_max: u32,
}

/// Judges an ICResp.
///
/// # Errors
/// [`PduError::Unsupported`] for another PDU format version, [`PduError::HeaderField`] for a CPDA above 31 or a
/// MAXH2CDATA below 4,096 or not a multiple of 4.
pub fn decode(bytes: &[u8]) -> Result<Response, PduError> {
    let (response, _) = Icresp::ref_from_prefix(bytes).map_err(|_| PduError::HeaderField { offset: 4 })?;
    if response.pfv.get() != 0 {
        return Err(PduError::Unsupported { offset: PFV_OFFSET });
    }
    if response.cpda_z > ALIGNMENT_DWORDS_Z_MAX {
        return Err(PduError::HeaderField { offset: CPDA_OFFSET });
    }
    let h2c_data_bytes_max = response.maxh2cdata.get();
    if h2c_data_bytes_max < H2C_DATA_BYTES_MIN || !h2c_data_bytes_max.is_multiple_of(4) {
        return Err(PduError::HeaderField { offset: MAXH2CDATA_OFFSET });
    }
    Ok(Response {
        header_digest: response.dgst & digest::HEADER != 0,
        data_digest: response.dgst & digest::DATA != 0,
        alignment: (usize::from(response.cpda_z) + 1) * 4,
        h2c_data_bytes_max,
    })
}

/// Writes an ICResp to `out`; returns its length, 128 bytes.
pub fn encode(out: &mut [u8], response: &Response) -> usize {
    assert!(response.alignment.is_multiple_of(4));
    assert!((4..=128).contains(&response.alignment));
    assert!(response.h2c_data_bytes_max >= H2C_DATA_BYTES_MIN);
    assert!(response.h2c_data_bytes_max.is_multiple_of(4));
    let common = CommonHeader { pdu_type: PduType::ICRESP, flags: 0, hlen: 128, pdo: 0, plen: 128.into() };
    let dgst = if response.header_digest { digest::HEADER } else { 0 }
        | if response.data_digest { digest::DATA } else { 0 };
    let pdu = Icresp {
        header: common,
        pfv: 0.into(),
        cpda_z: u8::try_from(response.alignment / 4 - 1).expect("alignment is 128 at most"),
        dgst,
        maxh2cdata: response.h2c_data_bytes_max.into(),
        reserved: [0; 112],
    };
    header::write(out, &pdu, &Agreement::NONE)
}
