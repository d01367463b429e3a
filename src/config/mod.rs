//! The JSON configuration: its model, how it is parsed, and what is refused. Takes text and the cores that
//! may be used, with what is known of them; reads no file, no environment and no clock, and asks the operating system nothing.
//!
//! Three steps, each a type: the text; a [`Document`], which has the right keys and JSON types; a [`Config`],
//! in which every value is in its range and every reference resolves. Invariant: a `Config` that comes out of
//! [`parse`] or [`validate`] needs no further check, and what it serialises to parses to an equal one.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::spec::nqn::Nqn;
use crate::spec::pci::PciAddress;

pub use budgets::{Budgets, BudgetsEntry};
pub use cores::{CORE_MAX, CoreListError, CoreListText};
pub use document::{
    AnaEntry, AnaStateName, BdevEntry, BdevType, DiscoveryEntry, Document, DuplicateHosts, EngineName,
    IdleEntry, IdlePolicyName, ListenerEntry, MetricsEntry, NamespaceEntry, OverrideEntry, PlacementName,
    ReactorsEntry, RebalanceName, ReferralEntry, ReservationsEntry, SubsystemEntry, Transport,
};
pub use embedded::Embedded;
pub use finding::{Finding, Place, Severity};
pub use fuzz::fuzz;
pub use limits::{Knob, Limits, LimitsEntry};
pub use listen::{
    AddressError, DISCOVERY_PORT_DEFAULT, METRICS_PORT_DEFAULT, PORT_DEFAULT, parse_address, parse_listen,
};
pub use memory::{HugepagesName, Memory, MemoryEntry};
pub use reload::changes;
pub use remote::Remote;
pub use size::{ByteSize, SizeError, SizeText};
pub use topology::{Place as CorePlace, Topology};
pub use validate::{
    ANA_GROUP_MAX, BDEVS_MAX, HOSTS_MAX, LISTENERS_MAX, NAMESPACES_MAX, NSID_MAX, NSID_SPARE, REFERRALS_MAX,
    SUBSYSTEMS_MAX, namespace_uuid, validate,
};

pub mod budgets;
mod cores;
mod descriptors;
mod document;
mod embedded;
mod finding;
mod fuzz;
pub mod limits;
mod listen;
pub mod memory;
mod reload;
pub mod remote;
mod serialize;
mod size;
mod topology;
mod validate;

#[cfg(test)]
mod tests;

/// The longest configuration text in bytes: enough for the most of everything, and small enough to check in
/// one go.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// A configuration in which nothing is left to check.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Which cores run what, and what they do when idle.
    pub reactors: Reactors,
    /// Where state that survives a restart lives; `None`: where the environment says.
    pub state_directory: Option<PathBuf>,
    /// Whether a state directory without its marker file is an error.
    pub state_must_exist: bool,
    /// Limits on what peers may take.
    pub limits: Limits,
    /// The memory that data moves through.
    pub memory: Memory,
    /// Where the metrics are served; `None`: nowhere. Port 0 lets the kernel choose one.
    pub metrics: Option<SocketAddr>,
    /// Other discovery services that hosts are told of, no wildcards and no port 0.
    pub referrals: Vec<SocketAddr>,
    /// Block devices; their names are unique.
    pub bdevs: Vec<Bdev>,
    /// Subsystems; their names are unique.
    pub subsystems: Vec<Subsystem>,
}

/// The core layout. All cores are among those that were allowed; `io` is not empty and has no duplicates, and
/// `overrides` has cores of the layout only, each once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reactors {
    /// Core of the management reactor; may be a member of `io`, which then is one shared thread.
    pub management: usize,
    /// Cores of the I/O reactors.
    pub io: Vec<usize>,
    /// What a reactor without work does.
    pub idle: Idle,
    /// What the reactor of one core does instead.
    pub overrides: Vec<(usize, Idle)>,
    /// Which I/O reactor gets a new I/O queue.
    pub placement: Placement,
    /// How much a reactor does of one thing in a turn.
    pub budgets: Budgets,
    /// How the sockets of I/O queues are served.
    pub engine: EngineName,
    /// I/O queues move from busy I/O reactors to idle ones.
    pub rebalance: bool,
}

/// How the I/O reactor of a new I/O queue is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// One after the other, whatever they have.
    RoundRobin,
    /// The one with the fewest I/O queues.
    LeastLoaded,
    /// The one nearest to the core on which the kernel receives the connection's packets.
    IncomingCpu,
}

