//! The registers of a function in the address space of this process, and the same addresses without them.
//!
//! A page of a BAR faults (SIGBUS) when the kernel has closed the function's memory space, as it does during a reset and
//! for a device that was pulled out. So the addresses are never left to a device that may go away: [`Window::hide`] puts
//! ordinary memory there, in one step and while other threads write, and [`Window::show`] brings the registers back.
//!
//! Invariants: `map` is `len` readable and writable bytes at a page boundary for as long as the window lives, the
//! registers of a function or ordinary memory; no Rust reference to any of it exists. Ordinary memory is there only while
//! `changes` is even, so what was read is a register's if it was odd and the same before and after.
//!
//! Order on x86-64: registers are uncached, and a store to them is not seen before the stores that this thread made
//! earlier; only the compiler has to be held. Elsewhere a full fence is used; it was not run there.

#![expect(unsafe_code, reason = "MMIO needs volatile access to mapped memory")]

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};

/// What every register of a function that is not there reads as.
const NOBODY: u32 = u32::MAX;

/// Registers, or what stands in for them. One thread at a time shows and hides.
#[derive(Debug)]
pub(super) struct Window {
    map: MmapRaw,
    len: usize,
    /// How often registers came and went: odd while they are there. Made odd, with release, after they came; made even
    /// before they leave, with a full fence. Readers load it with acquire before an access and after a fence behind it.
    changes: AtomicU64,
}

impl Window {
    /// `len` bytes without a device.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).map_anon()?;
        Ok(Self { map: map.into(), len, changes: AtomicU64::new(0) })
    }

    /// Bytes of registers.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts the registers, which begin at `offset` of the device's file, into the window.
    ///
    /// # Errors
    /// What the kernel says; nothing has changed then.
    pub(super) fn show(&self, device: impl AsFd, offset: u64) -> io::Result<()> {
        self.replace(Some((device.as_fd(), offset)))?;
        self.changes.fetch_or(1, Ordering::Release);
        Ok(())
    }

    /// Takes the registers out of the window: from now on they read as ones, and writes go nowhere.
    ///
    /// # Errors
    /// What the kernel says; the registers are then mapped still, but not used any more.
    pub(super) fn hide(&self) -> io::Result<()> {
        let changes = self.changes.load(Ordering::Relaxed);
        self.changes.store(changes + changes % 2, Ordering::Release);
        fence(Ordering::SeqCst);
        self.replace(None)
    }

    /// Reads a register.
    ///
    /// # Panics
    /// If it is not inside or not at a multiple of 4.
    #[inline]
    pub(super) fn read_u32(&self, offset: usize) -> u32 {
        let at = self.register(offset);
        let before = self.changes.load(Ordering::Acquire);
        if before.is_multiple_of(2) {
            return NOBODY;
        }
        // SAFETY: four bytes that are inside the map and aligned (`register`), which stays readable (invariant).
        let value = unsafe { at.read_volatile() };
        // Neither the second look nor memory that the device wrote before it changed the register is loaded earlier.
        fence(Ordering::Acquire);
        if self.changes.load(Ordering::Relaxed) == before { u32::from_le(value) } else { NOBODY }
    }

    /// Writes a register.
    ///
    /// # Panics
    /// If it is not inside or not at a multiple of 4.
    #[inline]
    pub(super) fn write_u32(&self, offset: usize, value: u32) {
        let at = self.register(offset);
        if self.changes.load(Ordering::Relaxed).is_multiple_of(2) {
            return;
        }
        before_write();
        // SAFETY: four bytes that are inside the map and aligned (`register`), which stays writable (invariant); if the
        // registers have left meanwhile, ordinary memory that nobody believes takes the value.
        unsafe { at.write_volatile(value.to_le()) };
    }

    /// Where a register is mapped.
    #[inline]
    fn register(&self, offset: usize) -> *mut u32 {
        assert!(offset.is_multiple_of(4));
        assert!(offset < self.len && self.len - offset >= 4);
        self.map.as_mut_ptr().wrapping_add(offset).cast()
    }

    /// Maps the device, or nothing, where the window is.
    fn replace(&self, device: Option<(BorrowedFd<'_>, u64)>) -> io::Result<()> {
        let (at, access) = (self.map.as_mut_ptr().cast(), ProtFlags::READ | ProtFlags::WRITE);
        match device {
            Some((file, offset)) => {
                let flags = MapFlags::SHARED | MapFlags::FIXED;
                // SAFETY: replaces exactly the pages of `map`, which are the window's own and behind no reference; all
                // that uses them goes on to do so (invariant).
                unsafe { mmap(at, self.len, access, flags, file, offset) }?;
            }
            None => {
                let flags = MapFlags::PRIVATE | MapFlags::FIXED;
                // SAFETY: as above.
                unsafe { mmap_anonymous(at, self.len, access, flags) }?;
            }
        }
        Ok(())
    }
}

/// Keeps earlier stores of this thread before a register that is written next.
#[inline]
fn before_write() {
    if cfg!(target_arch = "x86_64") {
        fence(Ordering::Release);
    } else {
        fence(Ordering::SeqCst);
    }
}
