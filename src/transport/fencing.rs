//! What I/O queues have to do with reservations: they judge by what was published, hand reservation commands to the
//! management reactor, and bring the commands of a victim to their end. See [`escalation`](super::escalation) for those
//! that do not end when they are asked to.
//!
//! Invariants: the rules that a queue judges by were read in the turn in which it judges; a command of a victim that its
//! bdev had before the order came is counted until it is back, and so are bytes of a namespace that wait to be sent.

use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::{Sender, Slot};
use corelane_reactors::poll_group::SocketId;
use corelane_reactors::published::Subscriber;
use corelane_reactors::reactor::Turn;
use zerocopy::FromZeros;

use crate::mem::{self, Buffer, Segment};
use crate::nvmf::fence::{NamespaceKey, Snapshot};
use crate::nvmf::io::{Operation, Request};
use crate::spec::host::HostId;
use crate::spec::sqe::{Psdt, Sqe};
use crate::spec::status::Status;
use crate::trace::What;
use crate::transport::answers::worded;
use crate::transport::command::{Command, Stage, tag};
use crate::transport::data::Data;
use crate::transport::escalation::Escalation;
use crate::transport::io_queue::IoQueue;
use crate::transport::link::{Life, Link};
use crate::transport::message::{FenceOrder, IoMail, ManagementMail, Reserve};
use crate::transport::queues::{Queue, Queues, Role, Services};
use crate::transport::tally::Mark;

/// How long a preempting command waits for a victim to read what was queued for it, before its connection is closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes that a reservation command brings at most.
const REQUEST_BYTES_MAX: usize = 16;

/// The rules of one subsystem, as this reactor last read them.
pub(super) struct View {
    subsystem: usize,
    subscriber: Subscriber<Arc<Snapshot>>,
    current: Arc<Snapshot>,
}

/// The rules that the queues of a reactor judge by.
#[derive(Default)]
pub(super) struct Views(Vec<View>);

impl Views {
    /// Reads what is published, at the beginning of each share of a turn. Costs a load and a comparison a subsystem.
    pub(super) fn refresh(&mut self, turn: &Turn<'_>) {
        for view in &mut self.0 {
            let published = view.subscriber.read(turn);
            if !Arc::ptr_eq(published, &view.current) {
                view.current = Arc::clone(published);
            }
        }
    }

    /// The index of the view of a subsystem, made if there is none.
    pub(super) fn of(
        &mut self,
        subsystem: usize,
        subscriber: &Subscriber<Arc<Snapshot>>,
        turn: &Turn<'_>,
    ) -> usize {
        if let Some(index) = self.0.iter().position(|view| view.subsystem == subsystem) {
            return index;
        }
        let current = Arc::clone(subscriber.read(turn));
        self.0.push(View { subsystem, subscriber: subscriber.clone(), current });
        self.0.len() - 1
    }

    fn get(&self, index: usize) -> &Snapshot {
        &self.0[index].current
    }
}

/// The ways of a reservation command to the management reactor and back.
#[derive(Clone, Debug)]
pub struct ReservationMail {
    /// There.
    pub to_management: Sender<ManagementMail>,
    /// Back: leads to the reactor of this endpoint.
    pub back: Sender<IoMail>,
}

/// Where the rights of a queue are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    /// Index of the view.
    pub(super) view: usize,
    /// The host's slot.
    pub(super) slot: u32,
    pub(super) subsystem: usize,
    pub(super) host: HostId,
}

/// An order that is being carried out.
#[derive(Debug)]
pub(super) struct FenceWait {
    key: NamespaceKey,
    /// Commands that bdevs still have.
    pub(super) pending: usize,
    /// Sockets, and how much of their stream has to be gone.
    pub(super) unsent: Vec<(SocketId, u64)>,
    /// When the hosts that do not read lose their connections.
    pub(super) patient_until: Time,
    pub(super) escalation: Escalation,
    reply: Slot<ManagementMail>,
}

impl FenceWait {
    pub(super) fn new(order: FenceOrder, now: Time) -> (Self, Vec<HostId>) {
        let FenceOrder { key, hosts, reply } = order;
        let (patient_until, escalation) = (now + PATIENCE, Escalation::from(now));
        (Self { key, pending: 0, unsent: Vec::new(), patient_until, escalation, reply }, hosts)
    }

