//! Extents of the machine at hand; where it has no hugepages, their errors are tested instead.

#![expect(unsafe_code, reason = "residency is asked of the kernel by address")]

use super::*;
use crate::mem::{copy_in, copy_out};

/// Pages of the range that lie in memory.
fn resident(extent: &Extent, range: Range<usize>) -> usize {
    let pages = extent.segment(range);
    let mut states = vec![0_u8; pages.len().div_ceil(PAGE_BYTES)];
    let start = pages.pointer().cast_mut().cast();
    // SAFETY: the range is mapped, starts on a page, and the vector has a byte for each page.
    let result = unsafe { libc::mincore(start, pages.len(), states.as_mut_ptr()) };
    assert_eq!(result, 0);
    states.iter().filter(|&&state| state & 1 == 1).count()
}

fn bytes(extent: &Extent, range: Range<usize>) -> Vec<u8> {
    let mut bytes = vec![0xEE; range.len()];
    copy_out(extent.segment(range), &mut bytes);
    bytes
}

#[test]
fn ordinary_memory_is_sparse_and_zero() {
    let extent = Extent::ordinary(1 << 40).unwrap();
    assert_eq!(extent.len(), 1 << 40);
    assert_eq!(extent.backing(), Backing::Ordinary);
    assert_eq!(resident(&extent, 0..1 << 30), 0);
    copy_in(b"last", extent.segment_mut((1 << 40) - 4..1 << 40));
    assert_eq!(bytes(&extent, (1 << 40) - 5..1 << 40), b"\0last");
}

#[test]
fn cleared_pages_go_back_and_read_as_zeros() {
    const LEN: usize = 64 * PAGE_BYTES;
    for (start, end) in [(0, LEN), (1, LEN - 1), (PAGE_BYTES + 5, 3 * PAGE_BYTES - 5), (100, 200), (7, 7)] {
        let extent = Extent::ordinary(LEN).unwrap();
        copy_in(&vec![0x55; LEN], extent.segment_mut(0..LEN));
        assert_eq!(resident(&extent, 0..LEN), 64);
        extent.clear(start..end);
        let whole = (end / PAGE_BYTES).saturating_sub(start.div_ceil(PAGE_BYTES));
        assert_eq!(resident(&extent, 0..LEN), 64 - whole, "{start}..{end}");
        let contents = bytes(&extent, 0..LEN);
        assert!(contents[..start].iter().all(|&byte| byte == 0x55));
        assert!(contents[start..end].iter().all(|&byte| byte == 0));
        assert!(contents[end..].iter().all(|&byte| byte == 0x55));
    }
}

#[test]
fn zeros_use_no_memory_and_refuse_writers() {
    let extent = Extent::zeros(1 << 20).unwrap();
    assert!(bytes(&extent, 0..1 << 20).iter().all(|&byte| byte == 0));
    assert!(std::panic::catch_unwind(|| extent.segment_mut(0..1)).is_err());
    assert!(std::panic::catch_unwind(|| extent.clear(0..1)).is_err());
}

#[test]
fn ranges_outside_are_refused() {
    let extent = Extent::ordinary(100).unwrap();
    assert_eq!(extent.segment(100..100).len(), 0);
    assert!(std::panic::catch_unwind(|| extent.segment(0..101)).is_err());
    assert!(std::panic::catch_unwind(|| extent.segment_mut(90..101)).is_err());
}

#[test]
fn impossible_sizes_are_refused() {
    for len in [0, usize::MAX, usize::MAX / 2 + 2] {
        assert!(matches!(Extent::ordinary(len), Err(ExtentError::Size { bytes }) if bytes == len));
    }
    let huge = Extent::ordinary(1 << 55).unwrap_err();
    assert!(huge.to_string().contains("refuses 36028797018963968 bytes"), "{huge}");
}

#[test]
fn addresses_of_a_dropped_extent_are_not_used_again() {
    let extent = Extent::ordinary(PAGE_BYTES).unwrap();
    let old = extent.segment(0..1).pointer().addr();
    drop(extent);
    let others: Vec<_> = (0..64).map(|_| Extent::ordinary(PAGE_BYTES).unwrap()).collect();
    assert!(others.iter().all(|other| other.segment(0..1).pointer().addr() != old));
}

#[test]
fn hugepages_are_used_or_the_missing_ones_are_counted() {
    let Some(system) = Hugepages::read() else {
        assert!(matches!(Extent::hugepages(1), Err(ExtentError::NoHugepages)));
        return;
    };
    let wanted = system.available + (1 << 20);
    match Extent::hugepages(wanted * system.page_bytes).unwrap_err() {
        ExtentError::Hugepages { wanted: named, missing, page_bytes } => {
            assert_eq!((named, page_bytes), (wanted, system.page_bytes));
            assert!(missing > 0);
        }
        other => panic!("{other}"),
    }
    let len = system.page_bytes + 1;
    // Others may take pages meanwhile, so how many are left decides nothing here.
    let extent = Extent::hugepages(len).unwrap_or_else(|_| Extent::best(len).unwrap());
    copy_in(&vec![0x55; len], extent.segment_mut(0..len));
    extent.clear(1..len - 1);
    assert_ne!(extent.backing(), Backing::Zeros);
    let contents = bytes(&extent, 0..len);
    assert!((contents[0], contents[len - 1]) == (0x55, 0x55));
    assert!(contents[1..len - 1].iter().all(|&byte| byte == 0));
}

#[test]
fn meminfo_is_read_as_the_kernel_writes_it() {
    let text = "MemTotal:  24 kB\nHugePages_Total:     512\nHugePages_Free:      500\n\
                HugePages_Rsvd:       12\nHugePages_Surp:        0\nHugepagesize:       2048 kB\n";
    assert_eq!(Hugepages::parse(text), Some(Hugepages { page_bytes: 2 << 20, available: 488 }));
    assert_eq!(Hugepages::parse("MemTotal: 24 kB\n"), None);
    assert_eq!(Hugepages::parse("Hugepagesize: 0 kB\nHugePages_Free: 1\nHugePages_Rsvd: 0\n"), None);
    assert_eq!(Hugepages::parse("Hugepagesize: many kB\nHugePages_Free: 1\nHugePages_Rsvd: 0\n"), None);
}

#[test]
fn errors_say_what_is_missing_and_what_to_do() {
    let error = ExtentError::Hugepages { wanted: 512, missing: 12, page_bytes: 2 << 20 };
    assert_eq!(
        error.to_string(),
        "512 hugepages of 2048 KiB are needed, 12 of them are missing: \
         add 12 to vm.nr_hugepages, ask for less, or use ordinary memory"
    );
}
