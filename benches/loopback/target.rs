//! The target in this process, all of it on one core.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use corelane::app::{Appliance, Options};
use corelane::config::{ByteSize, Embedded, EngineName, Topology};
use tempfile::TempDir;

use crate::workload::REGION_BYTES;

/// Entries of a queue: room for the deepest workload.
const QUEUE_ENTRIES: u16 = 256;

/// I/O queues of a controller: room for the workload with most connections.
const QUEUES: u16 = 1024;

/// Connections: those, and admin queues.
const CONNECTIONS: u32 = 1100;

/// A running target.
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    appliance: Appliance,
    _state: TempDir,
}

/// Starts the embedded default with management and I/O on `core`, its sockets on `engine`.
pub(crate) fn start(core: usize, engine: EngineName) -> Result<Target, Box<dyn Error>> {
    let state = TempDir::new()?;
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let embedded = Embedded { listen, size: ByteSize::new(REGION_BYTES) };
    let accepted = embedded.config(&Topology::flat(&[core])).map_err(|findings| format!("{findings:?}"))?;
    let mut config = accepted.config;
    config.limits.queue_depth_max = QUEUE_ENTRIES;
    config.limits.queues_per_controller_max = QUEUES;
    config.limits.connections_max = CONNECTIONS;
    config.limits.connections_per_host_max = CONNECTIONS;
    config.reactors.engine = engine;
    let appliance = Appliance::start(Options { config, state_directory: state.path().to_owned() })?;
    let address = *appliance.addresses().first().ok_or("the target listens nowhere")?;
    Ok(Target { address, appliance, _state: state })
}

impl Target {
    /// How long its reactor has had something to do, until now.
    pub(crate) fn busy(&self) -> Duration {
        self.appliance.group().stats(0).busy
    }

    /// Stops it, and waits until it has.
    pub(crate) fn stop(self) -> Result<(), Box<dyn Error>> {
        self.appliance.stopper().stop();
        Ok(self.appliance.join()?)
    }
}
