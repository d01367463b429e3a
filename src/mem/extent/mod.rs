//! Whole ranges of memory from the kernel: hugepages, ordinary pages, and zeros to be lent.
//!
//! Sparse: no page is used before it is written (a hugepage: before it is touched), though hugepages are
//! reserved from the start. Invariants of every [`Extent`]:
//!
//! - `start..start + mapped` was mapped by this extent and belongs to it alone; it is readable, and
//!   writable unless the backing is [`Backing::Zeros`]; `len <= mapped`;
//! - no Rust reference to any of it exists, ever;
//! - the addresses are never mapped for anything else, not even after the extent is dropped: its memory goes
//!   back to the kernel, its addresses stay reserved and inaccessible. So a segment that outlives its extent
//!   (which is a bug) leads to a fault or an error of the system call, never to somebody else's
//!   memory. Extents are few and long-lived, and there are 128 TiB of addresses.

#![expect(unsafe_code, reason = "memory mappings are made of raw pointers")]

mod meminfo;
#[cfg(test)]
mod tests;

use std::{alloc::Layout, io, mem, ops::Range, ptr::NonNull};

use corelane_reactors::buffer::{Segment, SegmentMut};
use memmap2::{MmapOptions, MmapRaw};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use super::kernels;
use meminfo::Hugepages;

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

/// Why memory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ExtentError {
    /// Nothing was asked for, or more than there are addresses.
    #[error("{bytes} bytes are not a possible amount of memory")]
    Size {
        /// The refused length.
        bytes: usize,
    },
    /// The kernel was built or booted without hugepages.
    #[error("this system has no hugepages: use ordinary memory")]
    NoHugepages,
    /// Fewer hugepages are free than are needed.
    #[error(
        "{wanted} hugepages of {} KiB are needed, {missing} of them are missing: \
         add {missing} to vm.nr_hugepages, ask for less, or use ordinary memory",
        .page_bytes / 1024
    )]
    Hugepages {
        /// Pages needed.
        wanted: usize,
        /// Pages that are not there.
        missing: usize,
        /// Bytes of one page.
        page_bytes: usize,
    },
    /// The kernel refused.
    #[error(
        "the system refuses {bytes} bytes of memory ({reason}): ask for less, or raise what limits it \
         (ulimit -v, vm.overcommit_memory, vm.max_map_count)"
    )]
    Refused {
        /// Bytes asked for.
        bytes: usize,
        /// What the kernel says.
        reason: io::Error,
    },
}

impl Extent {
    /// `len` bytes of hugepages of the system's default size. They are reserved now, so that touching them
    /// later cannot fail (a hugetlb limit of the control group excepted), and zeroed when first touched.
    ///
    /// # Errors
    ///
    /// [`ExtentError`], which says how many pages are missing.
    pub fn hugepages(len: usize) -> Result<Self, ExtentError> {
        let hugepages = Hugepages::read().ok_or(ExtentError::NoHugepages)?;
        let mapped = rounded(len, hugepages.page_bytes)?;
        let layout = Layout::from_size_align(mapped, hugepages.page_bytes)
            .map_err(|_| ExtentError::Size { bytes: len })?;
        // SAFETY: the size of the layout is not zero: `rounded` refuses that.
        let start = unsafe { hugepage_rs::alloc(layout) };
        let reason = io::Error::last_os_error();
        let Some(start) = NonNull::new(start) else {
            let wanted = mapped / hugepages.page_bytes;
            let available = Hugepages::read().map_or(0, |hugepages| hugepages.available);
            return Err(match wanted.checked_sub(available) {
                None | Some(0) => ExtentError::Refused { bytes: mapped, reason },
                Some(missing) => ExtentError::Hugepages { wanted, missing, page_bytes: hugepages.page_bytes },
            });
        };
        let backing = Backing::Hugepages { page_bytes: hugepages.page_bytes };
        let extent = Self { start, len, mapped, backing };
        extent.keep_private();
        Ok(extent)
    }

    /// `len` bytes of ordinary memory, all zeros, none of it used before it is written.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] when the kernel refuses.
    pub fn ordinary(len: usize) -> Result<Self, ExtentError> {
        let mapped = rounded(len, PAGE_BYTES)?;
        let map = MmapOptions::new()
            .len(mapped)
            .no_reserve_swap()
            .map_anon()
            .map_err(|reason| ExtentError::Refused { bytes: mapped, reason })?;
        // Without transparent hugepages it works as well, only slower.
        let _ = map.advise(memmap2::Advice::HugePage);
        let extent = Self::take(map.into(), len, Backing::Ordinary);
        extent.keep_private();
        Ok(extent)
    }

    /// [`Extent::hugepages`] when there are enough, otherwise [`Extent::ordinary`]; [`Extent::backing`]
    /// says which.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] of the ordinary memory.
    pub fn best(len: usize) -> Result<Self, ExtentError> {
        Self::hugepages(len).or_else(|_| Self::ordinary(len))
    }

    /// `len` bytes of zeros, for lending: they use no memory and cannot be written.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] when the kernel refuses.
    pub fn zeros(len: usize) -> Result<Self, ExtentError> {
        let mapped = rounded(len, PAGE_BYTES)?;
        let map = MmapOptions::new()
            .len(mapped)
            .no_reserve_swap()
            .map_anon()
            .and_then(memmap2::MmapMut::make_read_only)
            .map_err(|reason| ExtentError::Refused { bytes: mapped, reason })?;
        Ok(Self::take(map.into(), len, Backing::Zeros))
    }

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

    /// Makes `range` read as zeros. Whole ordinary pages are given back to the kernel; hugepages stay
    /// reserved and are zeroed.
    ///
    /// # Panics
    ///
    /// If the range is not inside the extent, or the extent is one of zeros.
    pub fn clear(&self, range: Range<usize>) {
        let Range { start, end } = range;
        let all = self.segment_mut(start..end);
        let first = start.next_multiple_of(PAGE_BYTES);
        let last = end - end % PAGE_BYTES;
        if self.backing != Backing::Ordinary || first >= last || self.give_back(first..last).is_err() {
            return kernels::zero(all);
        }
        kernels::zero(self.segment_mut(start..first));
        kernels::zero(self.segment_mut(last..end));
    }

    fn take(map: MmapRaw, len: usize, backing: Backing) -> Self {
        let start = NonNull::new(map.as_mut_ptr()).expect("a mapping is never at address zero");
        let mapped = map.len();
        assert!(len <= mapped);
        mem::forget(map);
        Self { start, len, mapped, backing }
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

/// `len` rounded up to whole pages; refuses nothing and too much.
fn rounded(len: usize, page_bytes: usize) -> Result<usize, ExtentError> {
    match len.checked_next_multiple_of(page_bytes) {
        Some(bytes) if bytes > 0 && isize::try_from(bytes).is_ok() => Ok(bytes),
        _ => Err(ExtentError::Size { bytes: len }),
    }
}
