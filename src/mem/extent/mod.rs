//! Whole ranges of memory from the kernel: hugepages, ordinary pages, and zeros to be lent.
//!
//! Sparse: no page is used before it is written (a hugepage: before it is touched), though hugepages are
//! reserved from the start, unless the extent takes up [`Residence`]. Invariants of every [`Extent`]:
//!
//! - `start..start + mapped` was mapped by this extent and belongs to it alone; it is readable, and
//!   writable unless the backing is [`Backing::Zeros`]; `len <= mapped`;
//! - no Rust reference to any of it exists, ever;
//! - the addresses are never mapped for anything else, not even after the extent is dropped: its memory goes
//!   back to the kernel, its addresses stay reserved and inaccessible. So a segment that outlives its extent
//!   (which is a bug) leads to a fault or an error of the system call, never to somebody else's
//!   memory. Extents are few and long-lived, and there are 128 TiB of addresses;
//! - pages that were populated stay where they are until the extent is dropped: a device may know them.

#![expect(unsafe_code, reason = "memory mappings are made of raw pointers")]

mod error;
mod hugepages;
mod make;
mod residence;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{ops::Range, ptr::NonNull};

use corelane_reactors::buffer::{Segment, SegmentMut};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use super::kernels;

pub use error::{ExtentError, MissingHugepages};
pub use hugepages::PageSize;
pub use residence::Residence;

/// Every offset that is a multiple of this is a page boundary: the page size, or the largest that the
/// architecture knows.
const PAGE_BYTES: usize = if cfg!(target_arch = "x86_64") { 4096 } else { 64 << 10 };

/// A range of memory, mapped when it is made and given back when it is dropped.
#[derive(Debug)]
pub struct Extent {
    start: NonNull<u8>,
    len: usize,
    mapped: usize,
    backing: Backing,
    /// The file that it maps, where others may share it.
    file: Option<OwnedFd>,
    /// Every page was found at the start.
    populated: bool,
    /// The node that it is bound to.
    node: Option<u32>,
}

/// What pages an extent lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Hugepages, reserved for this extent alone.
    Hugepages {
        /// Bytes of one page.
        page_bytes: usize,
    },
    /// Pages that the kernel finds when they are written, transparently huge where it can.
    Ordinary,
    /// Zeros that nobody may write; they use no memory.
    Zeros,
}

impl Extent {
    /// Bytes of the extent, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "an extent is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where it begins. Nothing may be read or written there but as in [`super::Shared`] and through segments.
    #[inline]
    pub(super) fn base(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Address of its first byte: always a page boundary, and a boundary of hugepages where it has those.
    pub fn address(&self) -> usize {
        self.start.as_ptr().addr()
    }

    /// What it lies in.
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// The file that whoever shares the memory maps; none where nobody can.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// The NUMA node that its pages come from; `None` where they come from anywhere.
    pub fn node(&self) -> Option<u32> {
        self.node
    }

    /// Whether all of its pages were found at the start.
    pub fn is_populated(&self) -> bool {
        self.populated
    }

    /// The bytes of `range`, to be read.
    ///
    /// # Panics
    ///
    /// If the range is not inside the extent.
    pub fn segment(&self, range: Range<usize>) -> Segment {
        // SAFETY: `len <= mapped` bytes at `start` are readable, and never become anything else (type
        // invariant); writers are other cores and devices, never references.
        let all = unsafe { Segment::from_raw(self.start.as_ptr(), self.len) };
        all.slice(range)
    }

    /// The bytes of `range`, to be written. Whoever holds segments of one range at once must be content
    /// with any mixture of what they write.
    ///
    /// # Panics
    ///
    /// If the range is not inside the extent, or the extent is one of zeros.
    pub fn segment_mut(&self, range: Range<usize>) -> SegmentMut {
        assert!(self.backing != Backing::Zeros);
        // SAFETY: `len <= mapped` bytes at `start` are readable and, as it is not one of zeros, writable,
        // never become anything else and are covered by no reference (type invariant).
        let all = unsafe { SegmentMut::from_raw(self.start.as_ptr(), self.len) };
        all.slice(range)
    }

    /// Makes `range` read as zeros. Whole ordinary pages are given back to the kernel; hugepages, pages that
    /// others may share and pages that were populated stay and are zeroed.
    ///
    /// # Panics
    ///
    /// If the range is not inside the extent, or the extent is one of zeros.
    pub fn clear(&self, range: Range<usize>) {
        let Range { start, end } = range;
        let all = self.segment_mut(start..end);
        let first = start.next_multiple_of(PAGE_BYTES);
        let last = end - end % PAGE_BYTES;
        let gives_back = self.backing == Backing::Ordinary && self.file.is_none() && !self.populated;
        if !gives_back || first >= last || self.give_back(first..last).is_err() {
            return kernels::zero(all);
        }
        kernels::zero(self.segment_mut(start..first));
        kernels::zero(self.segment_mut(last..end));
    }

    /// Keeps the extent out of child processes, where a copy-on-write would part it from the devices that
    /// know its pages, and out of core dumps. A kernel that cannot do this loses nothing else.
    fn keep_private(&self) {
        for advice in [Advice::LinuxDontFork, Advice::LinuxDontDump] {
            // SAFETY: the range is this extent's own mapping (type invariant), and neither advice changes
            // what this process finds in it.
            let _ = unsafe { madvise(self.start.as_ptr().cast(), self.mapped, advice) };
        }
    }

    fn give_back(&self, pages: Range<usize>) -> rustix::io::Result<()> {
        assert!(self.backing == Backing::Ordinary);
        assert!(self.file.is_none() && !self.populated);
        assert!(pages.start.is_multiple_of(PAGE_BYTES) && pages.end.is_multiple_of(PAGE_BYTES));
        let pages = self.segment_mut(pages);
        // SAFETY: the range is part of this extent's own mapping (type invariant). It is private and
        // anonymous, so it reads as zeros afterwards; no reference covers it, so nobody relies on its
        // contents.
        unsafe { madvise(pages.pointer().cast(), pages.len(), Advice::LinuxDontNeed) }
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: it replaces exactly this extent's own mapping (type invariant), which no reference
        // covers, by one that nobody can access.
        let replaced =
            unsafe { mmap_anonymous(self.start.as_ptr().cast(), self.mapped, ProtFlags::empty(), flags) };
        // If the kernel refuses, the old mapping stays: memory is lost, and nothing else is touched.
        debug_assert!(replaced.is_ok());
    }
}

// SAFETY: an extent is an address range without a thread's state; its memory is reached through segments
// only, whose kernels allow any number of threads at once.
unsafe impl Send for Extent {}

// SAFETY: as for `Send`; no method changes the extent itself.
unsafe impl Sync for Extent {}
