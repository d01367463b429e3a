//! The channels that one reactor has open, and the hand-over of requests to them.

use std::sync::Arc;

use corelane_reactors::poller::Wake;

use crate::bdev::{Access, Bdev, BdevError, Blocks, Channel, Command, Home, OpenError, Submitted, Tag};
use crate::mem::{Segment, SegmentMut};
use crate::nvmf::io::blocks::{copy_ranges, dataset_ranges};
use crate::nvmf::io::committing::Committing;
use crate::nvmf::io::{Attached, COPY_RANGES_MAX, DATASET_RANGES_MAX, Operation, Place, Request};
use crate::nvmf::namespace::Namespace;
use crate::spec::status::Status;

/// Failed copies that are asked for, at most.
const COPIED_MAX: usize = 64;

struct Open {
    bdev: Arc<dyn Bdev>,
    channel: Box<dyn Channel>,
    /// Something was submitted since the last commit.
    submitted: bool,
}

/// The channels of one reactor, one for each bdev; they stay open until the reactor ends.
#[derive(Default)]
pub struct Channels {
    home: Home,
    open: Vec<Open>,
    /// Copies that failed on the way, the newest first, and how many ranges they had copied: until they are asked for.
    copied: Vec<(u64, u8)>,
    pub(super) committing: Committing,
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.open.iter().map(|open| open.bdev.name())).finish()
    }
}

impl Channels {
    /// None yet, on a reactor that has this to offer.
    pub fn new(home: Home) -> Self {
        Self { home, ..Self::default() }
    }

    /// The channel to `bdev`, opened where it was not. May allocate: belongs to Connect.
    pub(super) fn open(&mut self, bdev: &Arc<dyn Bdev>) -> Result<usize, OpenError> {
        if let Some(index) = self.open.iter().position(|open| Arc::ptr_eq(&open.bdev, bdev)) {
            return Ok(index);
        }
        let channel = bdev.open(&self.home)?;
        self.open.push(Open { bdev: Arc::clone(bdev), channel, submitted: false });
        Ok(self.open.len() - 1)
    }

    /// Where the blocks of a read lie, if the bdev lends its memory: then they are sent from there and the read is
    /// done. The memory stays readable for as long as these channels live.
    #[inline]
    pub fn lend(&self, namespace: &Attached, blocks: Blocks) -> Option<Segment> {
        self.open[namespace.channel].channel.lend(blocks)
    }

    /// Blocks of a namespace, as a range of its bdev.
    pub fn place(&self, namespace: &Attached, blocks: Blocks) -> Place {
        Place { bdev: Arc::clone(&self.open[namespace.channel].bdev), blocks }
    }

    /// A request touches a range of a bdev.
    pub fn touches(&self, request: &Request, place: &Place) -> bool {
        Arc::ptr_eq(&self.open[request.namespace.channel].bdev, &place.bdev)
            && place.is_touched(request.operation)
    }

    /// Where the blocks of a place lie, if their bdev is open here and lends its memory.
    pub fn lent(&self, place: &Place) -> Option<Segment> {
        let open = self.open.iter().find(|open| Arc::ptr_eq(&open.bdev, &place.bdev))?;
        open.channel.lend(place.blocks)
    }

    /// A hint that such a request is about to come, if it is not refused before.
    pub fn expect(&self, request: &Request) {
        if let Operation::Write { blocks, .. } = request.operation {
            self.open[request.namespace.channel].channel.expect_write(blocks);
        }
    }

    /// Hands an operation to its bdev: here its processing starts. `from` is the host's data, `into` is where data for
    /// the host goes; each has the length of the request's transfer or is empty. The status, if it is done already;
    /// otherwise it comes from [`Channels::poll`] under `tag`. A Copy is told how many blocks its list has.
    pub fn submit(
        &mut self,
        tag: u64,
        request: &mut Request,
        from: Segment,
        into: SegmentMut,
    ) -> Option<Status> {
        if request.commits_first {
            self.commit_first(tag, request, from, into)
        } else {
            self.begin(tag, request, from, into)
        }
    }

