//! Where a stream is received into: one run of memory that the kernel fills from the front, piece by piece.
//!
//! The kernel finds the run in a page that it shares with us, a ring of buffers with one entry. It moves the start of
//! the entry along as it fills the run (`IOU_PBUF_RING_INC`), and steps over the entry when the run is full. Several
//! entries are never bundled into one receive: together with filling piece by piece, kernels got that wrong.
//!
//! Invariants: the page is mapped from before it is registered until after it is not; only the kernel writes to the
//! entry while a receive is in flight; `taken` is the number of entries that the kernel has stepped over.
#![expect(unsafe_code, reason = "a page that the kernel writes is reached through raw pointers")]

use std::{
    fmt, ptr,
    rc::Rc,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::{RingError, shared::Shared};
use crate::buffer::SegmentMut;

/// Entries of the ring of buffers.
pub(super) const ENTRIES: u16 = 1;

/// `IOU_PBUF_RING_INC`: a buffer is filled piece by piece.
pub(super) const INCREMENTAL: u16 = 2;

/// Bytes of the page that is registered.
const PAGE_BYTES: usize = 4096;

/// A run of memory that a stream is received into; one stream at a time.
pub struct Window {
    ring: Rc<Shared>,
    group: u16,
    /// The first byte of `PAGE_BYTES` that are mapped, readable and writable until this value is dropped, and longer if
    /// the kernel does not let go of them.
    page: *mut u8,
    taken: u16,
    /// Bytes of the run that are not filled.
    left: usize,
}

impl Window {
    pub(super) fn new(ring: Rc<Shared>) -> Result<Self, RingError> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
        let page = unsafe { mmap_anonymous(ptr::null_mut(), PAGE_BYTES, access, MapFlags::PRIVATE) };
        let page: *mut u8 = page.map_err(RingError::System)?.cast();
        match ring.add_window(page) {
            Ok(group) => Ok(Self { ring, group, page, taken: 0, left: 0 }),
            Err(error) => {
                unmap(page);
                Err(error)
            }
        }
    }

    /// Offers `run` to the next receive, in place of what is left of the last one. Not while a receive is in flight.
    ///
    /// # Panics
    /// If the run is empty, or longer than 1 GiB.
    pub fn offer(&mut self, run: SegmentMut) {
        assert!(!run.is_empty());
        assert!(run.len() <= 1 << 30);
        let entry: *mut BufRingEntry = self.page.cast();
        // SAFETY: the page is mapped and zero is a valid entry; only this thread reaches it, for no receive is in flight.
        let entry = unsafe { &mut *entry };
        entry.set_addr(run.pointer().addr() as u64);
        entry.set_len(u32::try_from(run.len()).unwrap_or(u32::MAX));
        entry.set_bid(0);
        self.left = run.len();
        // Partner: the kernel's load of the tail, which it makes before it reads the entry.
        self.tail().store(self.taken.wrapping_add(1), Ordering::Release);
    }

    /// Notes that a completion has brought `bytes`.
    ///
    /// # Panics
    /// If they are more than there was room for.
    pub fn filled(&mut self, bytes: usize) {
        assert!(bytes <= self.left);
        self.left -= bytes;
        if bytes > 0 && self.left == 0 {
            self.taken = self.taken.wrapping_add(1);
        }
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    pub(super) fn is_of(&self, ring: &Rc<Shared>) -> bool {
        Rc::ptr_eq(&self.ring, ring)
    }

    fn tail(&self) -> &AtomicU16 {
        // SAFETY: the page is mapped, and holds a valid entry.
        let tail = unsafe { BufRingEntry::tail(self.page.cast()) };
        // SAFETY: the tail is two bytes in the page, aligned as the entry is, and nobody reaches it but by atomics.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.ring.remove_window(self.group) {
            unmap(self.page);
        }
    }
}

/// Gives a page back that the kernel does not have.
fn unmap(page: *mut u8) {
    // SAFETY: the page was mapped by `Window::new`, is not registered, and nothing names it any more.
    let unmapped = unsafe { munmap(page.cast(), PAGE_BYTES) };
    debug_assert!(unmapped.is_ok());
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("left", &self.left).finish_non_exhaustive()
    }
}
