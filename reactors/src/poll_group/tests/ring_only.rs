//! What only the io_uring engine does: sends that end later, and system calls that are not made.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use rustix::net::sockopt;

use super::{
    Group, Recorder, connected, drive, drive_quiet, on_ring, on_ring_sending_at_once,
    on_ring_without_windows, pattern,
};
use crate::{
    buffer::{Gather, GatherList, Segment},
    poll_group::{Errno, Sent, SocketId, Taken},
};

/// Sends until the socket takes no more: the last send stays in flight.
fn fill(group: &mut Group, id: SocketId) {
    let megabyte = Segment::of(vec![1; 1 << 20].leak());
    for _ in 0..1000 {
        match group.send(id, &[megabyte]) {
            Sent::Bytes(bytes) => assert_eq!(bytes, 1 << 20),
            Sent::Pending => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("the socket takes everything");
}

fn read(far: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut arrived = vec![0; bytes];
    far.read_exact(&mut arrived).unwrap();
    arrived
}

fn assert_borrowed_bytes_are_copied() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    let mut list = GatherList::new(8);
    let mut header = *b"header";
    let mut gather = Gather::new(&mut list);
    gather.bytes(&header);
    gather.segment(Segment::of(b" payload"));
    assert_eq!(group.send_gathered(id, &gather), Sent::Pending);
    header.fill(b'x');
    assert_eq!(&header, b"xxxxxx");
    drive(&mut group, &mut recorder, |recorder| recorder.sent == [Ok(14)]);
    assert_eq!(read(&mut far, 14), b"header payload");
}

#[test]
fn borrowed_bytes_are_copied_before_the_call_ends() {
    on_ring(assert_borrowed_bytes_are_copied);
}

fn assert_second_send_is_blocked() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    assert_eq!(group.group.send(id, &[Segment::of(b"one")]), Sent::Pending);
    assert_eq!(group.group.send(id, &[Segment::of(b"two")]), Sent::Blocked);
    drive(&mut group, &mut recorder, |recorder| recorder.writable == 1);
    assert_eq!(recorder.sent, [Ok(3)]);
    assert_eq!(group.group.send(id, &[Segment::of(b"two")]), Sent::Pending);
    drive(&mut group, &mut recorder, |recorder| recorder.sent.len() == 2);
    assert_eq!(read(&mut far, 6), b"onetwo");
}

#[test]
fn second_send_waits_for_the_first() {
    on_ring(assert_second_send_is_blocked);
}

fn assert_large_send_ends_when_the_peer_reads() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    let bytes: &'static [u8] = pattern(16 << 20).leak();
    let reader = std::thread::spawn(move || read(&mut far, 16 << 20));
    let mut left = bytes;
    while !left.is_empty() {
        recorder.sent.clear();
        assert_eq!(group.group.send(id, &[Segment::of(left)]), Sent::Pending);
        drive(&mut group, &mut recorder, |recorder| !recorder.sent.is_empty());
        left = &left[recorder.sent[0].unwrap()..];
    }
    assert!(reader.join().unwrap() == bytes);
}

#[test]
fn large_send_ends_when_the_peer_has_read() {
    on_ring(assert_large_send_ends_when_the_peer_reads);
}

fn assert_more_than_a_message_holds_is_sent_in_part() {
    let (mut group, id, mut far) = connected(2);
    let bytes: &'static [u8] = pattern(300).leak();
    let segments: Vec<_> = bytes.chunks(1).map(Segment::of).collect();
    assert_eq!(group.send(id, &segments), Sent::Bytes(256));
    assert_eq!(group.send(id, &segments[256..]), Sent::Bytes(44));
    assert_eq!(read(&mut far, 300), bytes);
    let mut list = GatherList::new(8);
    let large = pattern(20_000);
    let mut gather = Gather::new(&mut list);
    gather.bytes(&large);
    gather.bytes(b"not yet");
    let mut recorder = Recorder::greedy();
    assert_eq!(group.send_gathered(id, &gather), Sent::Pending);
    drive(&mut group, &mut recorder, |recorder| recorder.sent == [Ok(12 << 10)]);
    assert_eq!(read(&mut far, 12 << 10), large[..12 << 10]);
}

