//! SIGINT and SIGTERM: what is in flight is finished, connections are closed in order, and the process ends with 0, in
//! bounded time.

use std::time::{Duration, Instant};

use corelane::initiator::command;
use rustix::net::sockopt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::Server;
use crate::pattern;
use crate::peer::{self, Digests, Peer, by_transport, chunk};
use crate::program;
use crate::scene::{NQN, OTHER_NQN, configuration, connect};
use crate::session::{Script, Session, numbered};

/// A stop without anything in flight.
const QUICK: Duration = Duration::from_secs(3);
/// `shutdown_timeout_ms` where something stays in flight.
const GIVEN: Duration = Duration::from_millis(GIVEN_MS);
const GIVEN_MS: u64 = 1000;
const READ_BYTES: usize = 128 << 10;
/// The receive buffer of a slow peer.
const RECEIVE_BYTES: usize = 64 << 10;

fn server() -> Server {
    let mut configuration = configuration();
    configuration["limits"] = json!({"shutdown_timeout_ms": GIVEN_MS});
    Server::start(configuration)
}

/// An association with a queue, and the server it is with.
fn with_queue(digests: Digests) -> (Server, Session, Peer) {
    let server = server();
    let mut script = Script::new(server.listeners()[0], NQN);
    script.digests = digests;
    let session = script.start();
    let io = session.io(1);
    (server, session, io)
}

fn signal(server: &Server, signal: Signal) {
    kill_process(Pid::from_child(&server.child), signal).expect("sending a signal");
}

/// The process ends with 0 in this time. Returns how long that took.
fn ends(mut server: Server, limit: Duration) -> Duration {
    let start = Instant::now();
    program::wait(&server.child, limit);
    let status = server.child.wait().expect("waiting for corelane");
    assert!(status.success(), "corelane ended with {status}");
    start.elapsed()
}

#[test]
fn a_signal_ends_a_process_with_idle_connections() {
    for which in [Signal::TERM, Signal::INT] {
        let server = server();
        let address = server.listeners()[0];
        let mut hosts = [connect(address, NQN), connect(address, OTHER_NQN)];
        let mut silent = Peer::new(address);
        let mut opened = Peer::opened(address, Digests::NONE);
        let mut session = Script::new(address, NQN).start();
        session.admin.command(&numbered(command::async_event_request(), 1), &[]);
        let alive = session.admin.execute(&numbered(command::keep_alive(), 2), &[]);
        assert!(alive.status().is_success());
        signal(&server, which);
        for peer in [&mut silent, &mut opened, &mut session.admin] {
            assert!(peer.receive().is_none(), "{which:?}: a clean end of the connection");
        }
        ends(server, QUICK);
        for host in &mut hosts {
            assert!(host.flush(1).is_err(), "{which:?}: the queue has ended");
        }
    }
}

#[test]
fn two_signals_are_one() {
    let (server, _session, mut io) = with_queue(Digests::NONE);
    signal(&server, Signal::INT);
    signal(&server, Signal::TERM);
    assert!(io.receive().is_none());
    ends(server, QUICK);
}

/// Sends the signal, and waits until the target acts on it: it closes what is not connected.
fn stop_begins(server: &Server) {
    let mut witness = Peer::opened(server.listeners()[0], Digests::NONE);
    signal(server, Signal::TERM);
    assert!(witness.receive().is_none());
}

#[test]
fn answers_that_a_slow_peer_has_not_read_arrive_whole() {
    for digests in [Digests::NONE, Digests { header: true, data: true }] {
        let (server, session, mut io) = with_queue(digests);
        let data = pattern::blocks(1, 0, READ_BYTES);
        io.command(&by_transport(command::write(1, 0, 256, false), 1, READ_BYTES), &[]);
        let request = io.ready_to_transfer();
        io.transfer(&request, &data);
        assert!(io.completion().status().is_success());
        // What does not fit into the socket waits in the target.
        sockopt::set_socket_recv_buffer_size(&io.stream, RECEIVE_BYTES).expect("a small buffer");
        for cid in 0..31 {
            io.command(&by_transport(command::read(1, 0, 256), cid, READ_BYTES), &[]);
        }
        assert!(io.receive().expect("data").payload() == data);
        stop_begins(&server);
        let mut answers = 1;
        while let Some(pdu) = io.receive() {
            assert!(pdu.payload() == data, "whole answers, then a clean end");
            answers += 1;
        }
        assert_eq!(answers, 31, "every command that was taken is answered");
        drop(session);
        ends(server, QUICK);
    }
}

#[test]
fn commands_that_were_not_taken_do_not_cost_the_answers_of_others() {
    let (server, session, mut io) = with_queue(Digests::NONE);
    sockopt::set_socket_recv_buffer_size(&io.stream, RECEIVE_BYTES).expect("a small buffer");
    let read = by_transport(command::read(1, 0, 256), 1, READ_BYTES);
    let burst = peer::command(&read, &[], &io.agreement).repeat(500);
    io.send(&burst);
    io.receive().expect("data");
    stop_begins(&server);
    while let Some(pdu) = io.receive() {
        assert_eq!(pdu.payload().len(), READ_BYTES, "whole answers, then a clean end");
    }
    drop(session);
    ends(server, QUICK);
}

#[test]
fn a_write_whose_data_is_on_its_way_is_finished() {
    let (server, _session, mut io) = with_queue(Digests::NONE);
    io.command(&by_transport(command::write(1, 0, 256, false), 1, READ_BYTES), &[]);
    let request = io.ready_to_transfer();
    let bytes = pattern::blocks(1, 0, READ_BYTES);
    let (first, last) = bytes.split_at(READ_BYTES / 2);
    let first = io.data(&chunk(&request, 0, first.len(), false), first);
    let last = io.data(&chunk(&request, READ_BYTES / 2, last.len(), true), last);
    io.send(&first);
    stop_begins(&server);
    io.send(&last);
    let pdu = io.receive().expect("a completion");
    assert!(pdu.cqe().status().is_success());
    assert!(io.receive().is_none(), "then a clean end");
    ends(server, QUICK);
}

#[test]
fn a_write_whose_data_never_comes_is_given_up_in_time() {
    let (server, _session, mut io) = with_queue(Digests::NONE);
    io.command(&by_transport(command::write(1, 0, 256, false), 1, READ_BYTES), &[]);
    io.ready_to_transfer();
    stop_begins(&server);
    ends(server, GIVEN + QUICK);
    assert!(io.receive().is_none());
}

#[test]
fn a_peer_that_does_not_read_does_not_keep_the_process() {
    let (server, _session, mut io) = with_queue(Digests::NONE);
    sockopt::set_socket_recv_buffer_size(&io.stream, RECEIVE_BYTES).expect("a small buffer");
    for cid in 0..31 {
        io.command(&by_transport(command::read(1, 0, 256), cid, READ_BYTES), &[]);
    }
    stop_begins(&server);
    ends(server, GIVEN + QUICK);
}
