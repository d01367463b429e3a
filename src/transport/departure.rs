//! How an I/O queue leaves its reactor, and arrives on another: what the two I/O reactors do. See
//! [`relocation`](super::relocation) for the whole.
//!
//! ```text
//!   Waiting (at most CHANCE) --quiet at the end of a turn--> gone
//!      |
//!      +--CHANCE over--> Held (at most HOLD): takes no new commands --quiet--> gone
//!                          +--HOLD over--> stays, and goes on as before
//! ```
//!
//! A queue is quiet when it has nothing in a bdev, nothing to send and no PDU or transfer half done. With bdevs that
//! complete at once most turns end so, and then moving costs the host nothing but the way. Others are made quiet: commands
//! stay in the socket until what is under way is through, data is still taken. That is given up after [`HOLD`], so that a
//! slow device or a host that does not read costs no more than this; a queue that moves pauses for at most [`HOLD`], two
//! messages, and the turns that the reactors are in.
//!
//! Invariants: `holding` of a queue is set while and only while it is held; a berth counts as an open queue, so that a
//! reactor that expects a queue has not finished.

use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Slot;
use corelane_reactors::poll_group::SocketId;
use corelane_reactors::reactor::Turn;

use crate::connection::controller::{self, Connection};
use crate::nvmf::controller::ControllerId;
use crate::nvmf::io::{Limits, Namespaces};
use crate::nvmf::target::IoTicket;
use crate::spec::status::Status;
use crate::trace::{CommandTrace, What};
use crate::transport::data::Data;
use crate::transport::endpoint::{DATA_ALIGNMENT, H2C_DATA_BYTES};
use crate::transport::fencing::Fence;
use crate::transport::io_queue::IoQueue;
use crate::transport::link::Link;
use crate::transport::message::{Departure, Expected, Handover, ManagementMail};
use crate::transport::queues::{Queue, Queues, Role};
use crate::transport::share::Share;
use crate::transport::{Endpoint, Settings};

/// How long a queue that shall leave may go on as before, until it happens to be quiet.
const CHANCE: Duration = Duration::from_millis(2);
/// How long it then takes no new commands, at most: half of the pause that a move may bring about.
const HOLD: Duration = Duration::from_micros(500);

/// A queue that shall leave.
#[derive(Debug)]
pub(super) struct Leaving {
    socket: SocketId,
    since: Time,
    /// When it began to take no new commands.
    held: Option<Time>,
    reply: Slot<ManagementMail>,
}

/// The place of a queue that is expected: all of it but the socket.
#[derive(Debug)]
pub(super) struct Berth {
    io: IoQueue,
    connection: Connection<Data>,
}

/// What comes of a look at a queue that shall leave.
enum Look {
    Leaves,
    Holds,
    Waits,
    Stays { refused: bool },
}

impl Berth {
    /// The queue, if it is one of this controller.
    pub(super) fn of(&mut self, controller: ControllerId) -> Option<&mut IoQueue> {
        (self.io.controller == controller).then_some(&mut self.io)
    }
}

impl Leaving {
    /// When to look at it again, whatever happens.
    pub(super) fn deadline(&self) -> Time {
        self.held.map_or(self.since + CHANCE, |held| held + HOLD)
    }

    fn look(&self, queues: &Queues) -> Look {
        let services = &queues.services;
        let queue = queues.table[self.socket.index()].as_deref();
        let Some(Queue { link, role: Role::Io(io, _) }) =
            queue.filter(|queue| queue.link.socket == self.socket)
        else {
            return Look::Stays { refused: false };
        };
        if !link.is_live() || services.draining {
            return Look::Stays { refused: false };
        }
        if io.is_portable() && link.connection.moved().is_some() {
            return Look::Leaves;
        }
        match (self.deadline() <= services.now, self.held) {
            (false, _) => Look::Waits,
            (true, None) => Look::Holds,
            (true, Some(_)) => Look::Stays { refused: true },
        }
    }
}

