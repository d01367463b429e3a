//! Where the parts of a PDU lie, and what a wrong common header is told.

use super::{DIGESTS, agreement, sqe};
use crate::pdu::data::{self, Chunk};
use crate::pdu::header::{self, DATA_HEADER_BYTES_MAX, HEADER_BYTES_MAX, Role};
use crate::pdu::{Agreement, Layout, PduError, capsule};
use crate::spec::tcp::{CommonHeader, PduType};

/// Every alignment that CPDA and HPDA can say, in bytes.
fn alignments() -> impl Iterator<Item = usize> {
    (1..=32).map(|dwords| dwords * 4)
}

fn parse(bytes: &[u8], from: Role, agreement: &Agreement) -> Layout {
    let layout = header::layout(header::common(bytes).unwrap(), from, agreement).unwrap();
    header::check_digest(bytes, &layout).unwrap();
    layout
}

#[test]
fn every_alignment_finds_room_and_reads_back() {
    let mut longest = (0, 0);
    for (header_digest, data_digest) in DIGESTS {
        for alignment in alignments() {
            let agreement = agreement(header_digest, data_digest, alignment);
            let digest_bytes = if data_digest { 4 } else { 0 };

            let mut out = [0xee; HEADER_BYTES_MAX];
            let length = capsule::encode_command(&mut out, &sqe(), 512, &agreement);
            let layout = parse(&out, Role::Host, &agreement);
            let header_end = if header_digest { 76 } else { 72 };
            assert_eq!(layout.header_end, header_end);
            assert!(
                layout.data_start - header_end < alignment && layout.data_start.is_multiple_of(alignment)
            );
            assert_eq!((layout.data_start, layout.data_bytes), (length, 512));
            assert_eq!(layout.total, length + 512 + digest_bytes);
            assert!(out[header_end..length].iter().all(|&byte| byte == 0), "padding is zeros");

            for from in [Role::Host, Role::Controller] {
                let chunk = Chunk { cid: 7, ttag: 0, offset: 4096, bytes: 512, last: true, success: false };
                let mut out = [0xee; DATA_HEADER_BYTES_MAX];
                let data_length = data::encode(&mut out, from, &chunk, &agreement);
                let layout = parse(&out, from, &agreement);
                assert_eq!((layout.data_start, layout.data_bytes), (data_length, 512));
                assert_eq!(data::decode(&out, &layout), Ok(chunk));
                longest = (longest.0.max(length), longest.1.max(data_length));
            }
        }
    }
    assert_eq!(longest, (HEADER_BYTES_MAX, DATA_HEADER_BYTES_MAX), "the limits are tight");
}

/// The short way says what the long one says, or nothing; and something of each right capsule without digests.
#[test]
fn plain_capsules_are_what_the_layout_says() {
    let mut plain = 0;
    for (header_digest, data_digest) in DIGESTS {
        for alignment in alignments() {
            let agreement = agreement(header_digest, data_digest, alignment);
            let limit = agreement.capsule_bytes_max;
            for (pdu_type, flags, hlen) in
                [(4, 0, 72), (4, 1, 72), (4, 2, 72), (4, 0, 24), (6, 0, 72), (0, 0, 72)]
            {
                for pdo in 0..=u8::MAX {
                    for plen in [
                        0,
                        8,
                        71,
                        72,
                        73,
                        76,
                        80,
                        128,
                        255,
                        512,
                        72 + limit,
                        73 + limit,
                        128 + limit,
                        u32::MAX,
                    ] {
                        let mut bytes = [0xee; 128];
                        bytes[..4].copy_from_slice(&[pdu_type, flags, hlen, pdo]);
                        bytes[4..8].copy_from_slice(&plen.to_le_bytes());
                        let long = header::layout(header::common(&bytes).unwrap(), H, &agreement)
                            .ok()
                            .filter(|layout| layout.pdu_type == PduType::CAPSULE_CMD && layout.flags == 0)
                            .filter(|_| !header_digest && !data_digest)
                            .map(|layout| (layout.data_start, layout.total));
                        assert_eq!(header::plain_capsule(&bytes, &agreement), long, "{:?}", &bytes[..8]);
                        assert_eq!(header::plain_capsule(&bytes[..71], &agreement), None);
                        plain += usize::from(long.is_some());
                    }
                }
            }
        }
    }
    assert!(plain > 1000, "{plain}");
}

const H: Role = Role::Host;
const C: Role = Role::Controller;

/// Type, FLAGS, HLEN, PDO, PLEN.
type Fields = (u8, u8, u8, u8, u32);
/// Header end, data start, data bytes, data digest.
type Parts = (usize, usize, usize, bool);

