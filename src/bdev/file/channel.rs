//! One reactor's way to a file: jobs, their operations in the ring, and those that wait for room there.
//!
//! Invariants: each job is in `free`, or in use and exactly one of: in the ring, in `waiting`, in `comparing` (which
//! waits for a bounce buffer), in `claiming` (for stripes of the file). None of the lists grows beyond [`COMMANDS_MAX`].
//! A job takes its buffer first, then its stripes, then room in the ring, and what is in the ring completes without any
//! of them: nobody waits in a circle. It gives stripes back between two parts, and all it has when it ends.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use corelane_reactors::{
    buffer::{Segment, SegmentMut},
    poller::Wake,
    ring::{Allocation, FixedFile, Full, Operation, Ring, RingError, SEGMENTS_MAX, User},
};

use super::{
    File, Layout, State,
    bounce::{Bounces, ZEROS_BYTES},
    claims::Claimant,
    job::{Job, Progress, Work},
};
use crate::bdev::{Access, BdevError, Channel, Command, Geometry, OpenError, Submitted, Tag};

/// Commands that one channel holds; one more is [`BdevError::Busy`].
const COMMANDS_MAX: u32 = 2048;

/// Operations that one poll looks at.
const POLL_MAX: usize = 128;

pub(super) struct FileChannel {
    geometry: Geometry,
    layout: Layout,
    state: Arc<State>,
    file: FixedFile,
    user: User,
    bounces: Bounces,
    jobs: Box<[Job]>,
    free: Vec<u32>,
    waiting: VecDeque<u32>,
    comparing: VecDeque<u32>,
    claiming: VecDeque<u32>,
    /// Where blocks are not atomic below.
    claims: Option<Claimant>,
    /// The end of the device was seen, and what was in flight cancelled.
    retired: bool,
}

impl FileChannel {
    pub(super) fn open(ring: &Ring, file: &File) -> Result<Self, OpenError> {
        let refused = |error| match error {
            RingError::Files | RingError::Users => OpenError::Exhausted,
            error => OpenError::Ring(error),
        };
        let capacity = COMMANDS_MAX as usize;
        Ok(Self {
            geometry: file.geometry,
            layout: file.layout,
            state: Arc::clone(&file.state),
            user: ring.user(COMMANDS_MAX).map_err(refused)?,
            file: ring.add_file(&file.file).map_err(refused)?,
            bounces: Bounces::new().map_err(|_| OpenError::Memory)?,
            jobs: (0..capacity).map(|_| Job::new()).collect(),
            free: (0..COMMANDS_MAX).rev().collect(),
            waiting: VecDeque::with_capacity(capacity),
            comparing: VecDeque::with_capacity(capacity),
            claiming: VecDeque::with_capacity(if file.claims.is_some() { capacity } else { 0 }),
            claims: file.claims.as_ref().map(|claims| claims.claimant()),
            retired: false,
        })
    }

    /// Why a command is refused before it begins.
    fn refusal(&self, command: &Command<'_>) -> Option<BdevError> {
        if matches!(command, Command::WriteUncorrectable { .. }) {
            return Some(BdevError::Unsupported);
        }
        if let Err(error) = command.check(&self.geometry) {
            return Some(error);
        }
        if self.state.retired.load(Ordering::Relaxed) {
            return Some(BdevError::Gone);
        }
        let durable = match *command {
            Command::Flush => true,
            Command::Write { force_unit_access, .. } | Command::WriteZeroes { force_unit_access, .. } => {
                force_unit_access
            }
            Command::Deallocate { .. } if !self.geometry.features.deallocate => {
                return Some(BdevError::Unsupported);
            }
            Command::Copy { force_unit_access, .. } => force_unit_access,
            Command::WriteUncorrectable { .. } => unreachable!("it was refused"),
            Command::Read { .. }
            | Command::Deallocate { .. }
            | Command::Compare { .. }
            | Command::Verify { .. } => false,
        };
        let lost = durable && self.state.sync_failed.load(Ordering::Relaxed);
        lost.then_some(BdevError::Media { access: Access::Write })
    }

    /// Has a job take its next step, or wait for room.
    fn go_on(&mut self, index: u32) {
        let job = &mut self.jobs[index as usize];
        if let Some(bounce @ None) = job.work.bounce() {
            *bounce = self.bounces.take();
            if bounce.is_none() {
                return self.comparing.push_back(index);
            }
        }
        if !self.claim(index) {
            return self.claiming.push_back(index);
        }
        if self.start(index).is_err() {
            self.waiting.push_back(index);
        }
    }

