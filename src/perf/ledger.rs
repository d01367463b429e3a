//! What has been written where: for each unit of a lane the last write that was acknowledged, and the last that was sent.
//!
//! ```text
//!   generation:  0 ....... acknowledged ....... newest
//!                            what a read may bring
//! ```
//!
//! Invariants: `acknowledged <= newest < 2^31` for each unit; a unit is busy while one command is on it, and no second one
//! is sent meanwhile, so that what a read may bring is known.

use std::ops::RangeInclusive;

/// Set in `newest` while a command is under way.
const BUSY: u32 = 1 << 31;

/// The account of the units of one lane.
#[derive(Debug)]
pub(super) struct Ledger {
    first: u64,
    acknowledged: Box<[u32]>,
    newest: Box<[u32]>,
}

impl Ledger {
    /// Of `count` units from `first` on, none of which was written yet.
    pub(super) fn new(first: u64, count: u64) -> Self {
        let count = usize::try_from(count).expect("bounded by the plan");
        let zeros = || vec![0; count].into_boxed_slice();
        Self { first, acknowledged: zeros(), newest: zeros() }
    }

    /// Units that there are.
    pub(super) fn len(&self) -> u64 {
        self.newest.len() as u64
    }

    /// The unit at `place`, counted from 0.
    pub(super) fn unit(&self, place: u64) -> u64 {
        self.first + place
    }

    pub(super) fn is_busy(&self, unit: u64) -> bool {
        self.newest[self.index(unit)] & BUSY != 0
    }

    /// No write was acknowledged: what it holds is not known.
    pub(super) fn is_unknown(&self, unit: u64) -> bool {
        self.acknowledged[self.index(unit)] == 0
    }

    /// A write of the unit begins; returns its generation, from 1.
    pub(super) fn begin_write(&mut self, unit: u64) -> u32 {
        let index = self.index(unit);
        assert!(self.newest[index] < BUSY - 1, "a unit is written less than 2^31 times");
        self.newest[index] += 1;
        let generation = self.newest[index];
        self.newest[index] |= BUSY;
        generation
    }

    /// A read of the unit begins.
    pub(super) fn begin_read(&mut self, unit: u64) {
        let index = self.index(unit);
        assert!(self.newest[index] & BUSY == 0);
        self.newest[index] |= BUSY;
    }

    /// The command ended; a write that succeeded is the last one now.
    pub(super) fn end(&mut self, unit: u64, written: bool) {
        let index = self.index(unit);
        assert!(self.newest[index] & BUSY != 0);
        self.newest[index] &= !BUSY;
        if written {
            self.acknowledged[index] = self.newest[index];
        }
        assert!(self.acknowledged[index] <= self.newest[index]);
    }

    /// What a read of the unit may bring.
    pub(super) fn allowed(&self, unit: u64) -> RangeInclusive<u32> {
        let index = self.index(unit);
        self.acknowledged[index]..=self.newest[index] & !BUSY
    }

    fn index(&self, unit: u64) -> usize {
        usize::try_from(unit - self.first).expect("a unit of this lane")
    }
}
