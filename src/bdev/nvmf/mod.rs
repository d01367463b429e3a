//! A namespace of a remote subsystem as a block device, over NVMe/TCP, on as many paths as there are.
//!
//! Each channel has a lane: an I/O queue of its own on each path, given back when the channel is closed. The associations
//! with the controllers belong to the management reactor, which must poll their [`Keeper`] for as long as this value
//! lives: it connects, and connects again. Time limits are those of [`crate::initiator::multipath`].
//!
//! Data in one piece moves between the caller's memory and the socket; data in several is gathered in one of a few
//! buffers, and when those are all in use the channel is [`BdevError::Busy`].
//!
//! What survives what: a write that completed is on the far side, in its write cache or on its medium. A command that was
//! under way when a connection was lost is sent again. Where the far side itself has lost its write cache meanwhile, a
//! later flush does not tell: NVMe gives no sign of it.
//!
//! A command on the wire cannot be taken back: [`Channel::abort`] ends what waits for a path, and nothing else, and neither
//! [`Channel::reset`] nor [`Bdev::retire`] is followed, for nobody here can prove that the far side does not carry it out.
//!
//! Invariant of a channel: a place of `gathered` that has a buffer belongs to one command that the lane has.

#[cfg(test)]
mod tests;

use corelane_reactors::clock::Clock;
use corelane_reactors::poller::Wake;

use super::{
    Atomicity, Bdev, BdevError, Blocks, Channel, Command, CopyLimits, Features, Geometry, Home, Memory,
    OpenError, Submitted, Tag,
};
use crate::initiator::command::{COPY_RANGE_BYTES, DATASET_RANGE_BYTES, copy_range, dataset_range};
use crate::initiator::multipath::{Copies, Found, Lane, Paths, Request};
use crate::mem::{self, Buffer, Pool, Segment, SegmentMut};

pub use crate::initiator::multipath::{Keeper, KeeperPoller, SharedKeeper};

/// Ranges of one deallocation, as many as the command can name.
const RANGES_MAX: usize = 256;
/// Commands of one channel whose data is in several pieces, at a time.
const GATHERED_MAX: u32 = 32;
/// The longest of those.
const GATHERED_BYTES: usize = 128 << 10;
/// Source ranges of one Copy, as many as its format leaves room for.
const COPY_RANGES_MAX: u16 = 128;
const _: () = assert!(GATHERED_BYTES >= COPY_RANGES_MAX as usize * COPY_RANGE_BYTES);
const _: () = assert!(GATHERED_BYTES >= RANGES_MAX * DATASET_RANGE_BYTES);
/// Pieces of one of those; a longer list has its place grow, once.
const PIECES: usize = 64;

/// A namespace of a remote subsystem.
pub struct Nvmf {
    name: String,
    geometry: Geometry,
    deallocates_zeroes: bool,
    paths: Paths,
    clock: Clock,
}

impl Nvmf {
    /// The namespace behind `paths`, under a name of its own.
    pub fn new(name: &str, paths: Paths, clock: Clock) -> Self {
        let found = paths.found();
        let geometry = Geometry {
            block_size: found.space.block_size,
            blocks: found.space.blocks,
            volatile_write_cache: found.volatile_write_cache,
            survives_restart: true,
            atomicity: Atomicity::BLOCK,
            memory: Memory::Own,
            features: Features {
                write_zeroes: found.write_zeroes,
                deallocate: found.deallocate,
                // A deallocation is a hint.
                deallocated_reads_zeros: false,
                compare: found.compare,
                flush: true,
                verify: found.verify,
                write_uncorrectable: found.write_uncorrectable,
                copy: copies(found),
            },
        };
        let deallocates_zeroes = found.space.write_zeroes_deallocates;
        Self { name: name.to_owned(), geometry, deallocates_zeroes, paths, clock }
    }
}

/// What one Copy may ask for; nothing where the controller has none, or says that none succeeds.
fn copies(found: &Found) -> Option<CopyLimits> {
    let Copies { range_blocks, blocks, ranges } = found.space.copy;
    let limits =
        CopyLimits { range_blocks: range_blocks.into(), blocks, ranges: ranges.min(COPY_RANGES_MAX) };
    (found.copy && range_blocks > 0 && blocks > 0).then_some(limits)
}

