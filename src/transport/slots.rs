//! The commands of one queue that are under way, found by a small index that is also their transfer tag.
//!
//! Invariant: `free` holds exactly the indexes of the empty slots, each once.

/// A table of fixed size.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Box<[Option<T>]>,
    free: Vec<u16>,
}

impl<T> Slots<T> {
    /// `entries` empty slots.
    pub(super) fn new(entries: u16) -> Self {
        Self { slots: (0..entries).map(|_| None).collect(), free: (0..entries).rev().collect() }
    }

    /// Slots in use.
    pub(super) fn used(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot that the next [`Slots::insert`] uses; `None` when all are in use.
    pub(super) fn next(&self) -> Option<u16> {
        self.free.last().copied()
    }

    /// Fills a slot.
    ///
    /// # Panics
    /// If all are in use: [`Slots::next`] tells.
    pub(super) fn insert(&mut self, value: T) -> u16 {
        let index = self.free.pop().expect("the owner asked for a free slot first");
        let slot = &mut self.slots[usize::from(index)];
        assert!(slot.is_none());
        *slot = Some(value);
        index
    }

    /// Fills slot `index`.
    ///
    /// # Panics
    /// If it is in use, or does not exist.
    pub(super) fn insert_at(&mut self, index: u16, value: T) {
        let place = self.free.iter().position(|free| *free == index).expect("the slot is free");
        self.free.remove(place);
        self.slots[usize::from(index)] = Some(value);
    }

    /// What is in slot `index`.
    pub(super) fn find(&mut self, index: u16) -> Option<&mut T> {
        self.slots.get_mut(usize::from(index))?.as_mut()
    }

    /// Empties slot `index`.
    pub(super) fn remove(&mut self, index: u16) -> Option<T> {
        let value = self.slots.get_mut(usize::from(index))?.take()?;
        self.free.push(index);
        Some(value)
    }

    /// All slots in use, with their indexes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        (0u16..).zip(&self.slots).filter_map(|(index, slot)| slot.as_ref().map(|value| (index, value)))
    }
}
