//! An NVM subsystem as it is configured, and the part of it that controllers share.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::nvmf::host::Hosts;
use crate::nvmf::io::LaneCounts;
use crate::nvmf::namespace::{Namespace, NamespaceTable};
use crate::nvmf::persistence::Reservations;
use crate::spec::NSID_ALL;
use crate::spec::fabrics::CNTLID_MAX;
use crate::spec::nqn::Nqn;

/// NSIDs up to this are valid in every subsystem, so that NN need not change when a namespace is added. Every
/// I/O queue keeps a table of NN entries.
const NSID_MAX_LEAST: u32 = 256;

/// What a subsystem is made of.
#[derive(Clone, Debug)]
pub struct Subsystem {
    /// Its name; not the discovery name.
    pub nqn: Nqn,
    /// SN: 1 to 20 printable ASCII characters.
    pub serial: String,
    /// MN: 1 to 40 printable ASCII characters.
    pub model: String,
    /// Who may connect.
    pub hosts: Hosts,
    /// Addresses and ports at which it is reached, as they were bound: no port 0. Addresses may be wildcards.
    pub listeners: Vec<SocketAddr>,
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
    /// What the I/O side has counted of it.
    pub counting: Arc<dyn Counting>,
}

/// What the I/O reactors have done for a subsystem since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Read and Compare commands.
    pub read_commands: u64,
    /// Write commands.
    pub write_commands: u64,
    /// Bytes that hosts read.
    pub read_bytes: u64,
    /// Bytes that hosts wrote.
    pub written_bytes: u64,
    /// Commands that ended with a media error.
    pub media_errors: u64,
}

/// Where the counts of the I/O reactors can be read, summed.
pub trait Counting: Send + Sync + std::fmt::Debug {
    /// The counts so far.
    fn counts(&self) -> IoCounts;

    /// Where the I/O reactor `index` counts; one that nobody reads unless the implementor says otherwise.
    fn lane(&self, index: usize) -> Arc<LaneCounts> {
        let _ = index;
        Arc::default()
    }
}

/// Why a subsystem cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubsystemError {
    /// The discovery name belongs to the discovery subsystem.
    #[error("{0} is the discovery subsystem")]
    Discovery(Nqn),
    /// There is one of this name.
    #[error("there is already a subsystem {0}")]
    Duplicate(Nqn),
    /// NSID 0 or FFFFFFFFh.
    #[error("namespace identifier {0} is reserved")]
    Nsid(u32),
    /// Two namespaces of one NSID.
    #[error("two namespaces have identifier {0}")]
    DuplicateNsid(u32),
}

/// A subsystem in service.
pub(super) struct Served {
    pub(super) subsystem: Subsystem,
    pub(super) namespaces: Arc<NamespaceTable>,
    /// `None` where hosts have none.
    pub(super) reservations: Option<Reservations>,
}

impl Served {
    pub(super) fn new(mut subsystem: Subsystem) -> Result<Self, SubsystemError> {
        if subsystem.nqn.is_discovery() {
            return Err(SubsystemError::Discovery(subsystem.nqn));
        }
        let mut seen = BTreeSet::new();
        for namespace in &subsystem.namespaces {
            if namespace.nsid == 0 || namespace.nsid == NSID_ALL {
                return Err(SubsystemError::Nsid(namespace.nsid));
            }
            if !seen.insert(namespace.nsid) {
                return Err(SubsystemError::DuplicateNsid(namespace.nsid));
            }
        }
        let namespaces = std::mem::take(&mut subsystem.namespaces);
        let namespaces = Arc::new(NamespaceTable::new(namespaces, NSID_MAX_LEAST));
        Ok(Self { subsystem, namespaces, reservations: None })
    }

    /// Whether it is reached at this local address of a connection.
    pub(super) fn listens_at(&self, local: SocketAddr) -> bool {
        self.subsystem.listeners.iter().any(|listener| reaches(*listener, local))
    }
}

/// Whether a connection whose local end is `local` came through a socket bound to `listener`.
pub(super) fn reaches(listener: SocketAddr, local: SocketAddr) -> bool {
    let (bound, came) = (listener.ip().to_canonical(), local.ip().to_canonical());
    let wildcard = bound.is_unspecified() && (bound.is_ipv6() || came.is_ipv4());
    listener.port() == local.port() && (wildcard || bound == came)
}

/// Hands out CNTLIDs in a circle, so that a number comes back late.
#[derive(Debug, Default)]
pub(super) struct CntlidCircle {
    last: u16,
}

impl CntlidCircle {
    /// The next CNTLID that is not in `taken`; `None` when all are.
    pub(super) fn next(&mut self, taken: &BTreeSet<u16>) -> Option<u16> {
        let after = self.last + 1..=CNTLID_MAX;
        let found = after.chain(1..=self.last).find(|cntlid| !taken.contains(cntlid))?;
        self.last = found;
        Some(found)
    }
}
