//! What all PDUs share: the common header, where the parts of a PDU lie, the header digest.
//!
//! Invariant of a [`Layout`]: `hlen <= header_end <= data_start <= data_start + data_bytes <= total`, and a PDU
//! without data has `header_end == data_start == total`.

use zerocopy::{FromBytes, IntoBytes};

use crate::pdu::PduError;
use crate::pdu::digest;
use crate::spec::tcp::{CommonHeader, DIGEST_BYTES, PduType, TERMINATE_DATA_BYTES_MAX, flags};

/// Length of the common header in bytes.
pub const COMMON_BYTES: usize = size_of::<CommonHeader>();
/// The longest header with digest and padding, in bytes: what a sender needs room for. It is that of a command
/// capsule with a header digest (76 bytes) where data is aligned to 72 bytes.
pub const HEADER_BYTES_MAX: usize = 144;
/// The longest header of a data PDU with digest and padding, in bytes: 28 bytes, padded to 128.
pub const DATA_HEADER_BYTES_MAX: usize = 128;

const FLAGS_OFFSET: u8 = 1;
const HLEN_OFFSET: u8 = 2;
const PDO_OFFSET: u8 = 3;
const PLEN_OFFSET: u8 = 4;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The initiator: sends commands.
    Host,
    /// The target: sends responses.
    Controller,
}

/// What both ends agreed on in ICReq and ICResp, for PDUs of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Headers carry a digest.
    pub header_digest: bool,
    /// Data carries a digest.
    pub data_digest: bool,
    /// Alignment of data from the start of its PDU, in bytes: a multiple of 4 from 4 to 128.
    pub alignment: usize,
    /// The most in-capsule data of one command capsule, in bytes.
    pub capsule_bytes_max: u32,
    /// The most data of one data PDU, in bytes: MAXH2CDATA, or what a host is ready to take.
    pub data_bytes_max: u32,
}

impl Agreement {
    /// The least alignment of data, in bytes. Lengths of headers and digests are multiples of it.
    const ALIGNMENT_MIN: usize = 4;

    /// Before ICReq and ICResp: no digests, no alignment, and no limits yet: a PDU with data is well formed
    /// then, but out of sequence.
    pub const NONE: Self = Self {
        header_digest: false,
        data_digest: false,
        alignment: 4,
        capsule_bytes_max: u32::MAX,
        data_bytes_max: u32::MAX,
    };

    /// Where data starts behind a header of `hlen` bytes, a multiple of 4.
    #[inline]
    pub fn data_start(&self, hlen: usize) -> usize {
        let end = self.header_end(hlen);
        // So it is with most peers, and a division takes long.
        if self.alignment == Self::ALIGNMENT_MIN { end } else { end.next_multiple_of(self.alignment) }
    }

    #[inline]
    fn aligns(&self, start: usize) -> bool {
        let step = Self::ALIGNMENT_MIN;
        start.is_multiple_of(if self.alignment == step { step } else { self.alignment })
    }

    #[inline]
    fn header_end(&self, hlen: usize) -> usize {
        hlen + if self.header_digest { DIGEST_BYTES } else { 0 }
    }

    #[inline]
    fn data_end_bytes(&self) -> usize {
        if self.data_digest { DIGEST_BYTES } else { 0 }
    }
}

/// Where the parts of one PDU lie, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which PDU it is.
    pub pdu_type: PduType,
    /// Bits of the FLAGS byte.
    pub flags: u8,
    /// Length of the header.
    pub hlen: usize,
    /// End of the header with its digest.
    pub header_end: usize,
    /// Start of the data; the end of the PDU if there is none.
    pub data_start: usize,
    /// Length of the data, without digest.
    pub data_bytes: usize,
    /// A data digest follows the data.
    pub data_digest: bool,
    /// Length of the whole PDU.
    pub total: usize,
}

/// The common header at the start of `bytes`; `None` while it is incomplete.
#[inline]
pub fn common(bytes: &[u8]) -> Option<&CommonHeader> {
    CommonHeader::ref_from_prefix(bytes).ok().map(|(header, _)| header)
}

