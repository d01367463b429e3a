//! What an endpoint counts. One writer, the reactor of the endpoint; anybody may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one endpoint since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// I/O commands that arrived.
    pub commands: Counter,
    /// Commands that completed after their connection was gone.
    pub completed_late: Counter,
    /// Connections that a peer's mistake ended.
    pub protocol_errors: Counter,
    /// Queues that were opened.
    pub queues_opened: Counter,
}

/// A number that one thread counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the owning reactor may call it.
    pub(super) fn add(&self, count: u64) {
        // One writer, so a load and a store lose nothing and cost less than a read-modify-write.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The number now.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