impl Bdev for Nvmf {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn open(&self, _home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        let pool = Pool::new(GATHERED_MAX, GATHERED_BYTES).map_err(|_| OpenError::Memory)?;
        let lane = self.paths.lane().map_err(|_| OpenError::Memory)?.ok_or(OpenError::Exhausted)?;
        Ok(Box::new(NvmfChannel {
            geometry: self.geometry,
            deallocates_zeroes: self.deallocates_zeroes,
            lane,
            clock: self.clock.clone(),
            gathered: (0..GATHERED_MAX).map(|_| Gathered::new()).collect(),
            pool,
        }))
    }
}

struct NvmfChannel {
    geometry: Geometry,
    deallocates_zeroes: bool,
    lane: Lane,
    clock: Clock,
    gathered: Box<[Gathered]>,
    pool: Pool,
}

/// A command whose data goes through a buffer.
struct Gathered {
    tag: u64,
    buffer: Option<Buffer>,
    /// Where the data belongs that comes from the far side.
    into: Vec<SegmentMut>,
    bytes: usize,
}

impl Gathered {
    fn new() -> Self {
        Self { tag: 0, buffer: None, into: Vec::with_capacity(PIECES), bytes: 0 }
    }

    /// Hands over what came, and gives the buffer back.
    fn end(&mut self, is_good: bool) {
        if let Some(buffer) = self.buffer.take()
            && is_good
            && !self.into.is_empty()
        {
            mem::scatter(buffer.segment(0..self.bytes), &self.into);
        }
        self.into.clear();
    }
}

/// The only piece that holds something; `None` for several.
fn only<T: Copy>(list: &[T], bytes: impl Fn(&T) -> usize) -> Option<T> {
    let mut pieces = list.iter().filter(|piece| bytes(piece) > 0);
    let first = pieces.next().copied();
    first.filter(|_| pieces.next().is_none())
}

impl NvmfChannel {
    /// A buffer for `bytes` bytes of the command `tag`.
    fn gather(&mut self, tag: Tag, bytes: usize) -> Result<&mut Gathered, BdevError> {
        if bytes > GATHERED_BYTES {
            return Err(BdevError::Device { again: false });
        }
        let place = self.gathered.iter_mut().find(|place| place.buffer.is_none()).ok_or(BdevError::Busy)?;
        let buffer = self.pool.take(bytes).ok_or(BdevError::Busy)?;
        (place.tag, place.bytes, place.buffer) = (tag.0, bytes, Some(buffer));
        Ok(place)
    }

    /// What is to be sent, in one piece.
    fn whole(&mut self, tag: Tag, from: &[Segment]) -> Result<Segment, BdevError> {
        if let Some(piece) = only(from, Segment::len) {
            return Ok(piece);
        }
        let bytes = mem::length(from);
        let place = self.gather(tag, bytes)?;
        let Some(buffer) = &place.buffer else { unreachable!("it was just put there") };
        mem::gather(from, buffer.segment_mut(0..bytes));
        Ok(buffer.segment(0..bytes))
    }

    /// Where what comes is to go, in one piece.
    fn whole_mut(&mut self, tag: Tag, into: &[SegmentMut]) -> Result<SegmentMut, BdevError> {
        if let Some(piece) = only(into, SegmentMut::len) {
            return Ok(piece);
        }
        let bytes = mem::length_mut(into);
        let place = self.gather(tag, bytes)?;
        place.into.extend_from_slice(into);
        let Some(buffer) = &place.buffer else { unreachable!("it was just put there") };
        Ok(buffer.segment_mut(0..bytes))
    }

    /// The ranges that hold something, as `wire` has them; as many as one command names. `None` if none does. A
    /// deallocation is a hint, so that what is beyond is left as it is; a copy has no more.
    fn ranges<const BYTES: usize>(
        &mut self,
        tag: Tag,
        ranges: &[Blocks],
        wire: fn(u64, u32) -> [u8; BYTES],
    ) -> Result<Option<Segment>, BdevError> {
        let held = || ranges.iter().filter(|blocks| blocks.count > 0).take(RANGES_MAX);
        let bytes = held().count() * BYTES;
        if bytes == 0 {
            return Ok(None);
        }
        let place = self.gather(tag, bytes)?;
        let Some(buffer) = &place.buffer else { unreachable!("it was just put there") };
        for (index, blocks) in held().enumerate() {
            let at = index * BYTES;
            mem::copy_in(&wire(blocks.first, blocks.count), buffer.segment_mut(at..at + BYTES));
        }
        Ok(Some(buffer.segment(0..bytes)))
    }