/// What this reactor's end of a connection is ready for.
pub(super) fn options(settings: &Settings, entries: u32) -> controller::Options {
    controller::Options {
        entries: u16::try_from(entries).unwrap_or(u16::MAX),
        capsule_bytes_max: settings.in_capsule_bytes,
        h2c_data_bytes_max: H2C_DATA_BYTES,
        header_digest: settings.header_digest,
        data_digest: settings.data_digest,
        alignment: DATA_ALIGNMENT,
    }
}

impl Endpoint {
    /// Takes over an I/O queue that was accepted, and answers its Connect command.
    pub(super) fn adopt(&mut self, turn: &Turn<'_>, handover: Handover) {
        let Handover { stream, peer, unread, moved, connect, ticket, counted, closed, trace } = handover;
        let connection = Connection::resume(moved, &options(self.settings(), ticket.entries));
        let ended = ManagementMail::Closed { controller: ticket.controller, qid: ticket.qid };
        let socket = match self.group.add(stream, &unread) {
            Ok(socket) if !self.queues.services.draining => socket,
            Ok(socket) => {
                self.group.close(socket);
                return closed.send(ended);
            }
            Err(error) => {
                tracing::warn!(%peer, %error, "cannot serve a queue");
                return closed.send(ended);
            }
        };
        let mut link = Link::new(socket, connection, peer, counted);
        let (io, status) = self.furnish(turn, &ticket, trace);
        link.make_room(io.namespaces.block_bytes_max());
        let (cid, dw0) = connect;
        io.connected(&mut link, cid, status, if status.is_success() { dw0 } else { 0 });
        if !status.is_success() {
            link.end();
        }
        let opened = [io.controller.number(), io.qid.into(), ticket.subsystem as u64];
        self.queues.services.note(What::QueueOpened, opened);
        self.insert(Queue { link, role: Role::Io(io, closed) });
    }

    /// A queue of this reactor: its way to the bdevs, its rights and its buffers; or why it cannot be had.
    fn furnish(&mut self, turn: &Turn<'_>, ticket: &IoTicket, trace: Arc<CommandTrace>) -> (IoQueue, Status) {
        let services = &mut self.queues.services;
        let entries = u16::try_from(ticket.entries).unwrap_or(u16::MAX);
        let fence = ticket.fence.as_ref().map(|(subscriber, slot)| Fence {
            view: services.views.of(ticket.subsystem, subscriber, turn),
            slot: *slot,
            subsystem: ticket.subsystem,
            host: ticket.host,
        });
        let lane = ticket.counting.lane(self.lane);
        let namespaces = Namespaces::open(
            &ticket.namespaces,
            fence.is_some(),
            Arc::clone(&ticket.access),
            &mut services.channels,
            &lane,
        );
        let transfer_bytes_max = services.settings.transfer_bytes_max;
        let classes = services.settings.buffers.classes(entries, transfer_bytes_max);
        let share = services.pool.as_ref().and_then(|pool| Share::take(pool, classes));
        let qid = ticket.qid;
        let (status, namespaces) = match namespaces {
            Ok(namespaces) if share.is_some() => (Status::SUCCESS, namespaces),
            Ok(namespaces) => {
                tracing::warn!(qid, "no buffers are left for a queue: give the reactor more memory");
                (Status::CONNECT_CONTROLLER_BUSY, namespaces)
            }
            Err(error) => {
                tracing::warn!(qid, %error, "cannot open a namespace for a queue");
                (Status::INTERNAL_ERROR, Namespaces::default())
            }
        };
        let limits = Limits { transfer_bytes_max };
        let io = IoQueue::new(ticket, trace, fence, namespaces, share.unwrap_or_default(), limits);
        (io, status)
    }

    /// Makes room for a queue of another reactor.
    pub(super) fn expect(&mut self, turn: &Turn<'_>, expected: Expected) {
        let Expected { ticket, trace, reply } = expected;
        assert!(self.berth.is_none(), "two queues are on their way");
        let mut ready = false;
        if !self.queues.services.draining {
            let (io, status) = self.furnish(turn, &ticket, trace);
            ready = status.is_success();
            if ready {
                let connection = Connection::new(&options(self.settings(), ticket.entries));
                self.berth = Some(Box::new(Berth { io, connection }));
                self.open += 1;
            } else {
                self.queues.services.counters.moves_refused.add(1);
            }
        }
        reply.send(ManagementMail::Prepared { ready });
    }

