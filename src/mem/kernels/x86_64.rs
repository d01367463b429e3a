//! Moves raw bytes with assembly: AVX2 where the processor has it, string instructions otherwise.
//!
//! The compiler does not look into an `asm!` block, so it takes each for what `portable` spells out: some
//! sequence of relaxed atomic accesses to the named bytes. Which instructions are used is decided by a
//! cached look at the processor.
//!
//! `rep movsb` is the fall-back, and what copies to memory that is in no cache: it does not read a line before it
//! overwrites all of it. Elsewhere it is slower than vectors, and it collapses to a twentieth of its speed on some AMD
//! processors when the destination is 1 to 31 bytes ahead of the source within the page, which is just where the payload
//! after a 24-byte header lies: such copies go through vectors.

#![expect(unsafe_code, reason = "raw memory is reached through pointers")]

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::LazyLock;

/// Bytes that one vector instruction moves; nothing shorter goes through the vector kernels.
const VECTOR: usize = 32;

/// Nothing shorter goes through `rep movsb` on a processor that has vectors: it takes long to start.
const STRING_MIN: usize = 4096;

/// How far ahead of the source within its page the destination is where `rep movsb` collapses, in bytes, and up to the end
/// of a cache line.
const AHEAD: std::ops::Range<usize> = 1..64;

/// Bytes of a page.
const PAGE: usize = 4096;

/// Long strings are fast: ERMS, CPUID leaf 7, EBX bit 9. The highest leaf is in leaf 0.
static LONG_STRINGS: LazyLock<bool> =
    LazyLock::new(|| __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).ebx & 1 << 9 != 0);

/// Copies `len` bytes.
///
/// # Safety
///
/// `from` is readable and `into` writable for `len` bytes. They may overlap: the outcome is then
/// unspecified bytes.
#[inline]
pub(super) unsafe fn copy(from: *const u8, into: *mut u8, len: usize) {
    if len >= VECTOR && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there, `len >= VECTOR`, and the rest is the caller's contract.
        unsafe { copy_vectors(from, into, len) };
    } else {
        // SAFETY: the caller's contract.
        unsafe { copy_string(from, into, len) };
    }
}

/// Copies `len` bytes to where no cache has them.
///
/// # Safety
///
/// As [`copy`].
#[inline]
pub(super) unsafe fn copy_far(from: *const u8, into: *mut u8, len: usize) {
    let ahead = into.addr().wrapping_sub(from.addr()) % PAGE;
    if len >= STRING_MIN && !AHEAD.contains(&ahead) && *LONG_STRINGS {
        // SAFETY: the caller's contract.
        unsafe { copy_string(from, into, len) };
    } else {
        // SAFETY: the caller's contract.
        unsafe { copy(from, into, len) };
    }
}

/// Zeroes `len` bytes.
///
/// # Safety
///
/// `into` is writable for `len` bytes.
#[inline]
pub(super) unsafe fn zero(into: *mut u8, len: usize) {
    if len >= VECTOR && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there, `len >= VECTOR`, and the rest is the caller's contract.
        unsafe { zero_vectors(into, len) };
    } else {
        // SAFETY: the caller's contract.
        unsafe { zero_string(into, len) };
    }
}

