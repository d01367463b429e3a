//! One command on its way through the ring, in as many operations as it takes.
//!
//! ```text
//! Read, Write, Compare ──▶ next part ──▶ .. ──▶ done
//! Zeros: allocated ──▶ done, or Sync if forced;  not supported ──▶ written, part by part
//! Deallocate ──▶ next range ──▶ .. ──▶ done
//! Verify ──▶ next part read ──▶ .. ──▶ done
//! Copy ──▶ next part read ──▶ written ──▶ .. ──▶ next range ──▶ .. ──▶ done
//! Sync ──▶ done
//! ```
//!
//! A range is done in parts of whole blocks; where blocks are not atomic below, the job holds a claim to its part for as long
//! as there is something left of it, however many operations that takes.
//!
//! Invariants: `first <= at <= end`; the bytes of the device below `at` are done; no operation goes beyond its part.

use std::ops::Range;

use corelane_reactors::{
    buffer::{Segment, SegmentMut},
    ring::{Allocation, Errno, OperationId, SEGMENTS_MAX},
};

use super::{
    bounce::{BOUNCE_BYTES, Bounces},
    claims::Claim,
    outcome::failure,
};
use crate::{
    bdev::{Access, BdevError, Blocks, Command, Geometry, Tag, stored::StoredCommand},
    mem,
};

/// Segments of a command for which a job has room from the start; a longer list makes it grow, once.
const SEGMENTS: usize = 4;

/// Room for one command at a time.
pub(super) struct Job {
    pub(super) tag: Tag,
    pub(super) work: Work,
    pub(super) stored: StoredCommand,
    /// First byte of the range on the device, and of the command's memory.
    pub(super) first: u64,
    /// The next byte.
    pub(super) at: u64,
    pub(super) end: u64,
    /// The next byte that a copy writes.
    pub(super) to: u64,
    /// Bytes of the part that are not done.
    pub(super) left: u64,
    pub(super) claim: Claim,
    /// Bytes that the operation in flight was asked for.
    pub(super) asked: u64,
    pub(super) operation: Option<OperationId>,
    /// It is not to go on: what it answers instead.
    pub(super) ending: Option<BdevError>,
    pub(super) in_use: bool,
}

/// What a job does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Read,
    Write {
        durable: bool,
    },
    Compare {
        bounce: Option<usize>,
    },
    /// By allocation, or written where the file system has none.
    Zeros {
        allocation: Option<Allocation>,
        durable: bool,
    },
    /// The range of this index.
    Deallocate {
        range: usize,
    },
    /// Read into a buffer that nobody looks at.
    Verify {
        bounce: Option<usize>,
    },
    Copy {
        bounce: Option<usize>,
        /// The range of this index.
        range: usize,
        /// Bytes in the buffer, and how many of them are written; `writes` once all of the part is there.
        held: usize,
        put: usize,
        writes: bool,
        durable: bool,
    },
    Sync,
}

impl Work {
    /// The place of its bounce buffer, if it needs one.
    pub(super) fn bounce(&mut self) -> Option<&mut Option<usize>> {
        match self {
            Self::Compare { bounce } | Self::Verify { bounce } | Self::Copy { bounce, .. } => Some(bounce),
            Self::Read | Self::Write { .. } | Self::Zeros { .. } | Self::Deallocate { .. } | Self::Sync => {
                None
            }
        }
    }
}

/// What became of a job by a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It needs another operation.
    Again,
    Done(Result<(), BdevError>),
}

impl Job {
    pub(super) fn new() -> Self {
        Self {
            tag: Tag(0),
            work: Work::Sync,
            stored: StoredCommand::with_room(SEGMENTS),
            first: 0,
            at: 0,
            end: 0,
            to: 0,
            left: 0,
            claim: Claim::default(),
            asked: 0,
            operation: None,
            ending: None,
            in_use: false,
        }
    }

    /// Takes a command, which was checked; false when there is nothing to be done for it.
    pub(super) fn begin(&mut self, tag: Tag, command: &Command<'_>, geometry: &Geometry) -> bool {
        let blocks = match *command {
            Command::Read { blocks, .. }
            | Command::Write { blocks, .. }
            | Command::Compare { blocks, .. }
            | Command::Verify { blocks }
            | Command::WriteUncorrectable { blocks }
            | Command::WriteZeroes { blocks, .. } => blocks,
            Command::Flush | Command::Deallocate { .. } | Command::Copy { .. } => {
                Blocks { first: 0, count: 0 }
            }
        };
        let bytes = blocks.bytes(geometry).unwrap_or(0..0);
        self.work = match *command {
            Command::Read { .. } => Work::Read,
            Command::Write { force_unit_access: durable, .. } => Work::Write { durable },
            Command::Compare { .. } => Work::Compare { bounce: None },
            Command::WriteZeroes { deallocate, force_unit_access: durable, .. } => {
                let allocation = if deallocate { Allocation::Hole } else { Allocation::Zeros };
                Work::Zeros { allocation: Some(allocation), durable }
            }
            Command::Deallocate { .. } => Work::Deallocate { range: 0 },
            Command::Flush => Work::Sync,
            Command::Verify { .. } => Work::Verify { bounce: None },
            Command::WriteUncorrectable { .. } => unreachable!("a file does not have it"),
            Command::Copy { to, force_unit_access: durable, .. } => {
                // Checked: it lies on the device.
                self.to = to * u64::from(geometry.block_size);
                Work::Copy { bounce: None, range: 0, held: 0, put: 0, writes: false, durable }
            }
        };
        self.tag = tag;
        self.stored.store(command);
        (self.first, self.at, self.end) = (bytes.start, bytes.start, bytes.end);
        self.left = 0;
        self.claim = Claim::default();
        self.operation = None;
        self.ending = None;
        match self.work {
            Work::Sync => true,
            Work::Deallocate { .. } | Work::Copy { .. } => self.next_range(0, geometry),
            _ => self.at < self.end,
        }
    }

