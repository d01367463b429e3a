//! What hosts are told about reservations and power loss, namespace by namespace. Decides nothing and keeps nothing on
//! a disk: whoever does both says here what is so.

use std::collections::BTreeMap;

use crate::nvmf::namespace::NamespaceTable;
use crate::spec::identify::namespace::Rescap;

/// RESCAP of a namespace with all that there is: FFh.
const EVERYTHING: Rescap = Rescap::from_bits(0xff);

/// Whether the reservations of one namespace survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// They do not, and hosts cannot change that.
    Unsupported,
    /// They do not.
    Off,
    /// They do.
    On,
}

/// The namespaces of a subsystem that has reservations.
#[derive(Clone, Debug)]
pub(super) struct Reservations {
    /// Every namespace of the subsystem.
    namespaces: BTreeMap<u32, Persistence>,
}

impl Reservations {
    /// Reservations that can be made to survive a power loss, and do not yet.
    pub(super) fn of(namespaces: &NamespaceTable) -> Self {
        let off = namespaces.iter().map(|namespace| (namespace.nsid, Persistence::Off));
        Self { namespaces: off.collect() }
    }

    /// Another namespace, as all begin.
    pub(super) fn add(&mut self, nsid: u32) {
        let before = self.namespaces.insert(nsid, Persistence::Off);
        assert!(before.is_none(), "namespace {nsid} is new");
    }

    /// Says what is so for a namespace.
    ///
    /// # Panics
    /// When the subsystem has no such namespace.
    pub(super) fn set(&mut self, nsid: u32, persistence: Persistence) {
        let before = self.namespaces.insert(nsid, persistence);
        assert!(before.is_some(), "there is a namespace {nsid}");
    }

    /// What is so for a namespace; [`Persistence::Unsupported`] for one that there is not.
    pub(super) fn persistence(&self, nsid: u32) -> Persistence {
        self.namespaces.get(&nsid).copied().unwrap_or(Persistence::Unsupported)
    }

    /// Whether hosts can choose.
    pub(super) fn is_supported(&self, nsid: u32) -> bool {
        self.persistence(nsid) != Persistence::Unsupported
    }

    /// RESCAP of a namespace.
    pub(super) fn rescap(&self, nsid: u32) -> Rescap {
        EVERYTHING.with_ptpl(self.is_supported(nsid))
    }
}
