//! One controller: an association with a host, from the Connect of its admin queue until all its queues are
//! closed.

mod deadlines;
mod events;
mod flushing;
mod keep_alive;
mod lifecycle;
pub(super) mod paths;
mod property;
mod queues;
pub(super) mod values;

#[cfg(test)]
mod tests;

pub use events::{AERL_Z, Notice};
pub use keep_alive::{KAS, KeepAlive};
pub use lifecycle::{Closing, Event, Lifecycle};
pub use property::{VERSION, Value, cap};

use std::collections::VecDeque;
use std::mem::offset_of;
use std::net::SocketAddr;
use std::sync::Arc;

use corelane_reactors::clock::Time;

use crate::nvmf::access::Access;
use crate::nvmf::controller::events::Events;
use crate::nvmf::controller::paths::{Paths, Untold};
use crate::nvmf::controller::queues::Queues;
use crate::nvmf::controller::values::Values;
use crate::nvmf::errors::{ErrorLog, Failed, Failures};
use crate::nvmf::host::Host;
use crate::nvmf::namespace::NamespaceTable;
use crate::nvmf::options::Options;
use crate::nvmf::subsystem::Served;
use crate::nvmf::target::{Action, Refusal};
use crate::reservation::{NoticeKind, Posted};
use crate::spec::event::AsyncEvent;
use crate::spec::fabrics::Connect;
use crate::spec::log_page::LogPageId;
use crate::spec::opcode::{AdminOpcode, FabricsType};
use crate::spec::register::{Cc, Csts, Property, Shutdown};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// Abort commands that are under way at once, 0-based (ACL).
pub const ACL_Z: u8 = 3;

/// Names a controller for as long as the target lives; never used twice. CNTLIDs are used again, these are
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControllerId(pub(super) u64);

impl ControllerId {
    /// The number, for logs and traces.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What a controller is for.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The discovery log.
    Discovery,
    /// The namespaces of a subsystem, by its index in the target.
    Io { subsystem: usize, namespaces: Arc<NamespaceTable> },
}

/// Whether the admin queue is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AdminQueue {
    Open,
    Closing,
    Closed,
}

/// A command that is answered when its work is done.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    cid: u16,
    nsid: u32,
    opcode: u8,
}

/// A controller. Invariant: no I/O queue is opened unless the state is [`Lifecycle::Ready`] and the admin
/// queue is open.
#[derive(Debug)]
pub(super) struct Controller {
    pub(super) id: ControllerId,
    pub(super) cntlid: u16,
    pub(super) kind: Kind,
    pub(super) host: Host,
    /// The address the host came to.
    pub(super) local: SocketAddr,
    pub(super) keep_alive: KeepAlive,
    pub(super) values: Values,
    /// The commands that failed.
    pub(super) errors: ErrorLog,
    /// The ways to its namespaces; none for discovery.
    pub(super) paths: Option<Paths>,
    /// Since when it is not enabled.
    idle_since: Option<Time>,
    /// Shutdowns that flushed something so far: the number of the last.
    flushes: u64,
    /// Namespaces that are not flushed of the last one.
    unflushed: usize,
    lifecycle: Lifecycle,
    cc: Cc,
    admin_queue: AdminQueue,
    queues: Queues,
    events: Events,
    /// Commands that are answered when their work is done. The transport bounds them: it takes no more commands than an
    /// admin queue has entries. A host may give one CID twice.
    deferred: Vec<Deferred>,
}

impl Controller {
    pub(super) fn new(
        id: ControllerId,
        cntlid: u16,
        kind: Kind,
        host: Host,
        local: SocketAddr,
        keep_alive: KeepAlive,
    ) -> Self {
        Self {
            id,
            cntlid,
            kind,
            host,
            local,
            keep_alive,
            values: Values::default(),
            errors: ErrorLog::default(),
            paths: None,
            idle_since: None,
            flushes: 0,
            unflushed: 0,
            lifecycle: Lifecycle::Disabled,
            cc: Cc::new(),
            admin_queue: AdminQueue::Open,
            queues: Queues::default(),
            events: Events::default(),
            deferred: Vec::new(),
        }
    }