    /// Takes the stripes of a job's part, the next one if there is nothing left of the last; whether it has them all.
    fn claim(&mut self, index: u32) -> bool {
        let job = &mut self.jobs[index as usize];
        let Some(claims) = &self.claims else {
            if job.left == 0 {
                job.next_part(u64::MAX);
            }
            return true;
        };
        if job.left == 0
            && let Some((bytes, changes)) = job.next_part(claims.bytes_max())
        {
            job.claim = claims.claim(&bytes, changes);
        }
        claims.take(&mut job.claim)
    }

    /// Submits the next operation of a job.
    fn start(&mut self, index: u32) -> Result<(), Full> {
        let job = &mut self.jobs[index as usize];
        let (file, offset, left) = (&self.file, job.at, job.left);
        let mut into = [SegmentMut::empty(); SEGMENTS_MAX];
        let mut from = [Segment::empty(); SEGMENTS_MAX];
        let length = usize::try_from(left).unwrap_or(usize::MAX);
        let (operation, asked) = match job.work {
            Work::Read => {
                let (count, bytes) = job.parts_into(&mut into);
                (Operation::Read { file, offset, into: &into[..count] }, bytes)
            }
            Work::Write { durable } => {
                let (count, bytes) = job.parts_from(&mut from);
                (Operation::Write { file, offset, from: &from[..count], durable }, bytes)
            }
            Work::Copy { bounce, held, put, writes: true, durable, .. } => {
                let Some(bounce) = bounce else { unreachable!("it has its buffer") };
                from[0] = self.bounces.segment(bounce, held).read_only().slice(put..held);
                (Operation::Write { file, offset: job.to, from: &from[..1], durable }, left)
            }
            Work::Compare { bounce } | Work::Verify { bounce } => {
                let Some(bounce) = bounce else { unreachable!("it has its buffer") };
                into[0] = self.bounces.segment(bounce, length);
                (Operation::Read { file, offset, into: &into[..1] }, left)
            }
            Work::Copy { bounce, held, .. } => {
                let Some(bounce) = bounce else { unreachable!("it has its buffer") };
                into[0] = self.bounces.segment(bounce, held + length).slice(held..held + length);
                (Operation::Read { file, offset, into: &into[..1] }, left)
            }
            Work::Zeros { allocation: None, durable } => {
                let length = length.min(ZEROS_BYTES);
                from[0] = self.bounces.zeros(length);
                (Operation::Write { file, offset, from: &from[..1], durable }, length as u64)
            }
            Work::Zeros { allocation: Some(allocation), .. } => {
                (Operation::Allocate { file, offset, length: left, allocation }, left)
            }
            Work::Deallocate { .. } => {
                let allocation = Allocation::Hole;
                (Operation::Allocate { file, offset, length: left, allocation }, left)
            }
            Work::Sync => (Operation::Sync { file }, 0),
        };
        job.asked = asked;
        job.operation = Some(self.user.submit(index.into(), &operation)?);
        Ok(())
    }

    /// Frees a job; returns its tag and what it answers.
    fn finish(&mut self, index: u32, result: Result<(), BdevError>) -> (Tag, Result<(), BdevError>) {
        let job = &mut self.jobs[index as usize];
        if job.work == Work::Sync && matches!(result, Err(BdevError::Media { .. })) {
            sync_failed(&self.state);
        }
        if let Some(claims) = &self.claims {
            claims.give_back(&mut job.claim);
        }
        if let Some(Some(bounce)) = job.work.bounce() {
            let bounce = *bounce;
            self.bounces.give_back(bounce);
            self.waiting.extend(self.comparing.pop_front());
        }
        job.in_use = false;
        job.operation = None;
        let (tag, copied) = (job.tag, job.copied_ranges());
        let result = result.map_err(|error| error.after(copied));
        self.free.push(index);
        (tag, result)
    }

    /// Asks that a job end with `error`: what is in the ring is cancelled, what waits will not begin.
    fn end(&mut self, index: usize, error: BdevError) -> bool {
        let job = &mut self.jobs[index];
        let followed = match job.operation {
            // A block of which some is written is written as a whole before the job ends.
            Some(_) if job.is_inside_a_block(&self.geometry) => true,
            Some(operation) => self.user.cancel(operation),
            None => true,
        };
        if followed {
            job.ending = Some(error);
        }
        followed
    }

    fn end_all(&mut self, error: BdevError) {
        for index in 0..self.jobs.len() {
            if self.jobs[index].in_use {
                self.end(index, error);
                self.jobs[index].ending = Some(error);
            }
        }
    }

