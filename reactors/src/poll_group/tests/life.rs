//! Adding, detaching and closing sockets; ids; sleeping on the descriptor.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Group, Recorder, connected, drive, drive_quiet, group, make, pair, pattern};
use crate::{
    buffer::Segment,
    poll_group::{Errno, Options, Refusal, Sent, Taken},
};

on_both_engines! {
    detached_socket_goes_on_elsewhere_with_its_unread_bytes,
    unread_bytes_wait_for_a_chunk_and_can_be_detached_meanwhile,
    refused_stream_comes_back,
    options_out_of_range_are_refused,
    stale_id_is_refused_and_does_not_reach_its_successor,
    ids_of_sockets_at_the_same_time_differ,
    one_poll_serves_a_bounded_number_of_sockets,
    descriptor_wakes_a_sleeper_that_has_nothing_pending,
}

fn detached_socket_goes_on_elsewhere_with_its_unread_bytes() {
    for pause in [false, true] {
        let (mut here, id, mut far) = connected(2);
        let mut recorder = Recorder::new(move |_, bytes| Taken { bytes: bytes.len().min(2), pause });
        far.write_all(b"0123456789").unwrap();
        drive(&mut here, &mut recorder, |recorder| recorder.last_shown() == b"0123456789");
        far.write_all(b"abc").unwrap();
        let (stream, unread) = here.detach(id);
        assert!(!here.contains(id));
        // An engine that receives by itself may have more.
        assert!(b"23456789abc".starts_with(&unread) && unread.starts_with(b"23456789"));
        let mut there = group(2, 2);
        let id = there.add(stream, &unread).unwrap();
        assert!(there.pending());
        let mut recorder = Recorder::idle();
        drive(&mut there, &mut recorder, |recorder| recorder.last_shown() == b"23456789abc");
        assert_eq!(recorder.shown[0], unread);
        assert_eq!(there.send(id, &[Segment::of(b"moved")]), Sent::Bytes(5));
        let mut arrived = [0; 5];
        far.read_exact(&mut arrived).unwrap();
        assert_eq!(&arrived, b"moved");
    }
}

fn unread_bytes_wait_for_a_chunk_and_can_be_detached_meanwhile() {
    let mut group = group(1, 2);
    let mut recorder = Recorder::new(|_, _| Taken::pause(0));
    let (_first_far, near) = pair();
    let first = group.add(near, b"keeps the chunk").unwrap();
    let (_second_far, near) = pair();
    let second = group.add(near, &pattern(4096)).unwrap();
    let (_third_far, near) = pair();
    let third = group.add(near, b"third").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"keeps the chunk");
    drive_quiet(&mut group, &mut recorder);
    let (_, unread) = group.detach(second);
    assert_eq!(unread, pattern(4096));
    group.close(first);
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"third");
    assert!(group.contains(third));
}

fn refused_stream_comes_back() {
    let options = Options { chunk_bytes: 4096, chunks: 2, sockets_max: 1, chunks_per_socket: 2 };
    let mut group = make(&options).unwrap();
    let (mut far, near) = pair();
    let error = group.add(near, &pattern(4097)).unwrap_err();
    assert_eq!(error.refusal, Refusal::TooMuchUnread);
    let id = group.add(error.stream, &[]).unwrap();
    let (_far, near) = pair();
    assert_eq!(group.add(near, &[]).unwrap_err().refusal, Refusal::Full);
    let mut recorder = Recorder::greedy();
    far.write_all(b"the first one is served").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"the first one is served");
    group.close(id);
    let not_tcp = TcpStream::from(OwnedFd::from(UnixStream::pair().unwrap().0));
    assert_eq!(group.add(not_tcp, &[]).unwrap_err().refusal, Refusal::System(Errno::OPNOTSUPP));
}

fn options_out_of_range_are_refused() {
    let valid = Options { chunk_bytes: 4096, chunks: 1, sockets_max: 1, chunks_per_socket: 2 };
    assert!(make(&valid).is_ok());
    let wrong = [
        Options { chunk_bytes: 0, ..valid },
        Options { chunk_bytes: 4097, ..valid },
        Options { chunk_bytes: (1 << 30) + 4096, ..valid },
        Options { chunks: 0, ..valid },
        Options { sockets_max: 0, ..valid },
        Options { sockets_max: usize::MAX, ..valid },
        Options { chunks_per_socket: 1, ..valid },
    ];
    for options in wrong {
        assert!(make(&options).is_err(), "{options:?}");
    }
}

