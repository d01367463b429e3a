//! Data that says where it belongs: wrong, misplaced and stale bytes are all told apart.

use corelane::pdu::digest;

const UNIT: usize = 32;

/// `bytes` of a pattern, a multiple of 32, for block address `lba` in round `seed`. Every 32 bytes hold seed, address,
/// offset, and a CRC32C over those.
pub(crate) fn blocks(seed: u64, lba: u64, bytes: usize) -> Vec<u8> {
    assert!(bytes.is_multiple_of(UNIT));
    let mut data = Vec::with_capacity(bytes);
    for offset in (0..bytes).step_by(UNIT) {
        let start = data.len();
        for word in [seed, lba, offset as u64] {
            data.extend_from_slice(&word.to_le_bytes());
        }
        let crc = digest::append(0, &data[start..]);
        data.extend_from_slice(&crc.to_le_bytes());
        data.extend_from_slice(&(!crc).to_le_bytes());
    }
    data
}
/// The CRC of every unit of `data` matches.
pub(crate) fn is_intact(data: &[u8]) -> bool {
    data.chunks(UNIT)
        .all(|unit| unit.len() == UNIT && unit[24..28] == digest::append(0, &unit[..24]).to_le_bytes())
}