    /// As [`Channels::submit`], of what needs nothing before.
    #[inline]
    pub(super) fn begin(
        &mut self,
        tag: u64,
        request: &mut Request,
        from: Segment,
        into: SegmentMut,
    ) -> Option<Status> {
        let Request { namespace, operation, .. } = request;
        let namespace = &*namespace;
        let open = &mut self.open[namespace.channel];
        // Filled where they are needed: other commands do not pay for them.
        let (mut ranges, mut sources);
        let command = match *operation {
            Operation::Read(blocks) => Command::Read { blocks, into: &[into] },
            Operation::Write { blocks, force_unit_access } => {
                Command::Write { blocks, from: &[from], force_unit_access }
            }
            Operation::Compare(blocks) => Command::Compare { blocks, with: &[from] },
            Operation::WriteZeroes { blocks, deallocate, force_unit_access } => {
                Command::WriteZeroes { blocks, deallocate, force_unit_access }
            }
            Operation::Flush => Command::Flush,
            Operation::Hint => return Some(Status::SUCCESS),
            Operation::Reservation { .. } => unreachable!("reservation commands are not for bdevs"),
            Operation::Deallocate(count) => {
                ranges = [Blocks { first: 0, count: 0 }; DATASET_RANGES_MAX];
                match dataset_ranges(from, count, namespace, &mut ranges) {
                    Ok(count) if namespace.geometry.features.deallocate => {
                        Command::Deallocate { ranges: &ranges[..count] }
                    }
                    Ok(_) => return Some(Status::SUCCESS),
                    Err(status) => return Some(status),
                }
            }
            Operation::Verify(blocks) => Command::Verify { blocks },
            Operation::WriteUncorrectable(blocks) => Command::WriteUncorrectable { blocks },
            Operation::Copy { ranges, ref mut blocks, to, force_unit_access } => {
                sources = [Blocks { first: 0, count: 0 }; COPY_RANGES_MAX];
                match copy_ranges(from, (ranges, to), namespace, &mut sources) {
                    Ok(count) => {
                        *blocks = sources[..count].iter().map(|range| range.count).sum();
                        Command::Copy { ranges: &sources[..count], to, force_unit_access }
                    }
                    Err(status) => return Some(status),
                }
            }
        };
        match open.channel.submit(Tag(tag), &command) {
            Submitted::Done(result) => Some(status_of(result)),
            Submitted::Pending => {
                open.submitted = true;
                None
            }
        }
    }

    /// Has the bdev of a namespace make durable what it has cached. The status, if that is done already, or if it caches
    /// nothing; otherwise it comes from [`Channels::poll`] under `tag`. A bdev that is not open here is left alone, unless
    /// this reactor `must`: then it is opened, which may allocate.
    pub fn flush(&mut self, tag: u64, namespace: &Namespace, must: bool) -> Option<Status> {
        let bdev = &namespace.bdev;
        let is_open = self.open.iter().any(|open| Arc::ptr_eq(&open.bdev, bdev));
        if !bdev.geometry().volatile_write_cache || !is_open && !must {
            return Some(Status::SUCCESS);
        }
        let Ok(index) = self.open(bdev) else { return Some(Status::INTERNAL_ERROR) };
        self.flush_channel(tag, index)
    }

    /// Has the bdev of a channel make durable what it has cached.
    pub(super) fn flush_channel(&mut self, tag: u64, index: usize) -> Option<Status> {
        let open = &mut self.open[index];
        match open.channel.submit(Tag(tag), &Command::Flush) {
            Submitted::Done(result) => Some(status_of(result)),
            Submitted::Pending => {
                open.submitted = true;
                None
            }
        }
    }

    /// Tells the devices of what was submitted: one doorbell or system call for each that has something new. Returns
    /// whether any had.
    pub fn commit(&mut self) -> bool {
        let mut any = false;
        for open in &mut self.open {
            if std::mem::take(&mut open.submitted) {
                open.channel.commit();
                any = true;
            }
        }
        any
    }

