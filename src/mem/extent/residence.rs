//! Where the pages of an extent are, and since when: on a NUMA node, found at once, locked.

#![expect(unsafe_code, reason = "the kernel is asked about ranges of addresses")]

use std::io;

use rustix::io::Errno;
use rustix::mm::{Advice, madvise, mlock};
use rustix::process::{Resource, getrlimit};

use super::hugepages::Hugepages;
use super::{Backing, Extent, ExtentError, PageSize};
use crate::mem::numa;

/// Where the pages of an extent are to be, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residence {
    /// The NUMA node to take pages from; `None`: wherever the thread runs that touches them first.
    pub node: Option<u32>,
    /// All pages are found now, not when they are touched.
    pub populate: bool,
    /// All pages are found now and stay where they are: none is ever swapped out.
    pub lock: bool,
}

impl Extent {
    /// Takes up residence: binds the extent to a node, finds its pages, locks them. Belongs right behind its making.
    ///
    /// The node is a wish: a kernel that cannot or may not bind memory does without, and [`Extent::node`] tells. Hugepages
    /// that are populated come from that node or not at all.
    ///
    /// # Errors
    ///
    /// [`ExtentError`]: pages or the right to lock them are missing.
    ///
    /// # Panics
    ///
    /// If it is an extent of zeros.
    pub fn reside(&mut self, residence: Residence, page_size: PageSize) -> Result<(), ExtentError> {
        assert!(self.backing != Backing::Zeros);
        let Residence { node, populate, lock } = residence;
        let huge = matches!(self.backing, Backing::Hugepages { .. });
        let populate = populate || lock;
        let policy = if huge && populate { numa::Policy::Bind } else { numa::Policy::Prefer };
        self.node = node.filter(|&node| self.bind(policy, node).is_ok());
        // The count of the machine's only node is that of the machine, which knows what is promised.
        let counted = self.node.filter(|_| numa::nodes() > 1);
        let before = Hugepages::read(page_size, counted);
        if populate {
            self.populate().map_err(|reason| self.unpopulated(reason, before.ok(), counted))?;
        }
        // Hugepages are never swapped out.
        if lock && !huge { self.lock() } else { Ok(()) }
    }

    fn bind(&self, policy: numa::Policy, node: u32) -> io::Result<()> {
        // SAFETY: the range is this extent's own mapping (type invariant).
        unsafe { numa::bind(self.start.as_ptr(), self.mapped, policy, node) }
    }

    fn populate(&mut self) -> rustix::io::Result<()> {
        // SAFETY: the range is this extent's own mapping (type invariant), writable as it is not one of zeros; what is
        // in it does not change.
        unsafe { madvise(self.start.as_ptr().cast(), self.mapped, Advice::LinuxPopulateWrite) }?;
        self.populated = true;
        Ok(())
    }

    fn unpopulated(&self, reason: Errno, before: Option<Hugepages>, node: Option<u32>) -> ExtentError {
        let refused = ExtentError::Refused { bytes: self.mapped, reason: reason.into() };
        let Backing::Hugepages { page_bytes } = self.backing else { return refused };
        // The machine has promised the pages: what is missing is missing on the node.
        let missing = before.and_then(|there| there.missing(self.mapped / page_bytes, node));
        missing.unwrap_or(refused)
    }

    fn lock(&self) -> Result<(), ExtentError> {
        // SAFETY: the range is this extent's own mapping (type invariant); what is in it does not change.
        let locked = unsafe { mlock(self.start.as_ptr().cast(), self.mapped) };
        let limit = getrlimit(Resource::Memlock).current;
        locked.map_err(|reason| match (reason, limit) {
            (Errno::NOMEM | Errno::PERM | Errno::AGAIN, Some(limit)) => {
                ExtentError::LockedMemory { bytes: self.mapped, limit }
            }
            _ => ExtentError::Refused { bytes: self.mapped, reason: reason.into() },
        })
    }
}
