//! The admin queue: a few commands at a time, each with a page for its data and a purpose that comes back with its
//! completion. Owned by the management thread.
//!
//! Invariants: a slot is taken from [`AdminQueue::submit`] until its completion, or until [`AdminQueue::clear`], which is
//! called only when the controller is disabled, or gone; one slot fewer than entries, so that no ring overflows.

use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;

use super::memory::{PAGE_BYTES, Part};
use super::rings::{RingMemory, Rings};
use super::{Counts, Device, Iova};
use crate::mem;
use crate::spec::cqe::Cqe;
use crate::spec::identify::IDENTIFY_BYTES;
use crate::spec::prp::PrpPair;
use crate::spec::sqe::Sqe;

/// Bytes of the page of each command.
pub(super) const ADMIN_DATA_BYTES: usize = PAGE_BYTES;

/// Every admin slot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AdminFull;

/// A purpose, and what became of its command. The page is readable until the next [`AdminQueue::submit`].
pub(super) struct Answer<P> {
    pub(super) purpose: P,
    pub(super) cqe: Cqe,
    pub(super) page: usize,
}

/// The admin queue pair; `P` is why a command was sent.
pub(super) struct AdminQueue<D, P> {
    rings: Rings<D>,
    pages: Part,
    slots: Vec<AdminSlot<P>>,
    counts: Counts,
    timeout: Duration,
}

struct AdminSlot<P> {
    /// Changes with each command: the upper byte of its identifier.
    generation: u8,
    taken: Option<Taken<P>>,
}

struct Taken<P> {
    purpose: P,
    /// When it is overdue; [`Time::MAX`] for what may take for ever.
    until: Time,
    name: &'static str,
}

impl<D: Device, P> AdminQueue<D, P> {
    /// A queue over memory that is all zeros, with a page for each of its slots.
    pub(super) fn new(device: Arc<D>, memory: RingMemory, pages: Part, timeout: Duration) -> Self {
        let count = slots(memory.entries);
        assert!(pages.words.len() >= count * ADMIN_DATA_BYTES);
        let slots = (0..count).map(|_| AdminSlot { generation: 0, taken: None }).collect();
        Self { rings: Rings::new(device, memory), pages, slots, counts: Counts::default(), timeout }
    }

    /// Entries, and where the device finds the rings.
    pub(super) fn place(&self) -> (u16, Iova, Iova) {
        let memory = self.rings.memory();
        (memory.entries, memory.submission.iova, memory.completion.iova)
    }

    /// Sends a command whose data, if it has any, is `data` or comes into the page of its slot. It is overdue after the
    /// time-out of commands, unless it `may_wait`.
    pub(super) fn submit(
        &mut self,
        name: &'static str,
        mut sqe: Sqe,
        data: AdminData<'_>,
        purpose: P,
        now: Option<Time>,
    ) -> Result<(), AdminFull> {
        let free = self.slots.iter().position(|slot| slot.taken.is_none()).ok_or(AdminFull)?;
        let slot = &mut self.slots[free];
        slot.generation = slot.generation.wrapping_add(1) % GENERATIONS;
        let until = now.map_or(Time::MAX, |now| now + self.timeout);
        slot.taken = Some(Taken { purpose, until, name });
        sqe.cid.set(u16::from_le_bytes([free.to_le_bytes()[0], slot.generation]));
        let offset = free * ADMIN_DATA_BYTES;
        let page = self.pages.words.slice(offset..offset + ADMIN_DATA_BYTES);
        match data {
            AdminData::None => {}
            AdminData::In => {
                // What a controller leaves out reads as zeros, not as what came before.
                mem::zero(page.segment_mut());
                sqe.dptr = PrpPair::of(self.pages.iova.plus(offset).0, 0).into();
            }
            AdminData::Out(bytes) => {
                mem::copy_in(bytes, page.segment_mut().slice(0..bytes.len()));
                sqe.dptr = PrpPair::of(self.pages.iova.plus(offset).0, 0).into();
            }
            AdminData::At(pair) => sqe.dptr = pair.into(),
        }
        self.rings.push(&sqe.double_words());
        self.rings.ring_submission(&mut self.counts);
        Ok(())
    }

    /// Takes the next completion of a command that is outstanding.
    pub(super) fn take(&mut self) -> Option<Answer<P>> {
        for _ in 0..usize::from(self.rings.memory().entries) {
            let cqe = self.rings.peek()?;
            self.rings.advance();
            self.rings.ring_completion(&mut self.counts);
            let [index, generation] = cqe.cid.get().to_le_bytes();
            let page = usize::from(index);
            let slot = self.slots.get_mut(page).filter(|slot| slot.generation == generation);
            match slot.and_then(|slot| slot.taken.take()) {
                Some(taken) => return Some(Answer { purpose: taken.purpose, cqe, page }),
                None => self.counts.strays += 1,
            }
        }
        None
    }

    /// The data of an answered command.
    pub(super) fn page(&self, page: usize) -> Box<[u8; IDENTIFY_BYTES]> {
        let offset = page * ADMIN_DATA_BYTES;
        let mut bytes = Box::new([0; IDENTIFY_BYTES]);
        mem::copy_out(
            self.pages.words.segment().slice(offset..offset + IDENTIFY_BYTES),
            bytes.as_mut_slice(),
        );
        bytes
    }

    /// The name of a command that is overdue.
    pub(super) fn overdue(&self, now: Time) -> Option<&'static str> {
        let mut taken = self.slots.iter().filter_map(|slot| slot.taken.as_ref());
        taken.find(|taken| now >= taken.until).map(|taken| taken.name)
    }

    /// Commands outstanding for which `what` holds.
    pub(super) fn count(&self, what: impl Fn(&P) -> bool) -> usize {
        self.slots.iter().filter_map(|slot| slot.taken.as_ref()).filter(|taken| what(&taken.purpose)).count()
    }

    /// Slots that are not taken.
    pub(super) fn free(&self) -> usize {
        self.slots.iter().filter(|slot| slot.taken.is_none()).count()
    }

    /// Makes the queue as new, and hands out the purposes of what was outstanding. The controller must be disabled.
    pub(super) fn clear(&mut self) -> Vec<P> {
        self.rings.clear();
        self.slots.iter_mut().filter_map(|slot| slot.taken.take()).map(|taken| taken.purpose).collect()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// The data of an admin command.
pub(super) enum AdminData<'a> {
    /// There is none.
    None,
    /// A page from the controller.
    In,
    /// To the controller; a page at most.
    Out(&'a [u8]),
    /// These pages.
    At(PrpPair),
}

/// FFh is never a generation, so FFFFh never an identifier.
const GENERATIONS: u8 = u8::MAX;

/// Slots of an admin queue: their index is a byte of the identifier.
pub(super) fn slots(entries: u16) -> usize {
    usize::from(entries - 1).min(255)
}
