//! A job's association with a subsystem: one I/O queue, and what is under way on it. It is not made anew when it ends: a
//! measurement with a gap in it would be none.
//!
//! Invariants: a slot is in `free` or `out`, and its number is the tag of its command; once the association is over, every
//! slot is in `free`.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use corelane::initiator::blocking::HostOptions;
use corelane::initiator::{
    Association, AssociationOptions, Backoff, Change, Fault, NotSubmitted, QueueName, Queues, Transfer,
    command,
};
use corelane::mem::{self, Extent, ExtentError};
use corelane::spec::nvm::DatasetRange;
use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::poll_group::{Options, PollGroup, SocketId};
use zerocopy::{FromZeros, IntoBytes};

use crate::failure::Failure;
use crate::job::{Command, Operation, Refusal};
use crate::say;

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_PER_SOCKET: usize = 2;
/// The admin queue and the I/O queue.
const SOCKETS: usize = 2;
/// How often commands are looked at that may be overdue.
const PACE: Duration = Duration::from_millis(10);
/// How long an association may take to end in order.
const LEAVE: Duration = Duration::from_secs(1);
/// The data of a trim: one range.
const RANGE_BYTES: usize = size_of::<DatasetRange>();

/// Why there is no association.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TcpError {
    #[error("{0}: {1}")]
    Fault(SocketAddr, Fault),
    #[error(transparent)]
    Memory(#[from] ExtentError),
    #[error("no poll group: {0}")]
    System(#[from] io::Error),
}

#[derive(Clone, Copy)]
struct Slot {
    /// fio's name for the I/O.
    tag: u64,
    sent: Time,
    out: bool,
}

/// One association with one I/O queue.
pub(crate) struct TcpLane {
    group: PollGroup,
    queues: Queues,
    association: Association,
    io: Option<SocketId>,
    slots: Box<[Slot]>,
    free: Vec<u16>,
    /// The range of a trim, for each slot.
    ranges: Extent,
    timeout: Duration,
    look: Time,
}

impl TcpLane {
    /// Connects, and waits for that.
    pub(crate) fn connect(
        address: SocketAddr,
        options: &HostOptions,
        clock: &Clock,
    ) -> Result<Self, TcpError> {
        let backoff = Backoff { give_up_after: Duration::ZERO, ..Backoff::DEFAULT };
        let association = Association::new(AssociationOptions {
            address,
            identity: options.identity.clone(),
            io_queues: 1,
            queues_elsewhere: 0,
            depth: options.depth,
            header_digest: options.header_digest,
            data_digest: options.data_digest,
            flow_control: options.flow_control,
            keep_alive: options.keep_alive,
            timeout: options.timeout,
            transfer_bytes_max: options.transfer_bytes_max,
            backoff,
        })?;
        let depth = usize::from(options.depth);
        let mut lane = Self {
            group: PollGroup::new(&Options {
                chunk_bytes: CHUNK_BYTES,
                chunks: SOCKETS * CHUNKS_PER_SOCKET,
                sockets_max: SOCKETS,
                chunks_per_socket: CHUNKS_PER_SOCKET,
            })?,
            queues: Queues::new(SOCKETS),
            association,
            io: None,
            slots: vec![Slot { tag: 0, sent: Time::ORIGIN, out: false }; depth].into(),
            free: (0..options.depth).rev().collect(),
            ranges: Extent::ordinary(depth * RANGE_BYTES)?,
            timeout: options.timeout,
            look: Time::ORIGIN,
        };
        loop {
            match lane.turn(clock.now(), &mut |_, _| {}) {
                Some(Change::Up) => break,
                Some(Change::Down(fault) | Change::GaveUp(fault)) => {
                    return Err(TcpError::Fault(address, fault));
                }
                Some(Change::Left) | None => thread::yield_now(),
            }
        }
        lane.io = lane.association.io(0);
        let most = lane.association.controller().map_or(u16::MAX, |controller| controller.depth_max());
        if options.depth > most {
            let depth = options.depth;
            say(&format_args!(
                "iodepth={depth}, but a queue of this controller takes {most} commands at a time"
            ));
        }
        Ok(lane)
    }

    pub(crate) fn submit(&mut self, now: Time, io: &Command) -> Result<(), Refusal> {
        let pair = self.io.and_then(|socket| self.queues.pair_mut(socket)).ok_or(Failure::Lost)?;
        let Some(&number) = self.free.last() else { return Err(Refusal::Full) };
        let Command { operation, nsid, lba, blocks, memory, .. } = *io;
        let (sqe, transfer) = match operation {
            Operation::Read => (command::read(nsid, lba, blocks), Transfer::ToHost(memory)),
            Operation::Write => {
                (command::write(nsid, lba, blocks, false), Transfer::ToController(memory.read_only()))
            }
            Operation::Trim => {
                let start = usize::from(number) * RANGE_BYTES;
                let place = self.ranges.segment_mut(start..start + RANGE_BYTES);
                mem::copy_in(range(lba, blocks).as_bytes(), place);
                (command::deallocate(nsid, 1), Transfer::ToController(place.read_only()))
            }
            Operation::Flush => (command::flush(nsid), Transfer::None),
        };
        match pair.submit(&sqe, transfer, number.into()) {
            Ok(_) => {}
            Err(NotSubmitted::Full) => return Err(Refusal::Full),
            // It has ended, which the next poll finds out.
            Err(NotSubmitted::NotReady) => return Err(Failure::Lost.into()),
            Err(NotSubmitted::TooLong { .. }) => return Err(Failure::TooLong.into()),
        }
        self.free.pop();
        self.slots[usize::from(number)] = Slot { tag: io.tag, sent: now, out: true };
        Ok(())
    }

    pub(crate) fn flush(&mut self) {
        self.queues.flush(&mut self.group);
    }

    /// Does one batch; tells what has ended.
    pub(crate) fn poll(&mut self, now: Time, mut done: impl FnMut(u64, Result<(), Failure>)) {
        if self.io.is_none() {
            return;
        }
        if let Some(Change::Down(fault) | Change::GaveUp(fault)) = self.turn(now, &mut done) {
            self.lost(fault, &mut done);
        }
        if now < self.look {
            return;
        }
        self.look = now + PACE;
        if self.slots.iter().any(|slot| slot.out && now.since(slot.sent) >= self.timeout) {
            let fault = Fault::CommandTimedOut { queue: QueueName(1), after: self.timeout };
            // Its sockets are closed now.
            let _ = self.association.fail(now, fault, &mut self.group, &mut self.queues);
            self.lost(fault, &mut done);
        }
    }

    /// Ends the association, in order where it is whole and nothing is under way.
    pub(crate) fn leave(&mut self, clock: &Clock) {
        if self.io.take().is_some() && self.free.len() == self.slots.len() {
            self.association.leave(clock.now(), &mut self.group, &mut self.queues);
            let until = clock.now() + LEAVE;
            while !self.association.is_over() && clock.now() < until {
                self.turn(clock.now(), &mut |_, _| {});
                thread::yield_now();
            }
        }
        self.queues.close_all(&mut self.group);
    }

    fn turn(&mut self, now: Time, done: &mut impl FnMut(u64, Result<(), Failure>)) -> Option<Change> {
        let Self { group, queues, association, io, slots, free, .. } = self;
        let change = association.advance(now, group, queues);
        let admin = association.admin();
        queues.poll(group, |socket, completion| {
            if Some(socket) == admin {
                return association.completed(completion);
            }
            if Some(socket) != *io {
                return;
            }
            let Ok(number) = u16::try_from(completion.tag) else { unreachable!("tags are slots") };
            let outcome = completion.outcome.map(drop).map_err(Failure::of_command);
            if outcome == Err(Failure::Lost) {
                // Why is told with the end of the association.
                return association.suspect();
            }
            let slot = &mut slots[usize::from(number)];
            slot.out = false;
            free.push(number);
            done(slot.tag, outcome);
        });
        queues.flush(group);
        change
    }

    /// The association is over: so is all that was under way.
    fn lost(&mut self, fault: Fault, done: &mut impl FnMut(u64, Result<(), Failure>)) {
        self.io = None;
        say(&fault);
        for (number, slot) in (0..).zip(&mut self.slots) {
            if slot.out {
                slot.out = false;
                self.free.push(number);
                done(slot.tag, Err(Failure::Lost));
            }
        }
    }
}

/// The data of a trim.
fn range(lba: u64, blocks: u32) -> DatasetRange {
    let mut range = DatasetRange::new_zeroed();
    range.starting_lba = lba.into();
    range.blocks = blocks.into();
    range
}