fn judge(fields: Fields, from: Role, agreement: &Agreement) -> Result<Layout, PduError> {
    let (pdu_type, flags, hlen, pdo, plen) = fields;
    let common = CommonHeader { pdu_type: PduType(pdu_type), flags, hlen, pdo, plen: plen.into() };
    header::layout(&common, from, agreement)
}

#[test]
fn the_lowest_wrong_field_is_told() {
    const LIMIT: PduError = PduError::LimitExceeded;
    const RANGE: PduError = PduError::OutOfRange;
    let at = |offset| PduError::HeaderField { offset };
    let plain = agreement(false, false, 4);
    let both = agreement(true, true, 4);
    let aligned = agreement(false, false, 64);
    let rows: &[(&str, Role, &Agreement, Fields, PduError)] = &[
        ("reserved type", H, &plain, (0x08, 0, 24, 0, 24), at(0)),
        ("reserved type", C, &plain, (0x0b, 0, 24, 0, 24), at(0)),
        ("type 255 and all else wrong", H, &plain, (0xff, 0xff, 0xff, 0xff, u32::MAX), at(0)),
        ("ICResp from a host", H, &plain, (0x01, 0, 128, 0, 128), at(0)),
        ("ICReq from a controller", C, &plain, (0x00, 0, 128, 0, 128), at(0)),
        ("R2T from a host", H, &plain, (0x09, 0, 24, 0, 24), at(0)),
        ("C2HTermReq from a host", H, &plain, (0x03, 0, 24, 0, 24), at(0)),
        ("H2CData from a controller", C, &plain, (0x06, 4, 24, 24, 536), at(0)),
        ("HDGSTF not agreed", H, &plain, (0x04, 1, 72, 0, 76), at(1)),
        ("HDGSTF not agreed, HLEN too", H, &plain, (0x04, 1, 71, 0, 0), at(1)),
        ("HDGSTF missing", H, &both, (0x04, 0, 72, 0, 72), at(1)),
        ("HDGSTF missing", C, &both, (0x05, 0, 24, 0, 24), at(1)),
        ("DDGSTF not agreed, no data", H, &plain, (0x04, 2, 72, 0, 72), at(1)),
        ("DDGSTF not agreed", H, &plain, (0x06, 6, 24, 24, 540), at(1)),
        ("DDGSTF missing in a capsule", H, &both, (0x04, 1, 72, 76, 592), at(1)),
        ("DDGSTF missing in H2CData", H, &both, (0x06, 5, 24, 28, 544), at(1)),
        ("DDGSTF missing in C2HData", C, &both, (0x07, 5, 24, 28, 544), at(1)),
        ("DDGSTF missing, HLEN wrong", C, &both, (0x07, 5, 23, 28, 544), at(1)),
        ("DDGSTF missing, PLEN 0", H, &both, (0x06, 5, 24, 28, 0), at(1)),
        ("HLEN 0", H, &plain, (0x04, 0, 0, 0, 72), at(2)),
        ("HLEN 71", H, &plain, (0x04, 0, 71, 0, 72), at(2)),
        ("HLEN 255, PLEN wrong", H, &plain, (0x04, 0, 255, 0, 3), at(2)),
        ("HLEN of an ICReq", H, &plain, (0x00, 0, 8, 0, 128), at(2)),
        ("HLEN of a TermReq", H, &plain, (0x02, 0, 25, 0, 24), at(2)),
        ("HLEN of H2CData with digest", H, &both, (0x06, 7, 28, 28, 544), at(2)),
        ("PDO below HLEN", H, &plain, (0x04, 0, 72, 68, 584), at(3)),
        ("PDO 0 with data", H, &plain, (0x04, 0, 72, 0, 584), at(3)),
        ("PDO inside the digest", H, &both, (0x06, 7, 24, 24, 540), at(3)),
        ("PDO not a dword", H, &plain, (0x06, 4, 24, 25, 537), at(3)),
        ("PDO not aligned to CPDA", H, &aligned, (0x06, 4, 24, 24, 536), at(3)),
        ("PDO not aligned to HPDA", C, &aligned, (0x07, 4, 24, 32, 544), at(3)),
        ("PDO behind the end", H, &plain, (0x06, 4, 24, 252, 100), at(3)),
        ("PLEN 0", H, &plain, (0x04, 0, 72, 0, 0), at(4)),
        ("PLEN below HLEN", H, &plain, (0x04, 0, 72, 72, 71), at(4)),
        ("PLEN without the digest", H, &both, (0x04, 1, 72, 0, 72), at(4)),
        ("PLEN below HLEN", C, &plain, (0x07, 4, 24, 24, 23), at(4)),
        ("PLEN of an ICReq", H, &plain, (0x00, 0, 128, 0, 129), at(4)),
        ("PLEN of an ICResp", C, &plain, (0x01, 0, 128, 0, 127), at(4)),
        ("PLEN of a response", C, &plain, (0x05, 0, 24, 0, 28), at(4)),
        ("PLEN of an R2T", C, &plain, (0x09, 0, 24, 24, 32), at(4)),
        ("PLEN huge", C, &plain, (0x05, 0, 24, 0, u32::MAX), at(4)),
        ("no data behind the padding", H, &aligned, (0x06, 4, 24, 64, 64), at(4)),
        ("PLEN ends inside the data digest", H, &both, (0x06, 7, 24, 28, 31), at(4)),
        ("a digest of nothing", H, &both, (0x04, 3, 72, 76, 80), at(4)),
        ("capsule too large", H, &plain, (0x04, 0, 72, 72, 72 + 8193), at(4)),
        ("capsule huge", H, &plain, (0x04, 0, 72, 72, u32::MAX), at(4)),
        ("H2CData too large", H, &plain, (0x06, 0, 24, 24, 24 + 131_073), LIMIT),
        ("H2CData huge", H, &both, (0x06, 3, 24, 28, u32::MAX), LIMIT),
        ("C2HData too large", C, &plain, (0x07, 0, 24, 24, 24 + 131_073), RANGE),
        ("H2CTermReq below HLEN", H, &plain, (0x02, 0, 24, 0, 23), at(4)),
        ("H2CTermReq too long", H, &plain, (0x02, 0, 24, 0, 153), at(4)),
        ("C2HTermReq below HLEN", C, &plain, (0x03, 0, 24, 0, 8), at(4)),
        ("C2HTermReq too long", C, &both, (0x03, 0, 24, 0, u32::MAX), at(4)),
    ];
    for (name, from, agreement, fields, error) in rows {
        assert_eq!(judge(*fields, *from, agreement), Err(*error), "{name}: {fields:x?}");
    }
}

