//! One job of fio: takes I/Os, and says which have ended. It polls, and never sleeps.
//!
//! Invariants: an I/O that was taken ends exactly once, through [`Job::poll`] or with the job; the memory of I/Os is the one
//! extent that [`Job::memory`] made, and no device and no controller reaches it after [`Job::quiet`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use corelane::initiator::command::BLOCKS_MAX;
use corelane::mem::{Extent, ExtentError, SegmentMut};
use corelane_reactors::clock::{Clock, Time};

use crate::failure::Failure;
use crate::pcie::{PcieError, PcieLane};
use crate::target::Target;
use crate::tcp::{TcpError, TcpLane};

/// What an I/O does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Reads into the buffer.
    Read,
    /// Writes the buffer.
    Write,
    /// Deallocates.
    Trim,
    /// Makes what was written durable.
    Flush,
}

/// An I/O as fio asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Names it until it has ended.
    pub(crate) tag: u64,
    pub(crate) operation: Operation,
    /// The namespace, and the size of its blocks.
    pub(crate) nsid: u32,
    pub(crate) block_size: u32,
    /// In bytes.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// The address of its buffer.
    pub(crate) buffer: usize,
}

/// An I/O as a lane takes it: whole blocks, with memory for those of reads and writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    pub(crate) tag: u64,
    pub(crate) operation: Operation,
    pub(crate) nsid: u32,
    pub(crate) lba: u64,
    /// 1 and up, [`BLOCKS_MAX`] at most for reads and writes; 0 for a flush.
    pub(crate) blocks: u32,
    pub(crate) memory: SegmentMut,
}

/// Why an I/O was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Again, when something has ended.
    Full,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// An I/O that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) tag: u64,
    pub(crate) outcome: Result<(), Failure>,
}

/// Why there is no job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error(transparent)]
    Tcp(#[from] TcpError),
    #[error(transparent)]
    Pcie(#[from] PcieError),
}

enum Lane {
    Tcp(Box<TcpLane>),
    Pcie(Box<PcieLane>),
}

/// One job.
pub(crate) struct Job {
    lane: Lane,
    clock: Clock,
    memory: Option<Arc<Extent>>,
    /// I/Os that were taken and not told.
    under_way: usize,
    done: VecDeque<Done>,
}

impl Job {
    /// Connects to the subsystem, or joins those that use the device; waits for that.
    pub(crate) fn open(target: &Target) -> Result<Self, JobError> {
        let clock = Clock::real();
        let (lane, depth) = match target {
            Target::Tcp { address, options } => {
                (Lane::Tcp(Box::new(TcpLane::connect(*address, options, &clock)?)), options.depth)
            }
            Target::Pcie { address, depth, .. } => {
                (Lane::Pcie(Box::new(PcieLane::join(*address, *depth)?)), *depth)
            }
        };
        Ok(Self { lane, clock, memory: None, under_way: 0, done: VecDeque::with_capacity(depth.into()) })
    }

    /// Memory for the data of its I/Os, before [`Job::start`]. Returns where it begins: at a page.
    pub(crate) fn memory(&mut self, bytes: usize) -> Result<usize, ExtentError> {
        let extent = Arc::new(Extent::best(bytes.max(1))?);
        let address = extent.address();
        self.memory = Some(extent);
        Ok(address)
    }

    /// Begins to take I/Os.
    pub(crate) fn start(&mut self) -> Result<(), JobError> {
        if let Lane::Pcie(lane) = &mut self.lane {
            lane.start(self.memory.as_ref())?;
        }
        Ok(())
    }

    /// Takes an I/O, to be sent with [`Job::commit`].
    pub(crate) fn submit(&mut self, request: &Request) -> Result<(), Refusal> {
        let command = self.command(request)?;
        match &mut self.lane {
            Lane::Tcp(lane) => lane.submit(self.clock.now(), &command)?,
            Lane::Pcie(lane) => lane.submit(&command)?,
        }
        self.under_way += 1;
        Ok(())
    }

    /// Sends what was taken.
    pub(crate) fn commit(&mut self) {
        match &mut self.lane {
            Lane::Tcp(lane) => lane.flush(),
            Lane::Pcie(lane) => lane.flush(),
        }
    }

    /// Waits until `least` I/Os have ended, as long as so many are under way, or for `limit`. Tells at most `most`, and
    /// returns how many.
    pub(crate) fn poll(
        &mut self,
        least: usize,
        most: usize,
        limit: Option<Duration>,
        mut told: impl FnMut(usize, Done),
    ) -> usize {
        let least = least.min(self.under_way).min(most);
        let began = self.clock.now();
        let mut now = began;
        loop {
            self.look(now);
            if self.done.len() >= least || limit.is_some_and(|limit| now.since(began) >= limit) {
                break;
            }
            std::hint::spin_loop();
            now = self.clock.now();
        }
        let count = self.done.len().min(most);
        for (index, done) in self.done.drain(..count).enumerate() {
            told(index, done);
        }
        self.under_way -= count;
        count
    }

    /// Gives the memory of its I/Os back: nothing reaches it any more, and what was under way will not be told.
    pub(crate) fn quiet(&mut self) {
        match &mut self.lane {
            Lane::Tcp(lane) => lane.leave(&self.clock),
            Lane::Pcie(lane) => lane.leave(&self.clock),
        }
        (self.memory, self.under_way) = (None, 0);
        self.done.clear();
    }

    fn look(&mut self, now: Time) {
        let done = &mut self.done;
        let told = |tag, outcome| done.push_back(Done { tag, outcome });
        match &mut self.lane {
            Lane::Tcp(lane) => lane.poll(now, told),
            Lane::Pcie(lane) => lane.poll(now, told),
        }
    }

    fn command(&self, request: &Request) -> Result<Command, Failure> {
        let Request { tag, operation, nsid, offset, bytes, buffer, .. } = *request;
        let nothing = SegmentMut::empty();
        if operation == Operation::Flush {
            return Ok(Command { tag, operation, nsid, lba: 0, blocks: 0, memory: nothing });
        }
        let block_size = u64::from(request.block_size);
        assert!(block_size > 0);
        if bytes == 0 || !offset.is_multiple_of(block_size) || !bytes.is_multiple_of(block_size) {
            return Err(Failure::Alignment);
        }
        let blocks = u32::try_from(bytes / block_size).map_err(|_| Failure::TooLong)?;
        let command = Command { tag, operation, nsid, lba: offset / block_size, blocks, memory: nothing };
        if operation == Operation::Trim {
            return Ok(command);
        }
        if blocks > BLOCKS_MAX {
            return Err(Failure::TooLong);
        }
        let extent = self.memory.as_ref().ok_or(Failure::Memory)?;
        let start = buffer.checked_sub(extent.address()).ok_or(Failure::Memory)?;
        let bytes = usize::try_from(bytes).map_err(|_| Failure::TooLong)?;
        let end = start.checked_add(bytes).filter(|end| *end <= extent.len()).ok_or(Failure::Memory)?;
        Ok(Command { memory: extent.segment_mut(start..end), ..command })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.quiet();
    }
}
