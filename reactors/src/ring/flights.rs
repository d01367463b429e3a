//! The operations in flight: a table of slots, by which completions find their user.
//!
//! Invariants: a slot is in `free` or in flight; `free` never allocates after the start. The generation of a slot goes
//! up when it becomes free, so the name of an operation is not the name of the next one in its slot.

/// Marks the completion of a cancellation, in the name of the operation that it was for.
const CANCELLATION: u64 = 1 << 31;

/// Names an operation in flight; stale once it has completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OperationId {
    slot: u32,
    generation: u32,
}

/// Whose an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    pub(super) user: u32,
    /// The user's own name for it.
    pub(super) token: u64,
}

/// What the kernel's name for a completion stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Landed {
    /// Whose it is, and its slot.
    Operation(Owner, usize),
    Cancellation,
}

pub(super) struct Flights {
    slots: Box<[Slot]>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    in_flight: bool,
    /// A cancellation was submitted: it is so at most once.
    cancelled: bool,
    owner: Owner,
}

impl OperationId {
    pub(super) fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    pub(super) fn cancellation_user_data(self) -> u64 {
        self.user_data() | CANCELLATION
    }

    pub(super) fn slot(self) -> usize {
        self.slot as usize
    }

    fn of(user_data: u64) -> Self {
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self { slot: low(user_data & !CANCELLATION), generation: low(user_data >> 32) }
    }
}

impl Flights {
    /// A table of `count` free slots, fewer than 2^31.
    pub(super) fn new(count: u32) -> Self {
        assert!(u64::from(count) < CANCELLATION);
        let slot = |_| Slot {
            generation: 0,
            in_flight: false,
            cancelled: false,
            owner: Owner { user: 0, token: 0 },
        };
        // The slot used last, still in the cache, is used next.
        Self { slots: (0..count).map(slot).collect(), free: (0..count).rev().collect() }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a slot; `None` when all are in flight.
    pub(super) fn start(&mut self, owner: Owner) -> Option<OperationId> {
        let slot = self.free.pop()?;
        let entry = &mut self.slots[slot as usize];
        assert!(!entry.in_flight);
        entry.in_flight = true;
        entry.cancelled = false;
        entry.owner = owner;
        Some(OperationId { slot, generation: entry.generation })
    }

    /// Frees the slot that a completion names, unless `more` will follow it; `None` for a name that was never given or is
    /// stale.
    pub(super) fn land(&mut self, user_data: u64, more: bool) -> Option<Landed> {
        if user_data & CANCELLATION != 0 {
            return Some(Landed::Cancellation);
        }
        let id = OperationId::of(user_data);
        let entry = self.slots.get_mut(id.slot())?;
        if !entry.in_flight || entry.generation != id.generation {
            return None;
        }
        if !more {
            entry.in_flight = false;
            entry.generation = entry.generation.wrapping_add(1);
            self.free.push(id.slot);
        }
        Some(Landed::Operation(entry.owner, id.slot()))
    }

    /// Gives a slot back whose operation was never handed over.
    pub(super) fn undo(&mut self, id: OperationId) {
        let landed = self.land(id.user_data(), false);
        assert!(landed.is_some());
    }

    /// Whether a cancellation can be submitted for an operation of `user`: it is in flight, and none was.
    pub(super) fn may_cancel(&self, id: OperationId, user: u32) -> bool {
        let Some(entry) = self.slots.get(id.slot()) else { return false };
        entry.in_flight && entry.generation == id.generation && entry.owner.user == user && !entry.cancelled
    }

    /// A cancellation was submitted.
    pub(super) fn cancelled(&mut self, id: OperationId) {
        self.slots[id.slot()].cancelled = true;
    }
}
