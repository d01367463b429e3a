//! Fused Compare and Write on its I/O queue (NVMe base 2.1, section 3.4.2; NVM command set 1.0, section 2.1.3.1).
//!
//! ```text
//!   Compare, FUSE 01b --> Fused --the next command is its Write, and all data is here--> Claiming (both halves)
//!                           |                                                              |
//!                           +--anything else: Missing Fused Command                        v
//!                                                             granted: Compare Executing, Write Claiming
//!                                                                                          |
//!                                                   both answered <-- Write Executing <-- equal
//! ```
//!
//! The pair claims its blocks when all of its data is here, so no host can hold them for longer than its device takes: see
//! [`claims`](super::claims) for how nobody else touches them meanwhile. Each half is judged when it is handed over. The
//! Compare is answered first. Where it fails, or either half is wrong, nothing is written: the half that is at fault has
//! its own status, the other one Failed Fused Command.
//!
//! Data of both halves that came in capsules stays where it was received; otherwise both take a buffer at once, or the
//! host is told to try again: halves that wait for each other's buffers could wait for ever.
//!
//! Invariants: `first` is `Waits` exactly while the command that came last is the first of a pair; a pair in `Claiming`
//! counts once in `executing`, and is in `queued` or in `claims`, until both halves are answered.

use std::collections::VecDeque;

use corelane_reactors::buffer::{Lease, Segment, SegmentMut};
use corelane_reactors::mailbox::Slot;

use crate::mem::{self, Buffer};
use crate::nvmf::io::{Operation, Place, Request, Transfer};
use crate::spec::sqe::{Fused, Sqe};
use crate::spec::status::Status;
use crate::transport::answers::{interrupted, preempted};
use crate::transport::command::{Command, Pair, Stage, executing, tag, untag};
use crate::transport::io_queue::IoQueue;
use crate::transport::link::Link;
use crate::transport::message::{Claim, ManagementMail};
use crate::transport::queues::{Queue, Queues, Role, Services};
use crate::transport::tally::Mark;

/// Places that the queues of one I/O reactor claim at a time; other pairs wait for their turn.
pub(super) const CLAIMS_MAX: usize = 4;

const FAILED: Status = Status::FAILED_FUSED.with_dnr();
const MISSING: Status = Status::MISSING_FUSED.with_dnr();

/// What became of the first command of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// It is in this slot.
    Waits(u16),
    /// It was answered that it cannot be.
    Refused,
}

/// A command with FUSE that just came.
pub(super) struct Arrival<'a> {
    pub(super) mark: Mark,
    pub(super) sqe: &'a Sqe,
    pub(super) decoded: Result<Request, Status>,
    pub(super) lease: Lease,
    pub(super) intact: bool,
}

/// The claims of an I/O reactor.
#[derive(Debug, Default)]
pub(super) struct Fusing {
    /// Pairs that have not claimed their place, by the tag of their Compare.
    queued: VecDeque<(u64, Place)>,
    claims: Vec<Claimed>,
}

/// A pair that has claimed its place.
#[derive(Debug)]
struct Claimed {
    tag: u64,
    /// What it is to release, once it was granted.
    number: Option<u64>,
    /// Room to say so.
    release: Slot<ManagementMail>,
}

impl Services {
    /// Claims places for pairs that wait. True if there were any that could.
    pub(super) fn claim(&mut self) -> bool {
        let mut any = false;
        while self.fusing.claims.len() < CLAIMS_MAX
            && let Some(mail) = &self.reservations
            && let Some((tag, place)) = self.fusing.queued.front()
        {
            let (Some(release), Some(reply)) = (mail.to_management.reserve(), mail.back.reserve()) else {
                break;
            };
            let claim = Box::new(Claim { place: place.clone(), tag: *tag, reply });
            if mail.to_management.send(ManagementMail::Claim(claim)).is_err() {
                break;
            }
            self.fusing.claims.push(Claimed { tag: *tag, number: None, release });
            self.fusing.queued.pop_front();
            any = true;
        }
        any
    }

    /// A pair waits for room in a mailbox.
    pub(super) fn has_unclaimed(&self) -> bool {
        !self.fusing.queued.is_empty() && self.fusing.claims.len() < CLAIMS_MAX
    }

