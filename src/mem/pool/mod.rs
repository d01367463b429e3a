//! Buffers of a few sizes for one reactor, made at the start and lent out one by one.
//!
//! Invariants: each buffer of a run that does not exist as a [`Buffer`] is either in `returned`, once, or at `fresh` or
//! beyond; `returned` has the capacity for all of them, so nothing is allocated after the start, and no memory of a
//! buffer is touched before it is taken for the first time. Runs are in the order of their sizes. The type is neither
//! `Send` nor `Sync`: no other thread takes or returns.

mod memory;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, fmt, ops::Range, rc::Rc, sync::Arc};

use corelane_reactors::buffer::{Segment, SegmentMut};

use super::{Backing, Extent, ExtentError, Shared};

pub(super) use memory::{ALIGNMENT, stride};
pub use memory::{Class, PoolMemory};

/// A pool of buffers of a few sizes, each aligned to 4096 bytes.
#[derive(Debug)]
pub struct Pool(Rc<[Run]>);

/// Equal buffers that lie one behind the other.
#[derive(Debug)]
struct Run {
    /// Bytes of each buffer.
    bytes: usize,
    /// Bytes from one to the next.
    stride: usize,
    count: u32,
    memory: Shared,
    free: RefCell<Free>,
}

#[derive(Debug)]
struct Free {
    /// The first that was never taken.
    fresh: u32,
    /// Those that came back.
    returned: Vec<u32>,
}

impl Pool {
    /// Makes `count` buffers of `bytes` bytes each in memory of their own, in hugepages when there are enough.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] when there is not enough memory.
    ///
    /// # Panics
    ///
    /// If `count` or `bytes` is zero.
    pub fn new(count: u32, bytes: usize) -> Result<Self, ExtentError> {
        let class = Class { bytes, count };
        let total = class.total_bytes().ok_or(ExtentError::Size { bytes })?;
        let mut memory = PoolMemory::default();
        memory.add(bytes, Shared::new(Arc::new(Extent::best(total)?), 0..total));
        Ok(Self::from(memory))
    }

    /// Takes a buffer of at least `bytes`, of the smallest size that has one free; `None` when all that are large enough
    /// are taken. Looks at each size once. It holds whatever was in it last.
    pub fn take(&self, bytes: usize) -> Option<Buffer> {
        self.take_from(|run| run.bytes >= bytes)
    }

    /// Takes a buffer of exactly `bytes`; `None` when all are taken or no size is that.
    pub fn take_exactly(&self, bytes: usize) -> Option<Buffer> {
        self.take_from(|run| run.bytes == bytes)
    }

    /// Buffers of at least `bytes` that can be taken now.
    pub fn available(&self, bytes: usize) -> usize {
        let runs = self.0.iter().filter(|run| run.bytes >= bytes);
        runs.map(|run| run.free.borrow().count(run.count)).sum()
    }

    /// Bytes of the largest buffers; 0 if it has none at all.
    pub fn buffer_bytes_max(&self) -> usize {
        self.0.last().map_or(0, |run| run.bytes)
    }

    /// What pages the smallest buffers lie in.
    ///
    /// # Panics
    ///
    /// If it has no buffers at all.
    pub fn backing(&self) -> Backing {
        self.0[0].memory.extent().backing()
    }

    fn take_from(&self, suits: impl Fn(&Run) -> bool) -> Option<Buffer> {
        self.0.iter().enumerate().filter(|(_, run)| suits(run)).find_map(|(number, run)| {
            let index = run.free.borrow_mut().take(run.count)?;
            Some(Buffer { runs: Rc::clone(&self.0), run: number, index })
        })
    }
}

impl From<PoolMemory> for Pool {
    /// Makes a pool of memory, on the reactor that is to own it.
    fn from(memory: PoolMemory) -> Self {
        let runs = memory.into_parts().into_iter().map(|(bytes, memory)| Run::new(bytes, memory));
        Self(runs.collect())
    }
}

impl Run {
    fn new(bytes: usize, memory: Shared) -> Self {
        let stride = stride(bytes).expect("its memory is larger");
        let count = u32::try_from(memory.len() / stride).expect("made of a count of 32 bits");
        let returned = Vec::with_capacity(count as usize);
        Self { bytes, stride, count, memory, free: RefCell::new(Free { fresh: 0, returned }) }
    }
}

impl Free {
    /// The one that came back last is warm; the first of those that never were taken is next to others that were.
    fn take(&mut self, count: u32) -> Option<u32> {
        self.returned.pop().or_else(|| {
            let fresh = self.fresh;
            let any = fresh < count;
            self.fresh += u32::from(any);
            any.then_some(fresh)
        })
    }

    fn count(&self, count: u32) -> usize {
        assert!(self.fresh <= count);
        self.returned.len() + (count - self.fresh) as usize
    }
}

/// A buffer taken from a pool. It goes back when it is dropped; until then its bytes are its owner's.
pub struct Buffer {
    runs: Rc<[Run]>,
    run: usize,
    index: u32,
}

impl Buffer {
    /// Bytes of the buffer, at least 1: those of its size, which may be more than were asked for.
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.home().bytes
    }

    /// The bytes of `range`, to be read. What is still in use when the buffer goes back shows the bytes of
    /// the next owner.
    ///
    /// # Panics
    ///
    /// If the range is not inside the buffer.
    pub fn segment(&self, range: Range<usize>) -> Segment {
        self.home().memory.segment().slice(self.whole()).slice(range)
    }

    /// The bytes of `range`, to be written, before the buffer goes back.
    ///
    /// # Panics
    ///
    /// If the range is not inside the buffer.
    pub fn segment_mut(&self, range: Range<usize>) -> SegmentMut {
        self.home().memory.segment_mut().slice(self.whole()).slice(range)
    }

    fn home(&self) -> &Run {
        &self.runs[self.run]
    }

    fn whole(&self) -> Range<usize> {
        let run = self.home();
        let start = self.index as usize * run.stride;
        start..start + run.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home().free.borrow_mut();
        assert!(self.index < free.fresh);
        assert!(free.returned.len() < free.fresh as usize);
        free.returned.push(self.index);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Buffer").field("index", &self.index).field("len", &self.len()).finish()
    }
}
