//! The namespaces that a queue pair sees, found by NSID.
//!
//! Invariant: `by_nsid[nsid - 1]` is the namespace `nsid`, or none where it is inactive; `traces` is filled alike.

use std::sync::Arc;

use crate::bdev::{Geometry, OpenError};
use crate::nvmf::access::{Access, Way};
use crate::nvmf::io::{Channels, LaneCounts, dataset_range_blocks};
use crate::nvmf::namespace::{Namespace, NamespaceTable};
use crate::spec::status::Status;
use crate::trace::CommandTrace;

/// A namespace as one reactor serves it.
#[derive(Clone, Copy, Debug)]
pub struct Attached {
    /// Its identifier, 1 and up.
    pub nsid: u32,
    /// Shape of its bdev.
    pub geometry: Geometry,
    /// Blocks of one Dataset Management range that are deallocated.
    pub(super) dataset_range_blocks: u32,
    pub(super) channel: usize,
}

impl Attached {
    /// Both are served by one channel.
    pub fn shares_channel(&self, other: &Self) -> bool {
        self.channel == other.channel
    }
}

/// The namespaces that a queue pair sees.
#[derive(Debug, Default)]
pub struct Namespaces {
    by_nsid: Box<[Option<Attached>]>,
    /// Where each is counted on this reactor.
    traces: Box<[Option<Arc<CommandTrace>>]>,
    reservations: bool,
    /// What the controller may do with them.
    access: Arc<Access>,
}

impl Namespaces {
    /// Opens the bdevs of all namespaces of `table` on this reactor, which counts in `counts`; `reservations` says whether
    /// they have some, `access` what the controller may do with them.
    ///
    /// # Errors
    /// What the bdev says that could not be opened.
    pub fn open(
        table: &NamespaceTable,
        reservations: bool,
        access: Arc<Access>,
        channels: &mut Channels,
        counts: &LaneCounts,
    ) -> Result<Self, OpenError> {
        let mut by_nsid = vec![None; table.nsid_max() as usize];
        let mut traces = vec![None; table.nsid_max() as usize];
        let dataset_range_blocks = dataset_range_blocks(table);
        for Namespace { nsid, bdev, .. } in table.iter() {
            let channel = channels.open(bdev)?;
            let geometry = *bdev.geometry();
            let attached = Attached { nsid: *nsid, geometry, dataset_range_blocks, channel };
            by_nsid[*nsid as usize - 1] = Some(attached);
            traces[*nsid as usize - 1] = Some(counts.namespace(*nsid));
        }
        let (by_nsid, traces) = (by_nsid.into_boxed_slice(), traces.into_boxed_slice());
        Ok(Self { by_nsid, traces, reservations, access })
    }

    /// They have reservations.
    pub fn has_reservations(&self) -> bool {
        self.reservations
    }

    /// What the controller may do with them.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What the controller may do with them has changed. Commands that bdevs have go on.
    pub fn set_access(&mut self, access: Arc<Access>) {
        self.access = access;
    }

    /// Where the namespace `nsid` is counted on this reactor; none where it is inactive.
    pub fn trace(&self, nsid: u32) -> Option<&CommandTrace> {
        self.traces.get(nsid.wrapping_sub(1) as usize)?.as_deref()
    }

    /// The namespace `nsid`, whatever the controller may do with it; none where it is inactive.
    pub fn attached(&self, nsid: u32) -> Option<&Attached> {
        self.by_nsid.get(nsid.wrapping_sub(1) as usize)?.as_ref()
    }

    /// The namespace `nsid`.
    ///
    /// # Errors
    /// Invalid Namespace or Format for 0, FFFFFFFFh and values above NN, Invalid Field for an inactive one and for one that
    /// the host does not have, all with DNR (base 2.1, section 3.2.1); a path related status without DNR for one that this
    /// controller does not reach now.
    pub fn find(&self, nsid: u32) -> Result<&Attached, Status> {
        let index = nsid.wrapping_sub(1) as usize;
        match (self.by_nsid.get(index), self.access.way(nsid)) {
            (None, _) => Err(Status::INVALID_NAMESPACE.with_dnr()),
            (Some(None), _) | (_, Way::Hidden) => Err(Status::INVALID_FIELD.with_dnr()),
            (Some(Some(attached)), Way::Attached { state, .. }) => state.check().map(|()| attached),
        }
    }
}
