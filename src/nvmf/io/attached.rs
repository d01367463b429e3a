//! The namespaces that a queue pair sees, found by NSID.
//!
//! Invariant: `by_nsid[nsid - 1]` is the namespace `nsid`, or none where it is inactive.

use crate::bdev::{Geometry, OpenError};
use crate::nvmf::io::Channels;
use crate::nvmf::namespace::{Namespace, NamespaceTable};
use crate::spec::status::Status;

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
    reservations: bool,
}

impl Namespaces {
    /// Opens the bdevs of all namespaces of `table` on this reactor; `reservations` says whether they have some.
    ///
    /// # Errors
    /// What the bdev says that could not be opened.
    pub fn open(
        table: &NamespaceTable,
        reservations: bool,
        channels: &mut Channels,
    ) -> Result<Self, OpenError> {
        let mut by_nsid = vec![None; table.nsid_max() as usize];
        for Namespace { nsid, bdev, .. } in table.iter() {
            let channel = channels.open(bdev)?;
            by_nsid[*nsid as usize - 1] = Some(Attached { nsid: *nsid, geometry: *bdev.geometry(), channel });
        }
        Ok(Self { by_nsid: by_nsid.into_boxed_slice(), reservations })
    }

    /// They have reservations.
    pub fn has_reservations(&self) -> bool {
        self.reservations
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