    /// The queue that was expected does not come.
    pub(super) fn dismiss(&mut self) {
        if self.berth.take().is_some() {
            self.open -= 1;
        }
        self.report_drained();
    }

    /// The queue that was expected is here.
    pub(super) fn arrive(&mut self, departure: Departure) {
        let Departure { stream, peer, unread, moved, counted, closed, luggage, left } = departure;
        let Some(berth) = self.berth.take() else { unreachable!("a queue is expected before it comes") };
        let Berth { mut io, mut connection } = *berth;
        self.open -= 1;
        connection.go_on(moved);
        let ended = ManagementMail::Closed { controller: io.controller, qid: io.qid };
        let socket = match self.group.add(stream, &unread) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%peer, %error, "cannot serve a queue that moved: its connection is closed");
                drop(io);
                closed.send(ended);
                return self.report_drained();
            }
        };
        io.unpack(luggage);
        let services = &mut self.queues.services;
        let pause = services.time().since(left);
        services.counters.queues_moved.add(1);
        services.counters.pauses.record_time(pause);
        let nanoseconds = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        services.note(What::QueueMoved, [io.controller.number(), io.qid.into(), nanoseconds]);
        let mut link = Link::new(socket, connection, peer, counted);
        link.make_room(io.namespaces.block_bytes_max());
        self.insert(Queue { link, role: Role::Io(io, closed) });
    }

    /// A queue shall leave.
    pub(super) fn release(&mut self, controller: ControllerId, qid: u16, reply: Slot<ManagementMail>) {
        assert!(self.leaving.is_none(), "two queues are on their way");
        let Some(socket) = self.queues.socket_of(controller, qid) else {
            return reply.send(ManagementMail::Stayed);
        };
        self.leaving = Some(Leaving { socket, since: self.queues.services.now, held: None, reply });
    }

    /// Looks at the queue that shall leave, if there is one, at the end of a turn.
    pub(super) fn see_off(&mut self) {
        let Some(leaving) = self.leaving.as_mut() else { return };
        match leaving.look(&self.queues) {
            Look::Waits => {}
            Look::Holds => {
                let socket = leaving.socket;
                leaving.held = Some(self.queues.services.time());
                self.hold(socket, true);
            }
            Look::Leaves => self.depart_now(),
            Look::Stays { refused } => {
                let Some(Leaving { socket, reply, .. }) = self.leaving.take() else { return };
                self.hold(socket, false);
                if refused {
                    self.queues.services.counters.moves_refused.add(1);
                }
                reply.send(ManagementMail::Stayed);
            }
        }
    }

    fn hold(&mut self, socket: SocketId, holding: bool) {
        let queue = self.queues.table[socket.index()].as_deref_mut();
        if let Some(Queue { role: Role::Io(io, _), .. }) = queue.filter(|queue| queue.link.socket == socket) {
            io.holding = holding;
        }
        self.queues.mark(socket);
    }

    fn depart_now(&mut self) {
        let Some(Leaving { socket, held, reply, .. }) = self.leaving.take() else { return };
        let Some(queue) = self.queues.table[socket.index()].take() else {
            unreachable!("it was looked at before")
        };
        let Queue { link, role: Role::Io(io, closed) } = *queue else { unreachable!("only these leave") };
        self.open -= 1;
        let left = held.unwrap_or_else(|| self.queues.services.time());
        let (stream, unread) = self.group.detach(socket);
        let Link { connection, peer, counted, .. } = link;
        let Some(moved) = connection.moved() else { unreachable!("it was looked at before") };
        // Its buffers go back to the pool before anybody hears of it.
        let luggage = io.pack();
        let departure = Departure { stream, peer, unread, moved, counted, closed, luggage, left };
        reply.send(ManagementMail::Departed(Box::new(departure)));
        self.report_drained();
    }
}
