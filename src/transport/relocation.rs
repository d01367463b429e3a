//! The move of an I/O queue from one I/O reactor to another, as the management reactor conducts it.
//!
//! ```text
//!   management        reactor it goes to        reactor it is on
//!   Expect ---------> opens bdevs, takes buffers, makes a connection: everything that can fail or takes long
//!          <--------- Prepared
//!   Release ----------------------------------> waits for a good moment (see `departure`), then lets go
//!          <----------------------------------- Departed, with the queue in it; or Stayed
//!   Arrive ---------> serves it from the same turn on
//! ```
//!
//! **What moves** is a value, and the sender keeps nothing of it: the socket, the bytes that were received and not taken,
//! what was agreed on, SQHD, the commands that have not been handed to a bdev, with their order, their transfer tags and
//! the times at which they came, the count of the connection and its trace. Buffers do not: those of the old reactor go back
//! to its pool, and the new one has as many. Channels, counts of namespaces and the view of reservations are the new
//! reactor's own. Admin queues stay on the management reactor.
//!
//! **When it may leave**: between two PDUs, when no bdev and no reservation command has anything of it, nothing waits to be
//! sent, and no transfer is half done. So nothing is in two places, nothing can be answered twice, and what the host gets is
//! in the order in which the queue answered.
//!
//! **Reservations.** A queue on its way has nothing in a bdev and nothing to send, so an order to end the commands of a
//! preempted host finds nothing of it to wait for; what it brings along is judged where it arrives, by what that reactor has
//! read in the same turn. A reactor that has not yet read the new rules has not yet got the order either, and then counts
//! what it admitted. Commands that an order counts keep their queue where it is.
//!
//! **Everything goes by way of the management reactor**, though that is one message more: it alone sends messages that name
//! a queue, so it alone has to know where the queue is. A close that it sends while the queue is on its way follows it.
//! Being asked to stop, a reactor keeps a queue that has not left, and one that expects a queue has not finished.
//!
//! Invariants: at most one queue is on its way; a queue is counted on the lane in `io_queues`, which changes when it
//! departs; an `Expect` that was answered with ready is followed by exactly one `Arrive` or `Dismiss`.

use std::sync::Arc;

use corelane_reactors::clock::Time;
use corelane_reactors::group::Handle;

use crate::nvmf::controller::ControllerId;
use crate::transport::balance::{Balance, Candidate, Choice, REST, work};
use crate::transport::connections::Assigned;
use crate::transport::message::{Departure, Expected, IoMail};
use crate::transport::{Endpoint, Management};

/// A queue on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    queue: (ControllerId, u16),
    from: usize,
    to: usize,
    /// It is to be closed when it arrives.
    closes: bool,
    /// It ended before it was asked to leave.
    ended: bool,
}

/// Why a queue is not asked to move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MoveError {
    /// No I/O reactor has such a queue.
    #[error("there is no such I/O queue")]
    NoSuchQueue,
    /// There are fewer I/O reactors.
    #[error("there is no such I/O reactor")]
    NoSuchLane,
    /// It is there already.
    #[error("the queue is on that I/O reactor already")]
    AlreadyThere,
    /// Another queue is on its way, the mailbox is full, or this is no management reactor.
    #[error("another queue is moving; try again")]
    Busy,
    /// The appliance stops.
    #[error("the target is shutting down")]
    Stopping,
}

impl Endpoint {
    /// Asks an I/O queue to move to another I/O reactor, `lane`; on the management reactor only. It may refuse, and then
    /// stays; [`Endpoint::connections`] tells where it is.
    ///
    /// # Errors
    /// [`MoveError`]: then nobody was asked.
    pub fn move_queue(&mut self, controller: ControllerId, qid: u16, lane: usize) -> Result<(), MoveError> {
        let management = self.queues.services.management.as_mut().ok_or(MoveError::Busy)?;
        management.move_queue(controller, qid, lane)
    }
}

impl Management {
    /// Moves I/O queues from busy I/O reactors to idle ones. `reactors` are those, by lane.
    ///
    /// # Panics
    /// When they are not as many as there are I/O reactors.
    #[must_use]
    pub fn with_balance(mut self, reactors: Vec<Handle>) -> Self {
        assert_eq!(reactors.len(), self.lanes.len());
        self.balance = Some(Balance::new(reactors));
        self
    }

