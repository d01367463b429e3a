//! Structures of the NVMe/TCP transport specification, revision 1.0: the nine PDUs and their constants.
//!
//! Layout only. Which PDU may come when, and what to do about a wrong one, is decided in `pdu` and `connection`.

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;

/// The largest in-capsule data of admin and fabrics commands, in bytes (TCP transport 1.0, section 3.3).
pub const ADMIN_IN_CAPSULE_BYTES: u32 = 8192;
/// The smallest MAXH2CDATA that a controller should announce, in bytes (section 3.6.2.3).
pub const H2C_DATA_BYTES_MIN: u32 = 4096;
/// The longest PDU header that a terminate request may quote, in bytes (section 3.5).
pub const TERMINATE_DATA_BYTES_MAX: usize = 128;
/// The largest value of HPDA and CPDA, 0-based, in dwords (sections 3.6.2.2 and 3.6.2.3).
pub const ALIGNMENT_DWORDS_Z_MAX: u8 = 31;
/// What offsets and lengths of data in PDUs are multiples of, in bytes (sections 3.6.2.8 to 3.6.2.10).
pub const DWORD_BYTES: u32 = 4;
/// Length of a header or data digest in bytes (section 3.3.1.1).
pub const DIGEST_BYTES: usize = 4;

/// PDU type, the first byte of every PDU (figure 10). Even values go from host to controller, odd ones back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct PduType(pub u8);

impl PduType {
    /// Initialize Connection Request.
    pub const ICREQ: Self = Self(0x00);
    /// Initialize Connection Response.
    pub const ICRESP: Self = Self(0x01);
    /// Host to Controller Terminate Connection Request.
    pub const H2C_TERM_REQ: Self = Self(0x02);
    /// Controller to Host Terminate Connection Request.
    pub const C2H_TERM_REQ: Self = Self(0x03);
    /// Command Capsule.
    pub const CAPSULE_CMD: Self = Self(0x04);
    /// Response Capsule.
    pub const CAPSULE_RESP: Self = Self(0x05);
    /// Host to Controller Data.
    pub const H2C_DATA: Self = Self(0x06);
    /// Controller to Host Data.
    pub const C2H_DATA: Self = Self(0x07);
    /// Ready to Transfer.
    pub const R2T: Self = Self(0x09);
}

/// Bits of the FLAGS byte (sections 3.6.2.4 to 3.6.2.10).
pub mod flags {
    /// HDGSTF: a header digest follows the header.
    pub const HEADER_DIGEST: u8 = 1 << 0;
    /// DDGSTF: a data digest follows the data.
    pub const DATA_DIGEST: u8 = 1 << 1;
    /// LAST_PDU: the last data PDU of a transfer.
    pub const LAST: u8 = 1 << 2;
    /// SUCCESS: the command is complete, no response capsule follows (C2HData only).
    pub const SUCCESS: u8 = 1 << 3;
}

/// Bits of the DGST byte of ICReq and ICResp (sections 3.6.2.2 and 3.6.2.3).
pub mod digest {
    /// HDGST_ENABLE.
    pub const HEADER: u8 = 1 << 0;
    /// DDGST_ENABLE.
    pub const DATA: u8 = 1 << 1;
}

/// Fatal Error Status of a terminate request (sections 3.6.2.4 and 3.6.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FatalStatus(pub u16);

impl FatalStatus {
    /// A field of the PDU header is invalid; FEI holds its offset.
    pub const INVALID_HEADER_FIELD: Self = Self(0x01);
    /// A PDU came at the wrong time.
    pub const SEQUENCE: Self = Self(0x02);
    /// The header digest is wrong; FEI holds the digest that was received.
    pub const HEADER_DIGEST: Self = Self(0x03);
    /// Data outside of the range that was asked for.
    pub const OUT_OF_RANGE: Self = Self(0x04);
    /// To the host: an H2CData PDU longer than MAXH2CDATA. To the controller: more R2Ts than MAXR2T.
    pub const LIMIT_EXCEEDED: Self = Self(0x05);
    /// A parameter is not supported; FEI holds its offset.
    pub const UNSUPPORTED_PARAMETER: Self = Self(0x06);
}

