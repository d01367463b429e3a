//! What an endpoint counts. One writer, the reactor of the endpoint; anybody may read.

use corelane_reactors::stats::{Counter, Histogram};

use crate::trace::EventRing;

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
    /// I/O queues that came from another reactor.
    pub queues_moved: Counter,
    /// Moves of I/O queues that came to nothing: the queue did not become quiet in time, or no buffers were left for it.
    pub moves_refused: Counter,
    /// Nanoseconds from when a queue took no more commands on its old reactor until it was served here.
    pub pauses: Histogram,
    /// What happened lately.
    pub events: EventRing,
}
