//! Buffers of one pool: distinct, aligned, returned.

use super::*;
use crate::mem::{copy_in, copy_out};

#[test]
fn buffers_are_aligned_distinct_and_come_back() {
    let pool = Pool::new(5, 5000).unwrap();
    assert_eq!((pool.available(), pool.buffer_bytes()), (5, 5000));
    let buffers: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
    assert_eq!(buffers.len(), 5);
    assert_eq!(pool.available(), 0);
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
    assert_eq!(pool.available(), 5);
    assert!(pool.take().is_some());
}

#[test]
fn the_buffer_returned_last_is_taken_first() {
    let pool = Pool::new(3, 512).unwrap();
    let one = pool.take().unwrap();
    let other = pool.take().unwrap();
    let address = one.segment(0..1).pointer();
    drop(other);
    drop(one);
    assert_eq!(pool.take().unwrap().segment(0..1).pointer(), address);
}

#[test]
fn a_buffer_outlives_its_pool() {
    let pool = Pool::new(1, 512).unwrap();
    let buffer = pool.take().unwrap();
    drop(pool);
    copy_in(&[7; 512], buffer.segment_mut(0..512));
    let mut bytes = [0; 512];
    copy_out(buffer.segment(0..512), &mut bytes);
    assert!(bytes == [7; 512]);
}

#[test]
fn ranges_outside_a_buffer_are_refused() {
    let pool = Pool::new(2, 100).unwrap();
    let buffer = pool.take().unwrap();
    let beyond = std::panic::AssertUnwindSafe(|| buffer.segment_mut(0..101));
    assert!(std::panic::catch_unwind(beyond).is_err());
}

#[test]
fn more_memory_than_addresses_is_refused() {
    assert!(matches!(Pool::new(u32::MAX, usize::MAX / 2), Err(ExtentError::Size { .. })));
}
