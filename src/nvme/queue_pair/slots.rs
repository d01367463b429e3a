//! The commands that a queue pair has outstanding: one slot each, found by the command identifier.
//!
//! A command identifier is the index of a slot with a generation above it, which changes each time that the slot is
//! filled. So a completion that is late, doubled or made up names no command that is outstanding, and is rejected; the
//! index is taken from the identifier by a mask and looked up with a bound.
//!
//! Invariants: a slot is in the list of free ones if and only if it is [`State::Free`]; `parts` of a slot whose `parent`
//! it is itself counts the commands, itself included, that have to be answered before it ends; no identifier is FFFFh,
//! which the error log uses for "none" (NVMe base 2.1, section 5.1.12.1.2).

use crate::spec::status::Status;

/// What a slot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Free,
    /// Its command was given to the device, or will be.
    Busy,
    /// Its command was answered, other parts of the same command were not yet.
    Answered,
}

/// No bounce buffer.
pub(super) const NO_BOUNCE: u16 = u16::MAX;

/// A command slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// The submitter's name for the command.
    pub(super) tag: u64,
    /// Ticks of the queue pair when the command was given.
    pub(super) tick: u32,
    /// DW0 of the first part.
    pub(super) dw0: u32,
    /// The identifier of the command that is, or will be, in the slot.
    pub(super) cid: u16,
    /// The slot of the first part of the same command.
    pub(super) parent: u16,
    /// Parts not answered; counts in the parent only.
    pub(super) parts: u16,
    /// The bounce buffer of this part.
    pub(super) bounce: u16,
    /// How bad it was so far; counts in the parent only.
    pub(super) worst: Worst,
    pub(super) state: State,
    /// May be sent again after a reset.
    pub(super) repeatable: bool,
    /// Times that it was sent again.
    pub(super) repeats: u8,
    /// Somebody wants it to end.
    pub(super) unwanted: bool,
}

/// The worst of several ends, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worst {
    Success,
    Status(Status),
    Aborted,
    Gone,
}

impl Worst {
    const fn rank(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Status(_) => 1,
            Self::Aborted => 2,
            Self::Gone => 3,
        }
    }

    /// The worse of the two; of two equally bad ones, the first.
    pub(super) const fn or(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }
}

/// All slots of a queue pair.
pub(super) struct Slots {
    slots: Box<[Slot]>,
    /// Indices of free slots; the last one freed is the first one taken, because it is in the cache.
    free: Vec<u16>,
    mask: u16,
}

impl Slots {
    /// `count` slots, 1 to 4,095.
    pub(super) fn new(count: u16) -> Self {
        assert!((1..=super::SLOTS_MAX).contains(&count));
        let mask = count.next_power_of_two() - 1;
        let slot = |index| Slot {
            tag: 0,
            tick: 0,
            dw0: 0,
            cid: index,
            parent: index,
            parts: 0,
            bounce: NO_BOUNCE,
            worst: Worst::Success,
            state: State::Free,
            repeatable: false,
            repeats: 0,
            unwanted: false,
        };
        Self { slots: (0..count).map(slot).collect(), free: (0..count).rev().collect(), mask }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Fills a slot with a command of one part.
    #[inline]
    pub(super) fn take(&mut self, tag: u64, tick: u32) -> Option<u16> {
        let index = self.free.pop()?;
        let slot = &mut self.slots[usize::from(index)];
        debug_assert!(slot.state == State::Free);
        slot.state = State::Busy;
        slot.tag = tag;
        slot.tick = tick;
        slot.parent = index;
        slot.parts = 1;
        Some(index)
    }

    /// Empties a slot whose command never reached the device, or was answered.
    #[inline]
    pub(super) fn release(&mut self, index: u16) {
        let slot = &mut self.slots[usize::from(index)];
        assert!(slot.state != State::Free);
        slot.state = State::Free;
        slot.worst = Worst::Success;
        slot.repeats = 0;
        slot.unwanted = false;
        self.free.push(index);
    }

    /// Gives the slot's next command another identifier.
    #[inline]
    pub(super) fn renew(&mut self, index: u16) {
        let slot = &mut self.slots[usize::from(index)];
        let next = slot.cid.wrapping_add(self.mask + 1);
        slot.cid = if next | self.mask == u16::MAX { index } else { next };
    }

    /// The slot of the command that `cid` names; `None` where no such command is outstanding.
    #[inline]
    pub(super) fn find(&self, cid: u16) -> Option<u16> {
        let index = cid & self.mask;
        let slot = self.slots.get(usize::from(index))?;
        (slot.cid == cid && slot.state == State::Busy).then_some(index)
    }

    #[inline]
    pub(super) fn get(&self, index: u16) -> &Slot {
        &self.slots[usize::from(index)]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u16) -> &mut Slot {
        &mut self.slots[usize::from(index)]
    }

    /// Slots whose commands are not answered, with their indices.
    pub(super) fn busy(&self) -> impl Iterator<Item = (u16, &Slot)> {
        (0u16..).zip(&self.slots).filter(|(_, slot)| slot.state == State::Busy)
    }
}
