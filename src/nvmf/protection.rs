//! What hosts are told about the write protection of namespaces. Decides nothing and keeps nothing on a disk: whoever does
//! both says here what is so on every I/O reactor.

use std::collections::{BTreeMap, BTreeSet};

use crate::nvmf::fence::keeper::Protection;
use crate::nvmf::namespace::NamespaceTable;

/// The namespaces of a subsystem whose hosts can protect them.
#[derive(Clone, Debug)]
pub(super) struct Protections {
    /// Every namespace of the subsystem; `None` where the namespace is out of service.
    namespaces: BTreeMap<u32, Option<Protection>>,
}

impl Protections {
    /// None of the namespaces is protected.
    pub(super) fn of(namespaces: &NamespaceTable) -> Self {
        let open = |nsid| (nsid, Some(Protection::default()));
        Self { namespaces: namespaces.iter().map(|namespace| open(namespace.nsid)).collect() }
    }

    /// Another namespace, as all begin.
    pub(super) fn add(&mut self, nsid: u32) {
        let before = self.namespaces.insert(nsid, Some(Protection::default()));
        assert!(before.is_none(), "namespace {nsid} is new");
    }

    /// Says what is so for a namespace. Whether that is something else than before.
    ///
    /// # Panics
    /// When the subsystem has no such namespace.
    pub(super) fn set(&mut self, nsid: u32, protection: Option<Protection>) -> bool {
        let before = self.namespaces.insert(nsid, protection);
        assert!(before.is_some(), "there is a namespace {nsid}");
        before != Some(protection)
    }

    /// What is so for a namespace; `None` where that is not known.
    pub(super) fn get(&self, nsid: u32) -> Option<Protection> {
        self.namespaces.get(&nsid).copied().flatten()
    }

    /// The namespaces that are protected.
    pub(super) fn protected(&self) -> BTreeSet<u32> {
        let is_on = |protection: &Option<Protection>| protection.is_some_and(Protection::is_on);
        self.namespaces.iter().filter(|(_, found)| is_on(found)).map(|(nsid, _)| *nsid).collect()
    }
}
