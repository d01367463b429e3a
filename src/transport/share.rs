//! The buffers of one I/O queue: taken from the reactor's pool at Connect, given back when the queue ends.
//!
//! ```text
//!   free --for_answer, for_data--> with a command --put--> free
//! ```
//!
//! A queue never waits for another one's buffers, so a host that does not read its answers stops nobody else. Within the
//! queue, data that the host was asked for never gets the last of the largest buffers: it may have to pass receive memory
//! that is full of commands, which leave it only into buffers. So one that suits any of them is always free, or with a
//! command that comes to its end without another byte of the host's.
//!
//! Invariants: `receiving < largest`; every buffer was one of these at Connect.

use crate::mem::{Buffer, Class, Pool};

/// Buffers that each I/O queue takes at Connect, of each size at most one for each of its entries but from 2 of the
/// largest; a command that finds none waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBuffers {
    /// Of 4 KiB: the blocks of most hosts.
    pub small: u16,
    /// Of 16 KiB.
    pub medium: u16,
    /// Of `transfer_bytes_max`: 2 and up.
    pub large: u16,
}

/// Bytes of a small buffer, and of a medium one.
const SMALL_BYTES: usize = 4 << 10;
const MEDIUM_BYTES: usize = 16 << 10;
/// Buffers of the default for the deepest queues.
const SMALL_MAX: u16 = 256;
const MEDIUM_MAX: u16 = 64;
const LARGE: u16 = 16;

impl QueueBuffers {
    /// Enough for every command of a queue of `entries` that moves up to 4 KiB, for a quarter of those that move up to 16
    /// KiB, and for 16 larger ones; no more than 256, 64 and 16, which is 4 MiB and keeps the fastest devices busy.
    #[must_use]
    pub fn for_entries(entries: u16) -> Self {
        Self { small: entries.min(SMALL_MAX), medium: entries.div_ceil(4).min(MEDIUM_MAX), large: LARGE }
    }

    /// As many of them as `bytes` have room for, and 2 of the largest in any case.
    #[must_use]
    pub fn within(self, bytes: usize, transfer_bytes_max: u32) -> Self {
        let transfer = transfer_bytes_max as usize;
        let most = |bytes: usize, size: usize| u16::try_from(bytes / size).unwrap_or(u16::MAX);
        // A size that is not smaller than the largest is left out.
        let smaller = |bytes, size| if size < transfer { most(bytes, size) } else { 0 };
        // Half is for the smaller ones, which most commands need.
        let large = most(bytes / 2, transfer).clamp(2, self.large);
        let left = bytes.saturating_sub(usize::from(large) * transfer);
        let medium = smaller(left, MEDIUM_BYTES).min(self.medium);
        let left = left - usize::from(medium) * MEDIUM_BYTES;
        Self { small: smaller(left, SMALL_BYTES).min(self.small), medium, large }
    }

    /// The sizes and numbers for a queue of `entries`, ascending and without those of which there are none; the last is
    /// the largest.
    pub(super) fn classes(self, entries: u16, transfer_bytes_max: u32) -> impl Iterator<Item = Class> {
        assert!(self.large >= 2);
        let largest = transfer_bytes_max as usize;
        let count = |most: u16| u32::from(most.min(entries));
        let smaller = [(SMALL_BYTES, self.small), (MEDIUM_BYTES, self.medium)]
            .map(|(bytes, most)| Class { bytes, count: count(most) });
        let large = Class { bytes: largest, count: count(self.large).max(2) };
        smaller.into_iter().filter(move |class| class.bytes < largest && class.count > 0).chain([large])
    }
}

/// The buffers of one queue.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Those that are free, by size.
    free: Vec<Size>,
    /// Number of the largest, free or not.
    largest: usize,
    /// How many of the largest wait for the host's data.
    receiving: usize,
}

#[derive(Debug)]
struct Size {
    bytes: usize,
    buffers: Vec<Buffer>,
}

impl Share {
    /// Takes the buffers of a queue; `None`, and nothing is taken, when the pool has too few of a size.
    pub(super) fn take(pool: &Pool, classes: impl Iterator<Item = Class>) -> Option<Self> {
        let mut share = Self::default();
        for Class { bytes, count } in classes {
            let count = count as usize;
            let mut buffers = Vec::with_capacity(count);
            buffers.extend((0..count).map_while(|_| pool.take_exactly(bytes)));
            if buffers.len() < count {
                return None;
            }
            share.largest = count;
            share.free.push(Size { bytes, buffers });
        }
        Some(share)
    }

    /// A buffer for `bytes` that are here already or come from a bdev: of the smallest size that has one free.
    pub(super) fn for_answer(&mut self, bytes: u32) -> Option<Buffer> {
        let bytes = bytes as usize;
        self.free.iter_mut().filter(|size| size.bytes >= bytes).find_map(|size| size.buffers.pop())
    }

    /// A buffer for `bytes` that the host will be asked for; whoever takes it says when they have come.
    pub(super) fn for_data(&mut self, bytes: u32) -> Option<Buffer> {
        let spares = self.receiving + 1 < self.largest;
        let largest = self.largest_bytes();
        let bytes = bytes as usize;
        let mut suit =
            self.free.iter_mut().filter(|size| size.bytes >= bytes && (size.bytes < largest || spares));
        let buffer = suit.find_map(|size| size.buffers.pop())?;
        self.receiving += usize::from(buffer.len() == largest);
        Some(buffer)
    }

    /// The data for which `buffer` was taken has come.
    pub(super) fn received(&mut self, buffer: &Buffer) {
        if buffer.len() == self.largest_bytes() {
            assert!(self.receiving > 0);
            self.receiving -= 1;
        }
    }

    /// A buffer is free again.
    pub(super) fn put(&mut self, buffer: Buffer) {
        let Some(size) = self.free.iter_mut().find(|size| size.bytes == buffer.len()) else {
            unreachable!("it was taken from here")
        };
        size.buffers.push(buffer);
    }

    fn largest_bytes(&self) -> usize {
        self.free.last().map_or(0, |size| size.bytes)
    }
}

#[cfg(test)]
mod tests;
