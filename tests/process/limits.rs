//! Limits on what peers may take, and time limits. Where time is measured, it is this file's own.

use std::time::{Duration, Instant};

use corelane::initiator::command;
use corelane::spec::fabrics::{Connect, ConnectRefused};
use corelane::spec::status::Status;
use serde_json::json;

use crate::peer::icreq;
use crate::peer::{Digests, Peer};
use crate::scene::Scene;
use crate::session::numbered;

/// Later than any limit in this file by so much is too late.
const LATE: Duration = Duration::from_secs(5);

#[test]
fn one_connection_too_many_is_closed_and_room_comes_back() {
    // Two are the bystander's.
    let mut scene = Scene::with_limits(json!({"connections_max": 5}));
    let mut taken: Vec<_> = (0..3).map(|_| Peer::opened(scene.address, Digests::NONE)).collect();
    for _ in 0..10 {
        let mut refused = Peer::new(scene.address);
        assert!(refused.receive().is_none(), "it is closed at once");
        scene.check();
    }
    for peer in &mut taken {
        peer.send(&icreq(Digests::NONE));
        assert_eq!(peer.terminated(), (2, 0), "those that were there are served");
    }
    drop(taken);
    // The target notices in its own time.
    let deadline = Instant::now() + LATE;
    let mut again = Vec::new();
    while again.len() < 3 {
        assert!(Instant::now() < deadline, "there is room again");
        let mut peer = Peer::new(scene.address);
        peer.send_some(&icreq(Digests::NONE));
        if peer.receive().is_some() {
            again.push(peer);
        }
    }
    scene.check();
    drop(again);
    scene.end();
}

#[test]
fn queues_are_no_longer_and_no_more_than_allowed() {
    let mut scene = Scene::with_limits(json!({"queue_depth_max": 16, "queues_per_controller_max": 2}));
    let session = scene.script().start();
    let refused =
        |offset| (Status::CONNECT_INVALID_PARAMETERS.with_dnr(), ConnectRefused::command(offset).into());
    let rows = [
        (1, 16, refused(std::mem::offset_of!(Connect, sqsize_z))),
        (1, 17, refused(std::mem::offset_of!(Connect, sqsize_z))),
        (1, u16::MAX, refused(std::mem::offset_of!(Connect, sqsize_z))),
        (3, 15, refused(std::mem::offset_of!(Connect, qid))),
        (1, 15, (Status::SUCCESS, 1)),
        (2, 1, (Status::SUCCESS, 1)),
    ];
    let mut queues = Vec::new();
    for (qid, sqsize_z, (status, dw0)) in rows {
        let mut script = session.script.clone();
        script.sqsize_z = sqsize_z;
        let (peer, cqe) = script.attempt(script.connect(qid), &script.data);
        assert_eq!(cqe.status(), status, "QID {qid}, SQSIZE {sqsize_z}");
        let expected = if status.is_success() { u32::from(script.data.cntlid.get()) } else { dw0 };
        assert_eq!(cqe.dw0.get(), expected, "QID {qid}, SQSIZE {sqsize_z}");
        queues.push(peer);
        scene.check();
    }
    drop(queues);
    scene.end();
}

#[test]
fn silent_peers_have_their_time_and_no_more() {
    let given = Duration::from_secs(1);
    let limits = json!({"icreq_timeout_ms": 1000, "connect_timeout_ms": 1000});
    let mut scene = Scene::with_limits(limits);
    let start = Instant::now();
    let mut silent = Peer::new(scene.address);
    let mut halfway = Peer::new(scene.address);
    halfway.send(&icreq(Digests::NONE)[..100]);
    let mut opened = Peer::opened(scene.address, Digests::NONE);
    let mut half_connected = Peer::opened(scene.address, Digests::NONE);
    half_connected.send(&[4, 0, 72, 0]);
    let mut chatty = Peer::opened(scene.address, Digests::NONE);
    let refused = chatty.execute(&numbered(command::keep_alive(), 1), &[]);
    assert_eq!(refused.status(), Status::COMMAND_SEQUENCE_ERROR.with_dnr());
    let mut session = scene.script().start();
    scene.check();
    for (name, peer) in [
        ("no ICReq", &mut silent),
        ("half an ICReq", &mut halfway),
        ("no Connect", &mut opened),
        ("half a Connect", &mut half_connected),
        ("another command", &mut chatty),
    ] {
        assert!(peer.receive().is_none(), "{name}");
        let took = start.elapsed();
        assert!(took >= given && took < given * 2 + LATE, "{name}: closed after {took:?}");
    }
    // Who has connected may be silent.
    let alive = session.admin.execute(&numbered(command::keep_alive(), 1), &[]);
    assert!(alive.status().is_success());
    scene.check();
    drop(session);
    scene.end();
}

#[test]
fn bytes_one_by_one_do_not_buy_time() {
    let given = Duration::from_secs(1);
    let mut scene = Scene::with_limits(json!({"icreq_timeout_ms": 1000}));
    let start = Instant::now();
    let mut peer = Peer::new(scene.address);
    peer.stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a pace");
    let mut byte = [0];
    // All of it takes longer than there is.
    let closed = icreq(Digests::NONE).into_iter().any(|sent| {
        peer.send_some(&[sent]);
        // The pace: nothing comes, until the connection is closed.
        match std::io::Read::read(&mut peer.stream, &mut byte) {
            Ok(0) => true,
            Ok(_) => panic!("an answer to a part of an ICReq"),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    });
    let took = start.elapsed();
    assert!(closed && took >= given && took < given + LATE, "closed after {took:?}: {closed}");
    scene.check();
    scene.end();
}

#[test]
fn a_controller_that_is_not_kept_alive_is_closed() {
    let mut scene = Scene::start();
    let mut script = scene.script();
    // Rounded up to a second (KAS).
    script.kato_ms = 700;
    let given = Duration::from_secs(1);
    let start = Instant::now();
    let mut session = script.start();
    let mut io = session.io(1);
    let mut kept = script.start();
    let mut kept_io = kept.io(1);
    session.admin.stream.set_read_timeout(Some(given / 4)).expect("a pace");
    let mut byte = [0];
    loop {
        let alive = kept.admin.execute(&numbered(command::keep_alive(), 1), &[]);
        assert!(alive.status().is_success());
        // I/O is no sign of life.
        if let Ok(0) = std::io::Read::read(&mut session.admin.stream, &mut byte) {
            break;
        }
        assert!(start.elapsed() < given + LATE, "the controller is closed");
        scene.check();
    }
    let took = start.elapsed();
    assert!(took >= given, "closed after {took:?}");
    assert!(io.receive().is_none(), "its I/O queue is closed, too");
    // It is gone as soon as its last queue is.
    let deadline = Instant::now() + LATE;
    let gone = Status::CONNECT_INVALID_PARAMETERS.with_dnr();
    loop {
        let (_, cqe) = session.script.attempt(session.script.connect(2), &session.script.data);
        if cqe.status() == gone {
            break;
        }
        assert_eq!(cqe.status(), Status::COMMAND_SEQUENCE_ERROR.with_dnr(), "no queue joins it");
        assert!(Instant::now() < deadline, "the controller is gone");
        let alive = kept.admin.execute(&numbered(command::keep_alive(), 1), &[]);
        assert!(alive.status().is_success());
    }
    assert!(kept_io.execute(&numbered(command::flush(1), 1), &[]).status().is_success(), "the other is not");
    drop((kept, kept_io));
    scene.end();
}
