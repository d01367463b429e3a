//! Chunks, leases and segments without sockets; the system calls are tested with the poll group.

use super::{Chunk, Chunks, Segment, SegmentMut};

fn filled(chunks: &Chunks, bytes: &[u8]) -> Chunk {
    let mut chunk = chunks.take(0).expect("a chunk is free");
    assert_eq!(chunk.append(bytes), bytes.len());
    chunk
}

#[test]
fn chunk_returns_with_its_last_hold() {
    let chunks = Chunks::new(2, 4096, 1).unwrap();
    let chunk = filled(&chunks, b"received");
    let whole = chunk.lease();
    let part = whole.slice(2..5);
    let copy = part.clone();
    assert!(!chunk.is_sole());
    let releases = chunks.releases();
    drop(chunk);
    drop(whole);
    assert_eq!((chunks.free(), chunks.held(0)), (1, 1));
    assert_eq!(chunks.releases(), releases);
    drop(part);
    assert_eq!((chunks.free(), chunks.held(0)), (1, 1));
    assert_eq!(copy.as_ref(), b"cei");
    drop(copy);
    assert_eq!((chunks.free(), chunks.held(0)), (2, 0));
    assert_ne!(chunks.releases(), releases);
}

#[test]
fn losing_the_last_lease_counts_as_a_release() {
    let chunks = Chunks::new(1, 4096, 1).unwrap();
    let chunk = filled(&chunks, b"received");
    let lease = chunk.lease();
    let releases = chunks.releases();
    drop(lease);
    assert!(chunk.is_sole());
    assert_ne!(chunks.releases(), releases);
}

#[test]
fn chunk_used_last_is_used_next() {
    let chunks = Chunks::new(4, 4096, 1).unwrap();
    let kept = chunks.take(0).unwrap();
    let address = filled(&chunks, b"hot").lease().segment().pointer();
    assert_eq!(filled(&chunks, b"hot").lease().segment().pointer(), address);
    drop(kept);
}

#[test]
fn accounts_are_charged_until_the_last_lease_is_gone() {
    let chunks = Chunks::new(3, 4096, 3).unwrap();
    let lease = {
        let mut chunk = chunks.take(1).unwrap();
        chunk.append(b"x");
        chunk.lease()
    };
    let other = chunks.take(2).unwrap();
    let third = chunks.take(2).unwrap();
    assert!(chunks.take(0).is_none());
    assert_eq!([0, 1, 2].map(|account| chunks.held(account)), [0, 1, 2]);
    drop((lease, other, third));
    assert_eq!([0, 1, 2].map(|account| chunks.held(account)), [0, 0, 0]);
}

#[test]
fn append_stops_at_the_end_and_compact_makes_room() {
    let chunks = Chunks::new(1, 4096, 1).unwrap();
    let mut chunk = chunks.take(0).unwrap();
    let bytes: Vec<u8> = (0..5000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    assert_eq!(chunk.append(&bytes), 4096);
    chunk.take(1000);
    assert_eq!((chunk.unread(), chunk.taken(), chunk.room()), (3096, 1000, 0));
    chunk.compact();
    assert_eq!((chunk.unread(), chunk.taken(), chunk.room()), (3096, 0, 1000));
    assert_eq!(chunk.append(&bytes[4096..]), 904);
    assert_eq!(chunk.lease().as_ref(), &bytes[1000..]);
}

#[test]
#[should_panic(expected = "is_sole")]
fn leased_bytes_are_not_moved() {
    let chunks = Chunks::new(1, 4096, 1).unwrap();
    let mut chunk = filled(&chunks, b"leased");
    let _lease = chunk.lease();
    chunk.take(1);
    chunk.compact();
}

#[test]
#[should_panic(expected = "self.unread()")]
fn more_than_was_received_cannot_be_taken() {
    filled(&Chunks::new(1, 4096, 1).unwrap(), b"four").take(5);
}

#[test]
fn leases_outlive_the_pool_handle() {
    let lease = filled(&Chunks::new(1, 4096, 1).unwrap(), b"still here").lease();
    assert_eq!(lease.as_ref(), b"still here");
    assert_eq!(lease.slice(10..10).as_ref(), b"");
}

#[test]
#[should_panic(expected = "range.end <= self.len")]
fn lease_is_not_sliced_beyond_its_end() {
    let chunks = Chunks::new(1, 4096, 1).unwrap();
    let _ = filled(&chunks, b"received").lease().slice(0..3).slice(1..4);
}

#[test]
fn impossible_pools_are_refused() {
    for (count, bytes, accounts) in
        [(0, 4096, 1), (1, 0, 1), (1, 4096, 0), (usize::MAX, 4096, 1), (2, usize::MAX, 1)]
    {
        assert!(Chunks::new(count, bytes, accounts).is_err(), "{count} {bytes} {accounts}");
    }
}

#[test]
fn segments_name_parts_of_parts() {
    let whole = Segment::of(b"0123456789");
    let part = whole.slice(2..9).slice(1..3);
    assert_eq!((part.pointer(), part.len()), (whole.pointer().wrapping_add(3), 2));
    assert!(whole.slice(10..10).is_empty());
    assert!(Segment::empty().is_empty() && SegmentMut::empty().is_empty());
    let memory = SegmentMut::of(vec![0; 8].leak());
    assert_eq!(memory.slice(4..8).read_only().pointer(), memory.pointer().wrapping_add(4).cast_const());
}

#[test]
#[should_panic(expected = "range.end <= whole.iov_len")]
fn segment_is_not_sliced_beyond_its_end() {
    let _ = Segment::of(b"0123456789").slice(2..9).slice(0..8);
}
