//! One queue's part of the load: what to ask for next, what is under way, and what came of it.
//!
//! Invariants: a slot is in `free`, in `again`, or with the port (`out`); the memory of a slot is written only while it is
//! in `free`; with a ledger, the unit of every slot outside `free` is busy.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;

use crate::mem::{self, Extent, Segment, SegmentMut};
use crate::perf::ledger::Ledger;
use crate::perf::places::{Places, Random};
use crate::perf::share::{Findings, LaneStats};
use crate::perf::stamp::Stamp;
use crate::perf::{Io, Plan, Space};

/// Busy units that one search looks at before it waits for something to end.
const TRIES_MAX: usize = 16;
/// Units that one search for what to read back looks at.
const SCANNED_MAX: usize = 4096;

/// A command, from its choice to its end.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// When it was chosen; from here on it is measured.
    began: Time,
    /// When the port took it last.
    sent: Time,
    unit: u64,
    write: bool,
    /// The port has it.
    out: bool,
}

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    space: Space,
    blocks: u32,
    run: u64,
    reads_percent: u8,
    slots: Box<[Slot]>,
    memory: Box<[SegmentMut]>,
    /// Keeps `memory` mapped.
    _extent: Arc<Extent>,
    free: Vec<u16>,
    again: VecDeque<u16>,
    random: Random,
    places: Places,
    ledger: Option<Ledger>,
    /// The next place to read back.
    cursor: u64,
    scratch: Box<[u8]>,
    pub(super) stats: Arc<LaneStats>,
    /// It takes commands.
    pub(super) is_up: bool,
}

impl Lane {
    /// Lane `number` of all, in the run of this number; its data lies at `range` of `extent`, a stretch of `stride` bytes for
    /// each slot.
    pub(super) fn new(
        plan: &Plan,
        space: &Space,
        (run, number): (u64, usize),
        (extent, start, stride): (&Arc<Extent>, usize, usize),
        stats: Arc<LaneStats>,
    ) -> Self {
        let (first, count) = plan.region(space, number);
        let from = count / u64::from(plan.connections) * number as u64;
        let bytes = plan.block_bytes as usize;
        let place = |slot: u16| start + usize::from(slot) * stride;
        let slot = Slot { began: Time::ORIGIN, sent: Time::ORIGIN, unit: 0, write: false, out: false };
        let mut lane = Self {
            space: *space,
            blocks: plan.blocks(space),
            run,
            reads_percent: plan.reads_percent,
            slots: vec![slot; usize::from(plan.depth)].into(),
            memory: (0..plan.depth)
                .map(|slot| extent.segment_mut(place(slot)..place(slot) + bytes))
                .collect(),
            _extent: Arc::clone(extent),
            free: (0..plan.depth).rev().collect(),
            again: VecDeque::with_capacity(plan.depth.into()),
            random: Random::new(plan.seed, number as u64),
            places: Places::new(plan.pattern, first, count, if plan.verify { 0 } else { from }),
            ledger: plan.verify.then(|| Ledger::new(first, count)),
            cursor: 0,
            scratch: vec![0; space.block_size as usize].into(),
            stats,
            is_up: false,
        };
        lane.fill();
        lane
    }

    /// Writes every buffer once: there is memory behind it, and what is written can be told from what others write.
    fn fill(&mut self) {
        for segment in &self.memory {
            for range in pieces(segment.len(), self.scratch.len()) {
                let stamp =
                    Stamp { run: self.run, nsid: self.space.nsid, lba: self.random.next(), generation: 0 };
                stamp.fill(&mut self.scratch);
                mem::copy_in(&self.scratch, segment.slice(range));
            }
        }
    }

    /// Commands that were chosen and have not ended.
    pub(super) fn under_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Every slot is in use.
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// The next of the commands that are to be sent again.
    pub(super) fn next_lost(&self) -> Option<u16> {
        self.again.front().copied()
    }

    /// Chooses a new command; `None` when all slots are in use, or every unit that was looked at is.
    pub(super) fn choose(&mut self, now: Time) -> Option<u16> {
        let &tag = self.free.last()?;
        for _ in 0..TRIES_MAX {
            let unit = self.places.next(&mut self.random);
            let reads = self.reads();
            let Some(ledger) = &self.ledger else {
                self.begin(tag, unit, !reads, now);
                return Some(tag);
            };
            if !ledger.is_busy(unit) {
                let write = !reads || ledger.is_unknown(unit);
                self.begin(tag, unit, write, now);
                return Some(tag);
            }
        }
        None
    }

    /// Chooses the next unit to be read back: one that a write of this run was acknowledged for. `None` when all slots
    /// are in use, or for now; see [`Lane::has_read_back`].
    pub(super) fn choose_read_back(&mut self, now: Time) -> Option<u16> {
        let &tag = self.free.last()?;
        for _ in 0..SCANNED_MAX {
            let ledger = self.ledger.as_ref().filter(|ledger| self.cursor < ledger.len())?;
            let unit = ledger.unit(self.cursor);
            self.cursor += 1;
            if !ledger.is_unknown(unit) {
                self.begin(tag, unit, false, now);
                return Some(tag);
            }
        }
        None
    }

