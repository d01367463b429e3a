//! The two rings of a queue pair and their doorbells: entries are pushed and peeked here, and the device is told.
//!
//! Invariants: `tail`, `rung`, `head` and `head_rung` are below `entries`; entries of the submission ring from `rung` up
//! to `tail` are written and not announced; entries of the completion ring from `head_rung` up to `head` were taken and
//! not announced; an entry at `head` is new if its phase bit is `phase`.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::memory::Part;
use super::registers::Doorbells;
use super::{Counts, Device};
use crate::mem::Shared;
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;

const SQE_BYTES: usize = size_of::<Sqe>();
const CQE_BYTES: usize = size_of::<Cqe>();

/// What the rings are made of.
#[derive(Clone, Debug)]
pub(super) struct RingMemory {
    /// Entries of each ring.
    pub(super) entries: u16,
    pub(super) submission: Part,
    pub(super) completion: Part,
    pub(super) doorbells: Doorbells,
    pub(super) shadow: Shadow,
}

/// Doorbells in memory, and what the device wants to be told of (NVMe base 2.1, section 5.2.5 and annex B.5).
#[derive(Clone, Debug)]
pub(super) struct Shadow {
    /// The page of shadow doorbells.
    pub(super) values: Shared,
    /// The page of event indices.
    pub(super) events: Shared,
    /// Where the words of this queue pair are, in both pages.
    pub(super) submission: usize,
    pub(super) completion: usize,
}

impl Shadow {
    /// Sets the words of the queue pair to zero, as they must be when queues are created.
    fn clear(&self) {
        for offset in [self.submission, self.completion] {
            self.values.store_u32(offset, 0);
            self.events.store_u32(offset, 0);
        }
    }
}

/// The rings of one queue pair.
pub(super) struct Rings<D> {
    device: Arc<D>,
    memory: RingMemory,
    shadowed: bool,
    tail: u16,
    rung: u16,
    head: u16,
    head_rung: u16,
    phase: bool,
}

impl<D: Device> Rings<D> {
    /// Rings over memory that is all zeros.
    pub(super) fn new(device: Arc<D>, memory: RingMemory) -> Self {
        let bytes = usize::from(memory.entries);
        assert!(memory.entries >= 2);
        assert!(memory.submission.words.len() >= bytes * SQE_BYTES);
        assert!(memory.completion.words.len() >= bytes * CQE_BYTES);
        Self { device, memory, shadowed: false, tail: 0, rung: 0, head: 0, head_rung: 0, phase: true }
    }

    /// Where the device finds the submission ring and the completion ring.
    pub(super) fn memory(&self) -> &RingMemory {
        &self.memory
    }

    /// Makes the rings as new, for queues that are created over them. The device must not know any over them now.
    pub(super) fn clear(&mut self) {
        for entry in 0..usize::from(self.memory.entries) {
            self.memory.completion.words.store_all(entry * CQE_BYTES, &[0; 2]);
        }
        self.memory.shadow.clear();
        (self.tail, self.rung, self.head, self.head_rung) = (0, 0, 0, 0);
        self.phase = true;
    }

    /// Whether doorbells are written to memory first, from now on.
    pub(super) fn set_shadowed(&mut self, shadowed: bool) {
        self.shadowed = shadowed;
    }

    /// Writes an entry at the tail. The device is not told before [`Rings::ring_submission`].
    #[inline]
    pub(super) fn push(&mut self, words: &[u64; 8]) {
        debug_assert!(self.after(self.tail) != self.rung);
        self.memory.submission.words.store_all(usize::from(self.tail) * SQE_BYTES, words);
        self.tail = self.after(self.tail);
    }

    /// Takes back the last `count` entries, which the device was not told of.
    pub(super) fn take_back(&mut self, count: u16) {
        let entries = self.memory.entries;
        assert!(count < entries);
        self.tail = if self.tail >= count { self.tail - count } else { self.tail + entries - count };
    }

    /// Whether there are entries that the device was not told of.
    #[inline]
    pub(super) fn is_unrung(&self) -> bool {
        self.tail != self.rung
    }

    /// Tells the device of every entry up to the tail, with at most one write of a register.
    #[inline]
    pub(super) fn ring_submission(&mut self, counts: &mut Counts) {
        let (old, new) = (self.rung, self.tail);
        self.rung = new;
        let doorbell = self.memory.doorbells.submission;
        if self.shadowed && !self.must_ring(self.memory.shadow.submission, old, new, counts) {
            return;
        }
        counts.submission_doorbells += 1;
        self.device.write_u32(doorbell, new.into());
    }

    /// The completion at the head, if there is a new one.
    #[inline]
    pub(super) fn peek(&self) -> Option<Cqe> {
        let words = &self.memory.completion.words;
        let offset = usize::from(self.head) * CQE_BYTES;
        // The phase first, with acquire: the rest of the entry was written before it.
        let second = words.load_u64(offset + 8);
        let cqe = Cqe::of_double_words([0, second]);
        (cqe.phase() == self.phase).then(|| Cqe::of_double_words([words.load_u64(offset), second]))
    }

    /// Passes the completion at the head.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.head = self.after(self.head);
        if self.head == 0 {
            self.phase = !self.phase;
        }
    }

    /// Tells the device of every completion that was passed, with at most one write of a register.
    #[inline]
    pub(super) fn ring_completion(&mut self, counts: &mut Counts) {
        let (old, new) = (self.head_rung, self.head);
        self.head_rung = new;
        let doorbell = self.memory.doorbells.completion;
        if self.shadowed && !self.must_ring(self.memory.shadow.completion, old, new, counts) {
            return;
        }
        counts.completion_doorbells += 1;
        self.device.write_u32(doorbell, new.into());
    }

    /// Writes a shadow doorbell, and says whether the device wants the real one, too.
    fn must_ring(&self, offset: usize, old: u16, new: u16, counts: &mut Counts) -> bool {
        counts.shadow_doorbells += 1;
        self.memory.shadow.values.store_u32(offset, new.into());
        // The device stores its event index and then looks at the doorbell once more before it rests; we store the
        // doorbell and then look at the event index. With a full fence between the two, one of us sees the other.
        fence(Ordering::SeqCst);
        let [low, high, ..] = self.memory.shadow.events.load_u32(offset).to_le_bytes();
        is_passed(u16::from_le_bytes([low, high]), old, new)
    }

    #[inline]
    fn after(&self, index: u16) -> u16 {
        let next = index + 1;
        if next == self.memory.entries { 0 } else { next }
    }
}

/// Whether an index that moved from `old` to `new` has moved past `event` (annex B.5).
pub(super) const fn is_passed(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
