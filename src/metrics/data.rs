//! What one scrape is made of: plain values, gathered by whoever knows where they are.

use std::net::SocketAddr;

use corelane_reactors::stats::{Distribution, Report};

use crate::trace::CommandCounts;

/// All of a target at one time. Each number is true; they are read one after another, while the target runs.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// Version of the program.
    pub version: String,
    /// Its reactors.
    pub reactors: Vec<ReactorData>,
    /// Its endpoints: one on each I/O reactor, and one on the management reactor.
    pub endpoints: Vec<EndpointData>,
    /// Its namespaces.
    pub namespaces: Vec<NamespaceData>,
    /// Connections that are live now.
    pub connections: Vec<ConnectionData>,
}

/// A reactor.
#[derive(Clone, Debug)]
pub struct ReactorData {
    /// Its number.
    pub reactor: usize,
    /// The core that it runs on.
    pub core: usize,
    /// What it says of itself.
    pub report: Report,
}

/// What an endpoint of the transport has counted.
#[derive(Clone, Debug, Default)]
pub struct EndpointData {
    /// The reactor that it runs on.
    pub reactor: usize,
    /// What it does: "io" or "management".
    pub role: &'static str,
    /// I/O commands that arrived.
    pub commands: u64,
    /// Commands that completed after their connection was gone.
    pub completed_late: u64,
    /// Connections that a peer's mistake ended.
    pub protocol_errors: u64,
    /// Queues that were opened.
    pub queues_opened: u64,
    /// I/O queues that came from another reactor.
    pub queues_moved: u64,
    /// Moves of I/O queues that came to nothing.
    pub moves_refused: u64,
    /// How long queues that moved here paused, in nanoseconds.
    pub pauses: Distribution,
    /// Events that were written to its ring.
    pub events: u64,
}

/// A namespace.
#[derive(Clone, Debug)]
pub struct NamespaceData {
    /// NQN of its subsystem.
    pub subsystem: String,
    /// NSID.
    pub nsid: u32,
    /// What was counted on all reactors.
    pub counts: CommandCounts,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct ConnectionData {
    /// NQN of its subsystem; that of discovery where it has none.
    pub subsystem: String,
    /// NQN of its host.
    pub host: String,
    /// CNTLID.
    pub cntlid: u16,
    /// QID; 0 for an admin queue.
    pub qid: u16,
    /// Address of the host.
    pub peer: SocketAddr,
    /// The reactor that serves it.
    pub reactor: usize,
    /// What was counted; `None` for an admin queue.
    pub counts: Option<CommandCounts>,
}
