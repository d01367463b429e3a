//! What each decoder refuses, and that truncated or arbitrary bytes never do more than that.

use proptest::prelude::*;

use super::{DIGESTS, agreement, cqe, hex, sqe};
use crate::pdu::header::{self, Agreement, Role};
use crate::pdu::{PduError, capsule, data, digest, icreq, icresp, r2t, term_req};

const fn at(offset: u8) -> PduError {
    PduError::HeaderField { offset }
}

fn connection_pdu(pdu_type: u8, fields: &str) -> Vec<u8> {
    let mut bytes = vec![pdu_type, 0, 128, 0, 128, 0, 0, 0];
    bytes.extend(hex(fields));
    bytes.resize(128, 0);
    bytes
}

#[test]
fn icreq_refusals() {
    let rows = [
        ("0100 00 00 00000000", PduError::Unsupported { offset: 8 }),
        ("0001 20 00 00000000", PduError::Unsupported { offset: 8 }),
        ("0000 20 00 00000000", at(10)),
        ("0000 ff ff ffffffff", at(10)),
    ];
    for (fields, error) in rows {
        assert_eq!(icreq::decode(&connection_pdu(0, fields)), Err(error), "{fields}");
    }
}

#[test]
fn icresp_refusals() {
    let rows = [
        ("0100 00 00 00000200", PduError::Unsupported { offset: 8 }),
        ("0000 20 00 00000200", at(10)),
        ("0000 ff 00 00000000", at(10)),
        ("0000 00 00 00000000", at(12)),
        ("0000 00 00 ff0f0000", at(12)), // 4,095
        ("0000 00 00 fc0f0000", at(12)), // 4,092
        ("0000 00 00 02100000", at(12)), // 4,098
        ("0000 1f 03 ffffffff", at(12)),
    ];
    for (fields, error) in rows {
        assert_eq!(icresp::decode(&connection_pdu(1, fields)), Err(error), "{fields}");
    }
    let smallest = icresp::decode(&connection_pdu(1, "0000 1f 03 00100000")).unwrap();
    assert_eq!((smallest.alignment, smallest.h2c_data_bytes_max), (128, 4096));
}

#[test]
fn data_refusals() {
    //  type, FLAGS, PLEN, the rest from CCCID on
    let rows = [
        (0x06, 0x04, 24, "0000 0000 00000000 00000000 00000000", at(16)), // carries nothing
        (0x06, 0x04, 24, "0000 0000 00000000 00020000 00000000", at(16)), // says it does
        (0x06, 0x04, 536, "0000 0000 00000000 00000000 00000000", at(16)),
        (0x06, 0x04, 536, "0000 0000 00000000 ff010000 00000000", at(16)),
        (0x06, 0x04, 536, "0000 0000 00000000 01020000 00000000", at(16)),
        (0x07, 0x04, 536, "0000 0000 ffffffff ffffffff 00000000", at(16)),
        (0x06, 0x04, 536, "0000 0000 01000000 00020000 00000000", at(12)),
        (0x07, 0x04, 536, "0000 0000 02000000 00020000 00000000", at(12)),
        (0x06, 0x04, 537, "0000 0000 00000000 01020000 00000000", at(16)),
        (0x07, 0x04, 26, "0000 0000 00000000 02000000 00000000", at(16)),
        (0x06, 0x04, 536, "0000 0000 00feffff 00020000 00000000", PduError::OutOfRange),
        (0x07, 0x0c, 536, "0000 0000 ffffffff 00020000 00000000", PduError::OutOfRange),
        (0x07, 0x08, 536, "0000 0000 00000000 00020000 00000000", at(1)), // SUCCESS without LAST_PDU
        (0x07, 0x08, 536, "0000 0000 ffffffff 00000000 00000000", at(1)),
    ];
    for (pdu_type, flags, plen, fields, error) in rows {
        let from = if pdu_type == 6 { Role::Host } else { Role::Controller };
        let mut bytes = vec![pdu_type, flags, 24, 24];
        bytes.extend(u32::to_le_bytes(plen));
        bytes.extend(hex(fields));
        let agreement = agreement(false, false, 4);
        let layout = header::layout(header::common(&bytes).unwrap(), from, &agreement).unwrap();
        assert_eq!(data::decode(&bytes, &layout), Err(error), "{pdu_type} {flags:#x} {plen} {fields}");
    }
}