/// What a reactor without work does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Polls on: lowest latency, a whole core each.
    Spin,
    /// Sleeps in the kernel at once: least power, a wake-up per burst.
    Park,
    /// Polls on for a while, then sleeps.
    Adaptive {
        /// How long a reactor polls without finding work before it sleeps.
        spin: Duration,
    },
}

/// A block device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bdev {
    /// Its name, by which namespaces refer to it.
    pub name: String,
    /// What it is made of.
    pub kind: BdevKind,
}

/// What a block device is made of. `size` is a positive multiple of `block_size`, and `block_size` a power of
/// two from 512 to 65,536 bytes; a namespace of a controller is named once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BdevKind {
    /// Memory of this process: sparse until written, gone after a restart.
    Malloc {
        /// Capacity.
        size: ByteSize,
        /// Logical block size in bytes.
        block_size: u32,
        /// Writes within 128 KiB are atomic, and not only single blocks; nothing is lent.
        atomic_writes: bool,
    },
    /// Nothing: writes are dropped, reads give zeros. For measuring everything else.
    Null {
        /// Capacity.
        size: ByteSize,
        /// Logical block size in bytes.
        block_size: u32,
    },
    /// A regular file, or a block device of this machine.
    FileBacked {
        /// Absolute.
        path: PathBuf,
        /// Logical block size in bytes.
        block_size: u32,
        /// What a regular file is made with or grows to; `None`: the size it has.
        size: Option<ByteSize>,
        /// The file system sets all its storage aside; false without a size.
        preallocate: bool,
    },
    /// A namespace of a local NVMe controller.
    Nvme {
        /// Where the controller is on the PCI bus.
        address: PciAddress,
        /// NSID, 1 to 4,294,967,294; `None` for the only one.
        namespace: Option<u32>,
    },
    /// A namespace of a remote subsystem.
    Nvmf(Box<Remote>),
}

/// An NVM subsystem.
#[derive(Clone, PartialEq, Debug)]
pub struct Subsystem {
    /// Its name; never the discovery name.
    pub nqn: Nqn,
    /// Serial number: 1 to 20 printable ASCII characters.
    pub serial: String,
    /// Model number: 1 to 40 printable ASCII characters.
    pub model: String,
    /// Whether every host may connect, whatever `hosts` says.
    pub allow_any_host: bool,
    /// Hosts that may connect.
    pub hosts: Vec<Nqn>,
    /// What is done with a host that has a controller already.
    pub duplicate_hosts: DuplicateHosts,
    /// Whether hosts are told of asymmetric access.
    pub ana_reporting: bool,
    /// How listeners reach groups of namespaces; each pair of a listener and a group once, none without
    /// `ana_reporting`. What is not here is optimized.
    pub ana: Vec<AnaPath>,
    /// Addresses at which it is reached. Subsystems may share one; it is then listened on once.
    pub listeners: Vec<Listener>,
    /// Namespaces; their NSIDs are unique within the subsystem, their UUIDs and bdevs within the
    /// configuration.
    pub namespaces: Vec<Namespace>,
}

/// A listening address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Listener {
    /// How hosts talk to it.
    pub transport: Transport,
    /// Address and port; port 0 lets the kernel choose one.
    pub address: SocketAddr,
}

/// How a listener reaches a group of namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnaPath {
    /// The listener, by its place in the list.
    pub listener: usize,
    /// The group, 1 to [`ANA_GROUP_MAX`].
    pub group: u32,
    /// How well it is reached.
    pub state: AnaStateName,
}

/// A namespace of a subsystem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// Namespace identifier: 1 to 65,535.
    pub nsid: u32,
    /// Name of its bdev, which exists.
    pub bdev: String,
    /// What hosts recognise it by; never nil.
    pub uuid: Uuid,
    /// Hosts that have it; `None` for all that may connect.
    pub hosts: Option<Vec<Nqn>>,
    /// Group that listeners reach in one way, 1 to [`ANA_GROUP_MAX`].
    pub ana_group: u32,
    /// Nothing may write to it, whatever hosts ask for.
    pub write_protected: bool,
    /// How its reservations are kept.
    pub reservations: Reservations,
}

/// How the reservations of a namespace are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reservations {
    /// Whether hosts may ask for registrations and reservations that survive power loss, which is also the end
    /// of the process.
    pub persist: bool,
}

