//! A namespace of an NVMe controller as a block device, through the polled driver.
//!
//! Each channel has a queue pair of its own, taken from the list that was made when the controller started, and gives it
//! back when it is closed with nothing outstanding. Data goes straight between the device and the caller's memory where
//! the driver was given that memory and can name it; otherwise through the driver's bounded buffers, and when those are
//! all in use the channel is [`BdevError::Busy`].
//!
//! The controller itself belongs to the management reactor, which must poll it for as long as this value lives: it alone
//! can abort, reset, and prove that the device touches memory no more. Time-outs are the driver's.
//!
//! What survives a loss of power: where the controller has a volatile write cache, a write that completed survives if it
//! was forced, or if a flush that was submitted after its completion completed. Where it has none, every write that
//! completed does, and a flush is carried out by doing nothing. What was in flight leaves each block old or new as far
//! as the device's own unit of atomicity goes, which for a block is what every NVMe device promises (AWUPF).
//!
//! Invariants of a channel: `outstanding` is the number of commands, not of parts, that the queue pair has taken and not
//! completed; once `retired` was seen, nothing is submitted any more.

mod error;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corelane_reactors::clock::Clock;
use corelane_reactors::poller::Wake;

use super::{
    Atomicity, Bdev, BdevError, Blocks, Channel, Command, CopyLimits, Features, Geometry, Home, Memory,
    OpenError, Submitted, Tag,
};
use crate::nvme::{BlockRange, Controller, Device, IoCommand, NamespaceInfo, QueuePair};
use error::{of_failure, of_refusal};

pub use error::AttachError;

/// What the address and the length of every segment must be a multiple of: PRPs name no less.
const ALIGNMENT: usize = 4;

/// Ranges of one deallocation, as many as the command can name.
const RANGES_MAX: usize = 256;

/// Source ranges of one Copy, as many as its format leaves room for.
const COPY_RANGES_MAX: u16 = 128;

/// The queue pairs of one controller that no channel has. Clones share them.
pub struct Queues<D: Device>(Arc<Mutex<Vec<QueuePair<D>>>>);

impl<D: Device> Queues<D> {
    /// Takes all queue pairs that the controller still has. Everything that is to be mapped for the device must have
    /// been mapped.
    pub fn take(controller: &mut Controller<D>) -> Self {
        let mut queues: Vec<_> = std::iter::from_fn(|| controller.take_queue_pair()).collect();
        // The first to be opened has the lowest QID.
        queues.reverse();
        Self(Arc::new(Mutex::new(queues)))
    }

    /// Queue pairs that no channel has.
    pub fn left(&self) -> usize {
        self.lock().len()
    }

    /// Nothing panics while it holds the lock; the list is whole in any case.
    fn lock(&self) -> MutexGuard<'_, Vec<QueuePair<D>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Device> Clone for Queues<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A namespace of an NVMe controller.
pub struct Nvme<D: Device> {
    name: String,
    nsid: u32,
    geometry: Geometry,
    /// Write Zeroes may deallocate: asked for only where it does.
    deallocates_zeroes: bool,
    queues: Queues<D>,
    clock: Clock,
    /// Stored by whoever retires it, looked at by every channel. `Release` and `Acquire`, so that what was done before
    /// is seen by whoever finds it retired.
    retired: Arc<AtomicBool>,
}

impl<D: Device> Nvme<D> {
    /// A namespace of a controller that is ready, under a name of its own. Channels take their queue pairs from
    /// `queues`, which other namespaces of the same controller may share.
    ///
    /// # Errors
    ///
    /// [`AttachError`]: there is no such namespace, or its format is not supported.
    pub fn attach(
        name: &str,
        controller: &Controller<D>,
        nsid: u32,
        queues: &Queues<D>,
        clock: Clock,
    ) -> Result<Self, AttachError> {
        let found = controller.namespaces().iter().find(|info| info.nsid == nsid);
        let info = found.ok_or_else(|| AttachError::NoSuchNamespace {
            nsid,
            active: controller.namespaces().iter().map(|info| info.nsid).collect(),
        })?;
        if let Some(refused) = info.refused {
            return Err(AttachError::Format(refused));
        }
        Ok(Self {
            name: name.to_owned(),
            nsid,
            geometry: geometry(controller, info),
            deallocates_zeroes: info.write_zeroes_deallocates,
            queues: queues.clone(),
            clock,
            retired: Arc::new(AtomicBool::new(false)),
        })
    }

