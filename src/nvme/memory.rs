//! The memory of the queues: one extent, given to the device once, cut into parts that are never given back.

use std::sync::Arc;

use super::{Device, Iova, MapError};
use crate::mem::{Extent, Shared};

/// Bytes of a memory page of the controller: CC.MPS is 0 (NVMe base 2.1, section 3.1.4.5).
pub(super) const PAGE_BYTES: usize = 4096;

/// An extent that the device can reach, and how much of it has an owner.
pub(super) struct QueueMemory {
    extent: Arc<Extent>,
    iova: Iova,
    taken: usize,
}

/// A part of memory and where the device sees it.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) words: Shared,
    pub(super) iova: Iova,
}

impl QueueMemory {
    /// Gives `extent` to the device.
    pub(super) fn map<D: Device>(device: &D, extent: Extent) -> Result<Self, MapError> {
        let extent = Arc::new(extent);
        let iova = device.map(&extent)?;
        Ok(Self { extent, iova, taken: 0 })
    }

    /// Where the device sees its first byte.
    pub(super) fn iova(&self) -> Iova {
        self.iova
    }

    /// The next `bytes` bytes, from a page boundary on; all zeros at first.
    ///
    /// # Panics
    /// If there are not so many left.
    pub(super) fn take(&mut self, bytes: usize) -> Part {
        let start = self.taken;
        assert!(bytes <= self.extent.len() - start);
        self.taken = start + bytes.next_multiple_of(PAGE_BYTES);
        let words = Shared::new(Arc::clone(&self.extent), start..start + bytes);
        Part { words, iova: self.iova.plus(start) }
    }
}

impl Iova {
    /// The address `bytes` bytes further on.
    pub(super) const fn plus(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}
