//! Records of a few words, of which the newest overwrite the oldest. One reactor writes; others read at any time, without
//! holding it up.
//!
//! Invariants: record `n` lies in place `n % places`; the stamp of a place is `2 * (n + 1)` while it holds record `n`, and
//! odd while it is written. A reader that sees the same even stamp before and after has read one whole record.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A place. Relaxed accesses throughout: the stamps and the fences beside them order what lies between.
#[repr(align(64))]
struct Place<const WORDS: usize> {
    stamp: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// The newest records of one writer.
pub(super) struct Ring<const WORDS: usize> {
    places: Box<[Place<WORDS>]>,
    /// Records that were written. Only the writer stores.
    written: AtomicU64,
}

impl<const WORDS: usize> Ring<WORDS> {
    /// An empty ring that keeps `places` records.
    pub(super) fn new(places: usize) -> Self {
        assert!(places > 0);
        let empty = || Place { stamp: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; WORDS] };
        Self { places: (0..places).map(|_| empty()).collect(), written: AtomicU64::new(0) }
    }

    /// Writes a record. Only the one writer may call it.
    pub(super) fn write(&self, words: [u64; WORDS]) {
        let number = self.written.load(Ordering::Relaxed);
        let place = self.place(number);
        place.stamp.store(2 * number + 1, Ordering::Relaxed);
        // Partner: the Acquire fence in `read`. Who has seen a word of this record sees that it is being written.
        fence(Ordering::Release);
        for (place, word) in place.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        // Partner: the Acquire load in `read`. Who sees this stamp sees the words.
        place.stamp.store(2 * (number + 1), Ordering::Release);
        // Partner: the load in `written`, after which the record is found.
        self.written.store(number + 1, Ordering::Release);
    }

    /// Records that were written since the ring was made, those that were overwritten included.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The records that are kept and have at least the number `first`, oldest first, with their numbers. Those that are
    /// overwritten meanwhile are left out.
    pub(super) fn since(&self, first: u64) -> Vec<(u64, [u64; WORDS])> {
        let written = self.written();
        let kept = written.saturating_sub(self.places.len() as u64);
        (kept.max(first)..written).filter_map(|number| Some((number, self.read(number)?))).collect()
    }

    fn read(&self, number: u64) -> Option<[u64; WORDS]> {
        let place = self.place(number);
        let stamp = 2 * (number + 1);
        if place.stamp.load(Ordering::Acquire) != stamp {
            return None;
        }
        let words = place.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        (place.stamp.load(Ordering::Relaxed) == stamp).then_some(words)
    }

    fn place(&self, number: u64) -> &Place<WORDS> {
        &self.places[usize::try_from(number % self.places.len() as u64).unwrap_or(0)]
    }
}
