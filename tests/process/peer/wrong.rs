//! PDUs with any field wrong: bytes first, meaning never. Nothing here checks anything.
//!
//! A PDU begins as a right one ([`capsule`], [`icreq`], [`super::command`], [`super::Peer::data`]) or from nothing
//! ([`raw`]), and is then spoiled with [`Wrong`]: `flush().hlen(73).field(8, &[0xff; 4]).cut(20)`.

use corelane::pdu::header::Agreement;
use corelane::spec::sqe::Sqe;
use corelane::spec::tcp::{CommonHeader, PduType};
use zerocopy::IntoBytes;

use super::Digests;

const FLAGS: usize = 1;
const HLEN: usize = 2;
const PDO: usize = 3;
const PLEN: usize = 4;

/// Bytes of a PDU that can be made wrong.
pub(crate) trait Wrong: Sized {
    /// Other bytes at `offset`, whatever field that is.
    fn field(self, offset: usize, bytes: &[u8]) -> Self;
    /// Nothing behind the first `count` bytes.
    fn cut(self, count: usize) -> Self;
    /// More bytes behind the last.
    fn then(self, bytes: &[u8]) -> Self;

    /// Other flags.
    fn flags(self, flags: u8) -> Self {
        self.field(FLAGS, &[flags])
    }

    /// Another length of the header.
    fn hlen(self, hlen: u8) -> Self {
        self.field(HLEN, &[hlen])
    }

    /// Another offset of the data.
    fn pdo(self, pdo: u8) -> Self {
        self.field(PDO, &[pdo])
    }

    /// Another length of the PDU.
    fn plen(self, plen: u32) -> Self {
        self.field(PLEN, &plen.to_le_bytes())
    }
}

impl Wrong for Vec<u8> {
    fn field(mut self, offset: usize, bytes: &[u8]) -> Self {
        self[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn cut(mut self, count: usize) -> Self {
        assert!(count <= self.len(), "a PDU of {} bytes", self.len());
        self.truncate(count);
        self
    }

    fn then(mut self, bytes: &[u8]) -> Self {
        self.extend_from_slice(bytes);
        self
    }
}

/// A PDU of nothing but its common header and `rest`, with any fields.
pub(crate) fn raw(pdu_type: PduType, flags: u8, hlen: u8, pdo: u8, plen: u32, rest: &[u8]) -> Vec<u8> {
    let common = CommonHeader { pdu_type, flags, hlen, pdo, plen: plen.into() };
    [common.as_bytes(), rest].concat()
}

/// A command capsule without digests.
pub(crate) fn capsule(sqe: &Sqe, data: &[u8]) -> Vec<u8> {
    super::command(sqe, data, &Agreement::NONE)
}

/// An ICReq that asks for nothing.
pub(crate) fn icreq() -> Vec<u8> {
    super::icreq(Digests::NONE)
}