    /// The namespace.
    pub fn nsid(&self) -> u32 {
        self.nsid
    }
}

fn geometry<D: Device>(controller: &Controller<D>, info: &NamespaceInfo) -> Geometry {
    let identity = controller.identity();
    let features = Features {
        write_zeroes: identity.oncs.write_zeroes(),
        deallocate: identity.oncs.dataset_management(),
        // A deallocation is a hint. What a device did not deallocate reads as before, whatever it reads as otherwise.
        deallocated_reads_zeros: false,
        compare: identity.oncs.compare(),
        flush: true,
        verify: identity.oncs.verify(),
        write_uncorrectable: identity.oncs.write_uncorrectable(),
        copy: info.copy.filter(|_| identity.oncs.copy()).map(|limits| CopyLimits {
            range_blocks: limits.range_blocks.into(),
            blocks: limits.blocks,
            ranges: limits.ranges.min(COPY_RANGES_MAX),
        }),
    };
    Geometry {
        block_size: info.block_size,
        blocks: info.blocks,
        volatile_write_cache: identity.vwc.present(),
        survives_restart: true,
        atomicity: Atomicity::BLOCK,
        memory: Memory::Callers { alignment: ALIGNMENT },
        features,
    }
}

impl<D: Device> Bdev for Nvme<D> {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn open(&self, _home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        if self.retired.load(Ordering::Acquire) {
            return Err(OpenError::Gone);
        }
        let queue = self.queues.lock().pop().ok_or(OpenError::Exhausted)?;
        Ok(Box::new(NvmeChannel {
            nsid: self.nsid,
            geometry: self.geometry,
            deallocates_zeroes: self.deallocates_zeroes,
            queue: Some(queue),
            queues: self.queues.clone(),
            clock: self.clock.clone(),
            retired: Arc::clone(&self.retired),
            is_ending: false,
            outstanding: 0,
        }))
    }

    fn retire(&self) -> bool {
        self.retired.store(true, Ordering::Release);
        true
    }
}

struct NvmeChannel<D: Device> {
    nsid: u32,
    geometry: Geometry,
    deallocates_zeroes: bool,
    /// `Some` until it is dropped.
    queue: Option<QueuePair<D>>,
    queues: Queues<D>,
    clock: Clock,
    retired: Arc<AtomicBool>,
    /// It was seen to be retired, and the queue pair was asked to end everything.
    is_ending: bool,
    outstanding: usize,
}

impl<D: Device> NvmeChannel<D> {
    fn queue(&mut self) -> &mut QueuePair<D> {
        self.queue.as_mut().expect("taken by drop alone")
    }

    /// Whether the device was taken out of service; if so, what is outstanding is being ended.
    fn is_retired(&mut self) -> bool {
        if !self.is_ending && self.retired.load(Ordering::Acquire) {
            self.is_ending = true;
            if self.outstanding > 0 {
                self.queue().reset();
            }
        }
        self.is_ending
    }