    /// Completes what is ready, one batch a channel; returns how many commands that were.
    pub fn poll(&mut self, mut done: impl FnMut(u64, Status)) -> usize {
        let mut completed = 0;
        let Self { open, copied, committing, .. } = self;
        for open in open {
            if open.channel.outstanding() > 0 {
                completed += open.channel.poll(&mut |tag, result| {
                    if committing.is_flushed(tag.0, result.is_ok()) {
                        return;
                    }
                    if let Err(BdevError::Copied { ranges, .. }) = result {
                        // A device may say so of what is no copy: then nobody asks.
                        copied.truncate(COPIED_MAX - 1);
                        copied.insert(0, (tag.0, ranges));
                    }
                    done(tag.0, status_of(result));
                });
            }
        }
        self.go_on(done);
        completed
    }

    /// How many ranges a Copy had copied, from the first on, that failed under `tag`; to be asked for once.
    pub fn copied(&mut self, tag: u64) -> u32 {
        let found = self.copied.iter().position(|(other, _)| *other == tag);
        found.map_or(0, |at| self.copied.remove(at).1.into())
    }

    /// Asks that a pending command end early; it completes through [`Channels::poll`] all the same. False if it cannot.
    pub fn abort(&mut self, namespace: &Attached, tag: u64) -> bool {
        self.open[namespace.channel].channel.abort(Tag(tag))
    }

    /// Asks that everything be ended by force that is pending on the channel of a namespace, which other namespaces may
    /// share; it completes through [`Channels::poll`] all the same. False if it cannot.
    pub fn reset(&mut self, namespace: &Attached) -> bool {
        self.open[namespace.channel].channel.reset()
    }

    /// Takes the bdev of a namespace out of service, for good and on all reactors; what is pending completes through
    /// [`Channels::poll`], once it is proven to touch nothing any more. False if it cannot.
    pub fn retire(&self, namespace: &Attached) -> bool {
        self.open[namespace.channel].bdev.retire()
    }

    /// The name of the bdev of a namespace.
    pub fn name(&self, namespace: &Attached) -> &str {
        self.open[namespace.channel].bdev.name()
    }

    /// Commands that are pending on any channel.
    pub fn outstanding(&self) -> usize {
        self.open.iter().map(|open| open.channel.outstanding()).sum()
    }

    /// When to poll again while something is pending; [`Wake::Never`] where nothing is.
    pub fn wake(&self) -> Wake {
        self.open.iter().map(|open| open.channel.wake()).fold(Wake::Never, Wake::sooner)
    }
}

/// The status that a command completes with for what its bdev said.
pub fn status_of(result: Result<(), BdevError>) -> Status {
    let Err(error) = result else { return Status::SUCCESS };
    match error.parts().0 {
        BdevError::OutOfRange => Status::LBA_OUT_OF_RANGE.with_dnr(),
        BdevError::Length => Status::INTERNAL_ERROR.with_dnr(),
        BdevError::Unsupported => Status::INVALID_OPCODE.with_dnr(),
        BdevError::Miscompare => Status::COMPARE_FAILURE.with_dnr(),
        BdevError::Busy => Status::INTERRUPTED,
        BdevError::Media { access: Access::Read } => Status::UNRECOVERED_READ_ERROR,
        BdevError::Media { access: Access::Write } => Status::WRITE_FAULT,
        BdevError::WriteProtected => Status::WRITE_PROTECTED.with_dnr(),
        BdevError::NoSpace => Status::CAPACITY_EXCEEDED.with_dnr(),
        BdevError::Device { again: true } => Status::INTERNAL_ERROR,
        BdevError::Device { again: false } => Status::INTERNAL_ERROR.with_dnr(),
        BdevError::Aborted => Status::ABORT_REQUESTED,
        BdevError::Gone => Status::INTERNAL_ERROR.with_dnr(),
        BdevError::Copied { .. } => unreachable!("a part of an error is none of a copy"),
    }
}
