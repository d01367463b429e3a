//! The ring of headers and the payloads between them.

use super::pair::{Blob, Random, pattern, queued};
use crate::connection::outbox::{Outbox, SPARE_BYTES, SPARE_ITEMS};
use crate::connection::{Payload, Piece};

fn push(outbox: &mut Outbox<Blob>, max: usize, bytes: &[u8]) {
    outbox.push(max, |out| {
        assert_eq!(out.len(), max);
        out[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    });
}

/// An outbox with headers and payloads, and the stream that it stands for.
fn filled() -> (Outbox<Blob>, Vec<u8>) {
    let mut outbox = Outbox::new(400 + SPARE_BYTES, 8 + SPARE_ITEMS);
    let mut stream = Vec::new();
    for cid in 0..3 {
        push(&mut outbox, 30, &[cid; 20]);
        push(&mut outbox, 10, &[0x40 + cid; 5]);
        let data = pattern(u16::from(cid), 40);
        stream.extend([[cid; 20].as_slice(), &[0x40 + cid; 5], &data.0[8..33]].concat());
        outbox.push_data(data, 8..33);
    }
    push(&mut outbox, 1, &[0xff]);
    stream.push(0xff);
    (outbox, stream)
}

#[test]
fn neighbouring_headers_are_one_piece() {
    let (outbox, stream) = filled();
    let lengths: Vec<usize> = outbox
        .pieces()
        .map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Data(_, range) => range.len(),
        })
        .collect();
    assert_eq!(lengths, [25, 25, 25, 25, 25, 25, 1]);
    assert_eq!(queued(&outbox), stream);
}

#[test]
fn any_two_partial_sends_leave_the_rest() {
    let length = filled().1.len();
    for first in 0..=length {
        for second in 0..=length - first {
            let (mut outbox, stream) = filled();
            let mut done = Vec::new();
            outbox.sent(first, |data: Blob| done.push(data));
            assert_eq!(queued(&outbox), stream[first..]);
            outbox.sent(second, |data: Blob| done.push(data));
            let sent = first + second;
            assert_eq!(queued(&outbox), stream[sent..]);
            // Payloads end at 50, 100 and 150.
            let whole: Vec<Blob> = [50, 100, 150]
                .iter()
                .zip(0..)
                .filter(|(end, _)| sent >= **end)
                .map(|(_, cid)| pattern(cid, 40))
                .collect();
            assert_eq!(done, whole);
            assert_eq!(outbox.is_empty(), sent == length);
        }
    }
}

#[test]
fn queued_bytes_stay_where_they_are_while_the_ring_wraps() {
    let mut random = Random(0xc0ffee);
    let mut outbox = Outbox::new(3 * 100 + SPARE_BYTES, 6 + SPARE_ITEMS);
    let mut stream: Vec<u8> = Vec::new();
    let mut next = 0u8;
    let mut wraps = 0;
    for _ in 0..20_000 {
        if outbox.fits(1, 100) {
            let max = 1 + random.below(100);
            let bytes: Vec<u8> =
                (0..=random.below(max)).map(|_| (next = next.wrapping_add(1), next).1).collect();
            push(&mut outbox, max, &bytes);
            stream.extend(&bytes);
            if random.below(3) == 0 {
                let data = pattern(u16::from(next), 16);
                stream.extend(&*data.0);
                outbox.push_data(data, 0..16);
            }
        }
        let before: Vec<(usize, usize)> = spots(&outbox);
        wraps += usize::from(!before.is_sorted());
        let sent = random.below(stream.len() + 1).min(random.below(150));
        outbox.sent(sent, drop);
        stream.drain(..sent);
        assert_eq!(queued(&outbox), stream);
        let ends = |spots: &[(usize, usize)]| spots.iter().map(|spot| spot.0 + spot.1).collect::<Vec<_>>();
        assert!(ends(&before).ends_with(&ends(&spots(&outbox))), "queued bytes moved");
    }
    assert!(wraps > 100, "the ring wrapped {wraps} times only");
}

/// Addresses and lengths of the header pieces.
fn spots(outbox: &Outbox<Blob>) -> Vec<(usize, usize)> {
    let bytes = outbox.pieces().filter_map(|piece| match piece {
        Piece::Bytes(bytes) => Some((bytes.as_ptr().addr(), bytes.len())),
        Piece::Data(..) => None,
    });
    bytes.collect()
}

#[test]
fn clear_gives_back_what_was_not_sent() {
    let (mut outbox, stream) = filled();
    outbox.sent(60, drop); // the first payload is through
    let mut back = Vec::new();
    outbox.clear(|data| back.push(data));
    assert_eq!(back, [pattern(1, 40), pattern(2, 40)]);
    assert!(outbox.is_empty() && queued(&outbox).is_empty());
    push(&mut outbox, 300, &stream);
    assert_eq!(queued(&outbox), stream);
}

#[test]
#[should_panic(expected = "more was sent than was queued")]
fn sending_more_than_there_is_is_our_fault() {
    let (mut outbox, stream) = filled();
    outbox.sent(stream.len() + 1, drop);
}

#[test]
#[should_panic(expected = "no room for a header")]
fn a_full_ring_refuses() {
    let mut outbox: Outbox<Blob> = Outbox::new(100, 10);
    push(&mut outbox, 60, &[1; 60]);
    push(&mut outbox, 60, &[2; 60]);
}

#[test]
fn payloads_say_their_length() {
    assert_eq!(pattern(1, 40).bytes(), 40);
}

#[test]
fn sent_headers_are_free_though_others_joined_them() {
    let mut outbox: Outbox<Blob> = Outbox::new(100 + SPARE_BYTES, 10);
    let bytes = 100 + SPARE_BYTES;
    push(&mut outbox, 10, &[0; 10]);
    // Never empty, and many times as much as the ring holds: one header is always under way.
    for turn in 1..=u8::MAX {
        push(&mut outbox, 10, &[turn; 10]);
        assert_eq!(queued(&outbox), [[turn - 1; 10], [turn; 10]].concat());
        outbox.sent(4, drop);
        assert_eq!(queued(&outbox), [&[turn - 1; 6][..], &[turn; 10]].concat());
        outbox.sent(6, drop);
        assert!(outbox.fits(1, bytes - SPARE_BYTES - 30), "at turn {turn}");
    }
}
