//! The table of a reactor's queues, and what the poll group tells them.
//!
//! Invariants: `table[id.index()]` is the queue of the socket `id`, for as long as the socket is open; a queue is in
//! `marked` exactly if its link says so.

use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::buffer::{Lease, SegmentMut};
use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::mailbox::Slot;
use corelane_reactors::poll_group::{Closed, Errno, Handler, SocketId, Taken};
use corelane_reactors::timer::Wheel;

use crate::mem::Pool;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::io::Channels;
use crate::nvmf::target::Action;
use crate::spec::status::Status;
use crate::trace::What;
use crate::transport::aborting::AbortWait;
use crate::transport::admin_queue::{AdminQueue, Stage};
use crate::transport::barring::Bar;
use crate::transport::command::untag;
use crate::transport::data::Data;
use crate::transport::fencing::{FenceWait, ReservationMail, Views};
use crate::transport::fusing::Fusing;
use crate::transport::io_queue::IoQueue;
use crate::transport::link::{Life, Link};
use crate::transport::message::ManagementMail;
use crate::transport::settling::Settle;
use crate::transport::{Counters, Management, Settings};

/// Actions of the target that one turn carries out.
const ACTIONS_PER_TURN: usize = 256;

/// What the queues of a reactor share.
pub(super) struct Services {
    pub(super) channels: Channels,
    pub(super) counters: Arc<Counters>,
    /// The time of the turn.
    pub(super) now: Time,
    /// The latest time that is known in this turn: its beginning, or the end of a batch.
    pub(super) latest: Time,
    /// None before the endpoint is attached to a reactor: then a turn happens at one time.
    pub(super) clock: Option<Clock>,
    /// What was published about reservations, as of this turn.
    pub(super) views: Views,
    /// The way of reservation commands; on I/O reactors only.
    pub(super) reservations: Option<ReservationMail>,
    /// Orders to end the commands of preempted hosts.
    pub(super) fences: Vec<FenceWait>,
    /// Orders to wait for the end of writes.
    pub(super) settles: Vec<Settle>,
    /// Abort commands that wait for bdevs; at most as many as the mailbox of the management reactor has room for answers.
    pub(super) aborts: Vec<AbortWait>,
    /// Places that fused operations have for themselves.
    pub(super) bars: Vec<Bar>,
    /// Fused operations of this reactor's queues.
    pub(super) fusing: Fusing,
    /// Nothing more is taken: the appliance stops.
    pub(super) draining: bool,
    /// On the management reactor only.
    pub(super) management: Option<Management>,
    /// The buffers of queues to come; on I/O reactors only.
    pub(super) pool: Option<Pool>,
    pub(super) settings: Settings,
}

/// What a queue is.
#[derive(Debug)]
pub(super) enum Role {
    /// On the management reactor: not connected yet, or an admin queue.
    Admin(AdminQueue),
    /// On an I/O reactor, with the room for the message that it has ended.
    Io(IoQueue, Slot<ManagementMail>),
}

/// A socket, the connection on it, and what they are for.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) link: Link,
    pub(super) role: Role,
}

/// What a queue has a limited time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// To send its ICReq.
    Icreq,
    /// To send its Connect command.
    Connect,
    /// To read why it ends, and close.
    Linger,
}

/// The queues of one reactor, by socket.
pub(super) struct Queues {
    pub(super) table: Vec<Option<Box<Queue>>>,
    pub(super) services: Services,
    /// Queues to look after.
    pub(super) marked: Vec<SocketId>,
}

impl Alarm {
    fn time(self, settings: &Settings) -> Duration {
        match self {
            Self::Icreq => settings.icreq_timeout,
            Self::Connect => settings.connect_timeout,
            Self::Linger => settings.linger,
        }
    }
}

impl Services {
    /// The time of a turn, or of a share of it.
    pub(super) fn begin(&mut self, now: Time) {
        self.latest = self.latest.max(now);
        self.now = now;
    }

    /// The time it is, as exactly as this reactor knows.
    pub(super) fn time(&self) -> Time {
        self.clock.as_ref().map_or(self.now, Clock::now)
    }

    /// Writes an event of this turn.
    pub(super) fn note(&self, what: What, values: [u64; 3]) {
        self.counters.events.write(self.now, what, values);
    }

    /// A batch is over: one reading of the clock.
    pub(super) fn batch_ends(&mut self) {
        if let Some(clock) = &self.clock {
            self.latest = clock.now();
        }
    }

