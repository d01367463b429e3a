//! Messages to one reactor from anywhere: bounded, and with room that can be reserved.
//!
//! Invariant: credits + reserved slots + messages in the queue <= capacity. So a message that has a
//! slot always has room, and [`Slot::send`] cannot fail. A request carries the slot reserved for its
//! reply; therefore two full mailboxes never wait for each other.
//!
//! Messages are values of one fixed size, an enum for instance. Dropping the [`Mailbox`] drops the
//! messages in it and those still to come, and with them the slots they carry.

use std::{fmt, sync::Arc};

use crossbeam::utils::CachePadded;

use crate::{
    poller::{Poll, Poller, Wake},
    reactor::Turn,
    seat::Seat,
    stats::{MailboxCounters, MailboxStats, Watched},
    sync::{ArrayQueue, AtomicBool, AtomicUsize, Ordering, fence},
};

/// The receiving end. It belongs to a poller of the reactor it was made for; that poller's
/// [`Poller::ready`] must be `!mailbox.is_empty()`, as that of [`Mailbox::into_poller`] is.
pub struct Mailbox<M: Send> {
    shared: Arc<Shared<M>>,
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

struct Shared<M> {
    queue: ArrayQueue<M>,
    credits: CachePadded<Credits>,
    counters: CachePadded<MailboxCounters>,
    /// Partner: set before the mailbox drains the queue for the last time, read after each push,
    /// with a fence between on both sides: one of the two finds the message.
    closed: AtomicBool,
    seat: Arc<Seat>,
}

pub(crate) fn mailbox<M: Send + 'static>(seat: &Arc<Seat>, capacity: usize) -> (Sender<M>, Mailbox<M>) {
    assert!(capacity > 0, "a mailbox without room");
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity),
        credits: CachePadded::new(Credits::new(capacity)),
        counters: CachePadded::default(),
        closed: AtomicBool::new(false),
        seat: Arc::clone(seat),
    });
    let watched: Arc<dyn Watched> = Arc::<Shared<M>>::clone(&shared);
    seat.registry.add_mailbox(Arc::downgrade(&watched));
    (Sender { shared: Arc::clone(&shared) }, Mailbox { shared })
}

impl<M: Send> Sender<M> {
    /// Reserves room for one message; `None` when there is none left or the mailbox was dropped. Never blocks.
    pub fn reserve(&self) -> Option<Slot<M>> {
        self.shared.take_credit().then(|| Slot { shared: Some(Arc::clone(&self.shared)) })
    }

    /// Sends now, and wakes the reactor if it sleeps, which is the only case of a system call. Never blocks.
    ///
    /// # Errors
    ///
    /// Gives the message back when there is no room or the mailbox was dropped ([`Sender::is_closed`] tells which). This
    /// is back-pressure: keep the message, and try again when something has come back, or refuse what it stands for.
    pub fn send(&self, message: M) -> Result<(), M> {
        if !self.shared.take_credit() {
            return Err(message);
        }
        self.shared.deliver(message);
        Ok(())
    }

    /// Whether the mailbox was dropped: no message will be received any more.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }
}

impl<M: Send> Slot<M> {
    /// Sends, and wakes the reactor if it sleeps. Never refused and never blocks; a message to a mailbox that was dropped
    /// is dropped.
    pub fn send(mut self, message: M) {
        if let Some(shared) = self.shared.take() {
            shared.deliver(message);
        }
    }
}

impl<M: Send> Mailbox<M> {
    /// The oldest message, if there is one. Frees its room.
    pub fn receive(&mut self) -> Option<M> {
        self.found().then(|| self.take()).flatten()
    }

    /// Whether there is a message; counts how many there are. Looking first is an order of magnitude cheaper than an
    /// attempt that finds nothing.
    fn found(&self) -> bool {
        let found = !self.shared.queue.is_empty();
        if found {
            self.shared.counters.found(self.shared.queue.len());
        }
        found
    }

    fn take(&mut self) -> Option<M> {
        let message = self.shared.pop()?;
        self.shared.counters.received();
        Some(message)
    }

    /// Whether nothing was sent that has not been received.
    pub fn is_empty(&self) -> bool {
        self.shared.queue.is_empty()
    }

    /// Another sending end.
    pub fn sender(&self) -> Sender<M> {
        Sender { shared: Arc::clone(&self.shared) }
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
        self.shared.counters.call(name);
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
        if !self.mailbox.found() {
            return Poll::Idle(Wake::Never);
        }
        for _ in 0..self.batch {
            let Some(message) = self.mailbox.take() else { break };
            turn.did(1);
            (self.receive)(turn, message);
        }
        Poll::Busy
    }

    fn ready(&self) -> bool {
        !self.mailbox.is_empty()
    }
}

impl<M> Shared<M> {
    fn take_credit(&self) -> bool {
        // Relaxed: whoever misses it finds out in `deliver`.
        if self.closed.load(Ordering::Relaxed) {
            return false;
        }
        let taken = self.credits.take();
        if !taken {
            self.counters.refused();
        }
        taken
    }

    /// The caller holds a credit or a slot, which the message takes over.
    fn deliver(&self, message: M) {
        self.seat.announce(|| {
            let pushed = self.queue.push(message);
            assert!(pushed.is_ok(), "a message with a credit has room");
        });
        // The fence inside of `announce` is this load's partner of the one in `Mailbox::drop`.
        if self.closed.load(Ordering::Relaxed) {
            self.drain();
        }
    }

    fn pop(&self) -> Option<M> {
        let message = self.queue.pop()?;
        // Only now: the next push must find the place free.
        self.credits.give();
        Some(message)
    }

    fn drain(&self) {
        // Ends: who sends to a closed mailbox had reserved before, at most the capacity.
        while self.pop().is_some() {}
    }
}

impl<M: Send> Watched for Shared<M> {
    fn stats(&self) -> MailboxStats {
        self.counters.snapshot(self.queue.len(), self.credits.capacity)
    }
}

/// The room of a mailbox that nobody has claimed.
struct Credits {
    /// Partner: `give` (Release) after a pop, `take` (Acquire) before a push: the pusher sees the
    /// place that was freed.
    left: AtomicUsize,
    capacity: usize,
}

impl Credits {
    fn new(capacity: usize) -> Self {
        Credits { left: AtomicUsize::new(capacity), capacity }
    }

    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Acquire, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give(&self) {
        let before = self.left.fetch_add(1, Ordering::Release);
        assert!(before < self.capacity, "more credits than room");
    }
}

impl<M: Send> Drop for Mailbox<M> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Partner: the fence inside of `ParkFlag::announce`, between the push and the load in `deliver`.
        fence(Ordering::SeqCst);
        self.shared.drain();
    }
}

impl<M: Send> Drop for Slot<M> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.credits.give();
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
        f.debug_struct("Mailbox").field("messages", &self.shared.queue.len()).finish_non_exhaustive()
    }
}

impl<M: Send> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("messages", &self.shared.queue.len()).finish_non_exhaustive()
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