    /// The command in the words of the lane; `None` where there is nothing to do.
    fn request(&mut self, tag: Tag, command: &Command<'_>) -> Result<Option<Request>, BdevError> {
        let cached = self.geometry.volatile_write_cache;
        Ok(Some(match *command {
            Command::Read { blocks, .. }
            | Command::Write { blocks, .. }
            | Command::Compare { blocks, .. }
                if blocks.count == 0 =>
            {
                return Ok(None);
            }
            Command::WriteZeroes { blocks, .. }
            | Command::Verify { blocks }
            | Command::WriteUncorrectable { blocks }
                if blocks.count == 0 =>
            {
                return Ok(None);
            }
            Command::Read { blocks, into } => {
                Request::Read { lba: blocks.first, into: self.whole_mut(tag, into)? }
            }
            Command::Write { blocks, from, force_unit_access } => Request::Write {
                lba: blocks.first,
                from: self.whole(tag, from)?,
                force_unit_access: force_unit_access && cached,
            },
            Command::Compare { blocks, with } => {
                Request::Compare { lba: blocks.first, with: self.whole(tag, with)? }
            }
            Command::WriteZeroes { blocks, deallocate, force_unit_access } => Request::WriteZeroes {
                lba: blocks.first,
                blocks: blocks.count,
                deallocate: deallocate && self.deallocates_zeroes,
                force_unit_access: force_unit_access && cached,
            },
            Command::Deallocate { ranges } => match self.ranges(tag, ranges, dataset_range)? {
                Some(ranges) => Request::Deallocate { ranges },
                None => return Ok(None),
            },
            Command::Verify { blocks } => Request::Verify { lba: blocks.first, blocks: blocks.count },
            Command::WriteUncorrectable { blocks } => {
                Request::WriteUncorrectable { lba: blocks.first, blocks: blocks.count }
            }
            Command::Copy { ranges, to, force_unit_access } => {
                let force_unit_access = force_unit_access && cached;
                match self.ranges(tag, ranges, copy_range)? {
                    Some(ranges) => Request::Copy { ranges, lba: to, force_unit_access },
                    None => return Ok(None),
                }
            }
            Command::Flush if cached => Request::Flush,
            Command::Flush => return Ok(None),
        }))
    }

    fn start(&mut self, tag: Tag, command: &Command<'_>) -> Result<Submitted, BdevError> {
        if !command.is_offered(&self.geometry.features) {
            return Err(BdevError::Unsupported);
        }
        command.check(&self.geometry)?;
        let Some(request) = self.request(tag, command)? else { return Ok(Submitted::Done(Ok(()))) };
        let now = self.clock.now();
        if self.lane.submit(now, tag.0, request).is_err() {
            end(&mut self.gathered, tag.0, false);
            return Err(BdevError::Busy);
        }
        Ok(Submitted::Pending)
    }
}

/// The command `tag` has ended.
fn end(gathered: &mut [Gathered], tag: u64, is_good: bool) {
    let place = gathered.iter_mut().find(|place| place.buffer.is_some() && place.tag == tag);
    if let Some(place) = place {
        place.end(is_good);
    }
}

impl Channel for NvmfChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        self.start(tag, command).unwrap_or_else(|error| Submitted::Done(Err(error)))
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let Self { lane, gathered, clock, .. } = self;
        lane.poll(clock.now(), &mut |tag, outcome| {
            end(gathered, tag, outcome.is_ok());
            // Only a Copy says how far it came.
            done(Tag(tag), outcome.map_err(|failed| BdevError::from(failed.cause).after(failed.dw0)));
        })
    }

    fn outstanding(&self) -> usize {
        self.lane.outstanding()
    }

    fn commit(&mut self) {
        self.lane.commit();
    }

    fn wake(&self) -> Wake {
        self.lane.wake()
    }

    fn abort(&mut self, tag: Tag) -> bool {
        self.lane.abort(tag.0)
    }
}
