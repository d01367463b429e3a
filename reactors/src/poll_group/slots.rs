//! The table of the sockets of a group: fixed length, ids that are never valid twice.
//!
//! Invariant: an index is in the free list when and only when its slot is empty.

use super::SocketId;

/// Sockets by index.
pub(super) struct Slots<S> {
    slots: Box<[Slot<S>]>,
    /// Indices of empty slots; the one emptied last is used next.
    free: Vec<u32>,
}

struct Slot<S> {
    /// Counts the sockets that this slot has had, wrapping.
    generation: u32,
    socket: Option<S>,
}

impl<S> Slots<S> {
    /// `count` empty slots; `None` if they cannot be numbered.
    pub(super) fn new(count: usize) -> Option<Self> {
        let end = u32::try_from(count).ok()?;
        let slots = (0..end).map(|_| Slot { generation: 0, socket: None }).collect();
        Some(Self { slots, free: (0..end).rev().collect() })
    }

    /// The id that the next inserted socket gets; `None` when all slots are used.
    pub(super) fn next_id(&self) -> Option<SocketId> {
        let index = *self.free.last()?;
        Some(SocketId { index, generation: self.slots[index as usize].generation })
    }

    /// Puts a socket into the slot of `next_id`.
    pub(super) fn insert(&mut self, socket: S) {
        let index = self.free.pop().expect("next_id named a free slot");
        let slot = &mut self.slots[index as usize];
        assert!(slot.socket.is_none());
        slot.socket = Some(socket);
    }

    /// Takes a socket out; from now on its id is stale.
    pub(super) fn remove(&mut self, id: SocketId) -> Option<S> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation)?;
        let socket = slot.socket.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(socket)
    }

    /// The socket with this id.
    pub(super) fn find(&mut self, id: SocketId) -> Option<&mut S> {
        let slot = self.slots.get_mut(id.index())?;
        slot.socket.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// All sockets.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut S> {
        self.slots.iter_mut().filter_map(|slot| slot.socket.as_mut())
    }

    /// A socket, whichever, and its id.
    pub(super) fn any(&self) -> Option<SocketId> {
        let index = self.slots.iter().position(|slot| slot.socket.is_some())?;
        let generation = self.slots[index].generation;
        u32::try_from(index).ok().map(|index| SocketId { index, generation })
    }

    /// Whether there is a socket with this id.
    pub(super) fn contains(&self, id: SocketId) -> bool {
        self.slots
            .get(id.index())
            .is_some_and(|slot| slot.socket.is_some() && slot.generation == id.generation)
    }
}
