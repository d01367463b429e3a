//! Every kernel against slices, at every alignment and around every length where its steps change.

#![expect(unsafe_code, reason = "the kernels take raw pointers")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;
use crate::mem::Extent;

type CopyKernel = unsafe fn(*const u8, *mut u8, usize);
type ZeroKernel = unsafe fn(*mut u8, usize);

fn copy_kernels() -> Vec<(&'static str, CopyKernel)> {
    let mut kernels: Vec<(&'static str, CopyKernel)> =
        vec![("chosen", primitive::copy), ("portable", portable::copy), ("far", primitive::copy_far)];
    #[cfg(target_arch = "x86_64")]
    kernels.push(("string", x86_64::copy_string));
    kernels
}

fn zero_kernels() -> Vec<(&'static str, ZeroKernel)> {
    let mut kernels: Vec<(&'static str, ZeroKernel)> =
        vec![("chosen", primitive::zero), ("portable", portable::zero)];
    #[cfg(target_arch = "x86_64")]
    kernels.push(("string", x86_64::zero_string));
    kernels
}

fn lengths() -> impl Iterator<Item = usize> {
    (0..=300).chain([511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 9999])
}

/// Bytes that repeat with a period of 251, never 0.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251 + 1).unwrap()).collect()
}

#[test]
fn copies_exactly_the_bytes_asked_for() {
    let source = pattern(10_100);
    for (name, kernel) in copy_kernels() {
        for len in lengths() {
            for (from, into) in [(0, 0), (1, 0), (0, 1), (7, 24), (24, 24), (31, 33), (13, 8)] {
                let mut target = vec![0xEE; len + 100];
                let pointer = target[into..].as_mut_ptr();
                // SAFETY: both vectors hold `len` bytes from their offsets on.
                unsafe { kernel(source[from..].as_ptr(), pointer, len) };
                let label = format!("{name} len {len} from {from} into {into}");
                assert!(target[..into].iter().all(|&byte| byte == 0xEE), "{label}: before");
                assert!(target[into..into + len] == source[from..from + len], "{label}: inside");
                assert!(target[into + len..].iter().all(|&byte| byte == 0xEE), "{label}: behind");
            }
        }
    }
}

#[test]
fn far_copies_are_exact_however_the_pages_lie() {
    const TARGET: usize = 16 << 10;
    let extent = Extent::ordinary(32 << 10).unwrap();
    let source = pattern(9000);
    copy_in(&source, extent.segment_mut(0..source.len()));
    for len in [0, 31, 4095, 4096, 4097, 8192, 9000] {
        for ahead in [0, 1, 24, 63, 64, 72, 4000, 4095] {
            zero(extent.segment_mut(TARGET..32 << 10));
            copy_far(extent.segment(0..len), extent.segment_mut(TARGET + ahead..TARGET + ahead + len));
            let mut target = vec![0xEE; 16 << 10];
            copy_out(extent.segment(TARGET..32 << 10), &mut target);
            let label = format!("len {len} ahead {ahead}");
            assert!(target[ahead..ahead + len] == source[..len], "{label}: inside");
            let outside = target[..ahead].iter().chain(&target[ahead + len..]);
            assert!(outside.copied().all(|byte| byte == 0), "{label}: outside");
        }
    }
}

#[test]
fn zeroes_exactly_the_bytes_asked_for() {
    for (name, kernel) in zero_kernels() {
        for len in lengths() {
            for into in [0, 1, 8, 24, 31, 33] {
                let mut target = vec![0xEE; len + 100];
                // SAFETY: the vector holds `len` bytes from the offset on.
                unsafe { kernel(target[into..].as_mut_ptr(), len) };
                let label = format!("{name} len {len} into {into}");
                assert!(target[..into].iter().all(|&byte| byte == 0xEE), "{label}: before");
                assert!(target[into..into + len].iter().all(|&byte| byte == 0), "{label}: inside");
                assert!(target[into + len..].iter().all(|&byte| byte == 0xEE), "{label}: behind");
            }
        }
    }
}

#[test]
fn hints_fault_nowhere_and_change_nothing() {
    let extent = Extent::ordinary(8192).unwrap();
    copy_in(&pattern(8192), extent.segment_mut(0..8192));
    for range in [0..0, 0..1, 0..8192, 4000..4200, 8191..8192] {
        expect_read(extent.segment(range.clone()));
        expect_write(extent.segment_mut(range));
    }
    let mut bytes = vec![0; 8192];
    copy_out(extent.segment(0..8192), &mut bytes);
    assert!(bytes == pattern(8192));
    let gone = extent.segment_mut(0..8192);
    drop(extent);
    expect_read(gone.read_only());
    expect_write(gone);
    expect_read(Extent::zeros(4096).unwrap().segment(0..4096));
    primitive::fetch(std::ptr::null());
    primitive::fetch_to_write(std::ptr::null_mut());
}

#[test]
fn differences_are_found_at_every_offset() {
    let extent = Extent::ordinary(8192).unwrap();
    for len in [1, 31, 32, 1023, 1024, 1025, 2049] {
        let (one, other) = (extent.segment(0..len), extent.segment(4096..4096 + len));
        copy_in(&pattern(len), extent.segment_mut(0..len));
        for at in (0..len).step_by(1 + len / 64).chain([len - 1]) {
            copy(one, extent.segment_mut(4096..4096 + len));
            assert_eq!(difference(one, other), None);
            copy_in(&[0], extent.segment_mut(4096 + at..4097 + at));
            assert_eq!(difference(one, other), Some(at), "length {len}");
        }
    }
}

#[test]
fn checksums_agree_with_rfc_3720_and_chain() {
    // RFC 3720, appendix B.4.
    assert_eq!(crc32c(Segment::of(&[0; 32]), 0), 0x8A91_36AA);
    assert_eq!(crc32c(Segment::of(&[0xFF; 32]), 0), 0x62A8_AB43);
    assert_eq!(crc32c(Segment::of(b"123456789"), 0), 0xE306_9283);

    let bytes = pattern(20_000);
    let extent = Extent::ordinary(bytes.len()).unwrap();
    copy_in(&bytes, extent.segment_mut(0..bytes.len()));
    for len in [0, 1, CHECKSUM_BYTES - 1, CHECKSUM_BYTES, CHECKSUM_BYTES + 1, bytes.len()] {
        let whole = crc32c(extent.segment(0..len), 0);
        assert_eq!(whole, crc32c::crc32c(&bytes[..len]), "length {len}");
        let cut = len / 3;
        assert_eq!(crc32c(extent.segment(cut..len), crc32c(extent.segment(0..cut), 0)), whole);
    }
}

#[test]
fn copy_in_and_out_are_inverse() {
    let extent = Extent::ordinary(5000).unwrap();
    let bytes = pattern(4321);
    copy_in(&bytes, extent.segment_mut(17..17 + bytes.len()));
    let mut out = vec![0; bytes.len()];
    copy_out(extent.segment(17..17 + bytes.len()), &mut out);
    assert!(out == bytes);
}

#[test]
#[should_panic(expected = "from.len() == into.len()")]
fn copies_of_different_lengths_are_refused() {
    let extent = Extent::ordinary(64).unwrap();
    copy(extent.segment(0..8), extent.segment_mut(32..41));
}

/// The writer fills the memory with one byte value after the other; whatever the reader sees, each byte is
/// one of those, and the compare and the checksum return in spite of the changes.
#[test]
fn racing_readers_see_old_or_new_bytes() {
    const LEN: usize = 3 * CHECKSUM_BYTES + 77;
    const ROUNDS: usize = 500;
    let extent = Extent::ordinary(LEN).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rounds = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let value = if rounds.is_multiple_of(2) { 0xAA } else { 0 };
                copy_in(&[value; LEN], extent.segment_mut(0..LEN));
                zero(extent.segment_mut(0..LEN / 2));
                rounds = rounds.wrapping_add(1);
            }
        });
        let own = Extent::ordinary(LEN).unwrap();
        let mut seen = vec![0; LEN];
        for _ in 0..ROUNDS {
            copy(extent.segment(0..LEN), own.segment_mut(0..LEN));
            copy_out(own.segment(0..LEN), &mut seen);
            assert!(seen.iter().all(|&byte| byte == 0xAA || byte == 0));
            assert!(difference(extent.segment(0..LEN), own.segment(0..LEN)).is_none_or(|at| at < LEN));
            crc32c(extent.segment(0..LEN), 0);
        }
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}
