//! Which address the device uses for an address of this process: a table of a few extents that never changes once a
//! queue pair has it.

use super::Iova;

/// Extents that a controller's commands can use.
pub(super) const EXTENTS_MAX: usize = 64;

/// The table. Invariant: entries do not overlap, and each was mapped by the device for as long as it lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Translations {
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    bytes: usize,
    iova: u64,
}

impl Entry {
    #[inline]
    fn find(&self, address: usize, bytes: usize) -> Option<u64> {
        let offset = address.wrapping_sub(self.start);
        (offset < self.bytes && bytes <= self.bytes - offset).then(|| self.iova + offset as u64)
    }
}

impl Translations {
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() == EXTENTS_MAX
    }

    /// Adds an extent.
    pub(super) fn add(&mut self, start: usize, bytes: usize, iova: Iova) {
        assert!(!self.is_full());
        self.entries.push(Entry { start, bytes, iova: iova.0 });
    }

    /// Where the device sees the `bytes` bytes from `address` on; `None` if it does not see all of them. `hint` is the
    /// entry that was right last time, which it usually still is.
    #[inline]
    pub(super) fn find(&self, hint: &mut usize, address: usize, bytes: usize) -> Option<u64> {
        if let Some(iova) = self.entries.get(*hint).and_then(|entry| entry.find(address, bytes)) {
            return Some(iova);
        }
        let (index, iova) = self
            .entries
            .iter()
            .enumerate()
            .find_map(|(index, entry)| Some((index, entry.find(address, bytes)?)))?;
        *hint = index;
        Some(iova)
    }
}