    fn release(&mut self, tag: u64) {
        let found = self.fusing.claims.iter().position(|claimed| claimed.tag == tag);
        let Some(index) = found else { unreachable!("a pair is granted what it has claimed") };
        let Claimed { number, release, .. } = self.fusing.claims.swap_remove(index);
        let Some(number) = number else { unreachable!("a pair ends after it was granted") };
        release.send(ManagementMail::Released(number));
        self.claim();
    }
}

impl Queues {
    /// A pair has its place for itself.
    pub(super) fn granted(&mut self, tag: u64, number: u64) {
        let claims = &mut self.services.fusing.claims;
        let Some(claimed) = claims.iter_mut().find(|claimed| claimed.tag == tag) else {
            unreachable!("what is granted was claimed")
        };
        claimed.number = Some(number);
        let (index, slot) = untag(tag);
        let Some(Queue { link, role: Role::Io(io, _) }) = self.table[index].as_deref_mut() else {
            unreachable!("a queue stays until its commands are back");
        };
        io.granted(link, &mut self.services, slot);
        io.settle_answers(&self.services);
        let socket = link.socket;
        self.mark(socket);
    }
}

impl IoQueue {
    /// A command comes: if the one before it was the first of a pair, it has to be the second.
    pub(super) fn expect_second(&mut self, link: &mut Link, services: &mut Services, sqe: &Sqe) {
        if sqe.fused() == Fused::SECOND {
            return;
        }
        if let Some(First::Waits(slot)) = self.first.take() {
            self.end_half(link, services, slot, MISSING);
        }
    }

    /// Takes a half of a pair.
    pub(super) fn fuse(&mut self, link: &mut Link, services: &mut Services, arrival: Arrival<'_>) {
        let Arrival { mark, sqe, decoded, lease, intact } = arrival;
        let decoded = match decoded {
            Ok(_) if !intact => Err(Status::TRANSIENT_TRANSPORT_ERROR),
            decoded => decoded,
        };
        if sqe.fused() == Fused::FIRST {
            self.first = Some(match decoded {
                Ok(request) => First::Waits(self.hold(mark, request, &lease)),
                Err(status) => {
                    self.refuse_half(link, services, mark, sqe, status);
                    First::Refused
                }
            });
            return;
        }
        let first = match self.first.take() {
            None => return self.refuse_half(link, services, mark, sqe, MISSING),
            Some(First::Refused) => return self.refuse_half(link, services, mark, sqe, FAILED),
            Some(First::Waits(slot)) => slot,
        };
        let Some(command) = self.slots.find(first) else { unreachable!("it waits in its slot") };
        let matching = decoded.and_then(|write| match (command.request.operation, write.operation) {
            (Operation::Compare(compared), Operation::Write { blocks, .. })
                if compared == blocks && command.request.namespace.nsid == write.namespace.nsid =>
            {
                Ok(write)
            }
            // Both are at fault.
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        });
        match matching {
            Ok(write) if self.slots.next().is_some() => {
                let second = self.hold(mark, write, &lease);
                self.pair(link, services, first, second);
            }
            Ok(_) => {
                self.end_half(link, services, first, Status::INTERRUPTED);
                self.refuse_half(link, services, mark, sqe, FAILED);
            }
            Err(status) => {
                let of_first = if decoded.is_ok() { status } else { FAILED };
                self.end_half(link, services, first, of_first);
                self.refuse_half(link, services, mark, sqe, status);
            }
        }
    }

    /// Keeps a half in a slot, with the data that its capsule brought.
    fn hold(&mut self, mark: Mark, request: Request, lease: &Lease) -> u16 {
        let in_capsule = match request.transfer {
            // A capsule may hold more than the command moves.
            Transfer::InCapsule(bytes) => Some(lease.slice(0..bytes as usize)),
            Transfer::None | Transfer::FromHost(_) | Transfer::ToHost(_) => None,
        };
        self.slots.insert(Command::new(mark, request, Stage::Fused { buffer: None, lease: in_capsule }))
    }