/// Asks for the line of `at`, wherever it points to.
#[inline]
pub(super) fn fetch(at: *const u8) {
    // SAFETY: a prefetch faults on no address, and changes neither memory nor flags nor registers.
    unsafe { asm!("prefetcht0 [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly)) };
}

/// As [`fetch`], for this core alone, to be written. Where a processor does not know the instruction it does nothing.
#[inline]
pub(super) fn fetch_to_write(at: *mut u8) {
    // SAFETY: as in `fetch`; every 64-bit x86 processor takes the instruction, some for one that does nothing.
    unsafe { asm!("prefetchw [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly)) };
}

/// # Safety
///
/// As [`copy`], and the processor has AVX2, and `len >= VECTOR`.
#[target_feature(enable = "avx2")]
unsafe fn copy_vectors(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the first vector and the last are inside because `len >= 32`. In between `{at}` is the offset
    // of the next vector: it starts at the first multiple of 32 of the destination (1 to 32), four vectors
    // move while `{at} + 128 <= len`, one while `{at} + 32 <= len`, and the last one covers what is left.
    // So every access lies in `0..len` of the two regions, which may be accessed (caller's contract).
    // Neither the stack nor the flags' direction bit is touched; all vector registers are declared lost.
    unsafe {
        asm!(
            "vmovdqu ymm0, [{from}]",
            "vmovdqu ymm5, [{from} + {len} - 32]",
            "vmovdqu [{into}], ymm0",
            "mov {at:e}, {into:e}",
            "neg {at}",
            "and {at:e}, 31",
            "jnz 2f",
            "mov {at:e}, 32",
            "2:",
            "lea {limit}, [{len} - 128]",
            "cmp {at}, {limit}",
            "jg 4f",
            ".p2align 5",
            "3:",
            "vmovdqu ymm1, [{from} + {at}]",
            "vmovdqu ymm2, [{from} + {at} + 32]",
            "vmovdqu ymm3, [{from} + {at} + 64]",
            "vmovdqu ymm4, [{from} + {at} + 96]",
            "vmovdqa [{into} + {at}], ymm1",
            "vmovdqa [{into} + {at} + 32], ymm2",
            "vmovdqa [{into} + {at} + 64], ymm3",
            "vmovdqa [{into} + {at} + 96], ymm4",
            "sub {at}, -128",
            "cmp {at}, {limit}",
            "jle 3b",
            "4:",
            "add {limit}, 96",
            "cmp {at}, {limit}",
            "jg 6f",
            "5:",
            "vmovdqu ymm1, [{from} + {at}]",
            "vmovdqa [{into} + {at}], ymm1",
            "add {at}, 32",
            "cmp {at}, {limit}",
            "jle 5b",
            "6:",
            "vmovdqu [{into} + {len} - 32], ymm5",
            "vzeroupper",
            from = in(reg) from,
            into = in(reg) into,
            len = in(reg) len,
            at = out(reg) _,
            limit = out(reg) _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}

/// # Safety
///
/// As [`zero`], and the processor has AVX2, and `len >= VECTOR`.
#[target_feature(enable = "avx2")]
unsafe fn zero_vectors(into: *mut u8, len: usize) {
    // SAFETY: the steps are those of `copy_vectors`, so every store lies in `0..len` of the region, which
    // may be written (caller's contract). Neither the stack nor the direction flag is touched; all vector
    // registers are declared lost.
    unsafe {
        asm!(
            "vpxor xmm0, xmm0, xmm0",
            "vmovdqu [{into}], ymm0",
            "mov {at:e}, {into:e}",
            "neg {at}",
            "and {at:e}, 31",
            "jnz 2f",
            "mov {at:e}, 32",
            "2:",
            "lea {limit}, [{len} - 128]",
            "cmp {at}, {limit}",
            "jg 4f",
            ".p2align 5",
            "3:",
            "vmovdqa [{into} + {at}], ymm0",
            "vmovdqa [{into} + {at} + 32], ymm0",
            "vmovdqa [{into} + {at} + 64], ymm0",
            "vmovdqa [{into} + {at} + 96], ymm0",
            "sub {at}, -128",
            "cmp {at}, {limit}",
            "jle 3b",
            "4:",
            "add {limit}, 96",
            "cmp {at}, {limit}",
            "jg 6f",
            "5:",
            "vmovdqa [{into} + {at}], ymm0",
            "add {at}, 32",
            "cmp {at}, {limit}",
            "jle 5b",
            "6:",
            "vmovdqu [{into} + {len} - 32], ymm0",
            "vzeroupper",
            into = in(reg) into,
            len = in(reg) len,
            at = out(reg) _,
            limit = out(reg) _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}

/// # Safety
///
/// As [`copy`].
pub(super) unsafe fn copy_string(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: reads `len` bytes at `from` and writes `len` bytes at `into`, upwards, since the direction
    // flag is clear on entry of an `asm!` block; both may be accessed (caller's contract).
    unsafe {
        asm!(
            "rep movsb",
            inout("rsi") from => _,
            inout("rdi") into => _,
            inout("rcx") len => _,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
///
/// As [`zero`].
pub(super) unsafe fn zero_string(into: *mut u8, len: usize) {
    // SAFETY: writes `len` bytes at `into`, upwards, since the direction flag is clear on entry of an
    // `asm!` block; they may be written (caller's contract).
    unsafe {
        asm!(
            "rep stosb",
            inout("rdi") into => _,
            inout("rcx") len => _,
            in("al") 0_u8,
            options(nostack, preserves_flags),
        );
    }
}