/// A configuration that was taken, and what is odd about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Accepted {
    /// The configuration.
    pub config: Config,
    /// Findings of severity [`Severity::Warning`] only.
    pub warnings: Vec<Finding>,
}

/// Parses and validates a configuration text. `allowed` are the cores that this process may use, of which nothing
/// else is known: see [`parse_on`].
///
/// # Errors
/// A text that is not the JSON of a [`Document`] gives one finding, the first; a document with wrong values
/// gives one finding for each of them, and the warnings too.
pub fn parse(text: &str, allowed: &[usize]) -> Result<Accepted, Vec<Finding>> {
    parse_on(text, &Topology::flat(allowed))
}

/// Parses and validates a configuration text for a process that may use the cores of `topology`.
///
/// # Errors
/// As [`parse`].
pub fn parse_on(text: &str, topology: &Topology) -> Result<Accepted, Vec<Finding>> {
    let document = Document::from_json(text).map_err(|finding| vec![finding])?;
    validate(&document, topology)
}

/// The JSON schema (draft 2020-12) of the configuration.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

impl Config {
    /// The configuration of a start without a configuration file: see [`Embedded`].
    ///
    /// # Errors
    /// When `allowed` is empty: there is no core to run on.
    pub fn embedded_default(allowed: &[usize]) -> Result<Self, Vec<Finding>> {
        Embedded::default().config(&Topology::flat(allowed)).map(|accepted| accepted.config)
    }

    /// The bdev of this name.
    #[must_use]
    pub fn bdev(&self, name: &str) -> Option<&Bdev> {
        self.bdevs.iter().find(|bdev| bdev.name == name)
    }

    /// Whether the memory that data moves through is taken whole at the start: that was asked for, or devices reach it.
    #[must_use]
    pub fn takes_memory_whole(&self) -> bool {
        let memory = &self.memory;
        memory.populate
            || memory.hugepages == HugepagesName::Always
            || self.bdevs.iter().any(|bdev| bdev.kind.uses_callers_memory())
    }

    /// Number of namespaces in all subsystems.
    #[must_use]
    pub fn namespaces(&self) -> usize {
        self.subsystems.iter().map(|subsystem| subsystem.namespaces.len()).sum()
    }
}

impl Reactors {
    /// Every core that runs a reactor, ascending and each once.
    #[must_use]
    pub fn cores(&self) -> Vec<usize> {
        let mut cores = self.io.clone();
        cores.push(self.management);
        cores.sort_unstable();
        cores.dedup();
        cores
    }

    /// What the reactor of a core does without work.
    #[must_use]
    pub fn idle_of(&self, core: usize) -> Idle {
        self.overrides.iter().find(|(other, _)| *other == core).map_or(self.idle, |(_, idle)| *idle)
    }
}

impl fmt::Display for Reactors {
    /// As the start message and `corelane check` show the layout: `management on core 0, I/O on cores 1-3`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.io.len() == 1 { "core" } else { "cores" };
        let io = cores::display(&self.io);
        write!(formatter, "management on core {}, I/O on {noun} {io}", self.management)
    }
}

impl BdevKind {
    /// Capacity, where the configuration says it.
    #[must_use]
    pub fn size(&self) -> Option<ByteSize> {
        match *self {
            Self::Malloc { size, .. } | Self::Null { size, .. } => Some(size),
            Self::FileBacked { size, .. } => size,
            Self::Nvme { .. } | Self::Nvmf(_) => None,
        }
    }

    /// Whether its device itself reaches into the memory of a command's data.
    #[must_use]
    pub fn uses_callers_memory(&self) -> bool {
        match self {
            Self::Malloc { .. } | Self::Null { .. } | Self::Nvmf(_) => false,
            // The kernel pins pages for each operation; it needs no more of them than it is given.
            Self::FileBacked { .. } => false,
            Self::Nvme { .. } => true,
        }
    }

    /// Whether it is reached through the io_uring of the reactors.
    #[must_use]
    pub fn needs_ring(&self) -> bool {
        matches!(self, Self::FileBacked { .. })
    }

    /// Logical block size in bytes, where the configuration says it.
    #[must_use]
    pub fn block_size(&self) -> Option<u32> {
        match *self {
            Self::Malloc { block_size, .. }
            | Self::Null { block_size, .. }
            | Self::FileBacked { block_size, .. } => Some(block_size),
            Self::Nvme { .. } | Self::Nvmf(_) => None,
        }
    }
}