    pub(super) fn move_queue(
        &mut self,
        controller: ControllerId,
        qid: u16,
        lane: usize,
    ) -> Result<(), MoveError> {
        let queue = (controller, qid);
        let Assigned { lane: from, ticket, trace, .. } =
            self.io_queues.get(&queue).ok_or(MoveError::NoSuchQueue)?;
        if self.draining {
            return Err(MoveError::Stopping);
        }
        if lane >= self.lanes.len() {
            return Err(MoveError::NoSuchLane);
        }
        if *from == lane {
            return Err(MoveError::AlreadyThere);
        }
        let reply = self.mail.reserve().filter(|_| self.relocation.is_none()).ok_or(MoveError::Busy)?;
        let expected = Expected { ticket: ticket.clone(), trace: Arc::clone(trace), reply };
        self.relocation = Some(Relocation { queue, from: *from, to: lane, closes: false, ended: false });
        self.send(lane, IoMail::Expect(Box::new(expected)));
        Ok(())
    }

    /// When to look at the load of the reactors next.
    pub(super) fn next_look(&self) -> Option<Time> {
        let anybody = self.io_queues.len() > 1 && !self.draining;
        self.balance.as_ref().filter(|_| anybody).map(Balance::next)
    }

    /// Looks at the load of the reactors, if it is time to.
    pub(super) fn balance(&mut self, now: Time) {
        if self.draining || self.lanes.len() < 2 {
            return;
        }
        let Some(balance) = self.balance.as_mut() else { return };
        let Some(busy) = balance.look(now) else { return };
        let mut queues = Vec::with_capacity(self.io_queues.len());
        let mut candidates = Vec::with_capacity(self.io_queues.len());
        for (queue, assigned) in &mut self.io_queues {
            let done = work(&assigned.trace);
            let work = done.saturating_sub(std::mem::replace(&mut assigned.done, done));
            let rests = assigned.rests_until > now;
            queues.push(*queue);
            candidates.push(Candidate { lane: assigned.lane, work, rests });
        }
        if self.relocation.is_some() {
            return;
        }
        let Some(Choice { candidate, lane }) = balance.choose(&busy, &candidates) else { return };
        let (controller, qid) = queues[candidate];
        if let Some(assigned) = self.io_queues.get_mut(&(controller, qid)) {
            assigned.rests_until = now + REST;
        }
        if let Err(error) = self.move_queue(controller, qid, lane) {
            tracing::debug!(?controller, qid, lane, %error, "a queue is not asked to move");
        }
    }

    /// The reactor that was to expect a queue has answered.
    pub(super) fn prepared(&mut self, ready: bool) {
        let Some(Relocation { queue: (controller, qid), from, to, ended, .. }) = self.relocation else {
            return;
        };
        if !ready {
            self.relocation = None;
            return;
        }
        match self.mail.reserve().filter(|_| !ended && !self.draining) {
            Some(reply) => self.send(from, IoMail::Release { controller, qid, reply }),
            None => {
                self.send(to, IoMail::Dismiss);
                self.relocation = None;
            }
        }
    }

    /// The queue did not leave.
    pub(super) fn stayed(&mut self) {
        if let Some(Relocation { to, .. }) = self.relocation.take() {
            self.send(to, IoMail::Dismiss);
        }
    }

    /// The queue has left.
    pub(super) fn departed(&mut self, departure: Box<Departure>) {
        let Some(Relocation { queue, from, to, closes, .. }) = self.relocation.take() else {
            unreachable!("a queue leaves because it was asked to")
        };
        let (controller, qid) = queue;
        let Some(assigned) = self.io_queues.get_mut(&queue) else {
            unreachable!("a queue on its way cannot have ended")
        };
        assigned.lane = to;
        self.lanes[from].queues -= 1;
        self.lanes[to].queues += 1;
        self.send(to, IoMail::Arrive(departure));
        if closes {
            self.send(to, IoMail::Close { controller, qid });
        }
    }

    /// A queue has ended. Another one may have its name before the reactor that was to expect it has answered; after that,
    /// who is asked to release it knows.
    pub(super) fn ended(&mut self, queue: (ControllerId, u16)) {
        if let Some(relocation) = self.relocation.as_mut().filter(|relocation| relocation.queue == queue) {
            relocation.ended = true;
        }
    }

    /// Where a queue of this controller is going.
    pub(super) fn heads_for(&self, controller: ControllerId) -> Option<usize> {
        self.relocation.filter(|relocation| relocation.queue.0 == controller).map(|relocation| relocation.to)
    }

    /// A queue is to be closed: where it is, and where it may be going.
    pub(super) fn closes(&mut self, queue: (ControllerId, u16)) {
        if let Some(relocation) = self.relocation.as_mut().filter(|relocation| relocation.queue == queue) {
            relocation.closes = true;
        }
    }
}
