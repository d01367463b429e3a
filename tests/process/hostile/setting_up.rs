//! Queues whose set-up fails half way (CVE-2023-5178): each failure gives back what was taken, and the next one is set up as if
//! there had been none.

use std::time::Instant;

use corelane::initiator::command;
use corelane::spec::status::Status;
use serde_json::json;
use zerocopy::IntoBytes;

use crate::harness::Server;
use crate::peer::{self, ANSWER_MAX, Leaves, Peer, by_transport};
use crate::scene::{NQN, OTHER_NQN, Scene, configuration, connect};
use crate::session::{Script, Session, numbered};

/// Failures in a row: more than there is room for anything.
const FAILURES: u16 = 200;

/// The queue, once the target has noticed that the one before is gone.
fn again(session: &Session, qid: u16) -> Peer {
    let deadline = Instant::now() + ANSWER_MAX;
    loop {
        let (peer, cqe) = session.script.attempt(session.script.connect(qid), &session.script.data);
        if cqe.status().is_success() {
            return peer;
        }
        assert!(Instant::now() < deadline, "queue {qid} can be connected: {:?}", cqe.status());
    }
}

#[test]
fn queues_without_buffers_are_refused_and_leave_nothing() {
    let mut small = configuration();
    // One I/O reactor with the buffers of five queues.
    small["reactors"]["io_count"] = json!(1);
    small["memory"] = json!({"bytes_per_reactor": "16MiB", "hugepages": "never"});
    let server = Server::start(small);
    let address = server.listeners()[0];
    let mut bystander = connect(address, OTHER_NQN);
    let session = Script::new(address, NQN).start();
    let mut queues = Vec::new();
    let busy = loop {
        let qid = u16::try_from(queues.len() + 1).expect("a few");
        let (peer, cqe) = session.script.attempt(session.script.connect(qid), &session.script.data);
        match cqe.status() {
            Status::SUCCESS => queues.push(peer),
            status => break (qid, status),
        }
        assert!(queues.len() < 8, "16 MiB have an end");
    };
    assert_eq!(busy.1, Status::CONNECT_CONTROLLER_BUSY, "the host may try again");
    for _ in 0..FAILURES {
        let (mut peer, cqe) = session.script.attempt(session.script.connect(busy.0), &session.script.data);
        // Until the target has noticed the end of the last one, its QID is in use.
        let expected = [Status::CONNECT_CONTROLLER_BUSY, Status::COMMAND_SEQUENCE_ERROR.with_dnr()];
        assert!(expected.contains(&cqe.status()), "{:?}", cqe.status());
        peer.closed();
    }
    bystander.flush(1).expect("queues that are there are served");
    // With the buffers of another queue, this one is set up.
    drop(queues.pop());
    let mut io = again(&session, busy.0);
    assert!(io.execute(&numbered(command::flush(1), 1), &[]).status().is_success());
    drop((io, queues, session));
    bystander.disconnect().expect("a disconnect");
    server.stop();
}

#[test]
fn queues_that_are_reset_while_they_are_set_up_leave_nothing() {
    let mut scene = Scene::start();
    let session = scene.script().start();
    let connect = peer::capsule(&session.script.connect(1).into(), session.script.data.as_bytes());
    let read = by_transport(command::read(1, 0, 256), 9, 128 << 10);
    for number in 0..FAILURES {
        let mut peer = session.script.opened();
        // The whole command; or a part of it; or commands of the queue behind it, before the answer.
        match number % 3 {
            0 => peer.send(&connect),
            1 => peer.send(&connect[..usize::from(number) * 5]),
            _ => peer.send(&[connect.clone(), peer::capsule(&read, &[]).repeat(8)].concat()),
        }
        peer.leave(Leaves::ALL[usize::from(number / 3) % 3]);
        if number % 50 == 0 {
            scene.check();
        }
    }
    let mut io = again(&session, 1);
    assert!(io.execute(&numbered(command::flush(1), 1), &[]).status().is_success());
    scene.check();
    drop((io, session));
    scene.end();
}
