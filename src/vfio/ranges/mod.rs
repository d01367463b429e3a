//! Addresses that a device may use: which are usable, and who has them.
//!
//! Invariants: `usable` is in order and does not overlap; every range of `taken` lies inside one of `usable`, is aligned
//! as was asked, and overlaps no other; nothing is taken below [`LOWEST`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Nothing is placed below: a queue or a list at address 0 looks like a mistake to devices and to people.
const LOWEST: u64 = 2 << 20;
/// Large pages of IOMMUs, the largest first: an extent lies to one as its memory does, so that the kernel can use it.
const LARGE_PAGES: [u64; 2] = [1 << 30, 2 << 20];

/// The addresses of one device or one group of devices.
#[derive(Debug)]
pub(super) struct Ranges {
    usable: Vec<RangeInclusive<u64>>,
    /// Length by first address.
    taken: BTreeMap<u64, u64>,
    page: u64,
}

impl Ranges {
    /// All of `usable` free; `page_sizes` is the IOMMU's bit mask of them.
    pub(super) fn new(mut usable: Vec<RangeInclusive<u64>>, page_sizes: u64) -> Self {
        usable.retain(|range| !range.is_empty());
        usable.sort_unstable_by_key(|range| *range.start());
        // No page size known: the processor's own, which the kernel then breaks everything into.
        let page = if page_sizes == 0 { 4096 } else { page_sizes & page_sizes.wrapping_neg() };
        Self { usable, taken: BTreeMap::new(), page: page.max(4096) }
    }

    /// The smallest page of the IOMMU, in bytes: what is mapped is a multiple of it.
    pub(super) fn page(&self) -> u64 {
        self.page
    }

    /// Takes `len` bytes for memory at `address`: at the same distance from a boundary of large pages as the memory,
    /// where there is room for that, otherwise of small ones. `None` when nothing is free.
    ///
    /// # Panics
    /// If `len` is 0 or no multiple of the page.
    pub(super) fn take(&mut self, address: u64, len: u64) -> Option<u64> {
        assert!(len > 0);
        assert!(len.is_multiple_of(self.page));
        let large = LARGE_PAGES.into_iter().filter(|&page| page <= len && page > self.page);
        let found = large.chain([self.page]).find_map(|page| self.find(len, page, address % page))?;
        self.taken.insert(found, len);
        Some(found)
    }

    /// Gives back what [`Ranges::take`] gave; nothing happens if it did not.
    pub(super) fn give_back(&mut self, first: u64) {
        self.taken.remove(&first);
    }

    /// The lowest free `len` bytes that begin `rest` behind a multiple of `alignment`.
    fn find(&self, len: u64, alignment: u64, rest: u64) -> Option<u64> {
        self.usable.iter().find_map(|range| {
            let mut from = (*range.start()).max(LOWEST);
            loop {
                let first = behind(from, alignment, rest)?;
                let last = first.checked_add(len - 1)?;
                if last > *range.end() {
                    return None;
                }
                // The last one that begins before the end of the candidate is the only one that can be in its way and
                // has the greatest end of those.
                match self.taken.range(..=last).next_back() {
                    Some((&taken, &bytes)) if taken + (bytes - 1) >= first => {
                        from = (taken + (bytes - 1)).checked_add(1)?;
                    }
                    _ => return Some(first),
                }
            }
        })
    }
}

/// The first address from `from` on that is `rest` behind a multiple of `alignment`.
fn behind(from: u64, alignment: u64, rest: u64) -> Option<u64> {
    let base = from - from % alignment;
    let candidate = base.checked_add(rest)?;
    if candidate >= from { Some(candidate) } else { candidate.checked_add(alignment) }
}
