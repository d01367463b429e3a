//! Which blocks of a device in memory may not be read.
//!
//! Shared by all channels, without a lock. Invariants: `marked` is never less than the number of bits that were set by
//! calls that have returned; while it is 0, nobody looks at a bit.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bdev::Blocks;

/// Words of bits that are allocated at a time: 32 KiB.
const CHUNK_WORDS: u16 = 4096;

/// A bit for each block.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Blocks that are marked. Its partner is `chunks`: raised before a bit is set, lowered after one was cleared.
    marked: AtomicU64,
    /// `Release` where a bit changes and `Acquire` where it is looked at: whoever finds a bit cleared finds the contents that
    /// were written before.
    ///
    /// A chunk is allocated when the first of its blocks is marked: the memory of a device is sparse, and so is this. That
    /// is on the way of a command, but of one that hosts send to test themselves.
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Unreadable {
    /// None of so many blocks is marked.
    pub(super) fn new(blocks: u64) -> Self {
        let chunks = usize::try_from(blocks.div_ceil(64).div_ceil(CHUNK_WORDS.into())).unwrap_or(usize::MAX);
        let chunks = std::iter::repeat_with(OnceLock::new).take(chunks).collect();
        Self { marked: AtomicU64::new(0), chunks }
    }

    /// Whether one of the blocks is marked. They are on the device.
    #[inline]
    pub(super) fn any(&self, blocks: Blocks) -> bool {
        self.marked.load(Ordering::Acquire) != 0
            && each(blocks).any(|(word, mask)| {
                self.word(word).is_some_and(|word| word.load(Ordering::Acquire) & mask != 0)
            })
    }

    /// Marks the blocks.
    pub(super) fn mark(&self, blocks: Blocks) {
        for (word, mask) in each(blocks) {
            let (chunk, index) = place(word);
            let words = || std::iter::repeat_with(|| AtomicU64::new(0));
            let word = &self.chunks[chunk].get_or_init(|| words().take(CHUNK_WORDS.into()).collect())[index];
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
        for (word, mask) in each(blocks) {
            let Some(word) = self.word(word) else { continue };
            let before = word.fetch_and(!mask, Ordering::AcqRel);
            self.marked.fetch_sub(u64::from((before & mask).count_ones()), Ordering::AcqRel);
        }
    }

    /// A word, if any block of its chunk was ever marked.
    fn word(&self, number: u64) -> Option<&AtomicU64> {
        let (chunk, index) = place(number);
        self.chunks[chunk].get().map(|words| &words[index])
    }
}

/// The chunk of a word of the device, and its place there.
fn place(word: u64) -> (usize, usize) {
    let inside = |number: u64| usize::try_from(number).expect("a word of the device");
    (inside(word / u64::from(CHUNK_WORDS)), inside(word % u64::from(CHUNK_WORDS)))
}

/// The words of the blocks, and which of their bits.
fn each(blocks: Blocks) -> impl Iterator<Item = (u64, u64)> {
    let end = blocks.first + u64::from(blocks.count);
    let words = blocks.first / 64..end.div_ceil(64).max(blocks.first / 64);
    words.filter(move |_| blocks.count > 0).map(move |word| {
        let from = blocks.first.saturating_sub(word * 64).min(63);
        let to = (end - word * 64).min(64);
        (word, u64::MAX >> (64 - to) & u64::MAX << from)
    })
}
