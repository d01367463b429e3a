//! CRC32C digests of headers and data (TCP transport 1.0, section 3.3.1.1).

use crate::spec::tcp::DIGEST_BYTES;

/// The header digest of `header`, as it goes on the wire.
pub fn header(header: &[u8]) -> [u8; DIGEST_BYTES] {
    crc32c::crc32c(header).to_le_bytes()
}

/// The data digest for a CRC32C that was gathered with [`append`], as it goes on the wire.
pub fn data(crc: u32) -> [u8; DIGEST_BYTES] {
    crc.to_le_bytes()
}

/// CRC32C of earlier data (0 for none) followed by `bytes`.
pub fn append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}
