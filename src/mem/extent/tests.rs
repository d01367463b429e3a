//! Extents of the machine at hand; where it has no hugepages, their errors are tested instead.

#![expect(unsafe_code, reason = "residency is asked of the kernel by address")]

use super::hugepages::Hugepages;
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
    let Ok(system) = Hugepages::read(PageSize::System, None) else {
        assert!(matches!(Extent::hugepages(1), Err(ExtentError::NoHugepages)));
        return;
    };
    let wanted = system.available + (1 << 20);
    match Extent::hugepages(wanted * system.page_bytes).unwrap_err() {
        ExtentError::Hugepages(found) => {
            assert_eq!((found.wanted, found.page_bytes), (wanted, system.page_bytes));
            assert_eq!(found.node, None);
            assert!(found.missing > 0);
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
    let expected = Hugepages { page_bytes: 2 << 20, total: 512, available: 488 };
    assert_eq!(Hugepages::parse(text), Some(expected));
    assert_eq!(Hugepages::parse("MemTotal: 24 kB\n"), None);
    assert_eq!(Hugepages::parse("Hugepagesize: 0 kB\nHugePages_Free: 1\nHugePages_Rsvd: 0\n"), None);
    assert_eq!(Hugepages::parse("Hugepagesize: many kB\nHugePages_Free: 1\nHugePages_Rsvd: 0\n"), None);
}

#[test]
fn errors_say_what_is_missing_and_what_to_do() {
    let missing = MissingHugepages { wanted: 512, missing: 12, total: 600, page_bytes: 2 << 20, node: None };
    let on_node = MissingHugepages { node: Some(1), ..missing };
    let large = MissingHugepages { page_bytes: 1 << 30, ..on_node };
    let small = MissingHugepages { page_bytes: 64 << 10, ..missing };
    let rows = [
        (
            ExtentError::Hugepages(missing),
            "512 hugepages of 2MiB are needed, 12 of them are missing: add them with `corelane setup hugepages \
             612`, ask for less, or use ordinary memory",
        ),
        (
            ExtentError::Hugepages(on_node),
            "512 hugepages of 2MiB are needed, 12 of them are missing on node 1: add them with `corelane setup \
             hugepages 612 --node 1`, ask for less, or use ordinary memory",
        ),
        (
            ExtentError::Hugepages(large),
            "512 hugepages of 1GiB are needed, 12 of them are missing on node 1: add them with `corelane setup \
             hugepages 612 --size 1GiB --node 1`, ask for less, or use ordinary memory",
        ),
        (
            ExtentError::Hugepages(small),
            "512 hugepages of 64KiB are needed, 12 of them are missing: add them with `corelane setup hugepages \
             612 --size 64KiB`, ask for less, or use ordinary memory",
        ),
        (ExtentError::NoHugepages, "this system has no hugepages: use ordinary memory"),
        (
            ExtentError::NoPageSize { page_bytes: 1 << 30 },
            "this system has no hugepages of 1GiB: use another page size, or ordinary memory",
        ),
        (
            ExtentError::LockedMemory { bytes: 1 << 28, limit: 8 << 20 },
            "268435456 bytes of memory cannot be locked, because this process may lock 8388608 bytes: raise that \
             with `ulimit -l` or LimitMEMLOCK= of the service, run as root, or ask for less",
        ),
    ];
    for (error, text) in rows {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn missing_pages_are_counted_for_the_whole() {
    let part = MissingHugepages { wanted: 512, missing: 12, total: 500, page_bytes: 2 << 20, node: None };
    let whole = ExtentError::Hugepages(part).among(1 << 30, (4 << 20) + 1);
    let ExtentError::Hugepages(whole) = whole else { panic!("{whole}") };
    assert_eq!((whole.wanted, whole.missing, whole.total), (512 + 512 + 3, 12 + 3, 500));
    let other = ExtentError::NoHugepages.among(1, 1);
    assert!(matches!(other, ExtentError::NoHugepages));
}

#[test]
fn residence_finds_every_page_at_once() {
    const LEN: usize = 64 * PAGE_BYTES;
    for residence in [
        Residence { populate: true, ..Residence::default() },
        Residence { node: Some(0), populate: true, ..Residence::default() },
    ] {
        let mut extent = Extent::ordinary(LEN).unwrap();
        extent.reside(residence, PageSize::System).unwrap();
        assert_eq!((resident(&extent, 0..LEN), extent.is_populated()), (64, true));
        // A device knows these pages: they are zeroed where they are.
        copy_in(&[0x55; LEN], extent.segment_mut(0..LEN));
        extent.clear(0..LEN);
        assert_eq!(resident(&extent, 0..LEN), 64);
        assert!(bytes(&extent, 0..LEN).iter().all(|&byte| byte == 0));
    }
    let mut extent = Extent::ordinary(LEN).unwrap();
    extent.reside(Residence { node: Some(0), ..Residence::default() }, PageSize::System).unwrap();
    assert_eq!((resident(&extent, 0..LEN), extent.is_populated()), (0, false));
}

#[test]
fn a_node_that_is_not_there_is_a_wish_that_is_not_met() {
    let mut extent = Extent::ordinary(PAGE_BYTES).unwrap();
    let residence = Residence { node: Some(5000), populate: true, lock: false };
    extent.reside(residence, PageSize::System).unwrap();
    assert_eq!((extent.node(), extent.is_populated()), (None, true));
}

/// Locked bytes of this process.
fn locked() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn locked_memory_is_locked_or_the_limit_is_named() {
    const LEN: usize = 24 << 20;
    let mut extent = Extent::ordinary(LEN).unwrap();
    match extent.reside(Residence { lock: true, ..Residence::default() }, PageSize::System) {
        Ok(()) => assert!(locked() >= LEN as u64 && extent.is_populated()),
        Err(ExtentError::LockedMemory { bytes, limit }) => {
            assert!((bytes, true) == (LEN, limit < LEN as u64))
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn shared_memory_is_one_memory_for_whoever_maps_its_file() {
    let extent = Extent::shared(3 * PAGE_BYTES + 1, None).unwrap();
    assert_eq!((extent.len(), extent.backing()), (3 * PAGE_BYTES + 1, Backing::Ordinary));
    assert_eq!(resident(&extent, 0..extent.len()), 0);
    let file = extent.descriptor().expect("it is shared").try_clone_to_owned().unwrap();
    copy_in(b"from here", extent.segment_mut(PAGE_BYTES..PAGE_BYTES + 9));
    let mut seen = [0; 9];
    rustix::io::pread(&file, &mut seen, PAGE_BYTES as u64).unwrap();
    assert_eq!(&seen, b"from here");
    rustix::io::pwrite(&file, b"from there", 0).unwrap();
    assert_eq!(bytes(&extent, 0..10), b"from there");
    // Nobody pulls its pages out from under a device.
    assert!(rustix::fs::ftruncate(&file, 0).is_err());
    assert!(rustix::fs::ftruncate(&file, 1 << 30).is_err());
    extent.clear(0..extent.len());
    rustix::io::pread(&file, &mut seen, PAGE_BYTES as u64).unwrap();
    assert_eq!(seen, [0; 9], "others see it cleared");
    assert!(Extent::ordinary(1).unwrap().descriptor().is_none());
}

#[test]
fn shared_hugepages_are_taken_or_counted() {
    for page_size in [PageSize::System, PageSize::Mib2, PageSize::Gib1] {
        let made = Extent::shared(1, Some(page_size)).and_then(|mut extent| {
            let residence = Residence { node: Some(0), populate: true, lock: true };
            extent.reside(residence, page_size).map(|()| extent)
        });
        match made {
            Ok(extent) => {
                let Backing::Hugepages { page_bytes } = extent.backing() else { panic!("{extent:?}") };
                assert!(page_size.bytes().is_none_or(|bytes| bytes == page_bytes));
                assert!(extent.descriptor().is_some() && extent.address().is_multiple_of(page_bytes));
                copy_in(&[7], extent.segment_mut(0..1));
                assert_eq!(bytes(&extent, 0..1), [7]);
            }
            Err(ExtentError::Hugepages(missing)) => {
                assert_eq!(missing.wanted, 1);
                assert!(page_size.bytes().is_none_or(|bytes| bytes == missing.page_bytes));
            }
            Err(ExtentError::NoHugepages | ExtentError::NoPageSize { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn hugepages_of_every_size_are_taken_or_counted() {
    for page_size in [PageSize::System, PageSize::Mib2, PageSize::Gib1] {
        match Extent::hugepages_of(1, page_size) {
            Ok(extent) => {
                let Backing::Hugepages { page_bytes } = extent.backing() else { panic!("{extent:?}") };
                assert!(page_size.bytes().is_none_or(|bytes| bytes == page_bytes));
                assert!(extent.address().is_multiple_of(page_bytes));
            }
            Err(ExtentError::Hugepages(missing)) => {
                assert_eq!((missing.wanted, missing.missing), (1, 1));
                assert!(page_size.bytes().is_none_or(|bytes| bytes == missing.page_bytes));
            }
            Err(ExtentError::NoHugepages | ExtentError::NoPageSize { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
