//! What the management reactor's endpoint has besides queues: the target, and the ways to the I/O reactors.
//!
//! Invariant: `lanes[lane].queues` is the number of `io_queues` on that lane, and each of them holds a reserved slot
//! for the message that it has ended.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::{Sender, Slot};
use corelane_reactors::poll_group::SocketId;
use rustix::net::sockopt;

use crate::nvmf::controller::ControllerId;
use crate::nvmf::fence::NamespaceKey;
use crate::nvmf::target::{Action, Association, FenceWork, Target};
use crate::spec::abort::AbortResult;
use crate::spec::host::HostId;
use crate::spec::status::Status;
use crate::trace::What;
use crate::transport::balance::Balance;
use crate::transport::claims::Claims;
use crate::transport::connections::Assigned;
use crate::transport::message::{FenceOrder, Handover, IoMail, ManagementMail, Reserve};
use crate::transport::orders::Orders;
use crate::transport::relocation::Relocation;
use crate::transport::settling::{SettleCause, Settling};
use crate::transport::{Counters, Placement};

/// The way to one I/O reactor.
#[derive(Debug)]
pub(super) struct Lane {
    mail: Sender<IoMail>,
    pub(super) queues: usize,
}

/// The management side of a target.
pub struct Management {
    pub(super) target: Target,
    /// When the target has something to do, as it was when `target` was last given away.
    deadline: Option<Option<Time>>,
    pub(super) live: Arc<AtomicUsize>,
    pub(super) mail: Sender<ManagementMail>,
    pub(super) lanes: Vec<Lane>,
    placement: Placement,
    pub(super) admin: HashMap<ControllerId, (SocketId, SocketAddr)>,
    pub(super) io_queues: HashMap<(ControllerId, u16), Assigned>,
    /// Messages that found no room; they go out with the next turn.
    unsent: Vec<(usize, IoMail)>,
    pub(super) draining: bool,
    /// Reservation commands that wait for their answer, by number.
    reserving: HashMap<u64, Reserve>,
    reserved: u64,
    /// Orders to end commands that found no room for their answer.
    undrained: Vec<(usize, NamespaceKey, Vec<HostId>)>,
    /// Orders to end commands: I/O reactors that have not reported.
    fencing: HashMap<NamespaceKey, usize>,
    pub(super) settling: Settling,
    pub(super) orders: Orders,
    /// Places that fused operations have for themselves.
    pub(super) claims: Claims,
    /// I/O reactors that have finished.
    drained: usize,
    /// None where queues stay where they are.
    pub(super) balance: Option<Balance>,
    /// The queue that is on its way from one I/O reactor to another.
    pub(super) relocation: Option<Relocation>,
    /// Of the endpoint that it belongs to.
    pub(super) counters: Arc<Counters>,
}

impl Management {
    /// `mail` leads to this reactor, `io` to each I/O reactor.
    pub fn new(target: Target, mail: Sender<ManagementMail>, io: Vec<Sender<IoMail>>) -> Self {
        assert!(!io.is_empty());
        let lanes = io.into_iter().map(|mail| Lane { mail, queues: 0 }).collect();
        Self {
            target,
            deadline: None,
            live: Arc::new(AtomicUsize::new(0)),
            mail,
            lanes,
            placement: Placement::LeastLoaded,
            admin: HashMap::new(),
            io_queues: HashMap::new(),
            unsent: Vec::new(),
            draining: false,
            reserving: HashMap::new(),
            reserved: 0,
            undrained: Vec::new(),
            fencing: HashMap::new(),
            settling: Settling::default(),
            orders: Orders::default(),
            claims: Claims::default(),
            drained: 0,
            balance: None,
            relocation: None,
            counters: Arc::default(),
        }
    }

    /// Chooses the I/O reactors of queues in this way; without it, the one with the fewest queues.
    ///
    /// # Panics
    /// When the placement is for another number of I/O reactors.
    #[must_use]
    pub fn with_placement(mut self, placement: Placement) -> Self {
        assert!(placement.fits(self.lanes.len()), "the placement is for these I/O reactors");
        self.placement = placement;
        self
    }

    /// The target. What it waits for is asked again afterwards: it grows with the number of controllers, so not every
    /// turn.
    pub fn target(&mut self) -> &mut Target {
        self.deadline = None;
        &mut self.target
    }

    /// Live connections, on all reactors.
    pub fn live(&self) -> &Arc<AtomicUsize> {
        &self.live
    }