    pub(super) fn key(&self) -> NamespaceKey {
        self.key
    }

    /// Nothing of the victims is left.
    pub(super) fn is_over(&self) -> bool {
        self.pending == 0 && self.unsent.is_empty()
    }

    pub(super) fn report(self) {
        self.reply.send(ManagementMail::Fenced(self.key));
    }
}

impl IoQueue {
    /// Judges a command at its hand-over: whether its controller reaches the namespace, and its host's right, by the rules
    /// of this turn.
    #[inline]
    pub(super) fn judge(&self, services: &Services, request: &Request) -> Result<(), Status> {
        self.namespaces.access().judge(request.namespace.nsid)?;
        let Some(fence) = self.fence else { return Ok(()) };
        let snapshot = services.views.get(fence.view);
        let nsid = request.namespace.nsid;
        if matches!(request.operation, Operation::Reservation { .. }) {
            let fenced = snapshot.rules(nsid).is_some_and(|rules| rules.is_fenced());
            return if fenced { Err(Status::INTERNAL_ERROR.with_dnr()) } else { Ok(()) };
        }
        match snapshot.judge(nsid, fence.slot, request.operation.writes()) {
            // What changes nothing is done on a namespace that is write protected (base 2.1, section 8.1.16.2).
            Err(status) if status.is(Status::WRITE_PROTECTED) && !request.operation.changes() => Ok(()),
            judged => judged,
        }
    }

    /// Hands a reservation command to the management reactor; `from` is its data. It stays in a slot until it is back.
    pub(super) fn reserve(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        mark: Mark,
        request: Request,
        from: Segment,
        into: Option<Buffer>,
    ) {
        let Operation::Reservation { opcode, cdw10, cdw11 } = request.operation else {
            unreachable!("only reservation commands come here");
        };
        let Some(slot) = self.slots.next() else {
            unreachable!("no command is taken on without a free slot")
        };
        let mut sqe = Sqe::new_zeroed();
        (sqe.opcode, sqe.flags) = (opcode.0, Psdt::SGL.0 << 6);
        (sqe.cid, sqe.nsid) = (mark.cid.into(), request.namespace.nsid.into());
        (sqe.cdw10, sqe.cdw11) = (cdw10.into(), cdw11.into());
        let mut data = [0; REQUEST_BYTES_MAX];
        let data = &mut data[..from.len().min(REQUEST_BYTES_MAX)];
        mem::copy_out(from.slice(0..data.len()), data);
        let sent = services.reservations.as_ref().and_then(|mail| {
            let reply = mail.back.reserve()?;
            let controller = self.controller;
            let tag = tag(link.socket, slot);
            let reserve = Reserve { controller, peer: link.peer, sqe, data: data.to_vec(), tag, reply };
            let reserve = Box::new(reserve);
            mail.to_management.send(ManagementMail::Reserve(reserve)).ok()
        });
        if sent.is_none() {
            // Too many wait already: the host tries again.
            into.into_iter().for_each(|buffer| self.buffers.put(buffer));
            return self.refuse(link, services, mark, &request, Status::INTERRUPTED);
        }
        self.slots.insert(Command::new(mark, request, Stage::Reserving(into)));
        self.executing += 1;
    }

    /// A reservation command is back.
    pub(super) fn reserved(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        slot: u16,
        status: Status,
        data: &[u8],
    ) {
        let Some(command) = self.slots.remove(slot) else { unreachable!("a command comes back once") };
        self.executing -= 1;
        let Command { mark, request, stage, .. } = command;
        let status = worded(status, self.namespaces.access());
        self.tally(services, mark, &request, request.bytes(), status);
        match stage {
            Stage::Reserving(Some(buffer)) if status.is_success() => {
                let bytes = request.transfer.bytes() as usize;
                let report = &data[..data.len().min(bytes)];
                mem::copy_in(report, buffer.segment_mut(0..report.len()));
                // What the host asked for beyond the end of the report reads as zeros.
                mem::zero(buffer.segment_mut(report.len()..bytes));
                self.send(link, mark.cid, Data::Buffer(buffer, bytes));
            }
            Stage::Reserving(Some(buffer)) => {
                self.buffers.put(buffer);
                self.respond(link, mark.cid, status);
            }
            _ => self.respond(link, mark.cid, status),
        }
        self.serve_waiting(link, services);
    }

