//! What a block device should hold, as a plain vector of bytes.

use super::Contents;
use crate::bdev::BdevError;

pub(super) struct Oracle {
    bytes: Vec<u8>,
    contents: Contents,
}

impl Oracle {
    /// `bytes` zeros.
    pub(super) fn new(bytes: usize, contents: Contents) -> Self {
        Self { bytes: vec![0; bytes], contents }
    }

    pub(super) fn read(&self, at: usize, len: usize) -> &[u8] {
        &self.bytes[at..at + len]
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        if self.contents == Contents::Kept {
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    pub(super) fn compare(&self, at: usize, bytes: &[u8]) -> Result<(), BdevError> {
        if self.read(at, bytes.len()) == bytes { Ok(()) } else { Err(BdevError::Miscompare) }
    }
}
