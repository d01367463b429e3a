//! Copies, zeroes, compares and checksums raw memory.
//!
//! Sound although other cores and devices read and write the same bytes meanwhile: `primitive` moves
//! bytes in ways that the compiler can neither see nor split, so a race has no undefined outcome; every
//! decision (is it equal, what is its checksum) is taken on a private copy that cannot change. The result
//! is then true of some mixture of the bytes that were there during the call.
//!
//! Invariant used by every `unsafe` block here: the bytes of a segment are mapped and may be read, those of
//! a [`SegmentMut`] also written, for as long as the segment is used, and no Rust reference covers the
//! latter. That is the contract of `from_raw`, the only way to make one.

#![expect(unsafe_code, reason = "raw memory is reached through pointers")]

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::{mem::MaybeUninit, slice};

use corelane_reactors::buffer::{Segment, SegmentMut};

#[cfg(not(target_arch = "x86_64"))]
use portable as primitive;
#[cfg(target_arch = "x86_64")]
use x86_64 as primitive;

/// Bytes of the private copies that are compared: two of them stay in the first-level cache.
const COMPARE_BYTES: usize = 1024;

/// Bytes of the private copies that are checksummed.
const CHECKSUM_BYTES: usize = 4096;

/// Bytes that a hint about a write names: enough for the translation of the address, which takes longest, and for the processor to
/// see where the access goes on.
const HINTED_BYTES: usize = 256;

/// Bytes that the processor moves at a time.
const LINE_BYTES: usize = 64;

/// Copies all bytes of `from` into `into`. When the two overlap, the outcome is unspecified bytes.
///
/// # Panics
///
/// If the lengths differ.
pub fn copy(from: Segment, into: SegmentMut) {
    assert!(from.len() == into.len());
    // SAFETY: both are mapped for their equal length, and `into` may be written (module invariant).
    unsafe { primitive::copy(from.pointer(), into.pointer(), into.len()) };
}

/// As [`copy`], into memory that is probably in no cache: a page and more is not read before it is overwritten, where the
/// processor can do so.
///
/// # Panics
///
/// If the lengths differ.
pub fn copy_far(from: Segment, into: SegmentMut) {
    assert!(from.len() == into.len());
    // SAFETY: both are mapped for their equal length, and `into` may be written (module invariant).
    unsafe { primitive::copy_far(from.pointer(), into.pointer(), into.len()) };
}

/// A hint: somebody, the kernel included, is about to read `from`, on this core. Its address is translated, which takes longest,
/// and its first line fetched; nothing else happens. Many in a row are translated at the same time.
#[inline]
pub fn expect_read(from: Segment) {
    primitive::fetch(from.pointer());
}

/// As [`expect_read`], for memory that is about to be written, and for more than its first line.
pub fn expect_write(into: SegmentMut) {
    for at in (0..into.len().min(HINTED_BYTES)).step_by(LINE_BYTES) {
        primitive::fetch_to_write(into.pointer().wrapping_add(at));
    }
}

/// Fills `into` with zeros.
pub fn zero(into: SegmentMut) {
    // SAFETY: `into` is mapped and may be written for its length (module invariant).
    unsafe { primitive::zero(into.pointer(), into.len()) };
}

/// Copies `from` into raw memory.
///
/// # Panics
///
/// If the lengths differ.
pub fn copy_in(from: &[u8], into: SegmentMut) {
    assert!(from.len() == into.len());
    // SAFETY: `from` is a live slice, `into` is mapped and may be written for the same length (module
    // invariant).
    unsafe { primitive::copy(from.as_ptr(), into.pointer(), into.len()) };
}

/// Copies raw memory into `into`.
///
/// # Panics
///
/// If the lengths differ.
pub fn copy_out(from: Segment, into: &mut [u8]) {
    assert!(from.len() == into.len());
    // SAFETY: `into` is a live and exclusive slice, `from` is mapped for the same length (module invariant).
    unsafe { primitive::copy(from.pointer(), into.as_mut_ptr(), into.len()) };
}

/// Index of the first byte in which the two differ, `None` when they are equal.
///
/// # Panics
///
/// If the lengths differ.
pub fn difference(one: Segment, other: Segment) -> Option<usize> {
    assert!(one.len() == other.len());
    let mut ones = [0; COMPARE_BYTES];
    let mut others = [0; COMPARE_BYTES];
    for start in (0..one.len()).step_by(COMPARE_BYTES) {
        let end = one.len().min(start + COMPARE_BYTES);
        let (ones, others) = (&mut ones[..end - start], &mut others[..end - start]);
        copy_out(one.slice(start..end), ones);
        copy_out(other.slice(start..end), others);
        if ones != others {
            return ones.iter().zip(others).position(|(a, b)| a != b).map(|at| start + at);
        }
    }
    None
}

/// CRC-32C (Castagnoli) of `from`. `seed` is 0, or the result for the bytes before these, so that pieces
/// chain: `crc32c(b, crc32c(a, 0))` is the checksum of `a` followed by `b`.
pub fn crc32c(from: Segment, seed: u32) -> u32 {
    // Not zeroed first: that would take as long as the copy.
    let mut private = MaybeUninit::<[u8; CHECKSUM_BYTES]>::uninit();
    let private = private.as_mut_ptr().cast::<u8>();
    (0..from.len()).step_by(CHECKSUM_BYTES).fold(seed, |checksum, start| {
        let end = from.len().min(start + CHECKSUM_BYTES);
        let piece = from.slice(start..end);
        assert!(piece.len() <= CHECKSUM_BYTES);
        // SAFETY: `piece` is mapped (module invariant), `private` has room for it, and is reached through
        // this pointer only.
        unsafe { primitive::copy(piece.pointer(), private, piece.len()) };
        // SAFETY: the copy has just set that many bytes of `private`, which nothing changes while the slice
        // lives.
        let bytes = unsafe { slice::from_raw_parts(private, piece.len()) };
        crc32c::crc32c_append(checksum, bytes)
    })
}