    /// Marks and aborts what bdevs have of this queue on the namespace of `wait`, if its host is one of the victims.
    pub(super) fn fence(
        &mut self,
        link: &Link,
        services: &mut Services,
        hosts: &[HostId],
        wait: &mut FenceWait,
    ) {
        let key = wait.key();
        let is_victim = |fence: Fence| fence.subsystem == key.subsystem && hosts.contains(&fence.host);
        if !self.fence.is_some_and(is_victim) {
            return;
        }
        if !link.connection.outbox().is_empty() {
            wait.unsent.push((link.socket, link.connection.outbox().queued()));
        }
        let slots: Vec<u16> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(command) = self.slots.find(slot) else { continue };
            if command.request.namespace.nsid != key.nsid || !matches!(command.stage, Stage::Executing { .. })
            {
                continue;
            }
            // One that an earlier order waits for is counted by that one, and by this one, too.
            command.fenced = true;
            wait.pending += 1;
            let namespace = command.request.namespace;
            services.channels.abort(&namespace, tag(link.socket, slot));
        }
    }
}

impl Queues {
    /// Carries out an order to end the commands of preempted hosts.
    pub(super) fn fence(&mut self, order: FenceOrder) {
        let (mut wait, hosts) = FenceWait::new(order, self.services.now);
        for queue in self.table.iter_mut().flatten() {
            if let Queue { link, role: Role::Io(io, _) } = &mut **queue {
                io.fence(link, &mut self.services, &hosts, &mut wait);
            }
        }
        self.services.fences.push(wait);
    }

    /// A command that was counted is back.
    pub(super) fn unfence(&mut self, subsystem: usize, nsid: u32) {
        let key = NamespaceKey { subsystem, nsid };
        if let Some(wait) = self.services.fences.iter_mut().find(|wait| wait.key() == key) {
            wait.pending -= 1;
        }
    }

    /// Reports the orders of which nothing is left. True if there were any.
    pub(super) fn look_at_fences(&mut self) -> bool {
        let mut dead = Vec::new();
        let (table, now) = (&mut self.table, self.services.now);
        let events = &self.services.counters.events;
        for wait in &mut self.services.fences {
            let patient_until = wait.patient_until;
            wait.unsent.retain(|(socket, mark)| {
                let queue = table[socket.index()].as_mut().filter(|queue| queue.link.socket == *socket);
                let Some(queue) = queue.filter(|queue| queue.link.connection.outbox().gone() < *mark) else {
                    return false;
                };
                if now >= patient_until {
                    queue.link.life = Life::Dead;
                    if let Role::Io(io, _) = &queue.role {
                        let values =
                            [io.controller.number(), wait.key.subsystem as u64, wait.key.nsid.into()];
                        events.write(now, What::FenceClosed, values);
                    }
                    dead.push(*socket);
                }
                true
            });
        }
        for socket in dead {
            self.mark(socket);
        }
        let (over, left) =
            std::mem::take(&mut self.services.fences).into_iter().partition::<Vec<_>, _>(FenceWait::is_over);
        self.services.fences = left;
        let any = !over.is_empty();
        over.into_iter().for_each(FenceWait::report);
        any
    }

    /// When a victim that does not read loses its connection, or a harsher means is due against commands that do not
    /// end.
    pub(super) fn next_fence(&self) -> Option<Time> {
        let Services { fences, settings, .. } = &self.services;
        let unsent = fences.iter().filter(|wait| !wait.unsent.is_empty()).map(|wait| wait.patient_until);
        let pending = fences.iter().filter(|wait| wait.pending > 0).map(|wait| &wait.escalation);
        let writing = self.services.settles.iter().filter(|it| it.is_writing()).map(|it| &it.escalation);
        unsent.chain(pending.chain(writing).filter_map(|escalation| escalation.due(settings))).min()
    }
}