    /// Sets the alarm of a link, in place of the one that it has.
    pub(super) fn set_alarm(&self, link: &mut Link, alarm: Option<Alarm>, alarms: &mut Wheel<SocketId>) {
        if link.alarm.map(|(alarm, _)| alarm) == alarm {
            return;
        }
        if let Some((_, key)) = link.alarm.take() {
            alarms.cancel(key);
        }
        link.alarm =
            alarm.map(|alarm| (alarm, alarms.insert(self.now + alarm.time(&self.settings), link.socket)));
    }
}

impl Role {
    /// A payload is through.
    pub(super) fn sent(&mut self, data: Data) {
        if let Self::Io(io, _) = self {
            io.sent(data);
        }
    }

    /// The appliance stops, and nothing is left to do here. An admin queue waits for all I/O queues: its end would cut
    /// them off.
    pub(super) fn is_finished(&self, services: &Services) -> bool {
        let io_is_drained = || services.management.as_ref().is_none_or(Management::io_is_drained);
        services.draining
            && match self {
                Self::Admin(AdminQueue { stage: Stage::Admin(_), .. }) => io_is_drained(),
                Self::Admin(_) => true,
                Self::Io(io, _) => io.is_idle(),
            }
    }

    /// What the queue on `link` has a limited time for now.
    pub(super) fn limit(&self, link: &Link) -> Option<Alarm> {
        match (link.life, self) {
            (Life::Live, Self::Admin(AdminQueue { stage: Stage::Opening, .. })) => {
                Some(if link.connection.is_open() { Alarm::Connect } else { Alarm::Icreq })
            }
            (Life::Ending { .. }, _) => Some(Alarm::Linger),
            (Life::Live | Life::Dead, _) => None,
        }
    }

    /// More commands can be taken on.
    pub(super) fn has_room(&self, link: &Link) -> bool {
        match self {
            Self::Admin(admin) => admin.has_room(link),
            Self::Io(io, _) => io.has_room(link),
        }
    }
}

impl Queues {
    /// Looks after the queue of `socket` at the end of the turn.
    pub(super) fn mark(&mut self, socket: SocketId) {
        if let Some(queue) = self.table[socket.index()].as_mut()
            && queue.link.socket == socket
            && !queue.link.marked
        {
            queue.link.marked = true;
            self.marked.push(socket);
        }
    }

    /// The socket of an I/O queue of this reactor.
    pub(super) fn socket_of(&self, controller: ControllerId, qid: u16) -> Option<SocketId> {
        let found = self.table.iter().flatten().find(
            |queue| matches!(&queue.role, Role::Io(io, _) if io.controller == controller && io.qid == qid),
        );
        found.map(|queue| queue.link.socket)
    }

    /// A bdev has completed a command.
    pub(super) fn completed(&mut self, tag: u64, status: Status) {
        let (index, slot) = untag(tag);
        let Some(place) = self.table.get_mut(index) else { return self.flushed(tag, status) };
        let Some(Queue { link, role: Role::Io(io, _) }) = place.as_deref_mut() else {
            unreachable!("a queue stays until its commands are back");
        };
        let fenced = io.completed(link, &mut self.services, slot, status);
        io.settle_answers(&self.services);
        let (socket, fence) = (link.socket, io.fence);
        if let (Some(nsid), Some(fence)) = (fenced, fence) {
            self.unfence(fence.subsystem, nsid);
        }
        self.mark(socket);
    }

    /// A reservation command is back from the management reactor.
    pub(super) fn reserved(&mut self, tag: u64, status: Status, data: Vec<u8>) {
        let (index, slot) = untag(tag);
        let Some(Queue { link, role: Role::Io(io, _) }) = self.table[index].as_deref_mut() else {
            unreachable!("a queue stays until its commands are back");
        };
        io.reserved(link, &mut self.services, slot, status, &data);
        io.settle_answers(&self.services);
        let socket = link.socket;
        self.mark(socket);
    }

    /// The alarm of `socket` is due.
    pub(super) fn ring(&mut self, socket: SocketId) {
        let queue = self.table[socket.index()].as_mut().filter(|queue| queue.link.socket == socket);
        let Some(Queue { link, .. }) = queue.map(Box::as_mut) else { return };
        let Some((alarm, _)) = link.alarm.take() else { return };
        match alarm {
            Alarm::Icreq => tracing::debug!(peer = %link.peer, "no ICReq in time"),
            Alarm::Connect => tracing::debug!(peer = %link.peer, "no Connect command in time"),
            Alarm::Linger => {}
        }
        link.life = Life::Dead;
        self.mark(socket);
    }

