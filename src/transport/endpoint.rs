//! The queues of one reactor: its sockets, what is on them, and the steps of a turn that serve them.
//!
//! Invariants: `table[id.index()]` is the queue of the socket `id`, for as long as the socket is open; a queue is in
//! `marked` exactly if its link says so, and in `alarms` once at most; a socket is closed only when no bdev has a command of its queue.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use corelane_reactors::buffer::GatherList;
use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Slot;
use corelane_reactors::poll_group::{PollGroup, SocketId};
use corelane_reactors::poller::Wake;
use corelane_reactors::reactor::Turn;
use corelane_reactors::timer::Wheel;

use crate::connection::controller::{self, Connection};
use crate::mem::Pool;
use crate::nvmf::io::Channels;
use crate::nvmf::target::Target;
use crate::spec::status::Status;
use crate::spec::tcp::ADMIN_IN_CAPSULE_BYTES;
use crate::trace::What;
use crate::transport::admin_queue::{ADMIN_ENTRIES_MAX, AdminQueue, Stage};
use crate::transport::departure::{Berth, Leaving};
use crate::transport::fencing::Views;
use crate::transport::fusing::Fusing;
use crate::transport::link::{Flushed, Life, Link};
use crate::transport::message::{Counted, Handover, IoMail, ManagementMail};
use crate::transport::queues::{Queue, Queues, Role, Services};
use crate::transport::role::poll_group;
use crate::transport::{Counters, EndpointError, EndpointRole, Management, Settings};

/// Stretches that one send takes.
const GATHER_MAX: usize = 512;
/// Completions that one turn takes from bdevs before it goes on.
const COMPLETIONS_MAX: usize = 1024;
/// Alarms that one turn serves.
const ALARMS_PER_TURN: usize = 64;
/// MAXH2CDATA that connections announce, in bytes.
pub(super) const H2C_DATA_BYTES: u32 = 128 << 10;
/// CPDA that connections announce, in bytes: no padding, because received data is copied from wherever it lies, and
/// because Linux takes nothing else.
pub(super) const DATA_ALIGNMENT: usize = 4;

/// The queues of one reactor.
pub struct Endpoint {
    pub(super) group: PollGroup,
    list: GatherList,
    pub(super) queues: Queues,
    alarms: Wheel<SocketId>,
    completions: Vec<(u64, Status)>,
    settling: Vec<SocketId>,
    drained: Option<Slot<ManagementMail>>,
    /// Queues, and the place of one that is expected.
    pub(super) open: usize,
    /// Which of the I/O reactors this is.
    pub(super) lane: usize,
    /// The queue that shall leave for another I/O reactor.
    pub(super) leaving: Option<Leaving>,
    /// The place of a queue of another I/O reactor that is expected.
    pub(super) berth: Option<Box<Berth>>,
}

