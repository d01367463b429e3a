//! What the kernel takes for peers that have not shown yet that they read.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
};

use rustix::net::{AddressFamily, SocketType, sockopt};
use socket2::SockRef;

use super::{Group, Recorder, drive, group, pattern};
use crate::{
    buffer::Segment,
    poll_group::{Probation, Sent, SocketId},
};

on_both_engines! {
    little_is_taken_for_a_peer_that_has_taken_little,
    a_peer_that_has_taken_enough_is_sent_as_much_as_the_kernel_likes,
    a_detached_socket_is_without_a_bound,
}

const PROBATION: Probation = Probation { unsent_bytes: 128 << 10, ends_after_bytes: 4 << 20 };

/// What is asked for: more than the kernel takes for a socket, whatever its limits are.
const ASKED: usize = 8 << 20;

/// What a peer may have room for, and a segment of loopback, beyond what may be unsent.
const WINDOW_AND_SEGMENT: usize = 128 << 10;

/// A group that puts on probation with one socket, and its far end with the least memory for what it receives.
fn connected() -> (Group, SocketId, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&far, 0).unwrap();
    rustix::net::connect(&far, &listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut group = group(2, 2);
    group.put_on_probation(PROBATION);
    let id = group.add(near, &[]).unwrap();
    (group, id, TcpStream::from(far))
}

/// Bytes that the kernel holds for the sender at the other end of `far`, as /proc/net/tcp (proc_net_tcp.txt) tells.
fn held(far: &TcpStream) -> usize {
    let (near, far) = (far.peer_addr().unwrap().port(), far.local_addr().unwrap().port());
    let ends = format!("0100007F:{near:04X} 0100007F:{far:04X}");
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let line = table.lines().find(|line| line.contains(&ends)).expect("the connection is open");
    // The state, then what is to be sent and what is to be read.
    let queues = line.split_whitespace().nth(4).unwrap();
    usize::from_str_radix(queues.split(':').next().unwrap(), 16).unwrap()
}

fn unsent_max(stream: &TcpStream) -> u32 {
    SockRef::from(stream).tcp_notsent_lowat().unwrap()
}

fn little_is_taken_for_a_peer_that_has_taken_little() {
    let (mut group, id, far) = connected();
    let whole = Segment::of(pattern(ASKED).leak());
    // On io_uring it may be pending: then the kernel has it as long as it is not taken.
    let first = match group.send(id, &[whole]) {
        Sent::Bytes(bytes) => bytes,
        Sent::Pending => 0,
        other => panic!("{other:?}"),
    };
    assert!(matches!(group.send(id, &[whole.slice(first..ASKED)]), Sent::Blocked | Sent::Pending));
    let held = held(&far);
    let bound = PROBATION.unsent_bytes as usize;
    println!("the kernel holds {held} bytes");
    assert!(held >= bound, "{held} bytes are less than it may hold");
    assert!(held <= bound + WINDOW_AND_SEGMENT, "{held} bytes for a peer that reads nothing");
    assert!(group.halt(id));
}

fn a_peer_that_has_taken_enough_is_sent_as_much_as_the_kernel_likes() {
    let (mut group, id, mut far) = connected();
    let mut recorder = Recorder::greedy();
    let bytes: &'static [u8] = pattern(PROBATION.ends_after_bytes).leak();
    let whole = Segment::of(bytes);
    let reader = std::thread::spawn(move || {
        let mut arrived = vec![0; PROBATION.ends_after_bytes];
        far.read_exact(&mut arrived).unwrap();
        (far, arrived)
    });
    let mut sent = 0;
    while sent < bytes.len() {
        let told = recorder.writable;
        match group.group.send(id, &[whole.slice(sent..bytes.len())]) {
            Sent::Bytes(taken) => sent += taken,
            Sent::Blocked => drive(&mut group, &mut recorder, |recorder| recorder.writable > told),
            Sent::Pending => {
                let before = recorder.sent.len();
                drive(&mut group, &mut recorder, |recorder| recorder.sent.len() > before);
                sent += recorder.sent[before].unwrap();
            }
            Sent::Failed(errno) => panic!("{errno:?}"),
        }
    }
    let (far, arrived) = reader.join().unwrap();
    assert!(arrived == bytes);
    // Of the kernel's own choice it holds more than it did on probation.
    let much = Segment::of(pattern(ASKED).leak());
    assert!(matches!(group.send(id, &[much]), Sent::Bytes(_) | Sent::Pending));
    let held = held(&far);
    println!("the kernel holds {held} bytes");
    assert!(held > PROBATION.unsent_bytes as usize + WINDOW_AND_SEGMENT);
    assert!(group.halt(id));
}

fn a_detached_socket_is_without_a_bound() {
    let (mut group, id, _far) = connected();
    let (stream, _) = group.detach(id);
    assert_eq!(unsent_max(&stream), 0);
    let id = group.add(stream, &[]).unwrap();
    assert!(matches!(group.send(id, &[Segment::of(b"a few bytes")]), Sent::Bytes(11)));
    let (stream, _) = group.detach(id);
    assert_eq!(unsent_max(&stream), 0);
}

#[test]
#[should_panic(expected = "no bound")]
fn a_probation_without_a_bound_is_refused() {
    group(2, 2).put_on_probation(Probation { unsent_bytes: 0, ..PROBATION });
}
