//! One controller: an association with a host, from the Connect of its admin queue until all its queues are
//! closed.

mod events;
mod keep_alive;
mod lifecycle;
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
use std::net::SocketAddr;
use std::sync::Arc;

use corelane_reactors::clock::Time;

use crate::nvmf::controller::events::Events;
use crate::nvmf::controller::queues::Queues;
use crate::nvmf::controller::values::Values;
use crate::nvmf::host::Host;
use crate::nvmf::namespace::NamespaceTable;
use crate::nvmf::options::Options;
use crate::nvmf::target::Action;
use crate::reservation::{NoticeKind, Posted};
use crate::spec::event::AsyncEvent;
use crate::spec::log_page::LogPageId;
use crate::spec::register::{Cc, Csts, Property, Shutdown};
use crate::spec::status::Status;

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
    lifecycle: Lifecycle,
    cc: Cc,
    admin_queue: AdminQueue,
    queues: Queues,
    events: Events,
    /// CIDs of commands that are answered when their work is done. The transport bounds them: it takes no more
    /// commands than an admin queue has entries. A host may give one CID twice.
    deferred: Vec<u16>,
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
            lifecycle: Lifecycle::Disabled,
            cc: Cc::new(),
            admin_queue: AdminQueue::Open,
            queues: Queues::default(),
            events: Events::default(),
            deferred: Vec::new(),
        }
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
        let before = self.cc;
        let event = if before.en() && !cc.en() {
            Some(Event::Disable)
        } else if before.shn() == Shutdown::NONE && cc.shn() != Shutdown::NONE {
            Some(Event::Shutdown)
        } else if !before.en() && cc.en() {
            Some(Event::Enable { supported: property::is_supported(cc, !self.is_discovery()) })
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
        let closing = Closing { queues: !self.queues.is_empty(), until: now + property::CLOSING };
        let before = self.lifecycle;
        self.lifecycle = before.next(event, closing)?;
        if self.lifecycle != Lifecycle::Ready {
            self.close_queues(actions);
            self.end_requests(actions);
        }
        if self.lifecycle == Lifecycle::Disabled && before != Lifecycle::Disabled {
            self.values = Values::default();
        }
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

    /// Takes an I/O queue into the controller.
    pub(super) fn open_queue(&mut self, qid: u16) -> Result<(), Status> {
        if !self.is_ready() || self.queues.contains(qid) {
            return Err(Status::COMMAND_SEQUENCE_ERROR);
        }
        self.queues.open(qid);
        Ok(())
    }

    pub(super) fn has_queues(&self) -> bool {
        !self.queues.is_empty()
    }

    /// The transport closed an I/O queue.
    pub(super) fn queue_closed(&mut self, now: Time, qid: u16, actions: &mut VecDeque<Action>) {
        if self.queues.closed(qid) && self.queues.is_empty() {
            self.happen(now, Event::QueuesGone, actions);
        }
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

    /// When something must be done although nothing comes.
    pub(super) fn deadline(&self) -> Option<Time> {
        let keep_alive = (self.admin_queue == AdminQueue::Open).then(|| self.keep_alive.deadline()).flatten();
        keep_alive.into_iter().chain(self.lifecycle.deadline()).min()
    }

    /// Acts on the deadlines that have passed. Returns whether the keep alive timer expired.
    pub(super) fn tick(&mut self, now: Time, actions: &mut VecDeque<Action>) -> bool {
        if self.lifecycle.deadline().is_some_and(|deadline| deadline <= now) {
            self.happen(now, Event::Overdue, actions);
        }
        let deadline = self.keep_alive.deadline().filter(|_| self.admin_queue == AdminQueue::Open);
        let expired = deadline.is_some_and(|deadline| deadline <= now);
        if expired {
            self.admin_queue = AdminQueue::Closing;
            self.happen(now, Event::AssociationLost, actions);
            actions.push_back(Action::CloseAdmin { controller: self.id });
        }
        expired
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

    /// A reservation notice about a namespace: a page, and an event that tells of it.
    pub(super) fn notify(&mut self, nsid: u32, kind: NoticeKind, actions: &mut VecDeque<Action>) {
        match self.values.notices.post(nsid, kind) {
            Posted::Queued | Posted::Counted => self.raise(Notice::Reservation, actions),
            Posted::Masked => {}
        }
    }

    /// This command is answered later.
    pub(super) fn defer(&mut self, cid: u16) {
        self.deferred.push(cid);
    }

    /// Answers a command that was deferred. Nobody is told when the admin queue has ended.
    pub(super) fn complete_deferred(&mut self, cid: u16, status: Status, actions: &mut VecDeque<Action>) {
        let index = self.deferred.iter().position(|deferred| *deferred == cid);
        assert!(index.is_some(), "command {cid} waits for an answer");
        self.deferred.remove(index.unwrap_or_default());
        if self.is_connected() {
            actions.push_back(Action::Complete { controller: self.id, cid, status, dw0: 0 });
        }
    }

    /// A log page was read without RAE.
    pub(super) fn log_page_read(&mut self, lid: LogPageId) {
        self.events.log_page_read(lid);
    }

    /// An event that cannot be refused.
    fn happen(&mut self, now: Time, event: Event, actions: &mut VecDeque<Action>) {
        let refused = self.apply(now, event, actions);
        assert!(refused.is_ok());
    }
}
