//! An I/O queue pair on its reactor: commands in, bdevs in the middle, data and responses out.
//!
//! A command whose bdev completes it inside `submit` needs no slot: a read is answered with lent memory, a write is
//! copied out of the received bytes. Others take a slot:
//!
//! ```text
//!   Waiting --buffer--> Receiving --all data--> Executing --completion--> answered
//!      |                                          ^
//!      +---- (data for the host, or in a capsule) +
//! ```
//!
//! A command that touches blocks which a fused operation has for itself waits in `Barred` before it is executed; halves of
//! a fused operation have stages of their own: see [`fusing`](super::fusing).
//!
//! Invariants: a slot's index is its transfer tag; `Waiting` slots are exactly those in `waiting` and `asking`, in order;
//! a buffer is in `buffers`, in a slot, or in the outbox; the tag of a pending bdev command names socket and slot.

use std::collections::VecDeque;
use std::sync::Arc;

use corelane_reactors::buffer::{Lease, Segment, SegmentMut};
use corelane_reactors::poll_group::{SocketId, Taken};

use crate::connection::controller::Event;
use crate::mem::{self, Buffer};
use crate::nvmf::controller::ControllerId;
use crate::nvmf::errors::Failures;
use crate::nvmf::io::{self, Limits, Namespaces, Operation, Request, Transfer};
use crate::nvmf::target::IoTicket;
use crate::spec::opcode::NvmOpcode;
use crate::spec::sqe::{Fused, Sqe};
use crate::spec::status::Status;
use crate::trace::{CommandTrace, What};
use crate::transport::answers::{fabrics_status, interrupted, preempted};
use crate::transport::command::{Command, Stage, executing, tag};
use crate::transport::data::Data;
use crate::transport::fencing::Fence;
use crate::transport::fusing::{Arrival, First};
use crate::transport::link::Link;
use crate::transport::queues::Services;
use crate::transport::share::Share;
use crate::transport::slots::Slots;
use crate::transport::submission::SubmissionQueue;
use crate::transport::tally::{ANSWERED_MAX, Answered, Mark};

/// An I/O queue pair.
#[derive(Debug)]
pub(super) struct IoQueue {
    pub(super) controller: ControllerId,
    pub(super) qid: u16,
    pub(super) submission: SubmissionQueue,
    pub(super) limits: Limits,
    pub(super) namespaces: Namespaces,
    /// Counts for the connection.
    pub(super) trace: Arc<CommandTrace>,
    /// What was answered in this batch and is not timed yet.
    pub(super) answered: Vec<Answered>,
    /// Where the rights of its host are found; none where the subsystem has no reservations.
    pub(super) fence: Option<Fence>,
    /// Where commands are noted that fail.
    pub(super) failures: Arc<Failures>,
    pub(super) slots: Slots<Command>,
    /// What became of the first command of a fused operation, until the next command comes.
    pub(super) first: Option<First>,
    /// Wait for a buffer, and for nothing else.
    pub(super) waiting: VecDeque<u16>,
    /// Wait for a buffer for which the host will be asked for data.
    pub(super) asking: VecDeque<u16>,
    /// The last buffer went to one of `asking`.
    pub(super) asked_last: bool,
    /// Those that are free.
    pub(super) buffers: Share,
    /// Commands that a bdev has.
    pub(super) executing: usize,
    /// No commands are taken on for now: the queue shall leave this reactor.
    pub(super) holding: bool,
    /// The connection is over, and the bdevs were asked to end what they have.
    abandoned: bool,
}

impl IoQueue {
    /// A queue for `ticket`, with the buffers that it may use at a time.
    pub(super) fn new(
        ticket: &IoTicket,
        trace: Arc<CommandTrace>,
        fence: Option<Fence>,
        namespaces: Namespaces,
        buffers: Share,
        limits: Limits,
    ) -> Self {
        let entries = u16::try_from(ticket.entries).unwrap_or(u16::MAX);
        Self {
            controller: ticket.controller,
            qid: ticket.qid,
            submission: SubmissionQueue::connected(ticket.entries, ticket.flow_control),
            limits,
            namespaces,
            trace,
            answered: Vec::with_capacity(ANSWERED_MAX),
            fence,
            failures: Arc::clone(&ticket.failures),
            slots: Slots::new(entries),
            first: None,
            waiting: VecDeque::with_capacity(usize::from(entries)),
            asking: VecDeque::with_capacity(usize::from(entries)),
            asked_last: false,
            buffers,
            executing: 0,
            holding: false,
            abandoned: false,
        }
    }

    /// No bdev has a command of this queue.
    pub(super) fn is_quiet(&self) -> bool {
        self.executing == 0
    }