/// Where the data of a command capsule starts, and how long the capsule is, both in bytes, for a host that agreed on no digests:
/// what [`layout`] says of nearly all capsules, in a few steps. `None` for everything else, right or wrong, and while the
/// header is incomplete.
#[inline]
pub fn plain_capsule(bytes: &[u8], agreement: &Agreement) -> Option<(usize, usize)> {
    const HLEN: u8 = 72;
    let header = common(bytes)?;
    let usual = header.pdu_type == PduType::CAPSULE_CMD && header.flags == 0 && header.hlen == HLEN;
    if !usual || agreement.header_digest || agreement.data_digest || bytes.len() < usize::from(HLEN) {
        return None;
    }
    let (start, total) = (usize::from(header.pdo), header.plen.get() as usize);
    if total == usize::from(HLEN) {
        return Some((total, total));
    }
    let right = header.pdo >= HLEN
        && start < total
        && total - start <= agreement.capsule_bytes_max as usize
        && agreement.aligns(start);
    right.then_some((start, total))
}

struct Shape {
    hlen: u8,
    digests: bool,
    data: bool,
}

fn shape(pdu_type: PduType, from: Role) -> Option<Shape> {
    let (sender, hlen, digests, data) = match pdu_type {
        PduType::ICREQ => (Role::Host, 128, false, false),
        PduType::ICRESP => (Role::Controller, 128, false, false),
        PduType::H2C_TERM_REQ => (Role::Host, 24, false, true),
        PduType::C2H_TERM_REQ => (Role::Controller, 24, false, true),
        PduType::CAPSULE_CMD => (Role::Host, 72, true, true),
        PduType::CAPSULE_RESP => (Role::Controller, 24, true, false),
        PduType::H2C_DATA => (Role::Host, 24, true, true),
        PduType::C2H_DATA => (Role::Controller, 24, true, true),
        PduType::R2T => (Role::Controller, 24, true, false),
        _ => return None,
    };
    (sender == from).then_some(Shape { hlen, digests, data })
}

/// Judges a common header that `from` sent, and says where the parts of its PDU lie.
///
/// # Errors
/// [`PduError::HeaderField`] with the lowest offset that is wrong: an unknown type or one of the other direction, a
/// digest flag that was not agreed on, a wrong HLEN, a PDO that is unaligned or outside, a PLEN that does not fit or
/// exceeds the capsule; [`PduError::LimitExceeded`] or [`PduError::OutOfRange`] for a data PDU with more data than
/// `agreement.data_bytes_max`, by direction.
pub fn layout(header: &CommonHeader, from: Role, agreement: &Agreement) -> Result<Layout, PduError> {
    let field = |offset| PduError::HeaderField { offset };
    let shape = shape(header.pdu_type, from).ok_or(field(0))?;
    let hlen = usize::from(shape.hlen);
    let header_end = if shape.digests { agreement.header_end(hlen) } else { hlen };
    let total = header.plen.get() as usize;
    if shape.digests && !flags_match(header, total > header_end, agreement) {
        return Err(field(FLAGS_OFFSET));
    }
    if header.hlen != shape.hlen {
        return Err(field(HLEN_OFFSET));
    }
    let layout = Layout {
        pdu_type: header.pdu_type,
        flags: header.flags,
        hlen,
        header_end,
        data_start: header_end,
        data_bytes: 0,
        data_digest: false,
        total,
    };
    match total.checked_sub(header_end) {
        Some(0) => Ok(layout),
        Some(_) if shape.data && shape.digests => with_data(layout, usize::from(header.pdo), agreement),
        // Terminate requests: the offending header follows at once, PDO is reserved.
        Some(data_bytes) if shape.data && data_bytes <= TERMINATE_DATA_BYTES_MAX => {
            Ok(Layout { data_bytes, ..layout })
        }
        _ => Err(field(PLEN_OFFSET)),
    }
}

