//! How streams end.

use std::{
    io::{Read, Write},
    net::Shutdown,
    time::Duration,
};

use rustix::net::sockopt;

use super::{Recorder, connected, drive, drive_quiet};
use crate::{
    buffer::Segment,
    poll_group::{Closed, Errno, Sent, Taken},
};

on_both_engines! {
    bytes_come_before_the_end_and_sending_goes_on,
    end_is_noticed_after_a_receive_that_left_room,
    end_and_more_bytes_than_a_chunk_holds,
    paused_socket_learns_of_the_end_when_it_is_resumed,
    reset_is_a_failure,
}

fn bytes_come_before_the_end_and_sending_goes_on() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    far.write_all(b"last words").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    drive(&mut group, &mut recorder, |recorder| !recorder.closed.is_empty());
    assert_eq!(recorder.taken, b"last words");
    assert_eq!(recorder.closed, [(id, Closed::ByPeer)]);
    drive_quiet(&mut group, &mut recorder);
    assert_eq!(group.send(id, &[Segment::of(b"answer")]), Sent::Bytes(6));
    group.close(id);
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

fn end_is_noticed_after_a_receive_that_left_room() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::idle();
    far.write_all(b"half a mess").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.last_shown() == b"half a mess");
    drive_quiet(&mut group, &mut recorder);
    far.shutdown(Shutdown::Write).unwrap();
    drive(&mut group, &mut recorder, |recorder| !recorder.closed.is_empty());
    assert_eq!(recorder.closed, [(id, Closed::ByPeer)]);
    let (_, unread) = group.detach(id);
    assert_eq!(unread, b"half a mess");
}

fn end_and_more_bytes_than_a_chunk_holds() {
    let (mut group, _, mut far) = connected(2);
    let mut recorder = Recorder::greedy();
    let sent = super::pattern(3 * 4096 + 5);
    far.write_all(&sent).unwrap();
    drop(far);
    drive(&mut group, &mut recorder, |recorder| !recorder.closed.is_empty());
    assert_eq!(recorder.taken, sent);
    assert_eq!(recorder.closed[0].1, Closed::ByPeer);
}

fn paused_socket_learns_of_the_end_when_it_is_resumed() {
    let (mut group, id, mut far) = connected(2);
    let mut recorder = Recorder::new(|_, bytes| Taken::pause(bytes.len()));
    far.write_all(b"x").unwrap();
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"x");
    far.write_all(b"y").unwrap();
    drop(far);
    drive_quiet(&mut group, &mut recorder);
    group.resume(id);
    drive(&mut group, &mut recorder, |recorder| recorder.taken == b"xy");
    drive_quiet(&mut group, &mut recorder);
    group.resume(id);
    drive(&mut group, &mut recorder, |recorder| !recorder.closed.is_empty());
}

fn reset_is_a_failure() {
    let (mut group, id, far) = connected(2);
    let mut recorder = Recorder::greedy();
    drive_quiet(&mut group, &mut recorder);
    sockopt::set_socket_linger(&far, Some(Duration::ZERO)).unwrap();
    drop(far);
    drive(&mut group, &mut recorder, |recorder| !recorder.closed.is_empty());
    assert_eq!(recorder.closed, [(id, Closed::Failed(Errno::CONNRESET))]);
    assert_eq!(group.send(id, &[Segment::of(b"to nobody")]), Sent::Failed(Errno::PIPE));
    drive_quiet(&mut group, &mut recorder);
    assert!(group.contains(id));
    group.close(id);
    assert!(!group.contains(id));
}

#[test]
fn reset_wakes_a_blocked_sender() {
    let (mut group, id, far) = connected(2);
    let mut recorder = Recorder::greedy();
    let megabyte = Segment::of(vec![1; 1 << 20].leak());
    while !matches!(group.send(id, &[megabyte]), Sent::Blocked) {}
    sockopt::set_socket_linger(&far, Some(Duration::ZERO)).unwrap();
    drop(far);
    drive(&mut group, &mut recorder, |recorder| recorder.writable == 1 && recorder.closed.len() == 1);
    assert_eq!(group.send(id, &[megabyte]), Sent::Failed(Errno::PIPE));
}