    pub(super) fn admin_opened(
        &mut self,
        now: Time,
        controller: ControllerId,
        socket: SocketId,
        peer: SocketAddr,
    ) {
        self.admin.insert(controller, (socket, peer));
        self.note(now, What::Connected, controller);
        if let Some(Association { cntlid, subsystem, host }) = self.target.association(controller) {
            match subsystem {
                Some(subsystem) => {
                    tracing::info!(host = %host.nqn, hostid = %host.id, %subsystem, cntlid, %peer, "a host connected");
                }
                None => tracing::debug!(host = %host.nqn, cntlid, %peer, "a host connected for discovery"),
            }
        }
    }

    pub(super) fn admin_socket(&self, controller: ControllerId) -> Option<SocketId> {
        self.admin.get(&controller).map(|(socket, _)| *socket)
    }

    fn note(&self, now: Time, what: What, controller: ControllerId) {
        let cntlid = self.target.association(controller).map_or(0, |found| found.cntlid);
        self.counters.events.write(now, what, [controller.number(), cntlid.into(), 0]);
    }

    pub(super) fn admin_closed(&mut self, now: Time, controller: ControllerId) {
        self.admin.remove(&controller);
        self.note(now, What::Disconnected, controller);
        if let Some(Association { cntlid, subsystem: Some(subsystem), host }) =
            self.target.association(controller)
        {
            tracing::info!(host = %host.nqn, %subsystem, cntlid, "a host disconnected");
        }
        self.target().admin_closed(now, controller);
    }

    /// Room for the message that a queue has ended; `None` if the mailbox is full: try again in the next turn.
    pub(super) fn reserve(&self) -> Option<Slot<ManagementMail>> {
        self.mail.reserve()
    }

    /// Sends a queue to the I/O reactor that the placement chooses.
    pub(super) fn hand_over(&mut self, handover: Handover) {
        let lanes = &self.lanes;
        let cpu = || sockopt::socket_incoming_cpu(&handover.stream).ok().map(|cpu| cpu as usize);
        let lane = self.placement.choose(lanes.len(), |lane| lanes[lane].queues, cpu);
        let (controller, qid) = (handover.ticket.controller, handover.ticket.qid);
        self.lanes[lane].queues += 1;
        let queue = Assigned {
            lane,
            peer: handover.peer,
            trace: Arc::clone(&handover.trace),
            ticket: handover.ticket.clone(),
            done: 0,
            rests_until: Time::ORIGIN,
        };
        self.io_queues.insert((controller, qid), queue);
        self.send(lane, IoMail::Adopt(Box::new(handover)));
    }

    pub(super) fn close_queue(&mut self, controller: ControllerId, qid: u16) {
        self.closes((controller, qid));
        match self.io_queues.get(&(controller, qid)) {
            Some(&Assigned { lane, .. }) => self.send(lane, IoMail::Close { controller, qid }),
            None => tracing::debug!(?controller, qid, "a queue is to be closed that has not arrived"),
        }
    }

    /// Takes what an I/O reactor says.
    pub(super) fn receive(&mut self, now: Time, mail: ManagementMail) {
        match mail {
            ManagementMail::Closed { controller, qid } => {
                self.ended((controller, qid));
                if let Some(Assigned { lane, .. }) = self.io_queues.remove(&(controller, qid)) {
                    self.lanes[lane].queues -= 1;
                }
                self.target().queue_closed(now, controller, qid);
            }
            ManagementMail::Reserve(reserve) => self.take(*reserve),
            ManagementMail::Fenced(key) => {
                let Some(left) = self.fencing.get_mut(&key) else { return };
                *left -= 1;
                if *left == 0 {
                    self.fencing.remove(&key);
                    self.target().fences().drained(key);
                }
            }
            ManagementMail::Settled { key, cause, durable } => self.settled(now, key, cause, durable),
            ManagementMail::Prepared { ready } => self.prepared(ready),
            ManagementMail::Departed(departure) => self.departed(departure),
            ManagementMail::Stayed => self.stayed(),
            ManagementMail::AccessTaken { controller, number } => self.access_taken(controller, number),
            ManagementMail::Aborted { controller, cid, aborted } => {
                let dw0 = AbortResult::new().with_not_aborted(!aborted).into();
                self.target().complete_deferred(controller, cid, Status::SUCCESS, dw0);
            }
            ManagementMail::Claim(claim) => self.claim(*claim),
            ManagementMail::Barred(number) => self.barred(number),
            ManagementMail::Released(number) => self.released(number),
            ManagementMail::Drained => self.drained += 1,
        }
    }

