//! The rest of a block of which the kernel has taken a part: as it was then, whatever is written since.
//!
//! Lent memory is sent from where it lies. A block that one system call takes whole is as it was at one moment, for nobody
//! else writes it but this reactor; one that it takes in parts would not be. So where a send ends inside a block, the rest of
//! that block is copied before this reactor does anything else, and is sent from here.
//!
//! Invariant: while any of it is left, it stands for the first bytes of the outbox, which all are of one lent payload.

use crate::mem::{self, Segment};

/// The rest of a block, or nothing.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    /// Room for a block; what is kept is at its end.
    bytes: Box<[u8]>,
    /// Where in the stream it ends, as [`Outbox::gone`](crate::connection::Outbox::gone) counts.
    until: u64,
}

impl Frozen {
    /// Makes room for blocks of so many bytes, unless there is. May allocate; nothing may be kept.
    pub(super) fn make_room(&mut self, block_bytes: usize) {
        if self.bytes.len() < block_bytes {
            self.bytes = vec![0; block_bytes].into_boxed_slice();
        }
    }

    /// Whether any of it is left where so much of the stream is gone.
    #[inline]
    pub(super) fn is_left(&self, gone: u64) -> bool {
        self.until > gone
    }

    /// What is left of it then.
    pub(super) fn left(&self, gone: u64) -> &[u8] {
        if !self.is_left(gone) {
            return &[];
        }
        let left = usize::try_from(self.until - gone).expect("less than a block");
        &self.bytes[self.bytes.len() - left..]
    }

    /// Keeps what is to be sent of the block of `lent` that the kernel has up to byte `taken` of `lent`, if it has a part of
    /// one and that is not kept already. `lent` begins with a block, and every block is a part of `block_bytes`.
    pub(super) fn keep(&mut self, lent: Segment, taken: usize, gone: u64, block_bytes: usize) {
        if self.is_left(gone) {
            return;
        }
        let rest = lent.slice(taken..taken.next_multiple_of(block_bytes).min(lent.len()));
        if rest.is_empty() {
            return;
        }
        // There is room since Connect, but for a namespace with larger blocks that came later.
        self.make_room(block_bytes);
        let start = self.bytes.len() - rest.len();
        mem::copy_out(rest, &mut self.bytes[start..]);
        self.until = gone + rest.len() as u64;
    }
}

#[cfg(test)]
mod tests;