    /// As it is right after Connect, at `now`, with these ways to its namespaces.
    pub(super) fn idle(self, now: Time, paths: Option<Paths>) -> Self {
        Self { idle_since: Some(now), paths, ..self }
    }

    pub(super) fn is_discovery(&self) -> bool {
        matches!(self.kind, Kind::Discovery)
    }

    /// Whether it belongs to the subsystem of this index.
    pub(super) fn is_of(&self, subsystem: usize) -> bool {
        matches!(self.kind, Kind::Io { subsystem: index, .. } if index == subsystem)
    }

    /// Whether its host is there.
    pub(super) fn is_connected(&self) -> bool {
        self.admin_queue == AdminQueue::Open
    }

    /// Whether admin commands other than fabrics commands are taken.
    pub(super) fn is_ready(&self) -> bool {
        self.lifecycle.is_ready() && self.admin_queue == AdminQueue::Open
    }

    pub(super) fn csts(&self) -> Csts {
        self.lifecycle.csts(self.cc)
    }

    pub(super) fn read_property(&self, property: Property, options: &Options) -> Option<Value> {
        property::read(property, options, self.cc, self.csts())
    }

    /// The host wrote CC. A refused write changes nothing.
    pub(super) fn write_cc(
        &mut self,
        now: Time,
        cc: Cc,
        actions: &mut VecDeque<Action>,
    ) -> Result<(), Status> {
        let (before, cc) = (self.cc, property::written(cc));
        let event = if before.en() && !cc.en() {
            Some(Event::Disable)
        } else if before.shn() == Shutdown::NONE && cc.shn() != Shutdown::NONE {
            Some(Event::Shutdown)
        } else if !before.en() && cc.en() {
            Some(Event::Enable { supported: property::is_supported(cc) })
        } else {
            None
        };
        if let Some(event) = event {
            self.apply(now, event, actions)?;
        }
        self.cc = cc;
        Ok(())
    }

    /// Moves to the next state, and asks for what that needs.
    fn apply(&mut self, now: Time, event: Event, actions: &mut VecDeque<Action>) -> Result<(), Status> {
        let caches = self.caches();
        let (queues, until) = (!self.queues.is_empty(), now + property::CLOSING);
        let before = self.lifecycle;
        self.lifecycle = before.next(event, Closing { queues, caches: !caches.is_empty(), until })?;
        if self.lifecycle != Lifecycle::Ready {
            self.close_queues(actions);
            self.end_requests(actions);
        }
        if self.lifecycle.is_ready() && !before.is_ready() {
            self.keep_alive.restart(now);
        }
        if matches!(self.lifecycle, Lifecycle::Flushing { .. }) && self.lifecycle != before {
            self.flushes += 1;
            self.unflushed = caches.len();
            actions.push_back(Action::Flush { controller: self.id, number: self.flushes, nsids: caches });
        }
        if self.lifecycle == Lifecycle::Disabled && before != Lifecycle::Disabled {
            self.values = Values::default();
            self.paths.iter_mut().for_each(Paths::reset);
        }
        self.idle_since = match self.lifecycle {
            Lifecycle::Ready => None,
            _ => self.idle_since.or(Some(now)),
        };
        Ok(())
    }

    fn close_queues(&mut self, actions: &mut VecDeque<Action>) {
        for qid in self.queues.close_all() {
            actions.push_back(Action::CloseQueue { controller: self.id, qid });
        }
    }

    fn end_requests(&mut self, actions: &mut VecDeque<Action>) {
        for cid in self.events.reset() {
            if self.admin_queue == AdminQueue::Open {
                let status = Status::ABORT_REQUESTED;
                actions.push_back(Action::Complete { controller: self.id, cid, status, dw0: 0 });
            }
        }
    }

    /// Takes an I/O queue into the controller (NVMe base 2.1, sections 3.1.4.5 and 6.3).
    pub(super) fn open_queue(&mut self, qid: u16) -> Result<Arc<Failures>, Refusal> {
        if !self.cc.en() || !property::has_entry_sizes(self.cc) {
            return Err(Refusal::in_command(offset_of!(Connect, qid)));
        }
        if !self.is_ready() || self.queues.contains(qid) {
            return Err(Refusal::of(Status::COMMAND_SEQUENCE_ERROR));
        }
        self.queues.open(qid);
        Ok(self.errors.open_queue(qid))
    }