    /// Carries out what the target asks for. True if there was something.
    pub(super) fn act(&mut self) -> bool {
        for done in 0..ACTIONS_PER_TURN {
            let Some(management) = self.services.management.as_mut() else { return false };
            let Some(action) = management.next_action() else { return done > 0 };
            match action {
                Action::CloseQueue { controller, qid } => {
                    let leaving = self.table.iter_mut().flatten().find(|queue| {
                        matches!(&queue.role, Role::Admin(AdminQueue { stage: Stage::Leaving { ticket, .. }, .. })
                            if ticket.controller == controller && ticket.qid == qid)
                    });
                    match leaving {
                        Some(queue) => {
                            queue.link.life = Life::Dead;
                            let socket = queue.link.socket;
                            self.mark(socket);
                        }
                        None => management.close_queue(controller, qid),
                    }
                }
                Action::CloseAdmin { controller } => {
                    if let Some(socket) = management.admin_socket(controller)
                        && let Some(queue) = self.table[socket.index()].as_mut()
                    {
                        queue.link.end();
                        self.mark(socket);
                    }
                }
                Action::Access { controller, number, access } => {
                    let leaving = self.table.iter_mut().flatten().filter_map(|queue| match &mut queue.role {
                        Role::Admin(AdminQueue { stage: Stage::Leaving { ticket, .. }, .. }) => Some(ticket),
                        _ => None,
                    });
                    let tickets = leaving.filter(|ticket| ticket.controller == controller);
                    management.give_access(controller, number, access, tickets);
                }
                Action::Flush { controller, number, nsids } => management.flush(controller, number, &nsids),
                Action::Abort { controller, cid, qid, victim } => {
                    management.abort(controller, cid, qid, victim);
                }
                Action::SetPersistence { controller, cid, nsids, ptpl } => {
                    management.target().persist(controller, cid, &nsids, ptpl);
                }
                Action::SetProtection { controller, cid, nsids, protected } => {
                    management.target().protect(controller, cid, &nsids, protected);
                }
                Action::Complete { controller, cid, status, dw0 } => {
                    if let Some(socket) = management.admin_socket(controller)
                        && let Some(Queue { link, role: Role::Admin(admin) }) =
                            self.table[socket.index()].as_deref_mut()
                    {
                        admin.complete(link, cid, status, dw0);
                        self.mark(socket);
                    }
                }
            }
        }
        true
    }
}

impl Handler for Queues {
    fn received(&mut self, id: SocketId, bytes: &Lease) -> Taken {
        let Some(queue) = self.table[id.index()].as_mut() else { return Taken::bytes(bytes.len()) };
        let Queue { link, role } = &mut **queue;
        let taken = match role {
            // What comes after the end is of no interest; it is read so that the peer can read why.
            _ if !link.is_live() => Taken::bytes(bytes.len()),
            Role::Io(io, _) => {
                let taken = io.received(link, &mut self.services, bytes);
                io.batch_ends(&mut self.services);
                taken
            }
            Role::Admin(admin) => admin.received(link, &mut self.services, bytes),
        };
        self.mark(id);
        taken
    }

    fn wanted(&mut self, id: SocketId) -> Option<SegmentMut> {
        match self.table[id.index()].as_deref_mut() {
            Some(Queue { link, role: Role::Io(io, _) }) if link.is_live() => io.wanted(link),
            _ => None,
        }
    }

    fn wanted_whole(&mut self, id: SocketId) -> usize {
        let wanted = self.table[id.index()].as_ref().and_then(|queue| queue.link.connection.wanted());
        wanted.map_or(0, |wanted| wanted.whole as usize)
    }

    fn received_direct(&mut self, id: SocketId, bytes: usize) {
        if let Some(Queue { link, role: Role::Io(io, _) }) = self.table[id.index()].as_deref_mut() {
            io.received_direct(link, &mut self.services, bytes);
            io.batch_ends(&mut self.services);
        }
        self.mark(id);
    }

    fn writable(&mut self, id: SocketId) {
        self.mark(id);
    }

    fn sent(&mut self, id: SocketId, result: Result<usize, Errno>) {
        if let Some(Queue { link, role }) = self.table[id.index()].as_deref_mut() {
            link.sent(result, |data| role.sent(data));
        }
        self.mark(id);
    }

    fn closed(&mut self, id: SocketId, reason: Closed) {
        if let Some(queue) = self.table[id.index()].as_mut() {
            tracing::debug!(peer = %queue.link.peer, ?reason, "a connection closed");
            queue.link.life = Life::Dead;
        }
        self.mark(id);
    }
}
