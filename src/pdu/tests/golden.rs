//! Bytes of each PDU, written down by hand from the figures of TCP transport 1.0, section 3.6.2; digests from an
//! independent CRC32C. Each is encoded, judged and decoded.

use super::{agreement, cqe, hex, sqe};
use crate::pdu::header::{self, Agreement, Layout, Role};
use crate::pdu::{PduError, capsule, data, digest, icreq, icresp, r2t, term_req};
use crate::spec::tcp::FatalStatus;
use zerocopy::IntoBytes;

const DATA: &[u8] = b"corelane";

/// Judges `bytes` as one whole PDU.
fn whole(bytes: &[u8], from: Role, agreement: &Agreement) -> Layout {
    let layout = header::layout(header::common(bytes).unwrap(), from, agreement).unwrap();
    header::check_digest(bytes, &layout).unwrap();
    assert_eq!(layout.total, bytes.len());
    layout
}

/// What `encode` writes, with data and data digest behind it.
fn written(agreement: &Agreement, data: &[u8], encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut out = vec![0xee; 256];
    let length = encode(&mut out);
    out.truncate(length);
    out.extend_from_slice(data);
    if agreement.data_digest && !data.is_empty() {
        out.extend_from_slice(&digest::data(digest::append(0, data)));
    }
    out
}