    /// The ranges of a copy that are copied.
    pub(super) fn copied_ranges(&self) -> u32 {
        match self.work {
            Work::Copy { range, .. } => u32::try_from(range).unwrap_or(u32::MAX),
            _ => 0,
        }
    }

    /// Begins the next part, of at most `bytes_max` bytes. Returns which bytes of the device it is, and whether it changes
    /// them; `None` where nobody sees what is read, or there is nothing.
    pub(super) fn next_part(&mut self, bytes_max: u64) -> Option<(Range<u64>, bool)> {
        let rest = self.end - self.at;
        let bounced = rest.min(BOUNCE_BYTES as u64);
        let (start, length, changes) = match self.work {
            Work::Read => (self.at, rest.min(bytes_max), false),
            Work::Write { .. } | Work::Zeros { .. } | Work::Deallocate { .. } => {
                (self.at, rest.min(bytes_max), true)
            }
            Work::Copy { writes: true, held, .. } => (self.to, held as u64, true),
            Work::Compare { .. } | Work::Copy { .. } | Work::Verify { .. } => (self.at, bounced, false),
            Work::Sync => (self.at, 0, false),
        };
        self.left = length;
        let seen = !matches!(self.work, Work::Verify { .. } | Work::Sync);
        seen.then_some((start..start + length, changes))
    }

    /// Whether some of a block is written and the rest is not: whatever ends the job waits for that.
    pub(super) fn is_inside_a_block(&self, geometry: &Geometry) -> bool {
        let next = match self.work {
            Work::Write { .. } | Work::Zeros { .. } => self.at,
            Work::Copy { writes: true, .. } => self.to,
            _ => return false,
        };
        !next.is_multiple_of(geometry.block_size.into())
    }

    /// The bytes of the command's memory from `at` on that are left of the part, at most `parts.len()` segments of them;
    /// returns their number and length.
    pub(super) fn parts_into(&self, parts: &mut [SegmentMut; SEGMENTS_MAX]) -> (usize, u64) {
        let Command::Read { into, .. } = self.stored.command() else { return (0, 0) };
        let list = into.iter().map(|part| (*part, part.len()));
        collect(list, (self.at - self.first, self.left), parts, SegmentMut::slice)
    }

    /// As [`Job::parts_into`], of a write.
    pub(super) fn parts_from(&self, parts: &mut [Segment; SEGMENTS_MAX]) -> (usize, u64) {
        let Command::Write { from, .. } = self.stored.command() else { return (0, 0) };
        let list = from.iter().map(|part| (*part, part.len()));
        collect(list, (self.at - self.first, self.left), parts, Segment::slice)
    }

    /// What an operation of this job came to. `alignment` is what its reads and writes are a multiple of.
    pub(super) fn advance(
        &mut self,
        result: Result<u32, Errno>,
        alignment: u64,
        geometry: &Geometry,
        bounces: &Bounces,
    ) -> Progress {
        match (self.work, result) {
            (_, Err(Errno::INTR)) => Progress::Again,
            (Work::Read, Ok(bytes)) => self.moved(bytes.into(), alignment, Access::Read),
            (Work::Write { .. } | Work::Zeros { allocation: None, .. }, Ok(bytes)) => {
                self.moved(bytes.into(), alignment, Access::Write)
            }
            (Work::Verify { .. }, Ok(bytes)) => self.moved(bytes.into(), alignment, Access::Read),
            (Work::Copy { .. }, Ok(bytes)) => self.copied(bytes.into(), alignment, geometry),
            (Work::Copy { writes, .. }, Err(errno)) => {
                Progress::Done(Err(failure(errno, if writes { Access::Write } else { Access::Read })))
            }
            (Work::Compare { bounce }, Ok(bytes)) => {
                let before = self.at;
                let progress = self.moved(bytes.into(), alignment, Access::Read);
                match bounce {
                    Some(bounce) if self.differs(before, bounce, bounces) => {
                        Progress::Done(Err(BdevError::Miscompare))
                    }
                    _ => progress,
                }
            }
            (Work::Zeros { allocation: Some(_), durable }, Ok(_)) => {
                let progress = self.done(self.asked);
                if !durable || progress == Progress::Again {
                    return progress;
                }
                self.work = Work::Sync;
                Progress::Again
            }
            (Work::Zeros { allocation: Some(_), durable }, Err(Errno::OPNOTSUPP)) => {
                self.work = Work::Zeros { allocation: None, durable };
                Progress::Again
            }
            (Work::Deallocate { range }, Ok(_)) => match self.done(self.asked) {
                Progress::Done(_) if self.next_range(range + 1, geometry) => Progress::Again,
                progress => progress,
            },
            // A hint that the device does not take: nothing was changed, which it need not be.
            (Work::Deallocate { .. }, Err(Errno::OPNOTSUPP)) | (Work::Sync, Ok(_)) => Progress::Done(Ok(())),
            (Work::Read | Work::Compare { .. } | Work::Verify { .. }, Err(errno)) => {
                Progress::Done(Err(failure(errno, Access::Read)))
            }
            (_, Err(errno)) => Progress::Done(Err(failure(errno, Access::Write))),
        }
    }

