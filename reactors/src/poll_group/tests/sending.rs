//! Sends: gathered, short, blocked, and going on.

use std::io::{Read, Write};

use super::{Recorder, connected, drive, drive_quiet, pattern};
use crate::{buffer::Segment, poll_group::Sent};

on_both_engines! {
    empty_segments_and_empty_lists_are_sent_at_once,
    writable_is_only_told_to_those_who_were_blocked,
}

/// `bytes` as segments of 1 to 7 bytes.
fn cut(bytes: &'static [u8]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (first, others) = rest.split_at(rest.len().min(1 + segments.len() % 7));
        segments.push(Segment::of(first));
        rest = others;
    }
    segments
}

#[test]
fn more_segments_than_one_call_takes_are_one_send() {
    let (mut group, id, mut far) = connected(2);
    let bytes = pattern(6000).leak();
    let segments = cut(bytes);
    assert!(segments.len() >= 1500);
    assert_eq!(group.send(id, &segments), Sent::Bytes(bytes.len()));
    let mut arrived = vec![0; bytes.len()];
    far.read_exact(&mut arrived).unwrap();
    assert_eq!(arrived, bytes);
}

#[test]
fn too_many_segments_for_one_send_are_announced_to_go_on() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    let bytes: &'static [u8] = pattern(20_000).leak();
    let segments: Vec<_> = bytes.chunks(1).map(Segment::of).collect();
    let Sent::Bytes(first) = group.send(id, &segments) else { panic!("the socket is writable") };
    assert!(first < bytes.len());
    assert!(group.pending());
    drive(&mut group, &mut recorder, |recorder| recorder.writable == 1);
    assert_eq!(group.send(id, &segments[first..]), Sent::Bytes(bytes.len() - first));
    let mut arrived = vec![0; bytes.len()];
    far.read_exact(&mut arrived).unwrap();
    assert_eq!(arrived, bytes);
}

fn empty_segments_and_empty_lists_are_sent_at_once() {
    let (mut group, id, mut far) = connected(2);
    let segments = [Segment::empty(), Segment::of(b"a"), Segment::empty(), Segment::of(b"b")];
    assert_eq!(group.send(id, &[]), Sent::Bytes(0));
    assert_eq!(group.send(id, &segments[..1]), Sent::Bytes(0));
    assert_eq!(group.send(id, &segments), Sent::Bytes(2));
    drive_quiet(&mut group, &mut Recorder::greedy());
    let mut arrived = [0; 2];
    far.read_exact(&mut arrived).unwrap();
    assert_eq!(&arrived, b"ab");
}

#[test]
fn blocked_send_goes_on_when_the_peer_reads() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    let bytes: &'static [u8] = pattern(64 << 20).leak();
    let whole = Segment::of(bytes);
    let mut sent = 0;
    let mut arrived = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while sent < bytes.len() {
        match group.send(id, &[whole.slice(sent..bytes.len())]) {
            Sent::Bytes(taken) => sent += taken,
            Sent::Blocked => {
                assert_eq!(group.send(id, &[whole]), Sent::Blocked, "without a word nothing changes");
                let told = recorder.writable;
                let got = far.read(&mut buffer).unwrap();
                arrived.extend_from_slice(&buffer[..got]);
                while arrived.len() < sent && recorder.writable == told {
                    group.poll(&mut recorder);
                    if recorder.writable == told {
                        let got = far.read(&mut buffer).unwrap();
                        arrived.extend_from_slice(&buffer[..got]);
                    }
                }
                drive(&mut group, &mut recorder, |recorder| recorder.writable > told);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(recorder.writable > 0);
    group.close(id);
    far.read_to_end(&mut arrived).unwrap();
    assert!(arrived == bytes);
}

fn writable_is_only_told_to_those_who_were_blocked() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    for _ in 0..10 {
        assert_eq!(group.send(id, &[Segment::of(b"ping")]), Sent::Bytes(4));
        let mut arrived = [0; 4];
        far.read_exact(&mut arrived).unwrap();
        far.write_all(&arrived).unwrap();
        drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == 4);
        recorder.taken.clear();
    }
    drive_quiet(&mut group, &mut recorder);
    assert_eq!(recorder.writable, 0);
}
