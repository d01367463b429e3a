//! Buffers of a pool: distinct, aligned, of the smallest size, returned.

use super::*;
use crate::mem::{Arena, ArenaOptions, copy_in, copy_out};

/// A pool with these classes, in ordinary memory.
fn pool(classes: &[Class]) -> Pool {
    let bytes = classes.iter().map(|class| class.total_bytes().unwrap()).sum();
    let mut arena = Arena::new(&ArenaOptions { bytes, ..ArenaOptions::default() }).unwrap();
    arena.carve(classes).unwrap().into()
}

const CLASSES: [Class; 3] = [
    Class { bytes: 128 << 10, count: 2 },
    Class { bytes: 4 << 10, count: 3 },
    Class { bytes: 16 << 10, count: 1 },
];

#[test]
fn buffers_are_aligned_distinct_and_come_back() {
    let pool = Pool::new(5, 5000).unwrap();
    assert_eq!((pool.available(1), pool.available(5001), pool.buffer_bytes_max()), (5, 0, 5000));
    let buffers: Vec<_> = std::iter::from_fn(|| pool.take(1)).collect();
    assert_eq!(buffers.len(), 5);
    assert_eq!(pool.available(1), 0);
    for (fill, buffer) in (1_u8..).zip(&buffers) {
        assert_eq!(buffer.len(), 5000);
        assert!(buffer.segment(0..1).pointer().addr().is_multiple_of(ALIGNMENT));
        copy_in(&[fill; 5000], buffer.segment_mut(0..5000));
    }
    for (fill, buffer) in (1_u8..).zip(&buffers) {
        let mut bytes = [0; 5000];
        copy_out(buffer.segment(0..5000), &mut bytes);
        assert!(bytes == [fill; 5000]);
    }
    drop(buffers);
    assert_eq!(pool.available(1), 5);
    assert!(pool.take(5000).is_some());
}

#[test]
fn the_smallest_buffer_that_is_free_and_large_enough_is_taken() {
    const KIB: usize = 1 << 10;
    let pool = pool(&CLASSES);
    assert_eq!((pool.buffer_bytes_max(), pool.available(0), pool.available(5000)), (128 * KIB, 6, 3));
    assert!(pool.take(128 * KIB + 1).is_none());
    // Smaller ones run out, and larger ones serve.
    let mut taken = Vec::new();
    for expected in [4, 4, 4, 16, 128, 128] {
        let buffer = pool.take(512).unwrap();
        assert_eq!(buffer.len(), expected * KIB);
        taken.push(buffer);
    }
    assert!(pool.take(0).is_none());
    // Whichever comes back is used where it fits.
    drop(taken.pop());
    assert_eq!(pool.take_exactly(4 * KIB).map(|buffer| buffer.len()), None);
    assert_eq!(pool.take(4 * KIB + 1).map(|buffer| buffer.len()), Some(128 * KIB));
    drop(taken.remove(0));
    assert_eq!(pool.take(4 * KIB).map(|buffer| buffer.len()), Some(4 * KIB));
    assert_eq!(pool.take(16 * KIB).map(|buffer| buffer.len()), Some(128 * KIB));
    assert_eq!(pool.take_exactly(16 * KIB).map(|buffer| buffer.len()), None);
    drop(taken);
    assert_eq!(pool.available(0), 6);
}

#[test]
fn no_two_buffers_share_a_byte_whatever_comes_and_goes() {
    let pool = pool(&CLASSES);
    let mut held: Vec<(u8, Buffer)> = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    println!("seed {random:#x}");
    for round in 0..2000_u32 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let choice = usize::try_from(random >> 40).unwrap();
        if choice.is_multiple_of(2) && !held.is_empty() {
            let (fill, buffer) = held.swap_remove(choice / 2 % held.len());
            let mut bytes = vec![0; buffer.len()];
            copy_out(buffer.segment(0..buffer.len()), &mut bytes);
            assert!(bytes.iter().all(|&byte| byte == fill));
        } else if let Some(buffer) = pool.take(choice % (20 << 10)) {
            let fill = u8::try_from(round % 251).unwrap();
            copy_in(&vec![fill; buffer.len()], buffer.segment_mut(0..buffer.len()));
            held.push((fill, buffer));
        }
        assert_eq!(held.len() + pool.available(0), 6);
    }
}

#[test]
fn the_buffer_returned_last_is_taken_first() {
    let pool = Pool::new(3, 512).unwrap();
    let one = pool.take(1).unwrap();
    let other = pool.take(1).unwrap();
    let address = one.segment(0..1).pointer();
    drop(other);
    drop(one);
    assert_eq!(pool.take(1).unwrap().segment(0..1).pointer(), address);
}

#[test]
fn a_buffer_outlives_its_pool() {
    let pool = pool(&CLASSES);
    let buffer = pool.take(512).unwrap();
    drop(pool);
    copy_in(&[7; 512], buffer.segment_mut(0..512));
    let mut bytes = [0; 512];
    copy_out(buffer.segment(0..512), &mut bytes);
    assert!(bytes == [7; 512]);
}

#[test]
fn ranges_outside_a_buffer_are_refused() {
    let pool = Pool::new(2, 100).unwrap();
    let buffer = pool.take(1).unwrap();
    let beyond = std::panic::AssertUnwindSafe(|| buffer.segment_mut(0..101));
    assert!(std::panic::catch_unwind(beyond).is_err());
}

#[test]
fn more_memory_than_addresses_is_refused() {
    assert!(matches!(Pool::new(u32::MAX, usize::MAX / 2), Err(ExtentError::Size { .. })));
}

#[test]
fn a_pool_of_nothing_gives_nothing() {
    let pool = Pool::from(PoolMemory::default());
    assert!(pool.take(0).is_none());
    assert_eq!((pool.available(0), pool.buffer_bytes_max()), (0, 0));
}
