//! A block device in memory. Its contents are gone with the process.
//!
//! Every command is carried out inside `submit`, except that clearing more than [`CLEAR_BYTES_MAX`] is
//! continued by `poll`, so that no turn of a reactor waits for it. Invariants: the extent has exactly
//! `block_size * blocks` bytes; `backlog` never grows beyond [`BACKLOG_MAX`]; each pending command has
//! one last entry there.
//!
//! One block is atomic, whatever threads its channels are on: reads are copied, and where commands meet in a stripe, one
//! writer at a time is in it and readers look again. A device that one reactor has for itself needs nothing of that, and
//! lends what is read where it lies: whoever makes it so says that no other thread opens it, see
//! [`Malloc::for_one_reactor`].
//!
//! Blocks that Write Uncorrectable has marked stay so for as long as the contents would have: until they are written, or
//! the process ends.

mod copying;
mod guards;
#[cfg(test)]
mod tests;
mod unreadable;

use std::{collections::VecDeque, ops::Range, sync::Arc};

use corelane_reactors::{buffer::Segment, poller::Wake};

use super::{
    Access, Atomicity, Bdev, BdevError, Blocks, Channel, Command, CreateError, Features, Geometry,
    GeometryError, Home, Memory, OpenError, Submitted, Tag,
};
use crate::mem::{self, Backing, Extent, ExtentError};
use copying::clear;
use guards::{Guards, STRIPE_BYTES};
use unreadable::Unreadable;

/// Bytes that one call clears: a few hundred microseconds.
const CLEAR_BYTES_MAX: usize = 4 << 20;

/// Ranges that wait to be cleared on one channel.
const BACKLOG_MAX: usize = 1024;

/// Bytes that one call clears where no more ranges can wait; more than that is [`BdevError::Busy`] then.
const LATE_BYTES_MAX: usize = 32 << 20;

/// A block device in memory: hugepages when there are enough, otherwise ordinary pages, of which
/// none is used before it is written and which deallocation gives back.
#[derive(Debug)]
pub struct Malloc {
    name: String,
    geometry: Geometry,
    memory: Arc<Extent>,
    unreadable: Arc<Unreadable>,
    /// Unless one reactor has it for itself.
    guards: Option<Arc<Guards>>,
}

impl Malloc {
    /// Makes a device of `size_bytes` bytes, all zeros, in blocks of `block_size` bytes, for any number of reactors: each
    /// block is read and written as a whole.
    ///
    /// # Errors
    ///
    /// [`CreateError`]: the geometry is impossible, or the memory cannot be had.
    pub fn new(name: &str, size_bytes: u64, block_size: u32) -> Result<Self, CreateError> {
        Self::with_memory(name, size_bytes, block_size, Extent::best)
    }

    /// As [`Malloc::new`], in hugepages or not at all.
    ///
    /// # Errors
    ///
    /// [`CreateError`], which also says how many hugepages are missing.
    pub fn in_hugepages(name: &str, size_bytes: u64, block_size: u32) -> Result<Self, CreateError> {
        Self::with_memory(name, size_bytes, block_size, Extent::hugepages)
    }

    /// What pages it lies in.
    pub fn backing(&self) -> Backing {
        self.memory.backing()
    }

    fn with_memory(
        name: &str,
        size_bytes: u64,
        block_size: u32,
        make: impl Fn(usize) -> Result<Extent, ExtentError>,
    ) -> Result<Self, CreateError> {
        let blocks = Geometry::divide(size_bytes, block_size)?;
        let bytes =
            usize::try_from(size_bytes).map_err(|_| GeometryError::Size { bytes: size_bytes, block_size })?;
        let geometry = Geometry {
            block_size,
            blocks,
            volatile_write_cache: false,
            survives_restart: false,
            atomicity: Atomicity::BLOCK,
            memory: Memory::Own,
            features: Features::ALL,
        };
        let (memory, unreadable) = (Arc::new(make(bytes)?), Arc::new(Unreadable::new(blocks)));
        let guards = Some(Arc::new(Guards::new(bytes)));
        Ok(Self { name: name.to_owned(), geometry, memory, unreadable, guards })
    }

    /// The same, for channels that are all on one thread, and for a caller of [`Channel::lend`] that reads what was lent on
    /// that thread and no block of it in two parts: then each block is read and written as a whole. The device lends its
    /// memory, and guards nothing; one with atomic writes does not, and stays as it is.
    ///
    /// The target is such a caller where one I/O reactor serves, with its sockets on epoll.
    #[must_use]
    pub fn for_one_reactor(mut self) -> Self {
        if self.geometry.atomicity == Atomicity::BLOCK {
            self.guards = None;
        }
        self
    }

    /// The same, with writes of up to 128 KiB that are atomic where they cross no multiple of 128 KiB, for any number of
    /// reactors. It lends nothing.
    #[must_use]
    pub fn with_atomic_writes(mut self) -> Self {
        if self.guards.is_none() {
            self.guards = Some(Arc::new(Guards::new(self.memory.len())));
        }
        let stripe = u32::try_from(STRIPE_BYTES).unwrap_or(u32::MAX) / self.geometry.block_size;
        self.geometry.atomicity = Atomicity { normal: stripe, power_fail: 1, boundary: stripe };
        self
    }
}

impl Bdev for Malloc {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn open(&self, _home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(MallocChannel {
            geometry: self.geometry,
            memory: Arc::clone(&self.memory),
            unreadable: Arc::clone(&self.unreadable),
            guards: self.guards.clone(),
            backlog: VecDeque::with_capacity(BACKLOG_MAX),
            pending: 0,
        }))
    }
}