impl Endpoint {
    /// An endpoint without queues.
    ///
    /// # Errors
    /// [`EndpointError`].
    ///
    /// # Panics
    /// If a turn serves no socket.
    pub fn new(
        settings: &Settings,
        counters: Arc<Counters>,
        role: EndpointRole,
    ) -> Result<Self, EndpointError> {
        let (management, drained, lane, channels, pool, ring) = match role {
            EndpointRole::Management(mut management) => {
                management.counters = Arc::clone(&counters);
                // Its queues leave before anything is armed for them.
                (Some(*management), None, 0, Channels::default(), None, None)
            }
            EndpointRole::Io { lane, channels, memory, drained, mail, ring } => {
                (None, Some((drained, mail)), lane, channels, Some(Pool::from(memory)), ring)
            }
        };
        let (drained, reservations) = drained.unzip();
        let sockets_max = settings.connections_max;
        let mut group = poll_group(sockets_max, ring.as_ref())?;
        group.serve_at_most(settings.sockets_per_turn);
        let services = Services {
            channels,
            counters,
            now: Time::ORIGIN,
            latest: Time::ORIGIN,
            clock: None,
            views: Views::default(),
            reservations,
            fences: Vec::new(),
            settles: Vec::new(),
            aborts: Vec::new(),
            bars: Vec::new(),
            fusing: Fusing::default(),
            draining: false,
            management,
            pool,
            settings: settings.clone(),
        };
        let table = (0..sockets_max).map(|_| None).collect();
        Ok(Self {
            group,
            list: GatherList::new(GATHER_MAX),
            queues: Queues { table, services, marked: Vec::with_capacity(sockets_max) },
            alarms: Wheel::with_capacity(sockets_max),
            completions: Vec::with_capacity(COMPLETIONS_MAX),
            settling: Vec::with_capacity(sockets_max),
            drained,
            open: 0,
            lane,
            leaving: None,
            berth: None,
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.queues.services.settings
    }

    pub(super) fn group(&self) -> &PollGroup {
        &self.group
    }

    /// Live connections on all reactors; on the management reactor only.
    pub(super) fn live(&self) -> Option<Arc<AtomicUsize>> {
        self.queues.services.management.as_ref().map(|management| Arc::clone(management.live()))
    }

    /// Commands that bdevs have.
    pub(super) fn outstanding(&self) -> usize {
        self.queues.services.channels.outstanding()
    }

    /// When to look for completions again.
    pub(super) fn next_completion(&self) -> Wake {
        self.queues.services.channels.wake()
    }

    /// Queues wait to be looked after.
    pub(super) fn has_marked(&self) -> bool {
        !self.queues.marked.is_empty()
    }

    /// When something is due.
    pub(super) fn next_alarm(&mut self) -> Option<Time> {
        let (fence, abort) = (self.queues.next_fence(), self.queues.next_abort());
        let unclaimed = self.queues.services.has_unclaimed().then_some(Time::ORIGIN);
        let bar = self.queues.next_bar().into_iter().chain(unclaimed).min();
        let leaving = self.leaving.as_ref().map(Leaving::deadline);
        let management = self.queues.services.management.as_mut();
        [self.alarms.next(), fence, abort, bar, leaving, management.and_then(Management::next_deadline)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Nothing is left of any queue, here and on the I/O reactors, and none will be taken.
    pub fn is_drained(&self) -> bool {
        let io = self.queues.services.management.as_ref().is_none_or(Management::io_is_drained);
        self.queues.services.draining && self.open == 0 && io
    }

    /// Begins a connection that was accepted.
    pub(super) fn accepted(
        &mut self,
        stream: TcpStream,
        addresses: (SocketAddr, SocketAddr),
        counted: Counted,
    ) {
        let settings = &self.queues.services.settings;
        let connection = Connection::new(&controller::Options {
            entries: ADMIN_ENTRIES_MAX,
            capsule_bytes_max: ADMIN_IN_CAPSULE_BYTES,
            h2c_data_bytes_max: H2C_DATA_BYTES,
            header_digest: settings.header_digest,
            data_digest: settings.data_digest,
            alignment: DATA_ALIGNMENT,
        });
        let (local, peer) = addresses;
        let admin = AdminQueue::new(local, settings);
        if self.queues.services.draining {
            return;
        }
        match self.group.add(stream, &[]) {
            Err(error) => tracing::warn!(%peer, %error, "cannot serve a connection"),
            Ok(socket) => {
                let link = Link::new(socket, connection, peer, counted);
                self.insert(Queue { link, role: Role::Admin(admin) });
            }
        }
    }

    /// Takes a message of an I/O reactor.
    pub(super) fn management_mail(&mut self, now: Time, mail: ManagementMail) {
        self.queues.services.begin(now);
        if let Some(management) = self.queues.services.management.as_mut() {
            management.receive(now, mail);
        }
        self.queues.act();
        if self.queues.services.draining {
            self.mark_all();
        }
    }

    /// Takes a message of the management reactor.
    pub(super) fn mail(&mut self, turn: &Turn<'_>, mail: IoMail) {
        self.begin(turn);
        match mail {
            IoMail::Adopt(handover) => self.adopt(turn, *handover),
            IoMail::Reserved { tag, status, data } => self.queues.reserved(tag, status, data),
            IoMail::Fence(order) => self.queues.fence(*order),
            IoMail::Settle(order) => self.queues.settle(*order),
            IoMail::Access(order) => self.take_access(*order),
            IoMail::Abort(order) => self.queues.abort(*order),
            IoMail::Bar(order) => self.queues.bar(*order),
            IoMail::Granted { tag, number } => self.queues.granted(tag, number),
            IoMail::Unbar(number) => self.queues.unbar(number),
            IoMail::Close { controller, qid } => {
                if let Some(socket) = self.queues.socket_of(controller, qid) {
                    if let Some(queue) = self.queues.table[socket.index()].as_mut() {
                        queue.link.life = Life::Dead;
                    }
                    self.queues.mark(socket);
                }
            }
            IoMail::Expect(expected) => self.expect(turn, *expected),
            IoMail::Dismiss => self.dismiss(),
            IoMail::Arrive(departure) => self.arrive(*departure),
            IoMail::Release { controller, qid, reply } => self.release(controller, qid, reply),
            IoMail::Drain => self.drain(),
        }
    }

    /// Finishes the commands that were begun, takes no more, and closes; on the management reactor all others, too.
    /// [`Endpoint::is_drained`] tells when that is done.
    pub fn drain(&mut self) {
        self.queues.services.draining = true;
        if let Some(management) = self.queues.services.management.as_mut() {
            management.drain();
        }
        self.mark_all();
        self.report_drained();
    }

    fn mark_all(&mut self) {
        let all: Vec<_> = self.queues.table.iter().flatten().map(|queue| queue.link.socket).collect();
        for socket in all {
            self.queues.mark(socket);
        }
    }

    pub(super) fn insert(&mut self, queue: Queue) {
        let socket = queue.link.socket;
        let place = &mut self.queues.table[socket.index()];
        assert!(place.is_none(), "a socket index is in use twice");
        *place = Some(Box::new(queue));
        self.open += 1;
        self.queues.mark(socket);
    }

    /// A share of a turn begins: its time, and what is published in it.
    fn begin(&mut self, turn: &Turn<'_>) {
        self.queues.services.begin(turn.now());
        self.queues.services.views.refresh(turn);
    }

    /// Gives the target to somebody who has news for it, and does what it then asks for.
    pub fn manage(&mut self, turn: &Turn<'_>, news: impl FnOnce(&mut Target)) {
        self.begin(turn);
        if let Some(management) = self.queues.services.management.as_mut() {
            news(management.target());
        }
        self.queues.act();
    }

    /// Receives: one batch. True if there was something.
    pub(super) fn receive(&mut self, turn: &Turn<'_>) -> bool {
        self.begin(turn);
        let events = self.group.poll(&mut self.queues);
        turn.did(events as u64);
        events > 0
    }

    /// Takes completions of bdevs: one batch. True if there were any.
    pub(super) fn reap(&mut self, turn: &Turn<'_>) -> bool {
        self.begin(turn);
        if self.outstanding() == 0 {
            return false;
        }
        let completions = &mut self.completions;
        self.queues.services.channels.poll(|tag, status| completions.push((tag, status)));
        let any = !self.completions.is_empty();
        turn.did(self.completions.len() as u64);
        for (tag, status) in self.completions.drain(..) {
            self.queues.completed(tag, status);
        }
        any
    }

    /// Serves what is due. True if there was something.
    pub(super) fn tick(&mut self, turn: &Turn<'_>) -> bool {
        self.begin(turn);
        let queues = &mut self.queues;
        let now = turn.now();
        let rung = self.alarms.expire(now, ALARMS_PER_TURN, |socket| queues.ring(socket));
        let rung = rung + queues.escalate() + queues.give_up_aborts();
        let rung = rung + usize::from(queues.services.claim());
        let Some(management) = self.queues.services.management.as_mut() else { return rung > 0 };
        let due = management.tick(now);
        let fencing = management.fence(now);
        self.queues.act() || due || fencing || rung > 0
    }

    /// Looks after every queue to which something happened: sends, resumes, moves, closes. True if there were any.
    pub(super) fn settle(&mut self, turn: &Turn<'_>) -> bool {
        self.begin(turn);
        let acted = self.queues.act();
        std::mem::swap(&mut self.settling, &mut self.queues.marked);
        let mut settling = std::mem::take(&mut self.settling);
        let any = !settling.is_empty();
        for socket in settling.drain(..) {
            self.settle_one(socket);
        }
        self.settling = settling;
        self.commit();
        self.see_off();
        self.group.flush();
        let fencing = !self.queues.services.fences.is_empty() && self.queues.look_at_fences();
        let settling = !self.queues.services.settles.is_empty() && self.queues.look_at_settles(self.lane);
        if settling {
            self.report_drained();
        }
        let barring = !self.queues.services.bars.is_empty() && self.queues.look_at_bars();
        any || acted || fencing || settling || barring
    }

    /// Tells devices of what was submitted. True if there was something.
    pub(super) fn commit(&mut self) -> bool {
        self.queues.services.channels.commit()
    }

    fn settle_one(&mut self, socket: SocketId) {
        let Queues { table, services, .. } = &mut self.queues;
        let Some(queue) = table[socket.index()].as_mut() else { return };
        let Queue { link, role } = &mut **queue;
        if link.socket != socket {
            return;
        }
        link.marked = false;
        let flushed = link.flush(&mut self.group, &mut self.list, |data| role.sent(data));
        if let Role::Io(io, _) = role {
            if flushed == Flushed::Blocked {
                link.freeze(io.namespaces.block_bytes_max());
            }
            match link.life {
                Life::Dead => io.abandon(socket, services),
                Life::Live | Life::Ending { .. } => io.serve_waiting(link, services),
            }
            io.settle_answers(services);
        }
        if link.connection.is_ended() || role.is_finished(services) {
            link.end();
        }
        services.set_alarm(link, role.limit(link), &mut self.alarms);
        // A socket with bytes that nobody read is reset when it is closed, and what was sent may be lost.
        let goes_on = match link.life {
            Life::Live => role.has_room(link),
            Life::Ending { .. } => true,
            Life::Dead => false,
        };
        if link.paused && goes_on {
            link.paused = false;
            self.group.resume(socket);
        }
        if flushed == Flushed::More || !link.connection.outbox().is_empty() && flushed == Flushed::All {
            self.queues.mark(socket);
            return;
        }
        let leaving = matches!(role, Role::Admin(admin) if matches!(admin.stage, Stage::Leaving { .. }));
        match link.life {
            Life::Live if leaving && flushed == Flushed::All => self.depart(socket),
            Life::Ending { shut: false } if flushed == Flushed::All => {
                link.life = Life::Ending { shut: true };
                self.group.shutdown(socket);
            }
            Life::Live | Life::Ending { .. } => {}
            Life::Dead => self.close(socket),
        }
    }

    /// Sends a queue that was accepted to its I/O reactor.
    fn depart(&mut self, socket: SocketId) {
        let Queues { table, services, .. } = &mut self.queues;
        let Some(management) = services.management.as_mut() else { return };
        let Some(queue) = table[socket.index()].as_ref() else { return };
        let Some(moved) = queue.link.connection.moved() else { return };
        let Some(closed) = management.reserve() else { return self.queues.mark(socket) };
        let Some(queue) = self.queues.table[socket.index()].take() else { return };
        self.open -= 1;
        let (stream, unread) = self.group.detach(socket);
        let Queue { link, role: Role::Admin(admin) } = *queue else { unreachable!("only these leave") };
        let Stage::Leaving { ticket, cid, dw0 } = admin.stage else { unreachable!("only these leave") };
        let Link { peer, counted, .. } = link;
        let connect = (cid, dw0);
        let trace = Arc::default();
        let handover = Handover { stream, peer, unread, moved, connect, ticket, counted, closed, trace };
        if let Some(management) = self.queues.services.management.as_mut() {
            management.hand_over(handover);
        }
    }

    fn close(&mut self, socket: SocketId) {
        let place = &mut self.queues.table[socket.index()];
        let quiet = match place.as_deref() {
            Some(Queue { role: Role::Io(io, _), .. }) => io.is_quiet(),
            Some(_) => true,
            None => return,
        };
        if !quiet {
            // Its device may take long: the host need not wait to hear that it is over.
            return self.group.shutdown(socket);
        }
        let Some(queue) = place.take() else { return };
        self.open -= 1;
        self.group.close(socket);
        let now = self.queues.services.now;
        match queue.role {
            Role::Io(io, closed) => {
                let ended = ManagementMail::Closed { controller: io.controller, qid: io.qid };
                let commands = io.trace.commands();
                self.queues
                    .services
                    .note(What::QueueClosed, [io.controller.number(), io.qid.into(), commands]);
                // Its buffers go back to the pool before anybody hears of it.
                drop(io);
                closed.send(ended);
            }
            Role::Admin(AdminQueue { stage, .. }) => match (stage, &mut self.queues.services.management) {
                (Stage::Admin(controller), Some(management)) => management.admin_closed(now, controller),
                (Stage::Leaving { ticket, .. }, Some(management)) => {
                    management.target().queue_closed(now, ticket.controller, ticket.qid);
                }
                _ => {}
            },
        }
        self.report_drained();
    }

    pub(super) fn report_drained(&mut self) {
        if self.queues.services.draining
            && self.open == 0
            && self.queues.services.settles.is_empty()
            && let Some(drained) = self.drained.take()
        {
            drained.send(ManagementMail::Drained);
        }
    }
}
