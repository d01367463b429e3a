//! Which blocks of a device in memory may not be read.
//!
//! Shared by all channels, without a lock. Invariants: `marked` is never less than the number of bits set in `words` by
//! calls that have returned; while it is 0, nobody looks at a word.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bdev::Blocks;

/// A bit for each block.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Blocks that are marked. Its partner is `words`: raised before a bit is set, lowered after one was cleared.
    marked: AtomicU64,
    /// `Release` where a bit changes and `Acquire` where it is looked at: whoever finds a bit cleared finds the contents that
    /// were written before.
    words: Box<[AtomicU64]>,
}

impl Unreadable {
    /// None of so many blocks is marked. Memory for the bits, one for each block, is used from the beginning: a mark is
    /// set on the way of a command, where nothing may be allocated.
    pub(super) fn new(blocks: u64) -> Self {
        let words = usize::try_from(blocks.div_ceil(64)).unwrap_or(usize::MAX);
        let words = std::iter::repeat_with(|| AtomicU64::new(0)).take(words).collect();
        Self { marked: AtomicU64::new(0), words }
    }

    /// Whether one of the blocks is marked. They are on the device.
    #[inline]
    pub(super) fn any(&self, blocks: Blocks) -> bool {
        self.marked.load(Ordering::Acquire) != 0
            && self.each(blocks).any(|(word, mask)| word.load(Ordering::Acquire) & mask != 0)
    }

    /// Marks the blocks.
    pub(super) fn mark(&self, blocks: Blocks) {
        for (word, mask) in self.each(blocks) {
            // More than will be marked, until it is known which of them are new.
            self.marked.fetch_add(u64::from(mask.count_ones()), Ordering::AcqRel);
            let before = word.fetch_or(mask, Ordering::AcqRel);
            self.marked.fetch_sub(u64::from((before & mask).count_ones()), Ordering::AcqRel);
        }
    }

    /// Unmarks the blocks: they have new contents.
    #[inline]
    pub(super) fn clear(&self, blocks: Blocks) {
        if self.marked.load(Ordering::Acquire) == 0 {
            return;
        }
        for (word, mask) in self.each(blocks) {
            let before = word.fetch_and(!mask, Ordering::AcqRel);
            self.marked.fetch_sub(u64::from((before & mask).count_ones()), Ordering::AcqRel);
        }
    }

    /// The words of the blocks, and which of their bits.
    fn each(&self, blocks: Blocks) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let end = blocks.first + u64::from(blocks.count);
        let words = blocks.first / 64..end.div_ceil(64).max(blocks.first / 64);
        words.filter(move |_| blocks.count > 0).map(move |word| {
            let from = blocks.first.saturating_sub(word * 64).min(63);
            let to = (end - word * 64).min(64);
            let mask = u64::MAX >> (64 - to) & u64::MAX << from;
            let index = usize::try_from(word).expect("a word of the device");
            (&self.words[index], mask)
        })
    }
}