/// The digest flags say what was agreed on. A capsule without data may set DDGSTF or not: there is no digest.
fn flags_match(header: &CommonHeader, has_data: bool, agreement: &Agreement) -> bool {
    let header_digest = header.flags & flags::HEADER_DIGEST != 0;
    let data_digest = header.flags & flags::DATA_DIGEST != 0;
    let data_matches = match header.pdu_type {
        PduType::H2C_DATA | PduType::C2H_DATA => data_digest == agreement.data_digest,
        PduType::CAPSULE_CMD if has_data => data_digest == agreement.data_digest,
        PduType::CAPSULE_CMD => !data_digest || agreement.data_digest,
        // The bit is reserved elsewhere.
        _ => true,
    };
    header_digest == agreement.header_digest && data_matches
}

/// Completes the layout of a PDU that has something behind its header: data that starts at `pdo`.
fn with_data(layout: Layout, pdo: usize, agreement: &Agreement) -> Result<Layout, PduError> {
    let field = |offset| PduError::HeaderField { offset };
    if pdo < layout.header_end || pdo > layout.total || !pdo.is_multiple_of(agreement.alignment) {
        return Err(field(PDO_OFFSET));
    }
    let data_bytes = layout.total.saturating_sub(pdo + agreement.data_end_bytes());
    if data_bytes == 0 {
        return Err(field(PLEN_OFFSET));
    }
    match layout.pdu_type {
        PduType::CAPSULE_CMD if data_bytes > agreement.capsule_bytes_max as usize => Err(field(PLEN_OFFSET)),
        PduType::H2C_DATA if data_bytes > agreement.data_bytes_max as usize => Err(PduError::LimitExceeded),
        PduType::C2H_DATA if data_bytes > agreement.data_bytes_max as usize => Err(PduError::OutOfRange),
        _ => Ok(Layout { data_start: pdo, data_bytes, data_digest: agreement.data_digest, ..layout }),
    }
}

/// Checks the header digest of a PDU whose header has arrived (`bytes.len() >= layout.header_end`).
///
/// # Errors
/// [`PduError::HeaderDigest`] with the digest that was received.
pub fn check_digest(bytes: &[u8], layout: &Layout) -> Result<(), PduError> {
    let digest = &bytes[layout.hlen..layout.header_end];
    if digest.is_empty() || digest == digest::header(&bytes[..layout.hlen]) {
        return Ok(());
    }
    let mut received = [0; DIGEST_BYTES];
    received.copy_from_slice(digest);
    Err(PduError::HeaderDigest { received: u32::from_le_bytes(received) })
}

/// The common header of a PDU that this side sends, with `data_bytes` of data behind a header of `hlen` bytes.
#[inline]
pub(crate) fn outgoing(
    pdu_type: PduType,
    more_flags: u8,
    hlen: u8,
    data_bytes: usize,
    agreement: &Agreement,
) -> CommonHeader {
    let header_end = agreement.header_end(usize::from(hlen));
    let mut flags = more_flags | if agreement.header_digest { flags::HEADER_DIGEST } else { 0 };
    let (mut pdo, mut plen) = (0, header_end);
    if data_bytes > 0 {
        pdo = agreement.data_start(usize::from(hlen));
        plen = pdo + data_bytes + agreement.data_end_bytes();
        flags |= if agreement.data_digest { flags::DATA_DIGEST } else { 0 };
    }
    let pdo = u8::try_from(pdo).expect("data starts at 144 at most");
    let plen = u32::try_from(plen).expect("data of one command is shorter than 4 GiB");
    CommonHeader { pdu_type, flags, hlen, pdo, plen: plen.into() }
}

/// Writes `header` to `out` with its digest and the padding up to the data; returns how many bytes that are.
#[inline]
pub(crate) fn write(
    out: &mut [u8],
    header: &(impl IntoBytes + zerocopy::Immutable),
    agreement: &Agreement,
) -> usize {
    let bytes = header.as_bytes();
    out[..bytes.len()].copy_from_slice(bytes);
    let end = agreement.header_end(bytes.len());
    if agreement.header_digest {
        let digest = digest::header(bytes);
        out[bytes.len()..end].copy_from_slice(&digest);
    }
    let pdo = usize::from(bytes[usize::from(PDO_OFFSET)]);
    if pdo > end {
        out[end..pdo].fill(0);
        return pdo;
    }
    end
}