    pub(super) fn has_queue(&self, qid: u16) -> bool {
        self.queues.contains(qid)
    }

    /// Connections that it has: its admin queue and its I/O queues, those that are being closed too.
    pub(super) fn connections(&self) -> usize {
        usize::from(self.is_connected()) + self.queues.len()
    }

    pub(super) fn has_queues(&self) -> bool {
        !self.queues.is_empty()
    }

    /// The transport closed an I/O queue. False if there was none of this QID.
    pub(super) fn queue_closed(&mut self, now: Time, qid: u16, actions: &mut VecDeque<Action>) -> bool {
        if !self.queues.closed(qid) {
            return false;
        }
        self.errors.close_queue(qid);
        if self.queues.is_empty() {
            self.happen(now, Event::QueuesGone, actions);
        }
        true
    }

    /// The transport lost the admin queue.
    pub(super) fn admin_closed(&mut self, now: Time, actions: &mut VecDeque<Action>) {
        self.admin_queue = AdminQueue::Closed;
        self.happen(now, Event::AssociationLost, actions);
    }

    /// Whether nothing of the association is left.
    pub(super) fn is_gone(&self) -> bool {
        self.admin_queue == AdminQueue::Closed && self.queues.is_empty()
    }

    /// An Asynchronous Event Request.
    pub(super) fn event_request(&mut self, cid: u16) -> Result<Option<AsyncEvent>, Status> {
        self.events.request(cid)
    }

    /// Aborts an outstanding Asynchronous Event Request, if it is one.
    pub(super) fn abort_event_request(&mut self, cid: u16, actions: &mut VecDeque<Action>) -> bool {
        let aborted = self.events.abort(cid);
        if aborted {
            let status = Status::ABORT_REQUESTED;
            actions.push_back(Action::Complete { controller: self.id, cid, status, dw0: 0 });
        }
        aborted
    }

    /// Reports that something happened.
    pub(super) fn raise(&mut self, notice: Notice, actions: &mut VecDeque<Action>) {
        if let Some((cid, event)) = self.events.raise(notice, self.values.async_events) {
            let dw0 = event.into_bits();
            actions.push_back(Action::Complete { controller: self.id, cid, status: Status::SUCCESS, dw0 });
        }
    }

    /// The reliability of its subsystem is degraded. A controller that is not enabled says so in its page when it is.
    pub(super) fn warn(&mut self, actions: &mut VecDeque<Action>) {
        if self.is_ready() {
            self.raise(Notice::Reliability, actions);
        }
    }

    /// A reservation notice about a namespace: a page, and an event that tells of it. None where the host has no such
    /// namespace.
    pub(super) fn notify(&mut self, nsid: u32, kind: NoticeKind, actions: &mut VecDeque<Action>) {
        if !matches!(&self.kind, Kind::Io { namespaces, .. } if namespaces.find(nsid).is_ok()) {
            return;
        }
        match self.values.notices.post(nsid, kind) {
            Posted::Queued | Posted::Counted => self.raise(Notice::Reservation, actions),
            Posted::Masked => {}
        }
    }

    /// A command of the admin queue failed. Connect commands are not told of (NVMe base 2.1, section 6.3).
    pub(super) fn note_failure(&mut self, sqe: &Sqe, status: Status) {
        if sqe.fabrics_type() != Some(FabricsType::CONNECT) {
            let (cid, nsid, opcode) = (sqe.cid.get(), sqe.nsid.get(), sqe.opcode);
            self.errors.add(&Failed { cid, status, nsid, lba: 0, opcode });
        }
    }

    /// This command is answered later.
    pub(super) fn defer(&mut self, sqe: &Sqe) {
        let (cid, nsid) = (sqe.cid.get(), sqe.nsid.get());
        self.deferred.push(Deferred { cid, nsid, opcode: sqe.opcode });
    }

