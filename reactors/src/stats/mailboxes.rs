//! What is counted of one mailbox: by its receiver alone, but for what senders were refused.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::stats::Counter;

/// Where one mailbox is counted.
#[derive(Default, Debug)]
pub(crate) struct MailboxCounters {
    /// Told by the poller that receives it.
    name: OnceLock<&'static str>,
    received: Counter,
    depth_max: Counter,
    /// Any sender adds. Relaxed: a count, it orders nothing.
    refused: AtomicU64,
}

impl MailboxCounters {
    pub(crate) fn call(&self, name: &'static str) {
        // A mailbox becomes a poller once.
        let _ = self.name.set(name);
    }

    /// The receiver took, and left, as many messages.
    pub(crate) fn found(&self, depth: usize) {
        self.depth_max.raise(depth as u64);
    }

    /// The receiver took one.
    pub(crate) fn received(&self) {
        self.received.add(1);
    }

    /// A sender was refused. Not on a path that anything waits for: it has found no room.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, depth: usize, capacity: usize) -> MailboxStats {
        MailboxStats {
            name: self.name.get().copied(),
            capacity,
            depth,
            depth_max: usize::try_from(self.depth_max.read()).unwrap_or(usize::MAX).max(depth),
            received: self.received.read(),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// What one mailbox has seen since it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailboxStats {
    /// The name of the poller that receives it; `None` where it was not made into one.
    pub name: Option<&'static str>,
    /// Messages and reserved slots that it has room for.
    pub capacity: usize,
    /// Messages in it now.
    pub depth: usize,
    /// The most messages that its receiver ever had before it at once: what it took in one turn, and what it left.
    pub depth_max: usize,
    /// Messages that were received.
    pub received: u64,
    /// Messages and reservations that found no room and were given back to their senders.
    pub refused: u64,
}
