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
    /// The largest block of any that it ever had, in bytes; 0 for none.
    block_bytes_max: usize,
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
        let by_nsid = vec![None; table.nsid_max() as usize].into_boxed_slice();
        let traces = vec![None; table.nsid_max() as usize].into_boxed_slice();
        let mut namespaces = Self { by_nsid, traces, block_bytes_max: 0, reservations, access };
        namespaces.extend(table, channels, counts)?;
        Ok(namespaces)
    }

    /// Opens the bdevs of those namespaces of `table` that it does not have, which counts in `counts`; the others stay as they
    /// are. May allocate: belongs to a change by an operator.
    ///
    /// # Errors
    /// What a bdev says that could not be opened; the others are there.
    ///
    /// # Panics
    /// When NN is not what it was.
    pub fn extend(
        &mut self,
        table: &NamespaceTable,
        channels: &mut Channels,
        counts: &LaneCounts,
    ) -> Result<(), OpenError> {
        assert_eq!(table.nsid_max() as usize, self.by_nsid.len());
        let dataset_range_blocks = dataset_range_blocks(table);
        let mut result = Ok(());
        for Namespace { nsid, bdev, .. } in table.iter() {
            let index = *nsid as usize - 1;
            if self.by_nsid[index].is_some() {
                continue;
            }
            match channels.open(bdev) {
                Ok(channel) => {
                    let geometry = *bdev.geometry();
                    self.block_bytes_max = self.block_bytes_max.max(geometry.block_size as usize);
                    self.by_nsid[index] =
                        Some(Attached { nsid: *nsid, geometry, dataset_range_blocks, channel });
                    self.traces[index] = Some(counts.namespace(*nsid));
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Bytes of the largest block, of which the others are parts: a power of two, or 0 where there is no namespace.
    pub fn block_bytes_max(&self) -> usize {
        self.block_bytes_max
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
            (Some(Some(attached)), Way::Attached(state)) => state.check().map(|()| attached),
        }
    }
}