#[test]
fn more_than_a_message_holds_is_sent_in_part() {
    on_ring(assert_more_than_a_message_holds_is_sent_in_part);
}

fn assert_reset_ends_a_pending_send() {
    let (mut group, id, far) = connected(2);
    let mut recorder = Recorder::greedy();
    fill(&mut group, id);
    sockopt::set_socket_linger(&far, Some(Duration::ZERO)).unwrap();
    drop(far);
    drive(&mut group, &mut recorder, |recorder| recorder.sent.len() == 1 && recorder.closed.len() == 1);
    assert!(!matches!(recorder.sent[0], Ok(bytes) if bytes == 1 << 20));
    assert_eq!(group.send(id, &[Segment::of(b"x")]), Sent::Failed(Errno::PIPE));
}

#[test]
fn reset_ends_a_pending_send() {
    on_ring(assert_reset_ends_a_pending_send);
}

fn assert_halt_and_close_end_a_pending_send() {
    for halt in [true, false] {
        let (mut group, id, mut far) = connected(2);
        let mut recorder = Recorder::greedy();
        fill(&mut group, id);
        let ring = group.ring.clone().unwrap();
        assert!(ring.in_flight() > 0);
        if halt {
            assert!(group.halt(id));
            assert_eq!(ring.in_flight(), 0);
            far.write_all(b"nobody listens").ok();
            drive_quiet(&mut group, &mut recorder);
            assert!(recorder.sent.is_empty() && recorder.shown.is_empty());
        }
        group.close(id);
        assert_eq!(ring.in_flight(), 0);
        assert!(group.halt(id), "stale");
    }
}

#[test]
fn halt_and_close_take_everything_back_from_the_kernel() {
    on_ring(assert_halt_and_close_end_a_pending_send);
}

fn assert_paused_socket_shows_nothing() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::new(|_, bytes| Taken::pause(bytes.len().min(2)));
    far.write_all(b"first").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"first");
    far.write_all(&pattern(6000)).unwrap();
    drive_quiet(&mut group, &mut recorder);
    // What the kernel received by itself stays in the chunk; what found no room in it stays with the kernel.
    group.resume(id);
    drive(&mut group, &mut recorder, |recorder| recorder.shown.len() == 2);
    assert!(recorder.last_shown().starts_with(b"rst"));
    assert!(recorder.last_shown().len() <= 4096);
    drive_quiet(&mut group, &mut recorder);
    recorder.policy = Box::new(|_, bytes| Taken::bytes(bytes.len()));
    group.resume(id);
    drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == 6005);
    assert_eq!(recorder.taken, [b"first", &pattern(6000)[..]].concat());
}

#[test]
fn paused_socket_shows_nothing_until_it_is_resumed() {
    on_ring(assert_paused_socket_shows_nothing);
}

fn assert_idle_polls_make_no_system_call() {
    let (mut group, _, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    drive_quiet(&mut group, &mut recorder);
    let ring = group.ring.clone().unwrap();
    let before = ring.enters();
    drive_quiet(&mut group, &mut recorder);
    assert_eq!(ring.enters(), before);
    far.write_all(b"one").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"one");
    assert_eq!(ring.enters(), before + 1, "and one for what came, without arming anything anew");
}

#[test]
fn idle_polls_make_no_system_call() {
    on_ring(assert_idle_polls_make_no_system_call);
}

