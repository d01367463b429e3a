//! The end of all writes to a namespace that has become write protected, and the flush of one whose host shuts down: what
//! the management reactor orders, and what I/O reactors do.
//!
//! ```text
//!   the rules that nobody may write are observed --> Writing --no write is left--> Written --> Flushing --> Settled
//!   the queues of a controller are closed ------------------------------------------->'
//! ```
//!
//! Writes that were handed over before run to their end; harsher means against those that do not are those of
//! [`escalation`](super::escalation), and their hosts are told to try again, which is then refused. Then each reactor that
//! has the device open has it make durable what it has cached, after its own writes; the first one does so in any case,
//! since a write may have come through a queue that is gone. A host that shuts down has no queue left, and what it wrote has
//! completed; other hosts go on writing, which nobody waits for. See [`shutting`](super::shutting).
//!
//! Invariants: a settling for protection begins when no reactor hands over what changes blocks any more, so that the writes of
//! a reactor only become fewer, whatever hosts send; the tag of a flush is no tag of a command.

use std::collections::HashMap;

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Slot;
use corelane_reactors::poll_group::SocketId;

use crate::nvmf::fence::NamespaceKey;
use crate::nvmf::io::Attached;
use crate::nvmf::namespace::Namespace;
use crate::spec::status::Status;
use crate::transport::Management;
use crate::transport::command::Stage;
use crate::transport::escalation::Escalation;
use crate::transport::message::{IoMail, ManagementMail};
use crate::transport::queues::{Queue, Queues, Role};
use crate::transport::shutting::Shutting;

/// In tags of flushes, and in no tag of a command: those have the index of a socket there.
const FLUSH: u64 = 1 << 63;

/// What a namespace is settled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettleCause {
    /// It has become write protected: its writes have to end, too.
    Protection,
    /// A host that has it shuts down.
    Shutdown,
}

/// A namespace whose writes have to end, or to become durable.
#[derive(Debug)]
pub struct SettleOrder {
    number: u64,
    key: NamespaceKey,
    cause: SettleCause,
    namespace: Namespace,
    /// Room for the answer.
    reply: Slot<ManagementMail>,
}

/// How far an order is on an I/O reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Writes are left.
    Writing,
    /// The device is to make durable what it has cached.
    Written,
    /// The device makes durable what it has cached.
    Flushing,
    Settled {
        durable: bool,
    },
}

/// An order that is being carried out.
#[derive(Debug)]
pub(super) struct Settle {
    order: SettleOrder,
    phase: Phase,
    pub(super) escalation: Escalation,
}

/// What the management reactor has ordered.
#[derive(Debug, Default)]
pub(super) struct Settling {
    ordered: u64,
    /// I/O reactors that have not answered, and whether all that did have made everything durable.
    waiting: HashMap<(NamespaceKey, SettleCause), (usize, bool)>,
    /// Orders that found no room for their answer.
    unsent: Vec<(usize, u64, NamespaceKey, SettleCause)>,
    /// Whose shutdowns wait for it.
    pub(super) shutting: HashMap<NamespaceKey, Shutting>,
}

impl Settling {
    /// Every order found room.
    pub(super) fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }
}

impl Management {
    /// Has every I/O reactor settle a namespace. One order for a cause at a time.
    pub(super) fn settle(&mut self, key: NamespaceKey, cause: SettleCause) {
        self.settling.ordered += 1;
        let number = self.settling.ordered;
        let before = self.settling.waiting.insert((key, cause), (self.lanes.len(), true));
        assert!(before.is_none());
        for lane in 0..self.lanes.len() {
            self.settle_lane(lane, number, key, cause);
        }
    }

    fn settle_lane(&mut self, lane: usize, number: u64, key: NamespaceKey, cause: SettleCause) {
        let Some(namespace) = self.target.namespace(key).cloned() else {
            unreachable!("a namespace of a subsystem stays")
        };
        match self.mail.reserve() {
            Some(reply) => {
                let order = SettleOrder { number, key, cause, namespace, reply };
                self.send(lane, IoMail::Settle(Box::new(order)));
            }
            None => self.settling.unsent.push((lane, number, key, cause)),
        }
    }

