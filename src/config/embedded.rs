//! The embedded default: what a start without a configuration file serves.

use std::net::{Ipv4Addr, SocketAddr};

use super::document::{
    BdevEntry, BdevType, DiscoveryEntry, Document, DuplicateHosts, ListenerEntry, NamespaceEntry,
    ReactorsEntry, ReservationsEntry, SubsystemEntry,
};
use super::limits::LimitsEntry;
use super::memory::MemoryEntry;
use super::size::ByteSize;
use super::{Accepted, Finding, PORT_DEFAULT, Topology, Transport, validate};

/// Name of the only subsystem.
const NQN: &str = "nqn.2026-11.io.corelane:disk0";
/// Name of the only bdev.
const BDEV: &str = "ram0";

/// One RAM namespace in one subsystem, on one address. Only what the command line can change is here.
///
/// Its blocks are of 4,096 bytes, the default of every bdev: a block is then a page of memory, so every
/// command copies or lends whole pages, and Linux is content with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Embedded {
    /// Where it listens: by default the loopback address, because every host may connect.
    pub listen: SocketAddr,
    /// Capacity of the namespace, by default 256 MiB.
    pub size: ByteSize,
}

impl Default for Embedded {
    fn default() -> Self {
        let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT_DEFAULT);
        Self { listen, size: ByteSize::new(256 << 20) }
    }
}

impl Embedded {
    /// The configuration as if it had been read from a file.
    ///
    /// # Errors
    /// As [`validate`]: a size that is no positive multiple of 4,096, an address that cannot be listened on,
    /// or no core.
    pub fn config(&self, topology: &Topology) -> Result<Accepted, Vec<Finding>> {
        validate(&self.document(), topology)
    }

    /// The configuration file that serves the same.
    #[must_use]
    pub fn document(&self) -> Document {
        let listener = ListenerEntry {
            transport: Transport::Tcp,
            address: self.listen.ip().to_string(),
            port: self.listen.port().into(),
            ana: Vec::new(),
        };
        let namespace = NamespaceEntry {
            write_protected: false,
            nsid: 1,
            bdev: BDEV.to_owned(),
            uuid: None,
            hosts: None,
            ana_group: None,
            reservations: ReservationsEntry::default(),
        };
        let subsystem = SubsystemEntry {
            nqn: NQN.to_owned(),
            serial: None,
            model: None,
            allow_any_host: true,
            hosts: Vec::new(),
            duplicate_hosts: DuplicateHosts::default(),
            ana_reporting: false,
            listeners: vec![listener],
            namespaces: vec![namespace],
        };
        let bdev =
            BdevEntry { size: Some(self.size.into()), ..BdevEntry::new(BDEV.to_owned(), BdevType::Malloc) };
        Document {
            reactors: ReactorsEntry::default(),
            state_dir: None,
            state_must_exist: false,
            limits: LimitsEntry::default(),
            memory: MemoryEntry::default(),
            metrics: None,
            discovery: DiscoveryEntry::default(),
            bdevs: vec![bdev],
            subsystems: vec![subsystem],
        }
    }
}
