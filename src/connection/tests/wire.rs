//! PDUs as the peer would send them, right or wrong.

use crate::pdu::header::Role;
use crate::pdu::{Agreement, capsule, data, digest, icreq, icresp, r2t};
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;

/// Digests as said, alignment 4 both ways.
fn agreed(header_digest: bool, data_digest: bool) -> Agreement {
    Agreement { header_digest, data_digest, ..Agreement::NONE }
}

fn build(agreement: &Agreement, data: &[u8], encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut out = vec![0; 256];
    let length = encode(&mut out);
    out.truncate(length);
    out.extend_from_slice(data);
    if agreement.data_digest && !data.is_empty() {
        out.extend_from_slice(&digest::data(digest::append(0, data)));
    }
    out
}

pub(super) fn icreq(request: &icreq::Request) -> Vec<u8> {
    build(&Agreement::NONE, &[], |out| icreq::encode(out, request))
}

pub(super) fn icresp(header_digest: bool, data_digest: bool, alignment: usize, maxh2cdata: u32) -> Vec<u8> {
    let response = icresp::Response { header_digest, data_digest, alignment, h2c_data_bytes_max: maxh2cdata };
    build(&Agreement::NONE, &[], |out| icresp::encode(out, &response))
}

pub(super) fn capsule(sqe: &Sqe, data: &[u8], header_digest: bool, data_digest: bool) -> Vec<u8> {
    let agreement = agreed(header_digest, data_digest);
    build(&agreement, data, |out| capsule::encode_command(out, sqe, data.len(), &agreement))
}

pub(super) fn response(cqe: &Cqe, header_digest: bool) -> Vec<u8> {
    let agreement = agreed(header_digest, false);
    build(&agreement, &[], |out| capsule::encode_response(out, cqe, &agreement))
}

pub(super) fn r2t(cid: u16, ttag: u16, offset: u32, bytes: u32, header_digest: bool) -> Vec<u8> {
    let agreement = agreed(header_digest, false);
    build(&agreement, &[], |out| r2t::encode(out, &r2t::Request { cid, ttag, offset, bytes }, &agreement))
}

pub(super) fn h2c_data(
    cid: u16,
    ttag: u16,
    offset: u32,
    data: &[u8],
    last: bool,
    header_digest: bool,
    data_digest: bool,
) -> Vec<u8> {
    let agreement = agreed(header_digest, data_digest);
    let bytes = u32::try_from(data.len()).unwrap();
    let chunk = data::Chunk { cid, ttag, offset, bytes, last, success: false };
    build(&agreement, data, |out| data::encode(out, Role::Host, &chunk, &agreement))
}

pub(super) fn c2h_data(cid: u16, offset: u32, data: &[u8], last: bool, success: bool) -> Vec<u8> {
    c2h_data_digests(cid, offset, data, (last, success), false, false)
}

/// `ends`: LAST_PDU and SUCCESS.
pub(super) fn c2h_data_digests(
    cid: u16,
    offset: u32,
    data: &[u8],
    ends: (bool, bool),
    header_digest: bool,
    data_digest: bool,
) -> Vec<u8> {
    let agreement = agreed(header_digest, data_digest);
    let bytes = u32::try_from(data.len()).unwrap();
    let chunk = data::Chunk { cid, ttag: 0, offset, bytes, last: ends.0, success: ends.1 };
    build(&agreement, data, |out| data::encode(out, Role::Controller, &chunk, &agreement))
}
