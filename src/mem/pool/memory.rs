//! The memory of a pool before it is one: it can be taken on one thread and made a pool on another.
//!
//! Invariant: parts are in the order of their buffers' sizes, and each holds a whole number of buffers, at least one.

use crate::mem::Shared;

/// What the address of every buffer is a multiple of, in bytes.
pub(in crate::mem) const ALIGNMENT: usize = 4096;

/// Buffers of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Bytes of each, at least 1.
    pub bytes: usize,
    /// Number of them.
    pub count: u32,
}

/// Memory of a pool: runs of equal buffers.
#[derive(Debug, Default)]
pub struct PoolMemory(Vec<(usize, Shared)>);

impl Class {
    /// Bytes of memory that they need; `None` when that is more than there are addresses.
    ///
    /// # Panics
    ///
    /// If either number is zero.
    pub fn total_bytes(&self) -> Option<usize> {
        assert!(self.count > 0);
        stride(self.bytes)?.checked_mul(usize::try_from(self.count).ok()?)
    }
}

impl PoolMemory {
    /// Number of buffers of exactly `bytes`.
    pub fn count(&self, bytes: usize) -> usize {
        let runs = self.0.iter().filter(|(size, _)| *size == bytes);
        runs.map(|(size, memory)| memory.len() / stride(*size).unwrap_or(usize::MAX)).sum()
    }

    /// Adds `memory` for buffers of `bytes`.
    ///
    /// # Panics
    ///
    /// If it does not hold a whole number of buffers from 1 to 2^32 - 1.
    pub(in crate::mem) fn add(&mut self, bytes: usize, memory: Shared) {
        let stride = stride(bytes).expect("its memory is larger");
        assert!(memory.len() > 0);
        assert!(memory.len().is_multiple_of(stride));
        assert!(u32::try_from(memory.len() / stride).is_ok());
        let place = self.0.partition_point(|(size, _)| *size <= bytes);
        self.0.insert(place, (bytes, memory));
    }

    pub(super) fn into_parts(self) -> Vec<(usize, Shared)> {
        self.0
    }
}

/// Bytes from one buffer of `bytes` to the next; `None` when that is more than there are addresses.
///
/// # Panics
///
/// If it is zero.
pub(in crate::mem) fn stride(bytes: usize) -> Option<usize> {
    assert!(bytes > 0);
    bytes.checked_next_multiple_of(ALIGNMENT)
}