    /// Everything that was written has been chosen to be read back.
    pub(super) fn has_read_back(&self) -> bool {
        self.ledger.as_ref().is_none_or(|ledger| self.cursor >= ledger.len())
    }

    /// Units that were written and not chosen to be read back.
    pub(super) fn unread(&self) -> u64 {
        let Some(ledger) = &self.ledger else { return 0 };
        let left = (self.cursor..ledger.len()).filter(|&place| !ledger.is_unknown(ledger.unit(place)));
        left.count() as u64
    }

    /// The command of a slot.
    pub(super) fn io(&self, tag: u16) -> Io {
        let slot = &self.slots[usize::from(tag)];
        let lba = slot.unit * u64::from(self.blocks);
        Io { write: slot.write, lba, blocks: self.blocks, memory: self.memory[usize::from(tag)] }
    }

    /// The port has taken it.
    pub(super) fn taken(&mut self, tag: u16, now: Time) {
        let slot = &mut self.slots[usize::from(tag)];
        assert!(!slot.out);
        (slot.out, slot.sent) = (true, now);
        if self.again.front() == Some(&tag) {
            self.again.pop_front();
        }
    }

    /// The port has not taken it: it goes before all others.
    pub(super) fn refused(&mut self, tag: u16) {
        if self.again.front() != Some(&tag) {
            self.again.push_front(tag);
        }
    }

    /// The command ended. Returns how long it took, and what it was: true for a write.
    pub(super) fn ended(
        &mut self,
        tag: u16,
        succeeded: bool,
        now: Time,
        found: &mut Findings,
    ) -> (Duration, bool) {
        if self.again.front() == Some(&tag) {
            self.again.pop_front();
        }
        let slot = &mut self.slots[usize::from(tag)];
        slot.out = false;
        let Slot { began, unit, write, .. } = *slot;
        if succeeded && !write {
            self.verify(tag, unit, found);
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.end(unit, write && succeeded);
        }
        self.free.push(tag);
        (now.since(began), write)
    }

    /// The port lost all that it had: to be sent again. Returns how many commands that are.
    pub(super) fn lost(&mut self) -> u64 {
        let mut lost = 0;
        for (tag, slot) in (0..).zip(&mut self.slots) {
            if slot.out {
                slot.out = false;
                self.again.push_back(tag);
                lost += 1;
            }
        }
        lost
    }

    /// The port has a command since before `before`.
    pub(super) fn is_overdue(&self, before: Time) -> bool {
        self.slots.iter().any(|slot| slot.out && slot.sent < before)
    }

    fn reads(&mut self) -> bool {
        match self.reads_percent {
            0 => false,
            100.. => true,
            percent => self.random.below(100) < percent.into(),
        }
    }

    fn begin(&mut self, tag: u16, unit: u64, write: bool, now: Time) {
        let popped = self.free.pop();
        assert_eq!(popped, Some(tag));
        self.slots[usize::from(tag)] = Slot { began: now, sent: now, unit, write, out: false };
        let Some(ledger) = &mut self.ledger else { return };
        if !write {
            return ledger.begin_read(unit);
        }
        let generation = ledger.begin_write(unit);
        let memory = self.memory[usize::from(tag)];
        for (lba, range) in (unit * u64::from(self.blocks)..).zip(pieces(memory.len(), self.scratch.len())) {
            self.stamp(lba, generation).fill(&mut self.scratch);
            mem::copy_in(&self.scratch, memory.slice(range));
        }
    }

    /// Compares what was read with what the ledger allows.
    fn verify(&mut self, tag: u16, unit: u64, found: &mut Findings) {
        let Some(ledger) = &self.ledger else { return };
        if ledger.is_unknown(unit) {
            return;
        }
        let allowed = ledger.allowed(unit);
        let memory: Segment = self.memory[usize::from(tag)].read_only();
        for (lba, range) in (unit * u64::from(self.blocks)..).zip(pieces(memory.len(), self.scratch.len())) {
            mem::copy_out(memory.slice(range), &mut self.scratch);
            found.compared += 1;
            if let Err(mismatch) = self.stamp(lba, *allowed.end()).check(&self.scratch, allowed.clone()) {
                found.wrong(mismatch);
            }
        }
    }

    fn stamp(&self, lba: u64, generation: u32) -> Stamp {
        Stamp { run: self.run, nsid: self.space.nsid, lba, generation }
    }
}

/// Ranges of `piece` bytes that make up `bytes`.
fn pieces(bytes: usize, piece: usize) -> impl Iterator<Item = Range<usize>> {
    (0..bytes / piece).map(move |index| index * piece..(index + 1) * piece)
}