    /// Takes completions of operations, and has their jobs go on or end; returns how many ended.
    fn complete(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let mut completed = 0;
        for _ in 0..POLL_MAX {
            let Some(completion) = self.user.take() else { break };
            let index = u32::try_from(completion.token).unwrap_or(u32::MAX);
            let job = &mut self.jobs[index as usize];
            job.operation = None;
            let alignment = self.layout.alignment;
            let progress = job.advance(completion.result, alignment, &self.geometry, &self.bounces);
            if let Some(claims) = &self.claims
                && job.left == 0
            {
                claims.give_back(&mut job.claim);
            }
            let result = match (progress, job.ending) {
                (Progress::Again, Some(_)) if job.is_inside_a_block(&self.geometry) => {
                    self.go_on(index);
                    continue;
                }
                (Progress::Done(Err(BdevError::Aborted)) | Progress::Again, Some(error)) => Err(error),
                (Progress::Done(_), Some(BdevError::Gone)) => Err(BdevError::Gone),
                (Progress::Done(result), _) => result,
                (Progress::Again, None) => {
                    self.go_on(index);
                    continue;
                }
            };
            let (tag, result) = self.finish(index, result);
            completed += 1;
            done(tag, result);
        }
        completed
    }

    /// Has those that wait for stripes look again, each once and in their order; returns how many ended instead.
    fn try_claims_again(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let mut completed = 0;
        for _ in 0..self.claiming.len() {
            let Some(index) = self.claiming.pop_front() else { break };
            completed += usize::from(self.go_on_or_end(index, done));
        }
        completed
    }

    /// Has those that wait for room in the ring go on, until there is none; returns how many ended instead.
    fn try_ring_again(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let mut completed = 0;
        for _ in 0..self.waiting.len() {
            let Some(index) = self.waiting.pop_front() else { break };
            let before = self.waiting.len();
            completed += usize::from(self.go_on_or_end(index, done));
            if self.waiting.len() > before {
                // No room: it goes back to where it was.
                self.waiting.rotate_right(1);
                break;
            }
        }
        completed
    }

    /// Has a job go on that waited, unless it is to end; whether it did.
    fn go_on_or_end(&mut self, index: u32, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> bool {
        let job = &self.jobs[index as usize];
        let ending = job.ending.filter(|_| !job.is_inside_a_block(&self.geometry));
        let Some(error) = ending else {
            self.go_on(index);
            return false;
        };
        let (tag, result) = self.finish(index, Err(error));
        done(tag, result);
        true
    }

    fn notice_retirement(&mut self) {
        if !self.retired && self.state.retired.load(Ordering::Relaxed) {
            self.retired = true;
            self.end_all(BdevError::Gone);
        }
    }
}

impl Channel for FileChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        if let Some(error) = self.refusal(command) {
            return Submitted::Done(Err(error));
        }
        let Some(index) = self.free.pop() else { return Submitted::Done(Err(BdevError::Busy)) };
        let job = &mut self.jobs[index as usize];
        if !job.begin(tag, command, &self.geometry) {
            self.free.push(index);
            return Submitted::Done(Ok(()));
        }
        job.in_use = true;
        if self.waiting.is_empty() {
            self.go_on(index);
        } else {
            self.waiting.push_back(index);
        }
        Submitted::Pending
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        self.notice_retirement();
        self.complete(done) + self.try_claims_again(done) + self.try_ring_again(done)
    }

    fn outstanding(&self) -> usize {
        self.jobs.len() - self.free.len()
    }

    fn wake(&self) -> Wake {
        if self.outstanding() == 0 {
            return Wake::Never;
        }
        // Another reactor gives a stripe back without waking anybody. The ring wakes for what is in it.
        let now = !self.claiming.is_empty() || self.user.has_completion() || self.user.outstanding() == 0;
        if now { Wake::Soon } else { Wake::Descriptor }
    }

    fn abort(&mut self, tag: Tag) -> bool {
        let found = self.jobs.iter().position(|job| job.in_use && job.tag == tag);
        found.is_some_and(|index| self.end(index, BdevError::Aborted))
    }

    fn reset(&mut self) -> bool {
        self.end_all(BdevError::Aborted);
        true
    }
}

impl Drop for FileChannel {
    /// Nothing is outstanding. If something were, others would still need its stripes.
    fn drop(&mut self) {
        let Some(claims) = &self.claims else { return };
        for job in self.jobs.iter_mut().filter(|job| job.in_use) {
            claims.give_back(&mut job.claim);
        }
    }
}

/// What the kernel could not write down it has forgotten, and a later flush would succeed: it must not be believed.
fn sync_failed(state: &State) {
    if !state.sync_failed.swap(true, Ordering::Relaxed) {
        tracing::error!(
            "a flush failed: what was written since the last one may be lost; further flushes fail until a restart"
        );
    }
}
