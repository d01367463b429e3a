//! Namespaces of a subsystem, and the table by which both planes find them.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::bdev::Bdev;
use crate::spec::NSID_ALL;
use crate::spec::status::Status;

/// One namespace: a block device under a number and a name that hosts recognise.
#[derive(Clone)]
pub struct Namespace {
    /// NSID, from 1.
    pub nsid: u32,
    /// What hosts recognise it by, on every path and after every restart.
    pub uuid: Uuid,
    /// Where its blocks are.
    pub bdev: Arc<dyn Bdev>,
}

impl Namespace {
    /// LBADS: the block size as a power of two.
    pub fn block_shift(&self) -> u32 {
        self.bdev.geometry().block_size.ilog2()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = formatter.debug_struct("Namespace");
        fields.field("nsid", &self.nsid).field("uuid", &self.uuid).field("bdev", &self.bdev.name()).finish()
    }
}

/// The namespaces of a subsystem. Immutable; I/O reactors hold it by an [`Arc`].
///
/// Invariant: ascending NSIDs, each from 1 to `nsid_max`.
#[derive(Debug)]
pub struct NamespaceTable {
    namespaces: Vec<Namespace>,
    nsid_max: u32,
}

impl NamespaceTable {
    /// A table of these namespaces, of which no two may have one NSID. NN is at least `nsid_max`.
    pub(super) fn new(mut namespaces: Vec<Namespace>, nsid_max: u32) -> Self {
        namespaces.sort_by_key(|namespace| namespace.nsid);
        let last = namespaces.last().map_or(0, |namespace| namespace.nsid);
        assert!(namespaces.first().is_none_or(|namespace| namespace.nsid != 0));
        assert!(namespaces.windows(2).all(|pair| pair[0].nsid != pair[1].nsid) && last < NSID_ALL);
        Self { namespaces, nsid_max: nsid_max.max(last) }
    }

    /// These namespaces and another one, whose NSID is none of theirs and at most NN; NN stays.
    pub(super) fn with(&self, namespace: Namespace) -> Self {
        assert!(namespace.nsid <= self.nsid_max);
        let namespaces = self.namespaces.iter().cloned().chain([namespace]).collect();
        Self::new(namespaces, self.nsid_max)
    }

    /// Those of the namespaces that have a property; NN stays.
    pub(super) fn only(&self, has: impl Fn(u32) -> bool) -> Self {
        let namespaces = self.namespaces.iter().filter(|namespace| has(namespace.nsid)).cloned().collect();
        Self { namespaces, nsid_max: self.nsid_max }
    }

    /// NN: the largest NSID that is valid.
    pub fn nsid_max(&self) -> u32 {
        self.nsid_max
    }

    /// The active namespace of this NSID.
    ///
    /// # Errors
    /// Invalid Namespace or Format for 0, FFFFFFFFh and what is above NN; Invalid Field in Command for a
    /// valid NSID that is inactive (NVMe base 2.1, section 3.2.1). Both without DNR.
    pub fn find(&self, nsid: u32) -> Result<&Namespace, Status> {
        self.find_active(nsid)?.ok_or(Status::INVALID_FIELD)
    }

    /// The namespace of this NSID; `None` when the NSID is valid but inactive.
    ///
    /// # Errors
    /// Invalid Namespace or Format for 0, FFFFFFFFh and what is above NN, without DNR.
    pub fn find_active(&self, nsid: u32) -> Result<Option<&Namespace>, Status> {
        if nsid == 0 || nsid > self.nsid_max {
            return Err(Status::INVALID_NAMESPACE);
        }
        let index = self.namespaces.binary_search_by_key(&nsid, |namespace| namespace.nsid);
        Ok(index.ok().and_then(|index| self.namespaces.get(index)))
    }

    /// The active namespaces, by ascending NSID.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.iter()
    }

    /// Whether every active namespace's device has `what`; so for none.
    pub(super) fn all(&self, what: impl Fn(&Namespace) -> bool) -> bool {
        self.namespaces.iter().all(what)
    }
}