fn stale_id_is_refused_and_does_not_reach_its_successor() {
    let (mut group, stale, _far) = connected(2);
    group.close(stale);
    let (mut far, near) = pair();
    let id = group.add(near, &[]).unwrap();
    assert_eq!(id.index(), stale.index());
    assert_ne!(id, stale);
    let mut recorder = Recorder::new(|_, _| Taken::pause(0));
    far.write_all(b"once").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"once");
    assert_eq!(group.send(stale, &[Segment::of(b"x")]), Sent::Failed(Errno::BADF));
    group.resume(stale);
    group.close(stale);
    assert!(group.contains(id) && !group.contains(stale));
    drive_quiet(&mut group, &mut recorder);
    assert_eq!(group.send(id, &[Segment::of(b"y")]), Sent::Bytes(1));
}

#[test]
fn stale_id_cannot_be_detached() {
    let (mut group, id, _far) = connected(2);
    let _ = group.detach(id);
    let again = std::panic::AssertUnwindSafe(|| group.detach(id));
    assert!(std::panic::catch_unwind(again).is_err());
}

fn ids_of_sockets_at_the_same_time_differ() {
    let mut group = group(2, 2);
    let (fars, nears): (Vec<_>, Vec<_>) = (0..8).map(|_| pair()).unzip();
    let ids: Vec<_> = nears.into_iter().map(|near| group.add(near, &[]).unwrap()).collect();
    let mut indices: Vec<_> = ids.iter().map(|id| id.index()).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..8).collect::<Vec<_>>());
    drop(fars);
    let mut recorder = Recorder::greedy();
    drive(&mut group, &mut recorder, |recorder| recorder.closed.len() == 8);
    let (_far, near) = pair();
    assert_eq!(group.add(near, &[]).unwrap_err().refusal, Refusal::Full, "closed by the peer is not closed");
}

fn one_poll_serves_a_bounded_number_of_sockets() {
    let options = Options { chunk_bytes: 4096, chunks: 100, sockets_max: 100, chunks_per_socket: 2 };
    let mut group = make(&options).unwrap();
    let mut recorder = Recorder::greedy();
    let fars: Vec<_> = (0..100)
        .map(|_| {
            let (far, near) = pair();
            group.add(near, b"unread").unwrap();
            far
        })
        .collect();
    assert_eq!(group.poll(&mut recorder), 64);
    assert_eq!(recorder.shown.len(), 64);
    assert!(group.pending());
    drive(&mut group, &mut recorder, |recorder| recorder.shown.len() == 100);
    drop(fars);
    drive(&mut group, &mut recorder, |recorder| recorder.closed.len() == 100);
}

fn descriptor_wakes_a_sleeper_that_has_nothing_pending() {
    let (mut group, _, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    drive_quiet(&mut group, &mut recorder);
    let readable = |group: &Group, seconds| {
        let mut watched = [PollFd::from_borrowed_fd(group.descriptor(), PollFlags::IN)];
        poll(&mut watched, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() == 1
    };
    group.prepare_for_sleep();
    assert!(!readable(&group, 0));
    far.write_all(b"wake up").unwrap();
    assert!(readable(&group, 10));
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"wake up");
    drive_quiet(&mut group, &mut recorder);
    group.prepare_for_sleep();
    assert!(!readable(&group, 0));
}

#[test]
fn a_poll_serves_no_more_sockets_than_it_is_told() {
    for (most, expected) in [(None, [3, 0]), (Some(1), [1, 1]), (Some(2), [2, 1])] {
        let mut group = group(8, 2);
        if let Some(most) = most {
            group.serve_at_most(most);
        }
        // With bytes that were read already, each is served at once.
        let far: Vec<_> = (0..3)
            .map(|_| {
                let (far, near) = pair();
                group.add(near, b"unread").unwrap();
                far
            })
            .collect();
        let mut recorder = Recorder::greedy();
        let mut shown = || {
            group.poll(&mut recorder);
            std::mem::take(&mut recorder.shown).len()
        };
        assert_eq!([shown(), shown()], expected, "{most:?}");
        drop(far);
    }
}
