//! Messages to one reactor from anywhere: bounded, and with room that can be reserved.
//!
//! Invariant: reserved slots + messages in the mailbox <= capacity. So a message that has a
//! slot always has room, and [`Slot::send`] cannot fail. A request carries the slot reserved for its
//! reply; therefore two full mailboxes never wait for each other.
//!
//! Messages are values of one fixed size, an enum for instance; up to 56 bytes of it travel on one cache line. Dropping the
//! [`Mailbox`] drops the messages in it and those still to come, and with them the slots they carry.

mod shared;

use std::{fmt, sync::Arc};

use crate::{
    poller::{Poll, Poller, Wake},
    reactor::Turn,
    seat::Seat,
    stats::Watched,
};

use shared::{Claim, Receiver, Shared};

pub use shared::CAPACITY_MAX;

/// The receiving end. It belongs to a poller of the reactor it was made for; that poller's
/// [`Poller::ready`] must be `!mailbox.is_empty()`, as that of [`Mailbox::into_poller`] is.
pub struct Mailbox<M: Send> {
    receiver: Receiver<M>,
}

/// A sending end; clones share the mailbox's room.
pub struct Sender<M: Send> {
    shared: Arc<Shared<M>>,
}

/// Room for one message. Dropping it unused gives the room back.
#[must_use = "room that is not used is missing to others"]
pub struct Slot<M: Send> {
    /// `None` only after it was used.
    shared: Option<Arc<Shared<M>>>,
}

pub(crate) fn mailbox<M: Send + 'static>(seat: &Arc<Seat>, capacity: usize) -> (Sender<M>, Mailbox<M>) {
    let mailbox = Mailbox { receiver: shared::shared(seat, capacity, 0) };
    let watched: Arc<dyn Watched> = Arc::<Shared<M>>::clone(mailbox.receiver.shared());
    seat.registry.add_mailbox(Arc::downgrade(&watched));
    (mailbox.sender(), mailbox)
}

impl<M: Send> Sender<M> {
    /// Reserves room for one message; `None` when there is none left or the mailbox was dropped. Never blocks.
    pub fn reserve(&self) -> Option<Slot<M>> {
        if self.is_closed() {
            return None;
        }
        if !self.shared.reserve() {
            self.shared.counters.refused();
            return None;
        }
        Some(Slot { shared: Some(Arc::clone(&self.shared)) })
    }

    /// Sends now, and wakes the reactor if it sleeps, which is the only case of a system call. Never blocks.
    ///
    /// # Errors
    ///
    /// Gives the message back when there is no room or the mailbox was dropped ([`Sender::is_closed`] tells which). This
    /// is back-pressure: keep the message, and try again when something has come back, or refuse what it stands for.
    pub fn send(&self, message: M) -> Result<(), M> {
        // Whoever misses it finds out in `deliver`.
        if self.is_closed() {
            return Err(message);
        }
        let Some(claim) = self.shared.claim() else {
            self.shared.counters.refused();
            return Err(message);
        };
        deliver(&self.shared, claim, message);
        Ok(())
    }

    /// Whether the mailbox was dropped: no message will be received any more.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl<M: Send> Slot<M> {
    /// Sends, and wakes the reactor if it sleeps. Never refused and never blocks; a message to a mailbox that was dropped
    /// is dropped.
    pub fn send(mut self, message: M) {
        if let Some(shared) = self.shared.take() {
            deliver(&shared, shared.redeem(), message);
        }
    }
}

/// Puts the message where `claim` says, and wakes the reactor if it sleeps.
fn deliver<M: Send>(shared: &Shared<M>, claim: Claim<'_, M>, message: M) {
    shared.seat.announce(|| claim.fill(message));
    // Partner: `Receiver::drop`; the fence inside of `announce` is that of the one there.
    if shared.is_closed() {
        shared.empty();
    }
}

impl<M: Send> Mailbox<M> {
    /// The oldest message, if there is one. Frees its room.
    pub fn receive(&mut self) -> Option<M> {
        let message = self.take();
        if message.is_some() {
            self.found(1);
        }
        message
    }

    fn take(&mut self) -> Option<M> {
        let message = self.receiver.pop()?;
        self.receiver.shared().counters.received();
        Some(message)
    }

    /// As many were taken in one go: counts them and those that are left. How many these are is on a line of the senders,
    /// so it is read only if there are any.
    fn found(&self, taken: usize) {
        let shared = self.receiver.shared();
        let left = if shared.is_empty() { 0 } else { shared.len() };
        shared.counters.found(taken + left);
    }

    /// Whether nothing was sent that has not been received.
    pub fn is_empty(&self) -> bool {
        self.receiver.shared().is_empty()
    }

    /// Another sending end.
    pub fn sender(&self) -> Sender<M> {
        Sender { shared: Arc::clone(self.receiver.shared()) }
    }

    /// A poller, for [`crate::poller::Phase::Mailbox`], that hands at most `batch` messages per turn
    /// to `receive`, which must not block.
    ///
    /// # Panics
    ///
    /// When `batch` is 0.
    pub fn into_poller<F>(self, name: &'static str, batch: usize, receive: F) -> Box<dyn Poller>
    where
        M: 'static,
        F: FnMut(&Turn<'_>, M) + 'static,
    {
        assert!(batch > 0);
        self.receiver.shared().counters.call(name);
        Box::new(Delivery { name, mailbox: self, batch, receive })
    }
}

struct Delivery<M: Send, F> {
    name: &'static str,
    mailbox: Mailbox<M>,
    batch: usize,
    receive: F,
}

impl<M: Send, F: FnMut(&Turn<'_>, M)> Poller for Delivery<M, F> {
    fn name(&self) -> &str {
        self.name
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let mut taken = 0;
        while taken < self.batch {
            let Some(message) = self.mailbox.take() else { break };
            taken += 1;
            turn.did(1);
            (self.receive)(turn, message);
        }
        if taken == 0 {
            return Poll::Idle(Wake::Never);
        }
        self.mailbox.found(taken);
        Poll::Busy
    }

    fn ready(&self) -> bool {
        !self.mailbox.is_empty()
    }
}

impl<M: Send> Drop for Slot<M> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.release();
        }
    }
}

impl<M: Send> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Sender { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Send> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("messages", &self.receiver.shared().len()).finish_non_exhaustive()
    }
}

impl<M: Send> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("messages", &self.shared.len()).finish_non_exhaustive()
    }
}

impl<M: Send> fmt::Debug for Slot<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(loom)]
#[path = "mailbox/loom.rs"]
mod loom_tests;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