    /// Sends what found no room before. True if there was something.
    pub(super) fn send_settles(&mut self) -> bool {
        let unsent = std::mem::take(&mut self.settling.unsent);
        let any = !unsent.is_empty();
        for (lane, number, key, cause) in unsent {
            self.settle_lane(lane, number, key, cause);
        }
        any
    }

    /// An I/O reactor has settled a namespace.
    pub(super) fn settled(&mut self, now: Time, key: NamespaceKey, cause: SettleCause, durable: bool) {
        let Some((left, all)) = self.settling.waiting.get_mut(&(key, cause)) else { return };
        *left -= 1;
        *all &= durable;
        let (0, all) = (*left, *all) else { return };
        self.settling.waiting.remove(&(key, cause));
        match (cause, all) {
            (SettleCause::Protection, true) => self.target().fences().drained(key),
            (SettleCause::Protection, false) => self.target().fences().not_settled(key),
            (SettleCause::Shutdown, durable) => self.flushed(now, key, durable),
        }
    }
}

impl Settle {
    pub(super) fn key(&self) -> NamespaceKey {
        self.order.key
    }

    /// Writes were left when it was last looked.
    pub(super) fn is_writing(&self) -> bool {
        self.phase == Phase::Writing
    }
}

impl Queues {
    /// Takes an order.
    pub(super) fn settle(&mut self, order: SettleOrder) {
        let escalation = Escalation::from(self.services.now);
        let phase = match order.cause {
            SettleCause::Protection => Phase::Writing,
            SettleCause::Shutdown => Phase::Written,
        };
        self.services.settles.push(Settle { order, phase, escalation });
    }

    /// The writes to a namespace that bdevs have.
    pub(super) fn writes(&self, key: NamespaceKey) -> Vec<(Attached, SocketId, u16)> {
        let mut found = Vec::new();
        for queue in self.table.iter().flatten() {
            let Queue { link, role: Role::Io(io, _) } = &**queue else { continue };
            if io.fence.is_none_or(|fence| fence.subsystem != key.subsystem) {
                continue;
            }
            let writes = io.slots.iter().filter(|(_, command)| {
                let request = &command.request;
                let executes = matches!(command.stage, Stage::Executing { .. });
                executes && request.namespace.nsid == key.nsid && request.operation.changes()
            });
            found.extend(writes.map(|(slot, command)| (command.request.namespace, link.socket, slot)));
        }
        found
    }

    /// Goes on where no write is left, and answers what is over. True if there was something. `lane` is the number of this
    /// I/O reactor.
    pub(super) fn look_at_settles(&mut self, lane: usize) -> bool {
        let mut any = false;
        let mut left = Vec::new();
        for mut settle in std::mem::take(&mut self.services.settles) {
            if settle.phase == Phase::Writing && self.writes(settle.key()).is_empty() {
                settle.phase = Phase::Written;
            }
            if settle.phase == Phase::Written {
                let SettleOrder { number, namespace, .. } = &settle.order;
                settle.phase = match self.services.channels.flush(FLUSH | number, namespace, lane == 0) {
                    None => Phase::Flushing,
                    // The channel is full: it is tried again when something came back from it.
                    Some(status) if status.is(Status::INTERRUPTED) => Phase::Written,
                    Some(status) => Phase::Settled { durable: status.is_success() },
                };
                any |= settle.phase != Phase::Written;
            }
            match settle.phase {
                Phase::Settled { durable } => {
                    let SettleOrder { key, cause, reply, .. } = settle.order;
                    reply.send(ManagementMail::Settled { key, cause, durable });
                    any = true;
                }
                Phase::Writing | Phase::Written | Phase::Flushing => left.push(settle),
            }
        }
        self.services.settles = left;
        any
    }

    /// A device has made durable what it had cached, or failed to.
    pub(super) fn flushed(&mut self, tag: u64, status: Status) {
        let number = tag & !FLUSH;
        assert!(tag & FLUSH != 0, "a completion is that of a command or of a flush");
        if let Some(settle) = self.services.settles.iter_mut().find(|settle| settle.order.number == number) {
            settle.phase = Phase::Settled { durable: status.is_success() };
        }
    }
}