#[test]
fn success_and_ttag_belong_to_one_direction() {
    let agreement = agreement(false, false, 4);
    for (pdu_type, from, ttag, success) in [(6, Role::Host, 0x0a0b, false), (7, Role::Controller, 0, true)] {
        let bytes = hex(&format!("0{pdu_type}0c1818 20000000 0201 0b0a 00000000 08000000 00000000"));
        let layout = header::layout(header::common(&bytes).unwrap(), from, &agreement).unwrap();
        let chunk = data::decode(&bytes, &layout).unwrap();
        assert_eq!((chunk.ttag, chunk.success, chunk.last), (ttag, success, true));
    }
}

#[test]
fn r2t_refusals() {
    let rows = [
        ("0000 0000 00000000 00000000 00000000", at(16)),
        ("0000 0000 ffffffff 00000000 00000000", at(16)),
        ("0000 0000 02000000 04000000 00000000", at(12)),
        ("0000 0000 00000000 01000000 00000000", at(16)),
        ("0000 0000 04000000 fe010000 00000000", at(16)),
        ("0000 0000 ffffffff 01000000 00000000", PduError::OutOfRange),
        ("0000 0000 00000080 00000080 00000000", PduError::OutOfRange),
    ];
    for (fields, error) in rows {
        let mut bytes = hex("09001800 18000000");
        bytes.extend(hex(fields));
        assert_eq!(r2t::decode(&bytes), Err(error), "{fields}");
    }
}

#[test]
fn one_flipped_bit_is_a_header_digest_error() {
    let agreement = agreement(true, false, 4);
    let mut bytes = vec![0; 28];
    capsule::encode_response(&mut bytes, &cqe(), &agreement);
    let layout = header::layout(header::common(&bytes).unwrap(), Role::Controller, &agreement).unwrap();
    for bit in 8 * 8..28 * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let received = u32::from_le_bytes(flipped[24..28].try_into().unwrap());
        assert_eq!(header::check_digest(&flipped, &layout), Err(PduError::HeaderDigest { received }));
    }
}

/// Every decoder, on bytes that may be too short for it.
fn decode_all(bytes: &[u8], agreement: &Agreement) {
    crate::pdu::fuzz(bytes);
    let _ = icreq::decode(bytes);
    let _ = icresp::decode(bytes);
    let _ = term_req::decode(bytes);
    let _ = r2t::decode(bytes);
    let _ = capsule::decode_command(bytes);
    let _ = capsule::decode_response(bytes);
    for from in [Role::Host, Role::Controller] {
        let Some(common) = header::common(bytes) else { continue };
        let Ok(layout) = header::layout(common, from, agreement) else { continue };
        assert!(layout.hlen <= layout.header_end && layout.header_end <= layout.data_start);
        assert!(layout.data_start + layout.data_bytes <= layout.total);
        let _ = data::decode(bytes, &layout);
    }
}

#[test]
fn truncation_at_every_byte_is_refused() {
    let mut whole = [0; 256];
    let agreement = agreement(false, false, 4);
    let length = capsule::encode_command(&mut whole, &sqe(), 0, &agreement);
    for end in 0..length {
        let bytes = &whole[..end];
        decode_all(bytes, &agreement);
        assert_eq!(header::common(bytes).is_some(), end >= 8);
        assert!(capsule::decode_command(bytes).is_err());
        assert_eq!(capsule::decode_response(bytes).is_err(), end < 24);
        assert_eq!(r2t::decode(bytes).is_err(), end < 24);
        assert_eq!(term_req::decode(bytes).is_err(), end < 24);
        assert_eq!(icreq::decode(bytes), Err(at(4)));
        assert_eq!(icresp::decode(bytes), Err(at(4)));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_all(&bytes, &agreement(false, true, 64));
    }

    #[test]
    fn plausible_headers_never_panic(
        pdu_type in 0u8..10, flags in any::<u8>(), hlen in prop::sample::select(vec![0u8, 8, 24, 72, 128, 255]),
        pdo in any::<u8>(), plen in prop_oneof![0u32..300, any::<u32>()],
        rest in prop::collection::vec(any::<u8>(), 0..200),
        digests in prop::sample::select(DIGESTS.to_vec()), dwords in 1usize..=32,
    ) {
        let mut bytes = vec![pdu_type, flags, hlen, pdo];
        bytes.extend(plen.to_le_bytes());
        bytes.extend(rest);
        let end = usize::from(hlen);
        if bytes.len() >= end + 4 {
            let valid = digest::header(&bytes[..end]);
            bytes[end..end + 4].copy_from_slice(&valid);
        }
        decode_all(&bytes, &agreement(digests.0, digests.1, dwords * 4));
    }
}
