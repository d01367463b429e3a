//! An NVM subsystem as it is configured, and the part of it that controllers share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::nvmf::access::{Access, Way};
use crate::nvmf::controller::paths::{Group, Paths};
use crate::nvmf::fence::keeper::Protection;
use crate::nvmf::io::LaneCounts;
use crate::nvmf::namespace::{Namespace, NamespaceTable};
use crate::nvmf::persistence::Reservations;
use crate::nvmf::policy::Policy;
use crate::nvmf::protection::Protections;
use crate::spec::NSID_ALL;
use crate::spec::ana::AnaState;
use crate::spec::fabrics::CNTLID_MAX;
use crate::spec::nqn::Nqn;

/// NSIDs up to this are valid in every subsystem, so that NN need not change when a namespace is added. Every
/// I/O queue keeps a table of NN entries.
pub const NSID_MAX_LEAST: u32 = 256;

/// What a subsystem is made of.
#[derive(Clone, Debug)]
pub struct Subsystem {
    /// Its name; not the discovery name.
    pub nqn: Nqn,
    /// SN: 1 to 20 printable ASCII characters.
    pub serial: String,
    /// MN: 1 to 40 printable ASCII characters.
    pub model: String,
    /// Who may use what of it.
    pub policy: Policy,
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
    /// Read, Compare and Copy commands that completed, with success or without.
    pub read_commands: u64,
    /// Write and Copy commands that completed, with success or without.
    pub write_commands: u64,
    /// Bytes that Read, Compare and Verify commands read.
    pub read_bytes: u64,
    /// Bytes that Write and Copy commands wrote.
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
    /// Above NN, of which hosts were told.
    #[error("namespace identifier {0} is above those that hosts were told of")]
    NsidAboveNn(u32),
}

/// A subsystem in service.
pub(super) struct Served {
    pub(super) subsystem: Subsystem,
    pub(super) namespaces: Arc<NamespaceTable>,
    /// `None` where hosts have none.
    pub(super) reservations: Option<Reservations>,
    /// `None` where hosts cannot protect namespaces.
    pub(super) protections: Option<Protections>,
    /// Namespaces whose records are not known, or cannot be kept: the reliability of the subsystem is degraded.
    pub(super) unsound: BTreeSet<u32>,
}

impl Served {
    pub(super) fn new(mut subsystem: Subsystem) -> Result<Self, SubsystemError> {
        if subsystem.nqn.is_discovery() {
            return Err(SubsystemError::Discovery(subsystem.nqn));
        }
        let mut seen = BTreeSet::new();
        for namespace in &subsystem.namespaces {
            check_nsid(namespace.nsid)?;
            if !seen.insert(namespace.nsid) {
                return Err(SubsystemError::DuplicateNsid(namespace.nsid));
            }
        }
        let namespaces = std::mem::take(&mut subsystem.namespaces);
        let namespaces = Arc::new(NamespaceTable::new(namespaces, NSID_MAX_LEAST));
        Ok(Self { subsystem, namespaces, reservations: None, protections: None, unsound: BTreeSet::new() })
    }

    /// Takes another namespace, with reservations like the others'. No host has it before its controllers are updated.
    ///
    /// # Errors
    /// What is wrong with its NSID; nothing changes.
    pub(super) fn add_namespace(&mut self, namespace: Namespace) -> Result<(), SubsystemError> {
        let nsid = namespace.nsid;
        check_nsid(nsid)?;
        match self.namespaces.find_active(nsid) {
            Err(_) => Err(SubsystemError::NsidAboveNn(nsid)),
            Ok(Some(_)) => Err(SubsystemError::DuplicateNsid(nsid)),
            Ok(None) => {
                self.namespaces = Arc::new(self.namespaces.with(namespace));
                self.reservations.iter_mut().for_each(|reservations| reservations.add(nsid));
                self.protections.iter_mut().for_each(|protections| protections.add(nsid));
                Ok(())
            }
        }
    }

    /// The listener by which it is reached at this local address of a connection: its place in the list.
    pub(super) fn listener_at(&self, local: SocketAddr) -> Option<usize> {
        self.subsystem.listeners.iter().position(|listener| reaches(*listener, local))
    }

    /// Whether a host has a namespace.
    fn shows(&self, host: &Nqn, nsid: u32) -> bool {
        self.subsystem.policy.masks.get(&nsid).is_none_or(|hosts| hosts.allow(host))
    }

    /// The namespaces that a host has.
    pub(super) fn seen_by(&self, host: &Nqn) -> Arc<NamespaceTable> {
        if self.namespaces.iter().all(|namespace| self.shows(host, namespace.nsid)) {
            return Arc::clone(&self.namespaces);
        }
        Arc::new(self.namespaces.only(|nsid| self.shows(host, nsid)))
    }

    /// What a controller of this host, which came by this listener, may do.
    pub(super) fn access(&self, host: &Nqn, listener: Option<usize>, advanced_retry: bool) -> Access {
        let ways = (1..=self.namespaces.nsid_max()).map(|nsid| {
            let there = self.namespaces.find(nsid).is_ok() && self.shows(host, nsid);
            if there { Way::Attached(self.state(nsid, listener)) } else { Way::Hidden }
        });
        Access::new(ways, advanced_retry)
    }

    /// How a listener reaches a namespace.
    pub(super) fn state(&self, nsid: u32, listener: Option<usize>) -> AnaState {
        let ana = self.subsystem.policy.ana.as_ref().zip(listener);
        ana.map_or(AnaState::OPTIMIZED, |(ana, listener)| ana.state(listener, ana.group(nsid)))
    }

    /// The groups of the namespaces that a host has; none without ANA.
    pub(super) fn groups(&self, host: &Nqn, listener: Option<usize>) -> BTreeMap<u32, Group> {
        let mut groups = BTreeMap::new();
        let Some(ana) = &self.subsystem.policy.ana else { return groups };
        for Namespace { nsid, .. } in self.namespaces.iter().filter(|it| self.shows(host, it.nsid)) {
            let state = self.state(*nsid, listener);
            let group = groups.entry(ana.group(*nsid)).or_insert_with(|| Group {
                state,
                nsids: Vec::new(),
                changed_at: 0,
            });
            group.nsids.push(*nsid);
        }
        groups
    }

    /// What a controller of this host starts with.
    pub(super) fn paths(&self, host: &Nqn, listener: Option<usize>) -> Paths {
        let access = Arc::new(self.access(host, listener, false));
        Paths::new(listener, self.groups(host, listener), access, self.protected())
    }

    /// The namespaces that are write protected.
    pub(super) fn protected(&self) -> BTreeSet<u32> {
        self.protections.as_ref().map(Protections::protected).unwrap_or_default()
    }

    /// NSATTR bit 0 of a namespace.
    pub(super) fn is_protected(&self, nsid: u32) -> bool {
        let protection = self.protections.as_ref().and_then(|protections| protections.get(nsid));
        protection.is_some_and(Protection::is_on)
    }
}

fn check_nsid(nsid: u32) -> Result<(), SubsystemError> {
    if nsid == 0 || nsid == NSID_ALL { Err(SubsystemError::Nsid(nsid)) } else { Ok(()) }
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