    /// Counts bytes that were read or written. Fewer than were asked for are continued where a block of the medium
    /// begins; none at all are the end of a file that was cut.
    fn moved(&mut self, bytes: u64, alignment: u64, access: Access) -> Progress {
        let bytes = bytes.min(self.asked);
        let whole = if bytes == self.asked { bytes } else { bytes - bytes % alignment };
        if whole == 0 {
            return Progress::Done(Err(BdevError::Media { access }));
        }
        self.done(whole)
    }

    /// So many more bytes of the range are done.
    fn done(&mut self, bytes: u64) -> Progress {
        assert!(bytes <= self.left);
        self.at += bytes;
        self.left -= bytes;
        if self.at == self.end { Progress::Done(Ok(())) } else { Progress::Again }
    }

    /// Some of a part of a copy was read into its buffer, or written from it.
    fn copied(&mut self, bytes: u64, alignment: u64, geometry: &Geometry) -> Progress {
        let Work::Copy { range, held, put, writes, .. } = &mut self.work else {
            unreachable!("it is a copy")
        };
        let access = if *writes { Access::Write } else { Access::Read };
        let bytes = bytes.min(self.asked);
        let whole = if bytes == self.asked { bytes } else { bytes - bytes % alignment };
        let Some(count) = usize::try_from(whole).ok().filter(|count| *count > 0) else {
            return Progress::Done(Err(BdevError::Media { access }));
        };
        self.left -= whole;
        if !*writes {
            *held += count;
            *writes = self.left == 0;
            self.at += whole;
            return Progress::Again;
        }
        *put += count;
        self.to += whole;
        if put == held {
            (*held, *put, *writes) = (0, 0, false);
            let next = *range + 1;
            if self.at == self.end && !self.next_range(next, geometry) {
                return Progress::Done(Ok(()));
            }
        }
        Progress::Again
    }

    /// Whether the bytes from `before` to `at`, which are in a bounce buffer, differ from those of the command.
    fn differs(&self, before: u64, bounce: usize, bounces: &Bounces) -> bool {
        let Command::Compare { with, .. } = self.stored.command() else { return true };
        let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (mut skip, total) = (length(before - self.first), length(self.at - before));
        let read = bounces.segment(bounce, total).read_only();
        let mut at = 0;
        for part in with {
            let start = skip.min(part.len());
            skip -= start;
            let end = part.len().min(start + (total - at));
            let (part, other) = (part.slice(start..end), read.slice(at..at + end - start));
            if mem::difference(part, other).is_some() {
                return true;
            }
            at += end - start;
        }
        at != total
    }

    /// Goes to the first range from `index` on that is not empty; false when there is none.
    fn next_range(&mut self, index: usize, geometry: &Geometry) -> bool {
        let (Command::Deallocate { ranges } | Command::Copy { ranges, .. }) = self.stored.command() else {
            return false;
        };
        let rest = ranges.iter().enumerate().skip(index);
        let found = rest.map(|(range, blocks)| (range, blocks.bytes(geometry).unwrap_or(0..0)));
        let Some((range, bytes)) = found.into_iter().find(|(_, bytes)| !bytes.is_empty()) else {
            return false;
        };
        match &mut self.work {
            Work::Deallocate { range: place } | Work::Copy { range: place, .. } => *place = range,
            _ => unreachable!("no other has ranges"),
        }
        (self.first, self.at, self.end) = (bytes.start, bytes.start, bytes.end);
        true
    }
}

/// The parts of a list from byte `skip` on, `left` bytes or as many as there is room for; returns their number and length.
fn collect<T: Copy>(
    list: impl Iterator<Item = (T, usize)>,
    (skip, left): (u64, u64),
    parts: &mut [T; SEGMENTS_MAX],
    slice: impl Fn(&T, Range<usize>) -> T,
) -> (usize, u64) {
    let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let (mut skip, left) = (length(skip), length(left));
    let (mut count, mut bytes) = (0, 0);
    for (part, len) in list {
        let start = skip.min(len);
        skip -= start;
        let end = len.min(start.saturating_add(left - bytes));
        if start == end {
            continue;
        }
        let Some(place) = parts.get_mut(count) else { break };
        *place = slice(&part, start..end);
        count += 1;
        bytes += end - start;
    }
    (count, bytes as u64)
}