    fn start(&mut self, tag: Tag, command: &Command<'_>) -> Result<Submitted, BdevError> {
        if !command.is_offered(&self.geometry.features) {
            return Err(BdevError::Unsupported);
        }
        command.check(&self.geometry)?;
        if self.is_retired() {
            return Err(BdevError::Gone);
        }
        if self.outstanding == 0 {
            // Nobody polls an idle channel: what the controller went through meanwhile is learnt now, not at the cost of
            // this command.
            let now = self.clock.now();
            self.queue().poll(now, &mut |_, _| {});
        }
        let nsid = self.nsid;
        let mut ranges = [BlockRange { slba: 0, blocks: 0 }; RANGES_MAX];
        let (command, blocks) = match *command {
            Command::Read { blocks, into } => {
                (IoCommand::Read { nsid, slba: blocks.first, blocks: blocks.count, into }, blocks.count)
            }
            Command::Write { blocks, from, force_unit_access } => {
                let fua = force_unit_access && self.geometry.volatile_write_cache;
                (IoCommand::Write { nsid, slba: blocks.first, blocks: blocks.count, from, fua }, blocks.count)
            }
            Command::Compare { blocks, with } => {
                (IoCommand::Compare { nsid, slba: blocks.first, blocks: blocks.count, with }, blocks.count)
            }
            Command::Flush => (IoCommand::Flush { nsid }, u32::from(self.geometry.volatile_write_cache)),
            Command::WriteZeroes { blocks: Blocks { first, count }, deallocate, force_unit_access } => {
                let deallocate = deallocate && self.deallocates_zeroes;
                let fua = force_unit_access && self.geometry.volatile_write_cache;
                (IoCommand::WriteZeroes { nsid, slba: first, blocks: count, deallocate, fua }, count)
            }
            Command::Verify { blocks: Blocks { first, count } } => {
                (IoCommand::Verify { nsid, slba: first, blocks: count }, count)
            }
            Command::WriteUncorrectable { blocks: Blocks { first, count } } => {
                (IoCommand::WriteUncorrectable { nsid, slba: first, blocks: count }, count)
            }
            Command::Copy { ranges: blocks, to, force_unit_access } => {
                let fua = force_unit_access && self.geometry.volatile_write_cache;
                let count = collect(blocks, &mut ranges);
                let from = &ranges[..count];
                (IoCommand::Copy { nsid, slba: to, from, fua }, u32::from(count > 0))
            }
            Command::Deallocate { ranges: blocks } => {
                let count = collect(blocks, &mut ranges);
                (IoCommand::Deallocate { nsid, ranges: &ranges[..count] }, u32::from(count > 0))
            }
        };
        // Nothing to do is done: a device counts blocks from 1.
        if blocks == 0 {
            return Ok(Submitted::Done(Ok(())));
        }
        self.queue().submit(tag.0, &command).map_err(of_refusal)?;
        self.outstanding += 1;
        Ok(Submitted::Pending)
    }
}

/// The ranges that hold something, as many as one command names. Deallocation is a hint: what is beyond that is left as
/// it is.
fn collect(blocks: &[Blocks], into: &mut [BlockRange; RANGES_MAX]) -> usize {
    let held = blocks.iter().filter(|blocks| blocks.count > 0);
    let mut count = 0;
    for (range, blocks) in into.iter_mut().zip(held) {
        *range = BlockRange { slba: blocks.first, blocks: blocks.count };
        count += 1;
    }
    count
}

impl<D: Device> Channel for NvmeChannel<D> {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        self.start(tag, command).unwrap_or_else(|error| Submitted::Done(Err(error)))
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let retired = self.is_retired();
        let now = self.clock.now();
        let completed = self.queue().poll(now, &mut |tag, outcome| {
            let result = outcome.map(drop).map_err(of_failure);
            done(
                Tag(tag),
                if retired && result == Err(BdevError::Aborted) { Err(BdevError::Gone) } else { result },
            );
        });
        self.outstanding -= completed;
        completed
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn commit(&mut self) {
        self.queue().commit();
    }

    fn wake(&self) -> Wake {
        // A queue in memory has nothing that can be waited for.
        if self.outstanding > 0 { Wake::Soon } else { Wake::Never }
    }

    fn abort(&mut self, tag: Tag) -> bool {
        self.queue().abort(tag.0)
    }

    fn reset(&mut self) -> bool {
        self.queue().reset()
    }
}

impl<D: Device> Drop for NvmeChannel<D> {
    fn drop(&mut self) {
        // With commands outstanding the queue pair cannot be anybody else's: it ends here, and the driver sees to its
        // memory.
        if let Some(queue) = self.queue.take()
            && self.outstanding == 0
        {
            self.queues.lock().push(queue);
        }
    }
}
