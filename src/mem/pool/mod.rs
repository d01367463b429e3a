//! Equal buffers of one reactor, made at start and lent out one by one.
//!
//! Invariants: `free` holds each index below `count` at most once, and exactly those whose [`Buffer`] does
//! not exist; its capacity is `count`, so nothing is allocated after the start. The type is neither `Send`
//! nor `Sync`: no other thread takes or returns.

#[cfg(test)]
mod tests;

use std::{cell::RefCell, fmt, ops::Range, rc::Rc};

use corelane_reactors::buffer::{Segment, SegmentMut};

use super::{Backing, Extent, ExtentError};

/// What the address of every buffer is a multiple of, in bytes.
const ALIGNMENT: usize = 4096;

/// A pool of equal buffers, each aligned to 4096 bytes.
#[derive(Debug)]
pub struct Pool(Rc<Shared>);

impl Pool {
    /// Makes `count` buffers of `bytes` bytes each, in hugepages when there are enough.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] when there is not enough memory.
    ///
    /// # Panics
    ///
    /// If `count` or `bytes` is zero.
    pub fn new(count: u32, bytes: usize) -> Result<Self, ExtentError> {
        assert!(count > 0);
        assert!(bytes > 0);
        let refused = ExtentError::Size { bytes };
        let buffers = usize::try_from(count).ok();
        let stride = bytes.checked_next_multiple_of(ALIGNMENT);
        let total = buffers.zip(stride).and_then(|(buffers, stride)| buffers.checked_mul(stride));
        let (Some(stride), Some(total)) = (stride, total) else { return Err(refused) };
        let extent = Extent::best(total)?;
        // The first to be taken is the first in memory, and the last returned: it is warm.
        let free = RefCell::new((0..count).rev().collect());
        Ok(Self(Rc::new(Shared { extent, stride, bytes, count, free })))
    }

    /// Takes a buffer, in constant time; `None` when all are taken. It holds whatever was in it last.
    pub fn take(&self) -> Option<Buffer> {
        let index = self.0.free.borrow_mut().pop()?;
        Some(Buffer { pool: Rc::clone(&self.0), index })
    }

    /// Buffers that can be taken now.
    pub fn available(&self) -> usize {
        self.0.free.borrow().len()
    }

    /// Bytes of each buffer.
    pub fn buffer_bytes(&self) -> usize {
        self.0.bytes
    }

    /// What pages the buffers lie in.
    pub fn backing(&self) -> Backing {
        self.0.extent.backing()
    }
}

/// A buffer taken from a pool. It goes back when it is dropped; until then its bytes are its owner's.
pub struct Buffer {
    pool: Rc<Shared>,
    index: u32,
}

impl Buffer {
    /// Bytes of the buffer, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.pool.bytes
    }

    /// The bytes of `range`, to be read. What is still in use when the buffer goes back shows the bytes of
    /// the next owner.
    ///
    /// # Panics
    ///
    /// If the range is not inside the buffer.
    pub fn segment(&self, range: Range<usize>) -> Segment {
        self.pool.extent.segment(self.whole()).slice(range)
    }

    /// The bytes of `range`, to be written, before the buffer goes back.
    ///
    /// # Panics
    ///
    /// If the range is not inside the buffer.
    pub fn segment_mut(&self, range: Range<usize>) -> SegmentMut {
        self.pool.extent.segment_mut(self.whole()).slice(range)
    }

    fn whole(&self) -> Range<usize> {
        let start = self.index as usize * self.pool.stride;
        start..start + self.pool.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.borrow_mut();
        assert!(free.len() < self.pool.count as usize);
        free.push(self.index);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Buffer").field("index", &self.index).field("len", &self.len()).finish()
    }
}

#[derive(Debug)]
struct Shared {
    extent: Extent,
    stride: usize,
    bytes: usize,
    count: u32,
    free: RefCell<Vec<u32>>,
}