#[test]
fn digests_are_crc32c_in_little_endian() {
    // The check value of CRC32C, and 32 zeros of RFC 3720, appendix B.4.
    assert_eq!(digest::header(b"123456789"), [0x83, 0x92, 0x06, 0xe3]);
    assert_eq!(digest::header(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
    let in_parts = digest::append(digest::append(digest::append(0, b"1234"), b""), b"56789");
    assert_eq!(digest::data(in_parts), [0x83, 0x92, 0x06, 0xe3]);
}

#[test]
fn icreq() {
    let mut golden = hex("00008000 80000000 0000 0f 03 07000000");
    golden.resize(128, 0);
    let request = icreq::Request { header_digest: true, data_digest: true, alignment: 64, r2t_max: 8 };
    assert_eq!(written(&Agreement::NONE, &[], |out| icreq::encode(out, &request)), golden);
    whole(&golden, Role::Host, &Agreement::NONE);
    assert_eq!(icreq::decode(&golden), Ok(request));
}

#[test]
fn icreq_extremes() {
    //  HPDA, DGST, MAXR2T -> request
    let rows = [
        (0x00, 0x00, 0, (false, false, 4, 1)),
        (0x1f, 0x01, u32::MAX, (true, false, 128, 1 << 32)),
        (0x11, 0xfe, 1, (false, true, 72, 2)), // reserved bits of DGST are not looked at
    ];
    for (hpda, dgst, maxr2t, (header_digest, data_digest, alignment, r2t_max)) in rows {
        let mut bytes = hex("00008000 80000000 0000 0000 00000000");
        bytes.resize(128, 0);
        (bytes[10], bytes[11]) = (hpda, dgst);
        bytes[12..16].copy_from_slice(&maxr2t.to_le_bytes());
        let request = icreq::Request { header_digest, data_digest, alignment, r2t_max };
        assert_eq!(icreq::decode(&bytes), Ok(request));
        bytes[11] &= 3;
        assert_eq!(written(&Agreement::NONE, &[], |out| icreq::encode(out, &request)), bytes);
    }
}

#[test]
fn icresp() {
    let mut golden = hex("01008000 80000000 0000 00 01 00000200");
    golden.resize(128, 0);
    let response = icresp::Response {
        header_digest: true,
        data_digest: false,
        alignment: 4,
        h2c_data_bytes_max: 131_072,
    };
    assert_eq!(written(&Agreement::NONE, &[], |out| icresp::encode(out, &response)), golden);
    whole(&golden, Role::Controller, &Agreement::NONE);
    assert_eq!(icresp::decode(&golden), Ok(response));
}

#[test]
fn command_capsule() {
    let golden = hex("04004800 48000000
        00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f
        20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637 38393a3b 3c3d3e3f");
    let agreement = agreement(false, false, 4);
    assert_eq!(written(&agreement, &[], |out| capsule::encode_command(out, &sqe(), 0, &agreement)), golden);
    assert_eq!(whole(&golden, Role::Host, &agreement).data_bytes, 0);
    assert_eq!(capsule::decode_command(&golden).unwrap().as_bytes(), sqe().as_bytes());
}

#[test]
fn command_capsule_with_data_and_digests() {
    let golden = hex("04034850 5c000000
        00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f
        20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637 38393a3b 3c3d3e3f
        a541acce 00000000 636f7265 6c616e65 13416062");
    let agreement = agreement(true, true, 16);
    let encoded = written(&agreement, DATA, |out| capsule::encode_command(out, &sqe(), 8, &agreement));
    assert_eq!(encoded, golden);
    let layout = whole(&golden, Role::Host, &agreement);
    assert_eq!(&golden[layout.data_start..][..layout.data_bytes], DATA);
    assert_eq!(capsule::decode_command(&golden).unwrap().as_bytes(), sqe().as_bytes());
}

#[test]
fn response_capsule() {
    let golden = hex("05011800 1c000000 40414243 44454647 48494a4b 4c4d4e4f 6bbc4fec");
    let agreement = agreement(true, true, 4);
    assert_eq!(written(&agreement, &[], |out| capsule::encode_response(out, &cqe(), &agreement)), golden);
    whole(&golden, Role::Controller, &agreement);
    assert_eq!(capsule::decode_response(&golden).unwrap().as_bytes(), cqe().as_bytes());
}

#[test]
fn h2c_data() {
    let golden = hex("06041818 20000000 0201 0b0a 00200000 08000000 00000000 636f7265 6c616e65");
    let agreement = agreement(false, false, 4);
    let chunk = data::Chunk { cid: 0x102, ttag: 0xa0b, offset: 0x2000, bytes: 8, last: true, success: false };
    assert_eq!(written(&agreement, DATA, |out| data::encode(out, Role::Host, &chunk, &agreement)), golden);
    let layout = whole(&golden, Role::Host, &agreement);
    assert_eq!(data::decode(&golden, &layout), Ok(chunk));
}

#[test]
fn c2h_data_with_success_and_digests() {
    let golden = hex("070f1820 2c000000 0201 0000 00100000 08000000 00000000
        6f6eb1d2 00000000 636f7265 6c616e65 13416062");
    let agreement = agreement(true, true, 16);
    let chunk = data::Chunk { cid: 0x102, ttag: 0, offset: 0x1000, bytes: 8, last: true, success: true };
    let encoded = written(&agreement, DATA, |out| data::encode(out, Role::Controller, &chunk, &agreement));
    assert_eq!(encoded, golden);
    let layout = whole(&golden, Role::Controller, &agreement);
    assert_eq!(data::decode(&golden, &layout), Ok(chunk));
    assert_eq!(&golden[layout.data_start..][..layout.data_bytes], DATA);
}

#[test]
fn r2t() {
    let golden = hex("09011800 1c000000 0201 0b0a 00000000 00000200 00000000 c0010343");
    let agreement = agreement(true, false, 4);
    let request = r2t::Request { cid: 0x102, ttag: 0xa0b, offset: 0, bytes: 0x20000 };
    assert_eq!(written(&agreement, &[], |out| r2t::encode(out, &request, &agreement)), golden);
    whole(&golden, Role::Controller, &agreement);
    assert_eq!(r2t::decode(&golden), Ok(request));
}

#[test]
fn terminate_requests() {
    let offending = hex("04004700 48000000 00112233");
    let quoted = "04004700 48000000 00112233";
    //  sender, error, bytes up to the quotation
    let rows = [
        (Role::Controller, PduError::HeaderField { offset: 2 }, "0100 02000000"),
        (Role::Host, PduError::Sequence, "0200 00000000"),
        (Role::Controller, PduError::HeaderDigest { received: 0x8899_aabb }, "0300 bbaa9988"),
        (Role::Host, PduError::OutOfRange, "0400 00000000"),
        (Role::Controller, PduError::LimitExceeded, "0500 00000000"),
        (Role::Controller, PduError::Unsupported { offset: 8 }, "0600 08000000"),
    ];
    for (from, error, fes_fei) in rows {
        let pdu_type = if from == Role::Host { "02" } else { "03" };
        let golden = hex(&format!("{pdu_type}001800 24000000 {fes_fei} 00000000 00000000 0000 {quoted}"));
        let encoded = written(&Agreement::NONE, &[], |out| term_req::encode(out, from, error, &offending));
        assert_eq!(encoded, golden);
        whole(&golden, from, &agreement(true, true, 64));
        let (status, information) = error.wire();
        assert_eq!(term_req::decode(&golden), Ok(term_req::Termination { status, information }));
    }
}

#[test]
fn terminate_requests_quote_at_most_128_bytes() {
    let long = [0x5a; 200];
    let error = PduError::Sequence;
    let encoded = written(&Agreement::NONE, &[], |out| term_req::encode(out, Role::Host, error, &long));
    assert_eq!(encoded.len(), term_req::BYTES_MAX);
    assert_eq!(encoded[..8], hex("02001800 98000000"));
    assert_eq!(encoded[24..], long[..128]);
}

#[test]
fn a_terminate_request_may_hold_a_reserved_status() {
    let bytes = hex("02001800 18000000 ffff 78563412 00000000 00000000 0000");
    let expected = term_req::Termination { status: FatalStatus(0xffff), information: 0x1234_5678 };
    assert_eq!(term_req::decode(&bytes), Ok(expected));
}
