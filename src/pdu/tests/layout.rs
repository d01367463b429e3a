//! Where the parts of a PDU lie, and what a wrong common header is told.

use super::{DIGESTS, agreement, sqe};
use crate::pdu::data::{self, Chunk};
use crate::pdu::header::{self, DATA_HEADER_BYTES_MAX, HEADER_BYTES_MAX, Role};
use crate::pdu::{Agreement, Layout, capsule};

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
