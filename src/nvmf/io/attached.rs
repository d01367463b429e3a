//! The namespaces that a queue pair sees, found by NSID.
//!
//! Invariant: `by_nsid[nsid - 1]` is the namespace `nsid`, or none where it is inactive; `traces` is filled alike.

use std::sync::Arc;

use crate::bdev::{Geometry, OpenError};
use crate::nvmf::io::{Channels, LaneCounts};
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
}

impl Namespaces {
    /// Opens the bdevs of all namespaces of `table` on this reactor, which counts in `counts`; `reservations` says whether
    /// they have some.
    ///
    /// # Errors
    /// What the bdev says that could not be opened.
    pub fn open(
        table: &NamespaceTable,
        reservations: bool,
        channels: &mut Channels,
        counts: &LaneCounts,
    ) -> Result<Self, OpenError> {
        let mut by_nsid = vec![None; table.nsid_max() as usize];
        let mut traces = vec![None; table.nsid_max() as usize];
        for Namespace { nsid, bdev, .. } in table.iter() {
            let channel = channels.open(bdev)?;
            by_nsid[*nsid as usize - 1] = Some(Attached { nsid: *nsid, geometry: *bdev.geometry(), channel });
            traces[*nsid as usize - 1] = Some(counts.namespace(*nsid));
        }
        Ok(Self { by_nsid: by_nsid.into_boxed_slice(), traces: traces.into_boxed_slice(), reservations })
    }

    /// They have reservations.
    pub fn has_reservations(&self) -> bool {
        self.reservations
    }

    /// Where the namespace `nsid` is counted on this reactor; none where it is inactive.
    pub fn trace(&self, nsid: u32) -> Option<&CommandTrace> {
        self.traces.get(nsid.wrapping_sub(1) as usize)?.as_deref()
    }

    /// The namespace `nsid`.
    ///
    /// # Errors
    /// Invalid Namespace or Format for 0, FFFFFFFFh and values above NN, Invalid Field for an inactive one, both with
    /// DNR (base 2.1, section 3.2.1).
    pub fn find(&self, nsid: u32) -> Result<&Attached, Status> {
        let index = nsid.wrapping_sub(1) as usize;
        match self.by_nsid.get(index) {
            None => Err(Status::INVALID_NAMESPACE.with_dnr()),
            Some(None) => Err(Status::INVALID_FIELD.with_dnr()),
            Some(Some(attached)) => Ok(attached),
        }
    }
}