    /// Both halves are here and right in themselves: gets the data that is missing.
    fn pair(&mut self, link: &mut Link, services: &mut Services, first: u16, second: u16) {
        let halves = [first, second];
        let transfers = halves.map(|slot| self.half(slot).request.transfer);
        let asks = transfers.iter().any(|transfer| matches!(transfer, Transfer::FromHost(_)));
        for (slot, other, is_first) in [(first, second, true), (second, first, false)] {
            self.half(slot).pair = Some(Pair { other, is_first, counted: asks, damaged: false });
        }
        if !asks && !self.half(first).request.namespace.geometry.uses_callers_memory() {
            return self.claim(link, services, first);
        }
        let take = |buffers: &mut crate::transport::share::Share| {
            let bytes = transfers[0].bytes();
            if asks { buffers.for_data(bytes) } else { buffers.for_answer(bytes) }
        };
        let Some(one) = take(&mut self.buffers) else { return self.try_again(link, services, halves) };
        let Some(other) = take(&mut self.buffers) else {
            self.give_back(one, asks);
            return self.try_again(link, services, halves);
        };
        for (slot, buffer) in halves.into_iter().zip([one, other]) {
            let command = self.half(slot);
            match (command.request.transfer, &command.stage) {
                (Transfer::FromHost(bytes), _) => {
                    let cid = command.mark.cid;
                    command.stage = Stage::Receiving(buffer);
                    link.connection.request_data(cid, slot, bytes);
                }
                (Transfer::InCapsule(bytes), Stage::Fused { lease: Some(lease), .. }) => {
                    mem::copy(lease.segment(), buffer.segment_mut(0..bytes as usize));
                    command.stage = Stage::Fused { buffer: Some(buffer), lease: None };
                }
                _ => unreachable!("Compare and Write bring data"),
            }
        }
        if !asks {
            self.claim(link, services, first);
        }
    }

    /// The data that the host was asked for has come.
    pub(super) fn half_received(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        slot: u16,
        buffer: Buffer,
        intact: bool,
    ) {
        let command = self.half(slot);
        command.stage = Stage::Fused { buffer: Some(buffer), lease: None };
        let Some(pair) = command.pair.as_mut() else { unreachable!("data is asked for when both are there") };
        pair.damaged = !intact;
        let Pair { other, is_first, .. } = *pair;
        let partner = self.half(other);
        let damaged = !intact || partner.pair.is_some_and(|pair| pair.damaged);
        if !matches!(partner.stage, Stage::Fused { .. }) {
            return;
        }
        let (first, second) = if is_first { (slot, other) } else { (other, slot) };
        if !damaged {
            return self.claim(link, services, first);
        }
        for slot in [first, second] {
            let damaged = self.half(slot).pair.is_some_and(|pair| pair.damaged);
            let status = if damaged { Status::TRANSIENT_TRANSPORT_ERROR } else { FAILED };
            self.end_half(link, services, slot, status);
        }
        self.serve_waiting(link, services);
    }

    /// All data is here: claims the blocks.
    fn claim(&mut self, link: &Link, services: &mut Services, first: u16) {
        let command = self.half(first);
        let Operation::Compare(blocks) = command.request.operation else {
            unreachable!("the first is a Compare")
        };
        let place = services.channels.place(&command.request.namespace, blocks);
        let Some(Pair { other, .. }) = command.pair else { unreachable!("it has its other half") };
        for slot in [first, other] {
            let command = self.half(slot);
            let counted = command.pair.as_mut().is_some_and(|pair| std::mem::take(&mut pair.counted));
            let stage = std::mem::replace(&mut command.stage, Stage::Reserving(None));
            let Stage::Fused { buffer, lease } = stage else { unreachable!("its data is here") };
            if counted && let Some(buffer) = &buffer {
                self.buffers.received(buffer);
            }
            self.half(slot).stage = Stage::Claiming { buffer, lease };
        }
        self.executing += 1;
        services.fusing.queued.push_back((tag(link.socket, first), place));
        services.claim();
    }

    /// Nobody else touches the blocks: compares them.
    fn granted(&mut self, link: &mut Link, services: &mut Services, first: u16) {
        let request = self.half(first).request;
        match self.judge(services, &request) {
            // Nobody is left to hear what would come of it.
            _ if !link.is_live() => self.end_pair(link, services, first, [FAILED; 2]),
            Err(status) => self.end_pair(link, services, first, [status, FAILED]),
            Ok(()) => {
                if let Some(status) = self.hand_over(link, services, first) {
                    self.compared(link, services, first, status);
                }
            }
        }
    }