    /// Abort commands that are not answered.
    pub(super) fn aborts(&self) -> usize {
        self.deferred.iter().filter(|deferred| deferred.opcode == AdminOpcode::ABORT.0).count()
    }

    /// Answers a command that was deferred. Nobody is told when the admin queue has ended.
    pub(super) fn complete_deferred(
        &mut self,
        cid: u16,
        status: Status,
        dw0: u32,
        actions: &mut VecDeque<Action>,
    ) {
        let index = self.deferred.iter().position(|deferred| deferred.cid == cid);
        assert!(index.is_some(), "command {cid} waits for an answer");
        let Deferred { nsid, opcode, .. } = self.deferred.remove(index.unwrap_or_default());
        if !status.is_success() {
            self.errors.add(&Failed { cid, status, nsid, lba: 0, opcode });
        }
        if self.is_connected() {
            actions.push_back(Action::Complete { controller: self.id, cid, status, dw0 });
        }
    }

    /// Refuses what needs a namespace that this controller does not reach now.
    ///
    /// # Errors
    /// A path related status.
    pub(super) fn reaches(&self, served: &Served, nsid: u32) -> Result<(), Status> {
        let listener = self.paths.as_ref().and_then(|paths| paths.listener);
        served.state(nsid, listener).check()
    }

    /// Whether the host came by this listener.
    pub(super) fn came_by(&self, listener: Option<usize>) -> bool {
        self.paths.as_ref().is_some_and(|paths| paths.listener == listener)
    }

    /// What a new I/O queue judges by.
    pub(super) fn access(&mut self, served: &Served) -> Arc<Access> {
        let access = Arc::new(served.access(
            &self.host.nqn,
            self.paths.as_ref().and_then(|paths| paths.listener),
            self.values.host_behavior.acre == 1,
        ));
        if let Some(paths) = &mut self.paths {
            paths.access = Arc::clone(&access);
        }
        access
    }

    /// Takes what is so for its subsystem now: I/O queues are given it, and the host is told what changed.
    pub(super) fn update(&mut self, served: &Served, actions: &mut VecDeque<Action>) {
        let acre = self.values.host_behavior.acre == 1;
        let Some(paths) = &mut self.paths else { return };
        let access = Arc::new(served.access(&self.host.nqn, paths.listener, acre));
        let groups = served.groups(&self.host.nqn, paths.listener);
        let nsid_max = served.namespaces.nsid_max();
        match paths.update(groups, Arc::clone(&access), served.protected(), nsid_max) {
            Some(number) => actions.push_back(Action::Access { controller: self.id, number, access }),
            None => {
                let untold = paths.untold();
                self.tell(untold, actions);
            }
        }
    }

    /// As [`Controller::update`], by the subsystems of the target.
    pub(super) fn update_in(&mut self, subsystems: &[Served], actions: &mut VecDeque<Action>) {
        if let Kind::Io { subsystem, .. } = self.kind {
            self.update(&subsystems[subsystem], actions);
        }
    }

    /// Its I/O queues have what they were given under this number.
    pub(super) fn access_taken(&mut self, number: u64, actions: &mut VecDeque<Action>) {
        let untold = self.paths.as_mut().map(|paths| paths.taken(number));
        self.tell(untold.unwrap_or_default(), actions);
    }

    fn tell(&mut self, untold: Untold, actions: &mut VecDeque<Action>) {
        // Events of a controller that is not enabled have nobody to hear them: its pages say all when it is.
        if !self.is_ready() {
            return;
        }
        if untold.namespaces {
            self.raise(Notice::Namespaces, actions);
        }
        if untold.ana {
            self.raise(Notice::Ana, actions);
        }
    }

    /// A log page was read without RAE.
    pub(super) fn log_page_read(&mut self, lid: LogPageId) {
        self.events.log_page_read(lid);
        if lid == LogPageId::CHANGED_NAMESPACES {
            self.paths.iter_mut().for_each(Paths::changed_read);
        }
    }

    /// An event that cannot be refused.
    fn happen(&mut self, now: Time, event: Event, actions: &mut VecDeque<Action>) {
        let refused = self.apply(now, event, actions);
        assert!(refused.is_ok());
    }
}
