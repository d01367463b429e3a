//! Tests of the PDU codec.

mod golden;
mod judgement;
mod layout;

use zerocopy::FromBytes;

use crate::pdu::Agreement;
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;

/// All four combinations of header and data digest.
const DIGESTS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

fn agreement(header_digest: bool, data_digest: bool, alignment: usize) -> Agreement {
    Agreement { header_digest, data_digest, alignment, capsule_bytes_max: 8192, data_bytes_max: 1 << 17 }
}

/// Bytes 0 to 63, so that every byte of the entry is recognized.
fn sqe() -> Sqe {
    let bytes: [u8; 64] = std::array::from_fn(|index| u8::try_from(index).expect("below 64"));
    Sqe::read_from_bytes(&bytes).expect("an entry has 64 bytes")
}

/// Bytes 0x40 to 0x4f.
fn cqe() -> Cqe {
    let bytes: [u8; 16] = std::array::from_fn(|index| 0x40 + u8::try_from(index).expect("below 16"));
    Cqe::read_from_bytes(&bytes).expect("an entry has 16 bytes")
}

/// The bytes that `text` spells, blanks ignored.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    assert!(digits.len().is_multiple_of(2));
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}
