//! How bytes are shown: in order, contiguous, again if they were not taken; and how they are received directly.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpStream,
};

use super::{Group, POLLS_MAX, Recorder, connected, drive, drive_quiet, make, pair, pattern};
use crate::{
    buffer::{Segment, SegmentMut},
    poll_group::{Options, Sent, SocketId, Taken},
};

on_both_engines! {
    single_bytes_add_up_to_messages,
    remainder_is_shown_again_with_what_follows,
    messages_cross_chunk_ends_whole,
    one_receive_brings_a_whole_chunk,
    full_chunk_of_which_nothing_is_taken_counts_as_a_pause,
    wanted_bytes_go_where_they_are_wanted_and_the_rest_is_shown,
    nothing_is_asked_for_while_untaken_bytes_are_held,
}

fn single_bytes_add_up_to_messages() {
    const MESSAGE: usize = 100;
    let (mut group, _, mut far) = connected(4);
    let mut recorder = Recorder::new(|_, bytes| Taken::bytes(bytes.len() / MESSAGE * MESSAGE));
    let sent = pattern(3 * MESSAGE);
    for (at, byte) in sent.iter().enumerate() {
        far.write_all(&[*byte]).unwrap();
        drive(&mut group, &mut recorder, |recorder| recorder.shown.len() > at);
        let first = at / MESSAGE * MESSAGE;
        assert_eq!(recorder.last_shown(), &sent[first..=at]);
    }
    assert_eq!(recorder.taken, sent);
}

fn remainder_is_shown_again_with_what_follows() {
    let (mut group, _, mut far) = connected(4);
    let mut recorder = Recorder::new(|_, bytes| Taken::bytes(if bytes.len() == 10 { 3 } else { 0 }));
    far.write_all(b"0123456789").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"0123456789");
    drive_quiet(&mut group, &mut recorder);
    far.write_all(b"abcde").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"3456789abcde");
}

fn messages_cross_chunk_ends_whole() {
    // Half a chunk is what a handler may count on; with and without leases that forbid moving bytes within a chunk.
    for message in [1, 7, 100, 513, 1500, 2048] {
        for keep_leases in [false, true] {
            let (mut group, _, mut far) = connected(8);
            let mut kept = VecDeque::new();
            let mut recorder = Recorder::new(move |_, bytes| {
                let whole = bytes.len() / message * message;
                if keep_leases && whole > 0 {
                    kept.push_back(bytes.slice(0..whole));
                    if kept.len() > 3 {
                        kept.pop_front();
                    }
                }
                Taken::bytes(whole)
            });
            let sent = pattern(20 * 4096 / message * message);
            for part in sent.chunks(1999) {
                far.write_all(part).unwrap();
            }
            drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == sent.len());
            assert_eq!(recorder.taken, sent, "{message} {keep_leases}");
        }
    }
}

fn one_receive_brings_a_whole_chunk() {
    let options = Options { chunk_bytes: 128 * 1024, chunks: 2, sockets_max: 1, chunks_per_socket: 2 };
    let mut group = make(&options).unwrap();
    let (mut far, near) = pair();
    let sent = pattern(64 * 1024);
    far.write_all(&sent).unwrap();
    // All of it is in the receive queue before the group knows the socket.
    let mut seen = vec![0; sent.len()];
    let there = (0..POLLS_MAX).any(|_| near.peek(&mut seen).unwrap() == sent.len());
    assert!(there);
    group.add(near, &[]).unwrap();
    let mut recorder = Recorder::greedy();
    drive(&mut group, &mut recorder, |recorder| !recorder.shown.is_empty());
    assert_eq!(recorder.shown, [sent]);
}

#[test]
fn paused_socket_shows_nothing_until_it_is_resumed() {
    let (mut group, id, mut far) = connected(4);
    let mut recorder = Recorder::new(|_, bytes| Taken { bytes: 2.min(bytes.len()), pause: bytes.len() < 10 });
    far.write_all(b"first").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"first");
    far.write_all(b" and second").unwrap();
    drive_quiet(&mut group, &mut recorder);
    // What was kept is shown by itself, which pauses again; a resume after it brings the rest.
    group.resume(id);
    assert!(group.pending());
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"rst");
    drive_quiet(&mut group, &mut recorder);
    group.resume(id);
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"t");
    drive_quiet(&mut group, &mut recorder);
    recorder.policy = Box::new(|_, bytes| Taken::bytes(bytes.len()));
    group.resume(id);
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"first and second");
}