    /// Messages to a lane keep their order, or a queue would be closed before it arrives.
    pub(super) fn send(&mut self, lane: usize, mail: IoMail) {
        if self.unsent.iter().any(|(waiting, _)| *waiting == lane) {
            return self.unsent.push((lane, mail));
        }
        if let Err(mail) = self.lanes[lane].mail.send(mail) {
            self.unsent.push((lane, mail));
        }
    }

    /// Serves what is due, and sends what found no room before. True if there was something.
    pub(super) fn tick(&mut self, now: Time) -> bool {
        let due = self.target_deadline().is_some_and(|deadline| deadline <= now);
        if due {
            self.target().tick(now);
        }
        let waiting = self.unsent.len();
        for (lane, mail) in std::mem::take(&mut self.unsent) {
            self.send(lane, mail);
        }
        let ordered = self.send_orders() | self.send_bars() | self.send_settles();
        self.balance(now);
        due || waiting > 0 || ordered
    }

    /// When something is due.
    pub(super) fn next_deadline(&mut self) -> Option<Time> {
        if !self.unsent.is_empty()
            || !self.orders.is_sent()
            || !self.settling.is_sent()
            || !self.claims.is_told()
        {
            return Some(Time::ORIGIN);
        }
        [self.target_deadline(), self.next_look()].into_iter().flatten().min()
    }

    /// The next thing that the transport has to do for the target.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.target.next_action()
    }

    fn target_deadline(&mut self) -> Option<Time> {
        let target = &self.target;
        *self.deadline.get_or_insert_with(|| target.next_deadline())
    }

    /// Takes a reservation command.
    fn take(&mut self, reserve: Reserve) {
        self.reserved += 1;
        let id = self.reserved;
        match self.target().reserve(id, reserve.controller, reserve.peer, &reserve.sqe, &reserve.data) {
            Some((status, data)) => reserve.reply.send(IoMail::Reserved { tag: reserve.tag, status, data }),
            None => {
                self.reserving.insert(id, reserve);
            }
        }
    }

    /// Does what the fences ask for. True if there was something, or if reactors have still to observe a snapshot.
    pub(super) fn fence(&mut self, now: Time) -> bool {
        let publishing = self.target.fences().look();
        let mut done = !self.undrained.is_empty();
        for (lane, key, hosts) in std::mem::take(&mut self.undrained) {
            self.drain_lane(lane, key, hosts);
        }
        while let Some(work) = self.target.next_fence_work() {
            done = true;
            match work {
                FenceWork::Answer(id, status) => {
                    let Some(reserve) = self.reserving.remove(&id) else { continue };
                    let Reserve { tag, reply, controller, sqe, .. } = reserve;
                    let values = [controller.number(), sqe.nsid.get().into(), status.kind_and_code().into()];
                    self.counters.events.write(now, What::Reservation, values);
                    reply.send(IoMail::Reserved { tag, status, data: Vec::new() });
                }
                FenceWork::Settle(key) => self.settle(key, SettleCause::Protection),
                FenceWork::Drain { key, hosts } => {
                    let values = [key.subsystem as u64, key.nsid.into(), hosts.len() as u64];
                    self.counters.events.write(now, What::Fence, values);
                    self.drain_hosts(key, &hosts);
                }
            }
        }
        done || publishing
    }

    fn drain_hosts(&mut self, key: NamespaceKey, hosts: &[HostId]) {
        self.fencing.insert(key, self.lanes.len());
        for lane in 0..self.lanes.len() {
            self.drain_lane(lane, key, hosts.to_vec());
        }
    }

    fn drain_lane(&mut self, lane: usize, key: NamespaceKey, hosts: Vec<HostId>) {
        match self.mail.reserve() {
            Some(reply) => self.send(lane, IoMail::Fence(Box::new(FenceOrder { key, hosts, reply }))),
            None => self.undrained.push((lane, key, hosts)),
        }
    }

    /// Asks every I/O reactor to finish.
    pub(super) fn drain(&mut self) {
        if !std::mem::replace(&mut self.draining, true) {
            for lane in 0..self.lanes.len() {
                self.send(lane, IoMail::Drain);
            }
        }
    }

    /// Every I/O reactor has finished.
    pub(super) fn io_is_drained(&self) -> bool {
        self.drained == self.lanes.len()
    }
}
