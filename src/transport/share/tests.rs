//! The buffers of a queue: what it takes, and which command gets which.

use super::*;
use crate::mem::{Arena, ArenaOptions};
use crate::transport::Settings;

const KIB: usize = 1 << 10;

/// A pool for one queue with these settings.
fn pool(settings: &Settings) -> Pool {
    let bytes = settings.queue_bytes();
    let mut arena = Arena::new(&ArenaOptions { bytes, ..ArenaOptions::default() }).unwrap();
    settings.carve(&mut arena).unwrap().into()
}

fn settings(small: u16, medium: u16, large: u16) -> Settings {
    Settings { buffers: QueueBuffers { small, medium, large }, ..Settings::default() }
}

fn share(settings: &Settings, pool: &Pool, entries: u16) -> Option<Share> {
    Share::take(pool, settings.buffers.classes(entries, settings.transfer_bytes_max))
}

#[test]
fn a_queue_takes_no_more_than_its_connection_may_hold() {
    let most = QueueBuffers::for_entries(4096);
    let rows = [
        //  KiB of data, KiB of a transfer: buffers of 4 KiB, of 16 KiB, of a transfer
        (7680, 128, (256, 64, 16)),
        (4096, 128, (256, 64, 16)),
        (3072, 128, (128, 64, 12)),
        (1024, 128, (0, 32, 4)),
        (512, 128, (0, 16, 2)),
        (256, 128, (0, 0, 2)),
        (7680, 1024, (256, 64, 3)),
        (2048, 1024, (0, 0, 2)),
        (512, 8, (96, 0, 16)),
    ];
    for (data, transfer, expected) in rows {
        let kib = u32::try_from(KIB).unwrap();
        let QueueBuffers { small, medium, large } = most.within(data * KIB, transfer * kib);
        assert_eq!((small, medium, large), expected, "{data} KiB, {transfer} KiB");
        let settings = Settings { transfer_bytes_max: transfer * kib, ..settings(small, medium, large) };
        assert!(settings.queue_bytes() <= data * KIB);
    }
}

#[test]
fn a_queue_takes_what_its_depth_asks_for() {
    let rows = [
        //  entries, buffers of 4, 16 and 128 KiB
        (1, vec![(4, 1), (16, 1), (128, 2)]),
        (32, vec![(4, 32), (16, 32), (128, 16)]),
        (128, vec![(4, 128), (16, 32), (128, 16)]),
        (4096, vec![(4, 128), (16, 32), (128, 16)]),
    ];
    for (entries, expected) in rows {
        let buffers = QueueBuffers::for_entries(128);
        let classes = buffers.classes(entries, 128 << 10).map(|class| (class.bytes / KIB, class.count));
        assert_eq!(classes.collect::<Vec<_>>(), expected, "{entries}");
    }
    let rows = [(128, (128, 32, 16)), (2, (2, 1, 16)), (4096, (256, 64, 16))];
    for (entries, (small, medium, large)) in rows {
        assert_eq!(QueueBuffers::for_entries(entries), QueueBuffers { small, medium, large });
    }
}

#[test]
fn sizes_that_are_not_smaller_than_the_largest_are_left_out() {
    let classes = |bytes| QueueBuffers::for_entries(128).classes(128, bytes).map(|class| class.bytes / KIB);
    assert_eq!(classes(4 << 10).collect::<Vec<_>>(), [4]);
    assert_eq!(classes(16 << 10).collect::<Vec<_>>(), [4, 16]);
    assert_eq!(classes(32 << 10).collect::<Vec<_>>(), [4, 16, 32]);
    let only_large = QueueBuffers { small: 0, medium: 0, large: 2 };
    assert_eq!(only_large.classes(128, 128 << 10).count(), 1);
}

#[test]
fn a_queue_gets_all_its_buffers_or_none() {
    let settings = settings(3, 2, 2);
    let pool = pool(&settings);
    let all = pool.available(0);
    assert_eq!(all, 7);
    let first = share(&settings, &pool, 128).unwrap();
    assert_eq!(pool.available(0), 0);
    assert!(share(&settings, &pool, 1).is_none());
    drop(first);
    assert_eq!(pool.available(0), all);
    // The pool has one small buffer too few: nothing larger is taken in its place, and nothing is kept.
    let _taken = pool.take_exactly(4 * KIB).unwrap();
    assert!(share(&settings, &pool, 128).is_none());
    assert_eq!(pool.available(0), all - 1);
    assert!(share(&settings, &pool, 2).is_some());
}

#[test]
fn answers_get_the_smallest_buffer_and_any_that_is_left() {
    let settings = settings(1, 1, 2);
    let mut share = share(&settings, &pool(&settings), 128).unwrap();
    assert!(share.for_answer((128 << 10) + 1).is_none());
    let sizes = |share: &mut Share, bytes| share.for_answer(bytes).map(|buffer| (buffer.len() / KIB, buffer));
    let (medium, kept) = sizes(&mut share, 5000).unwrap();
    assert_eq!(medium, 16);
    let rest: Vec<_> = std::iter::from_fn(|| sizes(&mut share, 512)).collect();
    assert_eq!(rest.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [4, 128, 128]);
    share.put(kept);
    assert!(share.for_answer(20_000).is_none());
    assert_eq!(sizes(&mut share, 512).map(|(size, _)| size), Some(16));
}

#[test]
fn the_last_of_the_largest_is_never_for_data_of_the_hosts() {
    let settings = settings(1, 0, 3);
    let mut share = share(&settings, &pool(&settings), 128).unwrap();
    let one = share.for_data(64 << 10).unwrap();
    let two = share.for_data(64 << 10).unwrap();
    assert!(share.for_data(64 << 10).is_none());
    // Smaller ones have no such rule: a command in a capsule finds the largest.
    let small = share.for_data(512).unwrap();
    assert!(share.for_data(512).is_none());
    let answer = share.for_answer(8192).unwrap();
    assert_eq!((one.len(), small.len(), answer.len()), (128 * KIB, 4 * KIB, 128 * KIB));
    assert!(share.for_answer(1).is_none());
    // Data that has come makes room for more, as soon as a buffer is free.
    share.received(&one);
    share.received(&small);
    assert!(share.for_data(64 << 10).is_none());
    share.put(answer);
    assert!(share.for_data(64 << 10).is_some());
    share.put(one);
    assert!(share.for_data(64 << 10).is_none());
    share.received(&two);
    assert!(share.for_data(64 << 10).is_some());
}