    /// Hands a half to its bdev; its status if that is done already.
    fn hand_over(&mut self, link: &Link, services: &mut Services, slot: u16) -> Option<Status> {
        let command = self.half(slot);
        let mut request = command.request;
        let stage = std::mem::replace(&mut command.stage, Stage::Reserving(None));
        let Stage::Claiming { buffer, lease } = stage else { unreachable!("it has its blocks for itself") };
        let from = match (&buffer, &lease) {
            (Some(buffer), _) => buffer.segment(0..request.transfer.bytes() as usize),
            (None, Some(lease)) => lease.segment(),
            (None, None) => Segment::empty(),
        };
        command.stage = executing(buffer, lease);
        let tag = tag(link.socket, slot);
        services.channels.submit(tag, &mut request, from, SegmentMut::empty())
    }

    /// The Compare is done: writes, if it is to.
    fn compared(&mut self, link: &mut Link, services: &mut Services, first: u16, status: Status) {
        let command = self.half(first);
        let Some(Pair { other, .. }) = command.pair else { unreachable!("it has its other half") };
        let fenced = command.fenced;
        let write = self.half(other).request;
        let refused = match self.judge(services, &write) {
            _ if !status.is_success() || !link.is_live() => Some(FAILED),
            _ if fenced => Some(Status::ABORTED_PREEMPT),
            judged => judged.err(),
        };
        match refused {
            Some(refused) => self.end_pair(link, services, first, [status, refused]),
            None => {
                if let Some(written) = self.hand_over(link, services, other) {
                    self.end_pair(link, services, first, [status, written]);
                }
            }
        }
    }

    /// A bdev has completed a half. The namespace, if a preempting command waited for it.
    pub(super) fn half_completed(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        slot: u16,
        status: Status,
    ) -> Option<u32> {
        if !link.is_live() {
            services.counters.completed_late.add(1);
        }
        let command = self.half(slot);
        let fenced = command.fenced.then_some(command.request.namespace.nsid);
        let status = if command.fenced { preempted(status) } else { interrupted(status) };
        let Some(Pair { other, is_first, .. }) = command.pair else { unreachable!("it has its other half") };
        if is_first {
            self.compared(link, services, slot, status);
        } else {
            self.end_pair(link, services, other, [Status::SUCCESS, status]);
        }
        fenced
    }

    /// Answers both halves, and gives their blocks free.
    fn end_pair(&mut self, link: &mut Link, services: &mut Services, first: u16, statuses: [Status; 2]) {
        let Some(Pair { other, .. }) = self.half(first).pair else { unreachable!("it has its other half") };
        self.executing -= 1;
        for (slot, status) in [first, other].into_iter().zip(statuses) {
            self.end_half(link, services, slot, status);
        }
        services.release(tag(link.socket, first));
        self.serve_waiting(link, services);
    }

    /// No buffers: the host tries again.
    fn try_again(&mut self, link: &mut Link, services: &mut Services, [first, second]: [u16; 2]) {
        for slot in [first, second] {
            if let Some(pair) = self.half(slot).pair.as_mut() {
                pair.counted = false;
            }
        }
        self.end_half(link, services, first, Status::INTERRUPTED);
        self.end_half(link, services, second, FAILED);
    }

    /// Answers one half; its buffer is free again.
    fn end_half(&mut self, link: &mut Link, services: &mut Services, slot: u16, status: Status) {
        let Some(command) = self.slots.remove(slot) else {
            unreachable!("it is in its slot until it is answered")
        };
        let counted = command.pair.is_some_and(|pair| pair.counted);
        let buffer = match command.stage {
            Stage::Fused { buffer, .. }
            | Stage::Claiming { buffer, .. }
            | Stage::Executing { buffer, .. } => buffer,
            Stage::Waiting(_) | Stage::Receiving(_) | Stage::Barred { .. } | Stage::Reserving(_) => {
                unreachable!("a half has no such stage when it ends")
            }
        };
        if let Some(buffer) = &buffer
            && counted
        {
            self.buffers.received(buffer);
        }
        self.answer(link, services, command.mark, &command.request, buffer, status);
    }

    fn give_back(&mut self, buffer: Buffer, asked: bool) {
        if asked {
            self.buffers.received(&buffer);
        }
        self.buffers.put(buffer);
    }

    fn refuse_half(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        mark: Mark,
        sqe: &Sqe,
        status: Status,
    ) {
        self.tally_refused(services, mark, sqe, status);
        self.respond(link, mark.cid, status);
    }

    fn half(&mut self, slot: u16) -> &mut Command {
        let Some(command) = self.slots.find(slot) else {
            unreachable!("a half is in its slot until it is answered")
        };
        command
    }
}