struct MallocChannel {
    geometry: Geometry,
    memory: Arc<Extent>,
    unreadable: Arc<Unreadable>,
    guards: Option<Arc<Guards>>,
    backlog: VecDeque<Clearing>,
    /// Entries of the backlog that are the last of their command.
    pending: usize,
}

/// A range of bytes still to be cleared.
struct Clearing {
    tag: Tag,
    bytes: Range<usize>,
    /// All of the range, also what is done.
    blocks: Blocks,
    /// The command completes with this range.
    last: bool,
}

impl MallocChannel {
    #[inline]
    fn bytes(&self, blocks: Blocks) -> Result<Range<usize>, BdevError> {
        let Range { start, end } = blocks.bytes(&self.geometry)?;
        let inside = |offset| usize::try_from(offset).map_err(|_| BdevError::OutOfRange);
        Ok(inside(start)?..inside(end)?)
    }

    /// The bytes of the blocks, to be read.
    #[inline]
    fn readable(&self, blocks: Blocks) -> Result<Range<usize>, BdevError> {
        let bytes = self.bytes(blocks)?;
        if self.unreadable.any(blocks) {
            return Err(BdevError::Media { access: Access::Read });
        }
        Ok(bytes)
    }

    fn execute(&mut self, tag: Tag, command: &Command<'_>) -> Result<Submitted, BdevError> {
        command.check(&self.geometry)?;
        match *command {
            Command::Read { blocks, into } => self.copy_out(self.readable(blocks)?, into),
            Command::Write { blocks, from, .. } => {
                self.copy_in(from, self.bytes(blocks)?);
                self.unreadable.clear(blocks);
            }
            Command::Compare { blocks, with } => {
                if !self.is_equal(with, self.readable(blocks)?) {
                    return Err(BdevError::Miscompare);
                }
            }
            Command::Flush => {}
            Command::WriteZeroes { blocks, .. } => return self.clear(tag, &[blocks]),
            Command::Deallocate { ranges } => return self.clear(tag, ranges),
            Command::Verify { blocks } => {
                self.readable(blocks)?;
            }
            Command::WriteUncorrectable { blocks } => self.unreadable.mark(blocks),
            Command::Copy { ranges, to, .. } => self.copy(ranges, to)?,
        }
        Ok(Submitted::Done(Ok(())))
    }

    /// Copies as many bytes as the caller allows: a reactor waits for them, as for those of a write.
    fn copy(&self, ranges: &[Blocks], mut to: u64) -> Result<(), BdevError> {
        ranges.iter().try_for_each(|&blocks| self.readable(blocks).map(drop))?;
        for &blocks in ranges {
            let into = Blocks { first: to, count: blocks.count };
            // Where they overlap the outcome is unspecified bytes, which is what is promised.
            self.move_within(self.bytes(blocks)?, self.bytes(into)?.start);
            self.unreadable.clear(into);
            to += u64::from(blocks.count);
        }
        Ok(())
    }

    /// Clears a little at once. More than that waits for `poll`; if there is no room to wait, it is late
    /// rather than refused, unless others would be late for it.
    fn clear(&mut self, tag: Tag, ranges: &[Blocks]) -> Result<Submitted, BdevError> {
        let mut total = 0;
        for &blocks in ranges {
            total += self.bytes(blocks)?.len();
        }
        let no_room = ranges.len() > BACKLOG_MAX - self.backlog.len();
        if no_room && total > LATE_BYTES_MAX {
            return Err(BdevError::Busy);
        }
        if total <= CLEAR_BYTES_MAX || no_room {
            for &blocks in ranges {
                self.zero(self.bytes(blocks)?);
                self.unreadable.clear(blocks);
            }
            return Ok(Submitted::Done(Ok(())));
        }
        for &blocks in ranges {
            let bytes = self.bytes(blocks)?;
            self.backlog.push_back(Clearing { tag, bytes, blocks, last: false });
        }
        if let Some(clearing) = self.backlog.back_mut() {
            clearing.last = true;
        }
        self.pending += 1;
        Ok(Submitted::Pending)
    }
}

impl Channel for MallocChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        self.execute(tag, command).unwrap_or_else(|error| Submitted::Done(Err(error)))
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let mut budget = CLEAR_BYTES_MAX;
        let mut completed = 0;
        while budget > 0
            && let Some(clearing) = self.backlog.front_mut()
        {
            // A step ends where a page does, so that the page is given back and not zeroed in two parts.
            let start = clearing.bytes.start;
            let end = clearing.bytes.end.min((start / CLEAR_BYTES_MAX + 1) * CLEAR_BYTES_MAX);
            clear(&self.memory, self.guards.as_deref(), start..end);
            budget = budget.saturating_sub(end - start);
            clearing.bytes.start = end;
            if clearing.bytes.is_empty() {
                self.unreadable.clear(clearing.blocks);
                if clearing.last {
                    self.pending -= 1;
                    completed += 1;
                    done(clearing.tag, Ok(()));
                }
                self.backlog.pop_front();
            }
        }
        completed
    }

    fn outstanding(&self) -> usize {
        self.pending
    }

    fn wake(&self) -> Wake {
        if self.pending == 0 { Wake::Never } else { Wake::Soon }
    }

    fn expect_write(&self, blocks: Blocks) {
        if let Ok(bytes) = self.bytes(blocks) {
            mem::expect_write(self.memory.segment_mut(bytes));
        }
    }

    fn lend(&self, blocks: Blocks) -> Option<Segment> {
        if self.guards.is_some() {
            return None;
        }
        self.readable(blocks).ok().map(|bytes| self.memory.segment(bytes))
    }
}
