//! Moves raw bytes with relaxed atomic loads and stores: the definition of what the assembly does, and
//! what runs where there is none.
//!
//! Whole words where source and destination are aligned alike, single bytes otherwise.

#![expect(unsafe_code, reason = "raw memory is reached through pointers")]

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

const WORD: usize = size_of::<usize>();

/// Copies `len` bytes.
///
/// # Safety
///
/// `from` is readable and `into` writable for `len` bytes, and whoever else touches them does so
/// atomically or out of sight of the compiler. They may overlap: the outcome is then unspecified bytes.
pub(super) unsafe fn copy(from: *const u8, into: *mut u8, len: usize) {
    let alike = from.addr() % WORD == into.addr() % WORD;
    let mut at = 0;
    while at < len {
        if alike && (into.addr() + at).is_multiple_of(WORD) && len - at >= WORD {
            // SAFETY: `at + WORD <= len`, so all of the word is inside (caller's contract).
            let source = unsafe { from.add(at) }.cast_mut().cast::<usize>();
            // SAFETY: as above, and aligned since both addresses are aligned alike.
            let source = unsafe { AtomicUsize::from_ptr(source) };
            // SAFETY: `at + WORD <= len` (caller's contract).
            let target = unsafe { into.add(at) }.cast::<usize>();
            // SAFETY: as above, and aligned as was just checked.
            let target = unsafe { AtomicUsize::from_ptr(target) };
            target.store(source.load(Relaxed), Relaxed);
            at += WORD;
        } else {
            // SAFETY: `at < len` (caller's contract).
            let source = unsafe { from.add(at) }.cast_mut();
            // SAFETY: as above; a byte is always aligned.
            let source = unsafe { AtomicU8::from_ptr(source) };
            // SAFETY: `at < len` (caller's contract).
            let target = unsafe { into.add(at) };
            // SAFETY: as above; a byte is always aligned.
            let target = unsafe { AtomicU8::from_ptr(target) };
            target.store(source.load(Relaxed), Relaxed);
            at += 1;
        }
    }
}

/// As [`copy`].
///
/// # Safety
///
/// As [`copy`].
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn copy_far(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the caller's contract.
    unsafe { copy(from, into, len) };
}

/// Asks for what lies at `at`: nothing that one could ask here.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn fetch(at: *const u8) {
    let _ = at;
}

/// As [`fetch`].
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn fetch_to_write(at: *mut u8) {
    let _ = at;
}

/// Zeroes `len` bytes.
///
/// # Safety
///
/// `into` is writable for `len` bytes, and whoever else touches them does so atomically or out of sight of
/// the compiler.
pub(super) unsafe fn zero(into: *mut u8, len: usize) {
    let mut at = 0;
    while at < len {
        // SAFETY: `at < len` (caller's contract).
        let target = unsafe { into.add(at) };
        if target.addr().is_multiple_of(WORD) && len - at >= WORD {
            // SAFETY: `at + WORD <= len` (caller's contract), and aligned as was just checked.
            unsafe { AtomicUsize::from_ptr(target.cast()) }.store(0, Relaxed);
            at += WORD;
        } else {
            // SAFETY: `at < len` (caller's contract); a byte is always aligned.
            unsafe { AtomicU8::from_ptr(target) }.store(0, Relaxed);
            at += 1;
        }
    }
}
