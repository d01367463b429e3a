//! Words that a device and this process exchange through memory: queue entries, phase bits, shadow doorbells.
//!
//! Each access is one atomic access of its word, or several of those, so that a device that writes at the same time,
//! real or emulated by another thread, is no data race. Loads acquire and stores release: what the other side wrote
//! before it wrote a word is seen by whoever has loaded that word.

#![expect(unsafe_code, reason = "words that a device writes are reached through raw pointers")]

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Backing, Extent, Segment, SegmentMut};

/// A part of an extent whose words a device reads and writes.
///
/// Invariants: the part lies in the extent, begins at a multiple of 8 bytes, and the extent is not one of zeros.
#[derive(Clone, Debug)]
pub struct Shared {
    extent: Arc<Extent>,
    start: usize,
    len: usize,
}

impl Shared {
    /// The bytes of `range`.
    ///
    /// # Panics
    ///
    /// If the range is not inside the extent or does not begin at a multiple of 8, or if the extent is one of zeros.
    pub fn new(extent: Arc<Extent>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end);
        assert!(range.end <= extent.len());
        assert!(range.start.is_multiple_of(8));
        assert!(extent.backing() != Backing::Zeros);
        Self { start: range.start, len: range.len(), extent }
    }

    /// Bytes of the part.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether a queue is empty memory")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The extent that it is a part of.
    pub fn extent(&self) -> &Arc<Extent> {
        &self.extent
    }

    /// Where in its extent it begins, in bytes.
    pub fn offset(&self) -> usize {
        self.start
    }

    /// A part of it.
    ///
    /// # Panics
    ///
    /// If the range is not inside, or does not begin at a multiple of 8.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.end <= self.len);
        Self::new(Arc::clone(&self.extent), self.start + range.start..self.start + range.end)
    }

    /// All of its bytes, to be read.
    pub fn segment(&self) -> Segment {
        self.extent.segment(self.start..self.start + self.len)
    }

    /// All of its bytes, to be written.
    pub fn segment_mut(&self) -> SegmentMut {
        self.extent.segment_mut(self.start..self.start + self.len)
    }

    /// Loads the little-endian word at `offset`.
    ///
    /// # Panics
    ///
    /// If the word is not inside, or not at a multiple of 4.
    #[inline]
    pub fn load_u32(&self, offset: usize) -> u32 {
        u32::from_le(self.word(offset).load(Ordering::Acquire))
    }

    /// Stores a little-endian word at `offset`.
    ///
    /// # Panics
    ///
    /// If the word is not inside, or not at a multiple of 4.
    #[inline]
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.word(offset).store(value.to_le(), Ordering::Release);
    }

    /// Loads the little-endian double word at `offset`.
    ///
    /// # Panics
    ///
    /// If the double word is not inside, or not at a multiple of 8.
    #[inline]
    pub fn load_u64(&self, offset: usize) -> u64 {
        u64::from_le(self.double_word(offset).load(Ordering::Acquire))
    }

    /// Stores a little-endian double word at `offset`.
    ///
    /// # Panics
    ///
    /// If the double word is not inside, or not at a multiple of 8.
    #[inline]
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.double_word(offset).store(value.to_le(), Ordering::Release);
    }

    /// Stores double words one after the other, the first at `offset`: a submission queue entry is eight of them.
    ///
    /// # Panics
    ///
    /// If not all are inside, or `offset` is not a multiple of 8.
    #[inline]
    pub fn store_all<const N: usize>(&self, offset: usize, values: &[u64; N]) {
        assert!(offset <= self.len && N * 8 <= self.len - offset);
        for (index, value) in values.iter().enumerate() {
            self.store_u64(offset + index * 8, *value);
        }
    }

    #[inline]
    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4));
        assert!(offset < self.len && self.len - offset >= 4);
        let pointer = self.pointer().wrapping_add(offset).cast::<AtomicU32>();
        // SAFETY: the four bytes are inside the extent, which lives as long as `self` and is mapped readable and
        // writable (invariant); they are 4-aligned, and only ever reached by atomics and by the kernels of this folder.
        unsafe { &*pointer }
    }

    #[inline]
    fn double_word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        assert!(offset < self.len && self.len - offset >= 8);
        let pointer = self.pointer().wrapping_add(offset).cast::<AtomicU64>();
        // SAFETY: as in `word`, for eight bytes that are 8-aligned.
        unsafe { &*pointer }
    }

    #[inline]
    fn pointer(&self) -> *mut u8 {
        self.extent.base().wrapping_add(self.start)
    }
}
