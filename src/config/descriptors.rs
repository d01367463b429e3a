//! Open files that a configuration needs. Knows nothing of what this process may open.

use super::{BdevKind, Config};

/// What a process has open whatever it serves: its log, signals, the state directory and its lock.
const OWN: u64 = 32;
/// What a reactor has open: its watch, its wake-up, a ring.
const PER_REACTOR: u64 = 8;
/// Room for what is open for a moment: records on their way, a scrape of metrics, a connection that is refused.
const SPARE: u64 = 64;

impl Config {
    /// Descriptors that are needed beside those of connections.
    #[must_use]
    pub fn own_descriptors(&self) -> u64 {
        let io = self.reactors.io.len() as u64;
        let listeners: u64 = self.subsystems.iter().map(|subsystem| subsystem.listeners.len() as u64).sum();
        let bdev = |kind: &BdevKind| match kind {
            BdevKind::Malloc { .. } | BdevKind::Null { .. } => 0,
            BdevKind::FileBacked { .. } => 2,
            // The function, its container, its group, and an interrupt for each queue.
            BdevKind::Nvme { .. } => io + 8,
            // An admin queue and an I/O queue of each reactor.
            BdevKind::Nvmf(remote) => (io + 2) * remote.paths.len() as u64,
        };
        let bdevs: u64 = self.bdevs.iter().map(|entry| bdev(&entry.kind)).sum();
        OWN + SPARE + (io + 1) * PER_REACTOR + listeners + bdevs
    }

    /// Descriptors that are needed when all connections are there.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        self.own_descriptors() + u64::from(self.limits.connections_max)
    }
}