    /// Every command is answered, but for one that waits for its other half, which may never come.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.used() == usize::from(matches!(self.first, Some(First::Waits(_))))
    }

    /// More commands can be taken on: a slot is free, and their answers will find room.
    pub(super) fn has_room(&self, link: &Link) -> bool {
        !self.holding && self.slots.next().is_some() && link.connection.has_room(self.slots.used())
    }

    /// Answers the Connect command with which the queue began.
    pub(super) fn connected(&self, link: &mut Link, cid: u16, status: Status, dw0: u32) {
        let mut cqe = self.submission.connect_cqe(cid, status);
        cqe.dw0 = dw0.into();
        link.connection.respond(&cqe);
    }

    /// Takes what it can of `bytes`.
    pub(super) fn received(&mut self, link: &mut Link, services: &mut Services, bytes: &Lease) -> Taken {
        let stream = bytes.as_ref();
        self.foresee(link, services, stream);
        let mut taken = 0;
        loop {
            // Data is taken whatever waits: it may be what every other command waits for.
            let is_command = link.connection.begins_command(&stream[taken..]);
            if is_command && !services.draining && !self.has_room(link) {
                link.paused = true;
                return Taken::pause(taken);
            }
            let (used, event) = match link.connection.next(&stream[taken..]) {
                Ok(step) => step,
                Err(error) => {
                    services.counters.protocol_errors.add(1);
                    let values = [self.controller.number(), self.qid.into(), 0];
                    services.note(What::ProtocolError, values);
                    tracing::debug!(peer = %link.peer, %error, "the host broke the protocol on an I/O queue");
                    link.end();
                    return Taken::bytes(stream.len());
                }
            };
            taken += used;
            match event {
                Event::Incomplete => return Taken::bytes(taken),
                Event::Taken | Event::Opened => {}
                // Nothing new is begun. The host sees the connection close, and tries again elsewhere or later.
                Event::Command { .. } if services.draining => {}
                Event::Command { sqe, data, intact } => {
                    // In-capsule data ends its PDU, but for a digest: find it by address, not by arithmetic.
                    let start = data.as_ptr().addr() - stream.as_ptr().addr();
                    self.command(link, services, sqe, bytes, start..start + data.len(), intact);
                }
                Event::Data { ttag, offset, bytes } => self.store(ttag, offset, bytes),
                Event::Transferred { ttag, intact } => self.transferred(link, services, ttag, intact),
                Event::Terminated(termination) => {
                    tracing::debug!(peer = %link.peer, ?termination, "the host ended an I/O queue");
                    link.end();
                    return Taken::bytes(stream.len());
                }
            }
        }
    }

    /// Where the next bytes of the stream belong.
    pub(super) fn wanted(&mut self, link: &Link) -> Option<SegmentMut> {
        let wanted = link.connection.wanted()?;
        let Stage::Receiving(buffer) = &self.slots.find(wanted.tag)?.stage else { return None };
        let start = wanted.offset as usize;
        Some(buffer.segment_mut(start..start + wanted.bytes as usize))
    }

    /// `bytes` came where they were wanted.
    pub(super) fn received_direct(&mut self, link: &mut Link, services: &mut Services, bytes: usize) {
        let Some(wanted) = link.connection.wanted() else { return };
        let Some(Command { stage: Stage::Receiving(buffer), .. }) = self.slots.find(wanted.tag) else {
            return;
        };
        let start = wanted.offset as usize;
        let segment = buffer.segment(start..start + bytes);
        let bytes = u32::try_from(bytes).expect("not more than was wanted");
        link.connection.direct(bytes, |crc| mem::crc32c(segment, crc));
        // The end of a transfer is told without more bytes.
        if let Ok((_, Event::Transferred { ttag, intact })) = link.connection.next(&[]) {
            self.transferred(link, services, ttag, intact);
        }
    }

    /// A bdev has completed the command in `slot`.
    /// True if a preempting command waited for it.
    pub(super) fn completed(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        slot: u16,
        status: Status,
    ) -> Option<u32> {
        if self.slots.find(slot).is_some_and(|command| command.pair.is_some()) {
            return self.half_completed(link, services, slot, status);
        }
        let Some(command) = self.slots.remove(slot) else { unreachable!("a bdev completes a command once") };
        let Stage::Executing { buffer, .. } = command.stage else {
            unreachable!("only an executing command is in a bdev");
        };
        self.executing -= 1;
        if !link.is_live() {
            services.counters.completed_late.add(1);
        }
        let fenced = command.fenced.then_some(command.request.namespace.nsid);
        if command.aborted {
            services.aborted(link.socket, slot, status.is(Status::ABORT_REQUESTED));
        }
        let status = match status {
            status if command.fenced => preempted(status),
            status if command.aborted => status,
            status => interrupted(status),
        };
        if status.is_success() || !matches!(command.request.operation, Operation::Copy { .. }) {
            self.answer(link, services, command.mark, &command.request, buffer, status);
        } else {
            let ranges = services.channels.copied(tag(link.socket, slot));
            self.answer_copy(link, services, command.mark, &command.request, buffer, (status, ranges));
        }
        self.serve_waiting(link, services);
        fenced
    }

    /// A buffer that was sent is free again.
    pub(super) fn sent(&mut self, data: Data) {
        if let Data::Buffer(buffer, _) = data {
            self.buffers.put(buffer);
        }
    }

    /// Goes on with commands that waited for a buffer.
    pub(super) fn serve_waiting(&mut self, link: &mut Link, services: &mut Services) {
        while let Some((slot, buffer)) = self.next_waiting() {
            self.start(link, services, slot, buffer);
        }
    }

    /// The command that gets the next buffer, and that buffer. Both kinds take turns; within a kind nobody is overtaken, so
    /// a large command does not wait for ever behind small ones.
    fn next_waiting(&mut self) -> Option<(u16, Buffer)> {
        for asks in [!self.asked_last, self.asked_last] {
            let queue = if asks { &self.asking } else { &self.waiting };
            let Some(&slot) = queue.front() else { continue };
            let Some(command) = self.slots.find(slot) else { unreachable!("waiting slots are in use") };
            let bytes = command.request.transfer.bytes();
            let buffer = if asks { self.buffers.for_data(bytes) } else { self.buffers.for_answer(bytes) };
            if let Some(buffer) = buffer {
                let queue = if asks { &mut self.asking } else { &mut self.waiting };
                queue.pop_front();
                self.asked_last = asks;
                return Some((slot, buffer));
            }
        }
        None
    }

    /// Lets go of every command that no bdev has; asks the others to end, once. The connection is over.
    pub(super) fn abandon(&mut self, socket: SocketId, services: &mut Services) {
        if std::mem::replace(&mut self.abandoned, true) {
            return;
        }
        let all: Vec<_> =
            self.slots.iter().map(|(slot, command)| (slot, command.request.namespace)).collect();
        for (slot, namespace) in all {
            match self.slots.find(slot).map(|command| &command.stage) {
                Some(Stage::Executing { .. }) => {
                    services.channels.abort(&namespace, tag(socket, slot));
                }
                Some(Stage::Reserving(_) | Stage::Claiming { .. }) | None => {}
                Some(
                    Stage::Waiting(_) | Stage::Receiving(_) | Stage::Barred { .. } | Stage::Fused { .. },
                ) => {
                    self.slots.remove(slot);
                }
            }
        }
        self.first = None;
        self.waiting.clear();
        self.asking.clear();
    }

    pub(super) fn respond(&self, link: &mut Link, cid: u16, status: Status) {
        link.connection.respond(&self.submission.cqe(cid, status));
    }

    fn command(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        sqe: &Sqe,
        bytes: &Lease,
        data: std::ops::Range<usize>,
        intact: bool,
    ) {
        services.counters.commands.add(1);
        self.submission.fetched();
        let mark = Mark { cid: sqe.cid.get(), since: services.latest };
        self.expect_second(link, services, sqe);
        if sqe.nvm_opcode() == NvmOpcode::FABRICS {
            let status = fabrics_status(sqe);
            self.tally_fabrics(services, mark, sqe, status);
            return self.respond(link, mark.cid, status);
        }
        let decoded = io::decode(sqe, data.len(), &self.namespaces, &self.limits);
        if matches!(sqe.fused(), Fused::FIRST | Fused::SECOND) {
            let lease = bytes.slice(data);
            return self.fuse(link, services, Arrival { mark, sqe, decoded, lease, intact });
        }
        let request = match decoded {
            Ok(request) => request,
            Err(status) => {
                self.tally_refused(services, mark, sqe, status);
                return self.respond(link, mark.cid, status);
            }
        };
        if !intact {
            return self.refuse(link, services, mark, &request, Status::TRANSIENT_TRANSPORT_ERROR);
        }
        // A capsule may hold more than the command moves.
        let data = data.start..data.start + (request.transfer.bytes() as usize).min(data.len());
        match request.transfer {
            Transfer::ToHost(_) => self.read(link, services, mark, request),
            Transfer::FromHost(_) => self.ask(link, services, mark, request),
            Transfer::InCapsule(_) if request.namespace.geometry.uses_callers_memory() => {
                self.wait_for_buffer(link, services, mark, request, Some(bytes.slice(data)));
            }
            Transfer::InCapsule(_) => {
                let lease = bytes.slice(data);
                let from = lease.segment();
                let command = Command::new(mark, request, executing(None, Some(lease)));
                self.execute(link, services, command, from);
            }
            Transfer::None => {
                let command = Command::new(mark, request, executing(None, None));
                self.execute(link, services, command, Segment::empty());
            }
        }
    }

    fn read(&mut self, link: &mut Link, services: &mut Services, mark: Mark, request: Request) {
        if let Err(status) = self.judge(services, &request) {
            return self.refuse(link, services, mark, &request, status);
        }
        if let Operation::Read(blocks) = request.operation
            && !link.connection.has_data_digest()
            && !services.is_barred(&request)
            && !request.commits_first
            && let Some(lent) = services.channels.lend(&request.namespace, blocks)
        {
            self.tally(services, mark, &request, lent.len() as u64, Status::SUCCESS);
            self.send(link, mark.cid, Data::Lent(lent));
            return;
        }
        self.wait_for_buffer(link, services, mark, request, None);
    }

    /// Takes on a command whose data the host has still to send. One that is hopeless already does not make it send;
    /// the others are judged again when the data is there.
    fn ask(&mut self, link: &mut Link, services: &mut Services, mark: Mark, request: Request) {
        match self.judge(services, &request) {
            Ok(()) => self.wait_for_buffer(link, services, mark, request, None),
            Err(status) => self.refuse(link, services, mark, &request, status),
        }
    }

    /// Sends data and, unless it is the response itself, the response.
    #[inline]
    pub(super) fn send(&mut self, link: &mut Link, cid: u16, data: Data) {
        // SUCCESS in C2HData leaves the host without an SQHD: only where it does not want one.
        let refused = link.connection.send_data(cid, data, !self.submission.flow_control());
        if let Some(data) = refused {
            self.sent(data);
        } else if self.submission.flow_control() {
            self.respond(link, cid, Status::SUCCESS);
        }
    }

    fn wait_for_buffer(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        mark: Mark,
        request: Request,
        lease: Option<Lease>,
    ) {
        let slot = self.slots.insert(Command::new(mark, request, Stage::Waiting(lease)));
        match request.transfer {
            Transfer::FromHost(_) => self.asking.push_back(slot),
            _ => self.waiting.push_back(slot),
        }
        self.serve_waiting(link, services);
    }

    /// The command in `slot` has waited for `buffer`.
    fn start(&mut self, link: &mut Link, services: &mut Services, slot: u16, buffer: Buffer) {
        let Some(command) = self.slots.find(slot) else { unreachable!("waiting slots are in use") };
        let (cid, transfer) = (command.mark.cid, command.request.transfer);
        match transfer {
            Transfer::FromHost(bytes) => {
                command.stage = Stage::Receiving(buffer);
                link.connection.request_data(cid, slot, bytes);
            }
            Transfer::InCapsule(bytes) => {
                let into = buffer.segment_mut(0..bytes as usize);
                if let Stage::Waiting(Some(lease)) = &command.stage {
                    mem::copy(lease.segment(), into);
                }
                self.execute_slot(link, services, slot, buffer, bytes);
            }
            Transfer::ToHost(bytes) => self.execute_slot(link, services, slot, buffer, bytes),
            Transfer::None => unreachable!("a command without data needs no buffer"),
        }
    }

    fn store(&mut self, ttag: u16, offset: u32, bytes: &[u8]) {
        let Some(Command { stage: Stage::Receiving(buffer), .. }) = self.slots.find(ttag) else {
            unreachable!("the connection knows which transfer tags are in use");
        };
        let start = offset as usize;
        mem::copy_in(bytes, buffer.segment_mut(start..start + bytes.len()));
    }

    fn transferred(&mut self, link: &mut Link, services: &mut Services, ttag: u16, intact: bool) {
        let Some(command) = self.slots.find(ttag) else {
            unreachable!("the connection knows which transfer tags are in use");
        };
        let Stage::Receiving(buffer) = std::mem::replace(&mut command.stage, Stage::Waiting(None)) else {
            unreachable!("data was asked for into a buffer");
        };
        let Transfer::FromHost(bytes) = command.request.transfer else {
            unreachable!("only data from the host is transferred");
        };
        if command.pair.is_some() {
            return self.half_received(link, services, ttag, buffer, intact);
        }
        self.buffers.received(&buffer);
        let refused = match (intact, command.aborted) {
            (true, false) => return self.execute_slot(link, services, ttag, buffer, bytes),
            (_, true) => Status::ABORT_REQUESTED,
            (false, false) => Status::TRANSIENT_TRANSPORT_ERROR,
        };
        let (mark, request) = (command.mark, command.request);
        self.slots.remove(ttag);
        self.buffers.put(buffer);
        self.refuse(link, services, mark, &request, refused);
        self.serve_waiting(link, services);
    }
}
