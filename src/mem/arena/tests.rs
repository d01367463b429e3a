//! Arenas in ordinary memory, and in hugepages as far as the machine at hand has any.

use super::*;
use crate::mem::{Pool, SegmentMut, copy_in};

const MIB: usize = 1 << 20;

fn ordinary(bytes: usize) -> Arena {
    Arena::new(&ArenaOptions { bytes, ..ArenaOptions::default() }).unwrap()
}

/// Addresses of a part, in bytes.
fn range(part: SegmentMut) -> std::ops::Range<usize> {
    let start = part.pointer().addr();
    start..start + part.len()
}

#[test]
fn parts_are_aligned_distinct_and_taken_for_good() {
    let mut arena = ordinary(MIB);
    let mut parts = Vec::new();
    for (bytes, alignment) in [(1, 8), (100, 64), (4096, 4096), (10, 8), (8192, 8192), (64, 65_536)] {
        let part = arena.take(bytes, alignment).unwrap();
        assert_eq!((part.len(), part.segment().pointer().addr() % alignment), (bytes, 0));
        assert!(Arc::ptr_eq(part.extent(), &arena.extents()[0]));
        let taken = range(part.segment_mut());
        assert!(
            parts.iter().all(|other: &std::ops::Range<usize>| {
                other.end <= taken.start || taken.end <= other.start
            })
        );
        parts.push(taken);
    }
    drop(parts);
    assert!(arena.take(MIB, 8).is_none());
    let mut left = 0;
    while arena.take(4096, 4096).is_some() {
        left += 1;
    }
    assert!((200..256).contains(&left), "{left}");
    assert!(arena.take(4096, 8).is_none());
}

#[test]
fn a_large_arena_is_a_few_extents_and_no_part_crosses_them() {
    let mut arena = ordinary(2 * EXTENT_BYTES_MAX + MIB);
    let lens: Vec<_> = arena.extents().iter().map(|extent| extent.len()).collect();
    assert_eq!(lens, [EXTENT_BYTES_MAX, EXTENT_BYTES_MAX, MIB]);
    assert_eq!((arena.bytes(), arena.hugepage_bytes()), (2 * EXTENT_BYTES_MAX + MIB, 0));
    let extents = arena.extents().to_vec();
    let taken: Vec<_> = std::iter::from_fn(|| arena.take(600 * MIB, 4096)).collect();
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().zip(&extents).all(|(part, extent)| Arc::ptr_eq(part.extent(), extent)));
}

#[test]
fn a_pool_fills_an_arena_to_the_last_byte() {
    // More than an extent, so that a class has to be cut.
    let classes = [
        Class { bytes: 4 << 10, count: 1 << 16 },
        Class { bytes: 128 << 10, count: 10_000 },
        Class { bytes: 16 << 10, count: 1 << 14 },
    ];
    let bytes = classes.iter().map(|class| class.total_bytes().unwrap()).sum();
    let mut arena = ordinary(bytes);
    assert!(arena.extents().len() > 1);
    let memory = arena.carve(&classes).unwrap();
    for class in classes {
        assert_eq!(memory.count(class.bytes), class.count as usize);
    }
    assert!(arena.take(1, 8).is_none());
    let pool = Pool::from(memory);
    let large: Vec<_> = (0..10_000).map_while(|_| pool.take_exactly(128 << 10)).collect();
    let mut starts: Vec<_> =
        large.iter().map(|buffer| range(buffer.segment_mut(0..buffer.len())).start).collect();
    starts.sort_unstable();
    assert_eq!(starts.len(), 10_000);
    assert!(starts.windows(2).all(|pair| pair[0] + (128 << 10) <= pair[1]));
    assert!(pool.take(128 << 10).is_none());
}

#[test]
fn a_pool_that_does_not_fit_is_not_made() {
    let class = |count| [Class { bytes: 4096, count }];
    assert!(ordinary(MIB).carve(&class(256)).is_some());
    assert!(ordinary(MIB).carve(&class(257)).is_none());
    assert!(ordinary(MIB).carve(&[Class { bytes: 2 * MIB, count: 1 }]).is_none());
    assert!(ordinary(MIB).carve(&[]).is_some());
}

#[test]
fn an_arena_is_handed_to_devices_and_other_threads() {
    fn goes_anywhere<T: Send + Sync>(value: T) -> T {
        value
    }
    let mut arena = goes_anywhere(ordinary(MIB));
    let extents = goes_anywhere(arena.extents().to_vec());
    let part = goes_anywhere(arena.take(8, 8).unwrap());
    drop(arena);
    // What was taken and what was mapped stay.
    part.store_u64(0, 7);
    assert_eq!((extents.len(), part.load_u64(0)), (1, 7));
}

#[test]
fn populated_ordinary_memory_is_there_and_stays_there() {
    let options = ArenaOptions { bytes: 4 * MIB, populate: true, node: Some(0), ..ArenaOptions::default() };
    let arena = Arena::new(&options).unwrap();
    let extent = &arena.extents()[0];
    assert!(extent.is_populated());
    copy_in(&[7; 8192], extent.segment_mut(0..8192));
    extent.clear(0..8192);
    assert_eq!(extent.backing(), Backing::Ordinary);
}

#[test]
fn hugepages_are_taken_or_all_that_are_missing_are_counted() {
    let huge = |bytes, page_size| {
        let backing = ArenaBacking::Hugepages;
        Arena::new(&ArenaOptions { bytes, backing, page_size, populate: true, ..ArenaOptions::default() })
    };
    // 64 TiB are more than any machine has; the count is of all of it, not of the first extent.
    match huge(1 << 46, PageSize::System) {
        Err(ExtentError::Hugepages(missing)) => {
            let wanted = (1 << 46) / missing.page_bytes;
            assert_eq!(missing.wanted, wanted);
            assert!(missing.missing <= wanted && missing.missing > wanted / 2, "{missing:?}");
        }
        Err(ExtentError::NoHugepages) => {}
        other => panic!("{other:?}"),
    }
    match huge(3 * MIB, PageSize::Mib2) {
        Ok(arena) => {
            assert_eq!((arena.bytes(), arena.hugepage_bytes()), (3 * MIB, 3 * MIB));
            assert_eq!(arena.extents()[0].backing(), Backing::Hugepages { page_bytes: 2 * MIB });
            assert!(arena.extents()[0].is_populated());
        }
        Err(ExtentError::Hugepages(missing)) => assert_eq!(missing.wanted, 2),
        Err(ExtentError::NoHugepages | ExtentError::NoPageSize { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    let best = ArenaOptions { bytes: 1 << 46, backing: ArenaBacking::Best, ..ArenaOptions::default() };
    // Hugepages as far as there are any, and ordinary memory for the rest; none is touched.
    let arena = Arena::new(&ArenaOptions { bytes: 1 << 33, ..best }).unwrap();
    assert_eq!(arena.bytes(), 1 << 33);
    assert!(arena.hugepage_bytes() <= arena.bytes());
}

#[test]
fn an_empty_arena_is_refused() {
    assert!(matches!(Arena::new(&ArenaOptions::default()), Err(ExtentError::Size { bytes: 0 })));
}
