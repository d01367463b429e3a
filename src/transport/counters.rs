//! What an endpoint counts. One writer, the reactor of the endpoint; anybody may read.

use corelane_reactors::stats::Counter;

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
    /// What happened lately.
    pub events: EventRing,
}