/// Common header of every PDU (section 3.6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommonHeader {
    /// Which PDU this is.
    pub pdu_type: PduType,
    /// Bits of [`flags`].
    pub flags: u8,
    /// Length of the header in bytes, without its digest.
    pub hlen: u8,
    /// Offset of the data from the start of the PDU, in bytes.
    pub pdo: u8,
    /// Length of the whole PDU in bytes, digests and padding included.
    pub plen: U32,
}
const _: () = assert!(size_of::<CommonHeader>() == 8 && offset_of!(CommonHeader, plen) == 4);

/// Initialize Connection Request (section 3.6.2.2).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Icreq {
    /// Common header.
    pub header: CommonHeader,
    /// PDU format version; 0.
    pub pfv: U16,
    /// Alignment of data sent to the host, 0-based, in dwords.
    pub hpda_z: u8,
    /// Bits of [`digest`] that the host asks for.
    pub dgst: u8,
    /// R2Ts that may be outstanding for one command, 0-based.
    pub maxr2t_z: U32,
    /// Reserved.
    pub reserved: [u8; 112],
}
const _: () = assert!(size_of::<Icreq>() == 128 && offset_of!(Icreq, maxr2t_z) == 12);

/// Initialize Connection Response (section 3.6.2.3).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Icresp {
    /// Common header.
    pub header: CommonHeader,
    /// PDU format version; 0.
    pub pfv: U16,
    /// Alignment of data sent to the controller, 0-based, in dwords.
    pub cpda_z: u8,
    /// Bits of [`digest`] that are in use from here on.
    pub dgst: u8,
    /// MAXH2CDATA: data bytes that one H2CData PDU may carry; a multiple of 4.
    pub maxh2cdata: U32,
    /// Reserved.
    pub reserved: [u8; 112],
}
const _: () = assert!(size_of::<Icresp>() == 128 && offset_of!(Icresp, maxh2cdata) == 12);

/// Terminate Connection Request, either direction (sections 3.6.2.4 and 3.6.2.5). The offending header follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TermReq {
    /// Common header.
    pub header: CommonHeader,
    /// Fatal error status.
    pub fes: U16,
    /// Fatal error information.
    pub fei: U32,
    /// Reserved.
    pub reserved: [u8; 10],
}
const _: () = assert!(size_of::<TermReq>() == 24 && offset_of!(TermReq, fei) == 10);

/// Command Capsule (section 3.6.2.6). In-capsule data may follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CapsuleCmd {
    /// Common header.
    pub header: CommonHeader,
    /// The submission queue entry.
    pub sqe: Sqe,
}
const _: () = assert!(size_of::<CapsuleCmd>() == 72 && offset_of!(CapsuleCmd, sqe) == 8);

/// Response Capsule (section 3.6.2.7).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CapsuleResp {
    /// Common header.
    pub header: CommonHeader,
    /// The completion queue entry.
    pub cqe: Cqe,
}
const _: () = assert!(size_of::<CapsuleResp>() == 24 && offset_of!(CapsuleResp, cqe) == 8);

/// H2CData and C2HData (sections 3.6.2.8 and 3.6.2.9). Data follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DataPdu {
    /// Common header.
    pub header: CommonHeader,
    /// CID of the command whose data this is.
    pub cccid: U16,
    /// Transfer tag of the R2T that asked for it (H2CData); reserved in C2HData.
    pub ttag: U16,
    /// Offset in the command's data, in bytes.
    pub datao: U32,
    /// Length of the data, in bytes.
    pub datal: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}
const _: () = assert!(size_of::<DataPdu>() == 24 && offset_of!(DataPdu, datal) == 16);

/// Ready to Transfer (section 3.6.2.10).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct R2t {
    /// Common header.
    pub header: CommonHeader,
    /// CID of the command that the controller is ready for.
    pub cccid: U16,
    /// Transfer tag that the H2CData PDUs must carry.
    pub ttag: U16,
    /// Offset in the command's data, in bytes.
    pub r2to: U32,
    /// Length that is asked for, in bytes.
    pub r2tl: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}
const _: () = assert!(size_of::<R2t>() == 24 && offset_of!(R2t, r2tl) == 16);