fn assert_dropping_the_group_leaves_nothing_in_flight() {
    let (mut group, id, _far) = connected(2);
    drive_quiet(&mut group, &mut Recorder::greedy());
    fill(&mut group, id);
    let ring = group.ring.clone().unwrap();
    assert_eq!(ring.in_flight(), 2);
    drop(group);
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn dropping_the_group_leaves_nothing_in_flight() {
    on_ring(assert_dropping_the_group_leaves_nothing_in_flight);
}

fn assert_flood_is_bounded_and_starves_nobody() {
    let (mut group, flooded, mut far) = connected(4);
    let (mut other_far, near) = super::pair();
    let other = group.add(near, &[]).unwrap();
    // As much as the kernel takes and more, for as long as the test lasts.
    far.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
    let flood = pattern(1 << 20);
    let mut recorder = Recorder::new(|_, bytes| Taken::bytes(bytes.len()));
    for round in 0..20_u8 {
        // What does not fit is not of this test.
        let _ = far.write(&flood);
        other_far.write_all(&[round; 9]).unwrap();
        let mut polls = 0;
        let mut served = false;
        recorder.shown.clear();
        while !served {
            group.poll(&mut recorder);
            served = recorder.shown.iter().any(|bytes| bytes[..] == [round; 9]);
            polls += 1;
            assert!(polls < 10_000, "round {round}: the other socket is starved");
            if recorder.shown.is_empty() {
                std::thread::yield_now();
            }
        }
        assert!(recorder.shown.iter().all(|bytes| bytes.len() <= 4096), "no more than a chunk at a time");
    }
    assert!(group.contains(flooded) && group.contains(other) && recorder.closed.is_empty());
}

#[test]
fn flood_is_bounded_and_starves_nobody() {
    on_ring(assert_flood_is_bounded_and_starves_nobody);
    on_ring_without_windows(assert_flood_is_bounded_and_starves_nobody);
}

fn assert_full_chunk_is_received_from_again() {
    let (mut group, _, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    drive_quiet(&mut group, &mut recorder);
    // More than the window has room for: the receive ends for want of room, and the rest comes without a new event.
    let bytes = pattern(3 * 4096 + 17);
    far.write_all(&bytes).unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken.len() == bytes.len());
    assert_eq!(recorder.taken, bytes);
    drive_quiet(&mut group, &mut recorder);
    // And it is armed again.
    far.write_all(b"more").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken.ends_with(b"more"));
}

#[test]
fn receive_that_ended_for_want_of_room_goes_on() {
    on_ring(assert_full_chunk_is_received_from_again);
}

fn assert_full_socket_waits_in_the_ring() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    drive_quiet(&mut group, &mut recorder);
    let bytes: &'static [u8] = pattern(32 << 20).leak();
    let Sent::Bytes(first) = group.group.send(id, &[Segment::of(bytes)]) else { panic!("at once") };
    assert!(first < bytes.len(), "no socket takes 32 MiB");
    drive(&mut group, &mut recorder, |recorder| recorder.writable == 1);
    let before = group.ring.as_ref().unwrap().in_flight();
    assert_eq!(group.group.send(id, &[Segment::of(&bytes[first..])]), Sent::Pending);
    drive_quiet(&mut group, &mut recorder);
    assert_eq!(
        group.ring.as_ref().unwrap().in_flight(),
        before + 1,
        "it waits, and nobody asks again and again"
    );
    let reader = std::thread::spawn(move || read(&mut far, 32 << 20));
    let mut sent = first;
    loop {
        drive(&mut group, &mut recorder, |recorder| !recorder.sent.is_empty());
        sent += recorder.sent.remove(0).unwrap();
        if sent == bytes.len() {
            break;
        }
        assert_eq!(group.group.send(id, &[Segment::of(&bytes[sent..])]), Sent::Pending);
    }
    assert!(reader.join().unwrap() == bytes);
    // There is room again, so it is sent at once again.
    assert_eq!(group.group.send(id, &[Segment::of(b"x")]), Sent::Bytes(1));
}

#[test]
fn what_a_full_socket_does_not_take_at_once_waits_in_the_ring() {
    on_ring_sending_at_once(assert_full_socket_waits_in_the_ring);
}

fn assert_nothing_is_sent_before_what_is_in_flight() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    assert_eq!(group.group.send(id, &[Segment::of(b"one")]), Sent::Pending);
    group.send_at_once(true);
    assert_eq!(group.group.send(id, &[Segment::of(b"two")]), Sent::Blocked);
    drive(&mut group, &mut recorder, |recorder| recorder.writable == 1);
    assert_eq!(recorder.sent, [Ok(3)]);
    assert_eq!(group.group.send(id, &[Segment::of(b"two")]), Sent::Bytes(3));
    assert_eq!(read(&mut far, 6), b"onetwo");
}

#[test]
fn what_is_sent_at_once_does_not_overtake_what_is_in_flight() {
    on_ring(assert_nothing_is_sent_before_what_is_in_flight);
}
