//! Abort commands on the reactor of the I/O queue that they mean (NVMe base 2.1, section 5.1.1).
//!
//! A command that waits for a buffer is taken out and answered at once. One that its bdev has is aborted there; the Abort
//! command is answered when the bdev lets go of it, or after [`PATIENCE`]. One whose data the host is sending takes all of
//! it and is not carried out: that is a deferred abort, of which the Abort command says that nothing was aborted yet. A
//! reservation command runs on: it is being made durable.
//!
//! Invariant: of each order one answer goes back, whatever becomes of the command and of its queue.

use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Slot;
use corelane_reactors::poll_group::SocketId;

use crate::nvmf::controller::ControllerId;
use crate::spec::status::Status;
use crate::transport::command::{Stage, tag};
use crate::transport::fusing::First;
use crate::transport::io_queue::IoQueue;
use crate::transport::link::Link;
use crate::transport::message::{AbortOrder, ManagementMail};
use crate::transport::queues::{Queue, Queues, Role, Services};

/// How long an Abort command waits for a bdev to let go of the other command: hosts wait for it, too.
const PATIENCE: Duration = Duration::from_secs(1);

/// An Abort command that waits.
#[derive(Debug)]
pub(super) struct AbortWait {
    socket: SocketId,
    slot: u16,
    until: Time,
    duty: Duty,
}

/// The answer that an Abort command waits for.
#[derive(Debug)]
struct Duty {
    controller: ControllerId,
    cid: u16,
    reply: Slot<ManagementMail>,
}

/// What became of a command that is to be aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was answered, and nothing more happens for it.
    Aborted,
    /// Its bdev was asked to let go of it.
    Asked(u16),
    /// It is not there, or runs on for now.
    Runs,
}

impl Duty {
    fn answer(self, aborted: bool) {
        let Self { controller, cid, reply } = self;
        reply.send(ManagementMail::Aborted { controller, cid, aborted });
    }
}

impl Queues {
    /// Aborts a command.
    pub(super) fn abort(&mut self, order: AbortOrder) {
        let AbortOrder { controller, cid, qid, victim, reply } = order;
        let duty = Duty { controller, cid, reply };
        let found = self.table.iter_mut().flatten().find(
            |queue| matches!(&queue.role, Role::Io(io, _) if io.controller == controller && io.qid == qid),
        );
        let Some(Queue { link, role: Role::Io(io, _) }) = found.map(Box::as_mut) else {
            return duty.answer(false);
        };
        let socket = link.socket;
        match io.abort(link, &mut self.services, victim) {
            Fate::Aborted => duty.answer(true),
            Fate::Runs => duty.answer(false),
            Fate::Asked(slot) => {
                let until = self.services.now + PATIENCE;
                self.services.aborts.push(AbortWait { socket, slot, until, duty });
            }
        }
        self.mark(socket);
    }

    /// Answers the Abort commands that have waited long enough. Returns how many those were.
    pub(super) fn give_up_aborts(&mut self) -> usize {
        let now = self.services.now;
        let late: Vec<_> = self.services.aborts.extract_if(.., |wait| wait.until <= now).collect();
        let count = late.len();
        late.into_iter().for_each(|wait| wait.duty.answer(false));
        count
    }

    /// When an Abort command has waited long enough.
    pub(super) fn next_abort(&self) -> Option<Time> {
        self.services.aborts.iter().map(|wait| wait.until).min()
    }
}

impl Services {
    /// A bdev has let go of a command that its host wants aborted.
    pub(super) fn aborted(&mut self, socket: SocketId, slot: u16, aborted: bool) {
        let mut those = Vec::new();
        those.extend(self.aborts.extract_if(.., |wait| (wait.socket, wait.slot) == (socket, slot)));
        those.into_iter().for_each(|wait: AbortWait| wait.duty.answer(aborted));
    }
}

impl IoQueue {
    fn abort(&mut self, link: &mut Link, services: &mut Services, cid: u16) -> Fate {
        let found = self.slots.iter().find(|(_, command)| command.mark.cid == cid).map(|(slot, _)| slot);
        let Some((slot, command)) = found.and_then(|slot| Some((slot, self.slots.find(slot)?))) else {
            return Fate::Runs;
        };
        let (mark, request) = (command.mark, command.request);
        match command.stage {
            Stage::Fused { .. } if command.pair.is_none() => {
                self.slots.remove(slot);
                self.first = Some(First::Refused);
                self.refuse(link, services, mark, &request, Status::ABORT_REQUESTED);
                Fate::Aborted
            }
            // One half of a fused operation does not end without the other.
            _ if command.pair.is_some() => Fate::Runs,
            Stage::Barred { .. } => {
                if let Some(Stage::Barred { buffer: Some(buffer), .. }) =
                    self.slots.remove(slot).map(|command| command.stage)
                {
                    self.buffers.put(buffer);
                }
                self.refuse(link, services, mark, &request, Status::ABORT_REQUESTED);
                self.serve_waiting(link, services);
                Fate::Aborted
            }
            Stage::Waiting(_) => {
                self.slots.remove(slot);
                self.waiting.retain(|waiting| *waiting != slot);
                self.asking.retain(|asking| *asking != slot);
                self.refuse(link, services, mark, &request, Status::ABORT_REQUESTED);
                Fate::Aborted
            }
            Stage::Receiving(_) => {
                command.aborted = true;
                Fate::Runs
            }
            Stage::Executing { .. } => {
                if !services.channels.abort(&request.namespace, tag(link.socket, slot)) {
                    return Fate::Runs;
                }
                command.aborted = true;
                Fate::Asked(slot)
            }
            Stage::Reserving(_) | Stage::Fused { .. } | Stage::Claiming { .. } => Fate::Runs,
        }
    }
}
