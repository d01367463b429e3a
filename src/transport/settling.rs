//! The end of all writes to a namespace that has become write protected: what the management reactor orders, and what I/O
//! reactors do.
//!
//! ```text
//!   the rules that nobody may write are observed --> Writing --no write is left--> Flushing --> Settled
//! ```
//!
//! Writes that were handed over before run to their end; harsher means against those that do not are those of
//! [`escalation`](super::escalation), and their hosts are told to try again, which is then refused. Then each reactor that
//! has the device open has it make durable what it has cached, after its own writes; the first one does so in any case,
//! since a write may have come through a queue that is gone.
//!
//! Invariants: a settling begins when no reactor hands over what changes blocks any more, so that the writes of a reactor only
//! become fewer, whatever hosts send; the tag of a flush is no tag of a command.

use std::collections::HashMap;

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

/// In tags of flushes, and in no tag of a command: those have the index of a socket there.
const FLUSH: u64 = 1 << 63;

/// A namespace whose writes have to end.
#[derive(Debug)]
pub struct SettleOrder {
    number: u64,
    key: NamespaceKey,
    namespace: Namespace,
    /// Room for the answer.
    reply: Slot<ManagementMail>,
}

/// How far an order is on an I/O reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Writes are left.
    Writing,
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
    waiting: HashMap<NamespaceKey, (usize, bool)>,
    /// Orders that found no room for their answer.
    unsent: Vec<(usize, u64, NamespaceKey)>,
}

impl Settling {
    /// Every order found room.
    pub(super) fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }
}

impl Management {
    /// Has every I/O reactor wait for the end of the writes to a namespace.
    pub(super) fn settle(&mut self, key: NamespaceKey) {
        self.settling.ordered += 1;
        let number = self.settling.ordered;
        self.settling.waiting.insert(key, (self.lanes.len(), true));
        for lane in 0..self.lanes.len() {
            self.settle_lane(lane, number, key);
        }
    }

    fn settle_lane(&mut self, lane: usize, number: u64, key: NamespaceKey) {
        let Some(namespace) = self.target.namespace(key).cloned() else {
            unreachable!("a namespace that has a fence stays")
        };
        match self.mail.reserve() {
            Some(reply) => {
                let order = SettleOrder { number, key, namespace, reply };
                self.send(lane, IoMail::Settle(Box::new(order)));
            }
            None => self.settling.unsent.push((lane, number, key)),
        }
    }

    /// Sends what found no room before. True if there was something.
    pub(super) fn send_settles(&mut self) -> bool {
        let unsent = std::mem::take(&mut self.settling.unsent);
        let any = !unsent.is_empty();
        unsent.into_iter().for_each(|(lane, number, key)| self.settle_lane(lane, number, key));
        any
    }

    /// An I/O reactor has no write left.
    pub(super) fn settled(&mut self, key: NamespaceKey, durable: bool) {
        let Some((left, all)) = self.settling.waiting.get_mut(&key) else { return };
        *left -= 1;
        *all &= durable;
        if let (0, all) = (*left, *all) {
            self.settling.waiting.remove(&key);
            let fences = self.target().fences();
            if all { fences.drained(key) } else { fences.not_settled(key) }
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
    /// Waits for the end of the writes to a namespace.
    pub(super) fn settle(&mut self, order: SettleOrder) {
        let escalation = Escalation::from(self.services.now);
        self.services.settles.push(Settle { order, phase: Phase::Writing, escalation });
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
                let SettleOrder { number, namespace, .. } = &settle.order;
                settle.phase = match self.services.channels.flush(FLUSH | number, namespace, lane == 0) {
                    None => Phase::Flushing,
                    // The channel is full: it is tried again when something came back from it.
                    Some(status) if status.is(Status::INTERRUPTED) => Phase::Writing,
                    Some(status) => Phase::Settled { durable: status.is_success() },
                };
                any |= settle.phase != Phase::Writing;
            }
            match settle.phase {
                Phase::Settled { durable } => {
                    let SettleOrder { key, reply, .. } = settle.order;
                    reply.send(ManagementMail::Settled { key, durable });
                    any = true;
                }
                Phase::Writing | Phase::Flushing => left.push(settle),
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