fn full_chunk_of_which_nothing_is_taken_counts_as_a_pause() {
    let (mut group, id, mut far) = connected(4);
    let mut recorder = Recorder::idle();
    let sent = pattern(5000);
    far.write_all(&sent).unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown().len() == 4096);
    drive_quiet(&mut group, &mut recorder);
    recorder.policy = Box::new(|_, bytes| Taken::bytes(bytes.len()));
    group.resume(id);
    drive(&mut group, &mut recorder, |recorder| recorder.taken == sent);
}

fn wanted_bytes_go_where_they_are_wanted_and_the_rest_is_shown() {
    let (mut group, id, mut far) = connected(4);
    let mut recorder = Recorder::greedy();
    let memory = SegmentMut::of(vec![0; 6000].leak());
    let sent = pattern(6100);
    for first in [6100, 1, 4000] {
        recorder.wanted = Some(memory);
        recorder.taken.clear();
        recorder.direct.clear();
        far.write_all(&sent[..first]).unwrap();
        drive(&mut group, &mut recorder, |recorder| !recorder.direct.is_empty());
        far.write_all(&sent[first..]).unwrap();
        drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == 100);
        assert_eq!(recorder.direct.iter().sum::<usize>(), 6000);
        assert_eq!(recorder.taken, &sent[6000..]);
        assert_eq!(echoed(&mut group, id, &mut far, memory.read_only()), &sent[..6000]);
    }
}

#[test]
fn what_follows_a_large_payload_is_left_where_it_may_be_wanted_next() {
    // Of chunks of 4,096 bytes: 256 bytes are large.
    let rows: [(usize, usize, &[usize]); 5] = [
        (255, 0, &[3000]),
        (256, 0, &[512, 512, 1976]),
        (1024, 0, &[512, 512, 1976]),
        (24, 1024, &[512, 512, 1976]),
        (24, 255, &[3000]),
    ];
    for (wanted, whole, shown) in rows {
        let (mut group, id, mut far) = connected(4);
        let mut recorder = Recorder::greedy();
        let memory = SegmentMut::of(vec![0; wanted].leak());
        (recorder.wanted, recorder.whole) = (Some(memory), whole);
        let sent = pattern(wanted + 3000);
        far.write_all(&sent).unwrap();
        drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == 3000);
        assert_eq!(recorder.shown.iter().map(Vec::len).collect::<Vec<_>>(), shown);
        assert_eq!(recorder.taken, &sent[wanted..]);
        assert_eq!(echoed(&mut group, id, &mut far, memory.read_only()), &sent[..wanted]);
    }
}

#[test]
fn direct_receive_needs_no_chunk() {
    let (mut group, id, mut far) = connected(1);
    let mut recorder = Recorder::greedy();
    let (mut other_far, other_near) = pair();
    group.add(other_near, &[]).unwrap();
    // The other socket keeps the only chunk.
    recorder.policy = Box::new(|_, _| Taken::pause(0));
    other_far.write_all(b"kept").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"kept");
    let memory = SegmentMut::of(vec![0; 16].leak());
    recorder.wanted = Some(memory);
    far.write_all(b"0123456789abcdef+").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.wanted.is_none());
    assert_eq!(echoed(&mut group, id, &mut far, memory.read_only()), b"0123456789abcdef");
    drive_quiet(&mut group, &mut recorder);
    drop(group);
}

fn nothing_is_asked_for_while_untaken_bytes_are_held() {
    let (mut group, _, mut far) = connected(2);
    let mut recorder = Recorder::new(|_, bytes| Taken::bytes(bytes.len() / 4 * 4));
    far.write_all(b"12345").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"1234");
    recorder.wanted = Some(SegmentMut::of(vec![0; 400].leak()));
    far.write_all(b"678").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"12345678");
    assert!(recorder.direct.is_empty());
    far.write_all(b"direct").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.direct.iter().sum::<usize>() == 6);
}

/// Sends `segment` to the far end and returns what arrives there.
fn echoed(group: &mut Group, id: SocketId, far: &mut TcpStream, segment: Segment) -> Vec<u8> {
    assert_eq!(group.send(id, &[segment]), Sent::Bytes(segment.len()));
    let mut arrived = vec![0; segment.len()];
    far.read_exact(&mut arrived).unwrap();
    arrived
}
