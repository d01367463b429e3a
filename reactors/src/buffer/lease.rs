//! A share in a receive chunk: bytes that were received, and stay as they are while the lease lives.
//!
//! Cloning and slicing cost two counter increments and no allocation. A lease stays on the thread of its pool.
#![expect(unsafe_code, reason = "the received bytes lie in raw chunk memory and are read as a slice")]

use std::{fmt, ops::Range, rc::Rc, slice};

use super::{chunk::Pool, segment::Segment};

/// Received bytes that do not change while the lease, or a clone or part of it, lives.
pub struct Lease {
    pool: Rc<Pool>,
    /// This value is one of the holds of that chunk.
    chunk: u32,
    /// `start..start + len` is in the chunk, below its fill mark.
    start: usize,
    len: usize,
}

impl Lease {
    /// Takes over one hold of `chunk` as a lease of `start..start + len` of it.
    ///
    /// # Safety
    /// The hold is the caller's to give away, and the range is in the chunk and below its fill mark.
    pub(super) unsafe fn adopt(pool: Rc<Pool>, chunk: u32, start: usize, len: usize) -> Self {
        Self { pool, chunk, start, len }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A lease of the bytes at `range` of this one.
    ///
    /// # Panics
    /// If `range` is reversed or ends beyond the lease.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end);
        assert!(range.end <= self.len);
        self.pool.hold(self.chunk);
        Self {
            pool: Rc::clone(&self.pool),
            chunk: self.chunk,
            start: self.start + range.start,
            len: range.end - range.start,
        }
    }

    /// The same bytes for the kernel. The segment does not keep the lease: when the last lease of the chunk is gone,
    /// later received bytes may appear in its place. The address stays mapped whatever happens.
    #[must_use]
    pub fn segment(&self) -> Segment {
        // SAFETY: the range is in the memory of the pool, which stays mapped and readable until the process ends
        // (field invariant of `Pool`).
        unsafe { Segment::from_raw(self.pointer(), self.len) }
    }

    fn pointer(&self) -> *const u8 {
        self.pool.address(self.chunk).wrapping_add(self.start)
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range is mapped, initialised (mappings start as zeros), and below the fill mark of a chunk of
        // which this lease is a hold, so nobody writes it while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.pointer(), self.len) }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        self.slice(0..self.len)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.release(self.chunk);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} bytes)", self.len)
    }
}