#[test]
fn what_is_right_or_reserved_is_taken() {
    let plain = agreement(false, false, 4);
    let both = agreement(true, true, 4);
    let aligned = agreement(false, true, 128);
    //  from, agreement, fields -> header_end, data_start, data_bytes, data_digest
    let rows: &[(&str, Role, &Agreement, Fields, Parts)] = &[
        ("ICReq, FLAGS and PDO reserved", H, &Agreement::NONE, (0, 0xff, 128, 9, 128), (128, 128, 0, false)),
        ("ICReq with digests agreed", H, &both, (0, 0, 128, 0, 128), (128, 128, 0, false)),
        ("ICResp", C, &Agreement::NONE, (1, 0, 128, 0, 128), (128, 128, 0, false)),
        ("capsule, PDO unused", H, &plain, (4, 0, 72, 0xff, 72), (72, 72, 0, false)),
        ("capsule, reserved flags", H, &plain, (4, 0xfc, 72, 0, 72), (72, 72, 0, false)),
        ("capsule without data, DDGSTF", H, &both, (4, 3, 72, 0, 76), (76, 76, 0, false)),
        ("capsule without data, no DDGSTF", H, &both, (4, 1, 72, 0, 76), (76, 76, 0, false)),
        ("capsule with 8 KiB", H, &both, (4, 3, 72, 76, 76 + 8192 + 4), (76, 76, 8192, true)),
        (
            "before ICReq there is no limit",
            H,
            &Agreement::NONE,
            (4, 0, 72, 72, 72 + 8193),
            (72, 72, 8193, false),
        ),
        ("more padding than needed", H, &plain, (4, 0, 72, 252, 253), (72, 252, 1, false)),
        ("H2CData of MAXH2CDATA", H, &plain, (6, 0, 24, 24, 24 + 131_072), (24, 24, 131_072, false)),
        ("C2HData aligned to 128", C, &aligned, (7, 2, 24, 128, 128 + 512 + 4), (24, 128, 512, true)),
        ("response, DDGSTF reserved", C, &both, (5, 3, 24, 0, 28), (28, 28, 0, false)),
        ("R2T", C, &both, (9, 1, 24, 0, 28), (28, 28, 0, false)),
        ("H2CTermReq has no digests", H, &both, (2, 0, 24, 0, 24), (24, 24, 0, false)),
        ("C2HTermReq of 152 bytes", C, &both, (3, 3, 24, 0xff, 152), (24, 24, 128, false)),
    ];
    for (name, from, agreement, fields, expected) in rows {
        let layout = judge(*fields, *from, agreement).unwrap_or_else(|error| panic!("{name}: {error}"));
        let got = (layout.header_end, layout.data_start, layout.data_bytes, layout.data_digest);
        assert_eq!(got, *expected, "{name}");
        assert_eq!((layout.total, layout.hlen), (fields.4 as usize, usize::from(fields.2)), "{name}");
    }
}
