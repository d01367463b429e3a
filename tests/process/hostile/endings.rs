//! Peers that end their connection, by half or by a reset, at every stage: nothing of them is left, and nothing that they
//! only began has an effect.

use std::time::{Duration, Instant};

use corelane::initiator::command;
use corelane::spec::identify::Cns;
use serde_json::json;
use zerocopy::IntoBytes;

use crate::peer::{
    self, ANSWER_MAX, Digests, Leaves, Peer, by_transport, chunk, in_capsule, plain_icreq as icreq,
};
use crate::scene::{self, NQN, Scene};
use crate::session::{Script, Session, numbered};

/// Connections at a time: two of the bystander, and fewer than the peers of one way to leave that are not given back.
const CONNECTIONS_MAX: usize = 20;
/// Commands under way when a peer leaves.
const COMMANDS: u16 = 16;
/// The stage at which more is under way than a socket takes at once.
const READS: &str = "Reads under way";

/// How far a peer has come when it leaves; with it the rest of its association.
type Stage = (&'static str, fn(&Script) -> (Peer, Option<Session>));

const STAGES: [Stage; 15] = [
    ("connected", |script| (Peer::new(script.address), None)),
    ("half an ICReq", |script| {
        let mut peer = Peer::new(script.address);
        peer.send(&icreq()[..64]);
        (peer, None)
    }),
    ("an ICReq whose answer is not read", |script| {
        let mut peer = Peer::new(script.address);
        peer.send(&icreq());
        (peer, None)
    }),
    ("opened", |script| (script.opened(), None)),
    ("half a Connect", |script| {
        let mut peer = script.opened();
        peer.send(&connect(script, 0)[..500]);
        (peer, None)
    }),
    ("a Connect whose answer is not read", |script| {
        let mut peer = script.opened();
        peer.send(&connect(script, 0));
        (peer, None)
    }),
    ("an I/O Connect whose answer is not read", |script| {
        let session = script.start();
        let mut peer = script.opened();
        peer.send(&connect(&session.script, 1));
        (peer, Some(session))
    }),
    ("an admin queue", |script| (admin(script), None)),
    ("event requests under way", |script| {
        let mut peer = admin(script);
        for cid in 0..4 {
            peer.command(&numbered(command::async_event_request(), cid), &[]);
        }
        (peer, None)
    }),
    ("Identify under way", |script| {
        let mut peer = admin(script);
        for cid in 0..COMMANDS {
            peer.command(&by_transport(command::identify(Cns::CONTROLLER, 0), cid, 4096), &[]);
        }
        (peer, None)
    }),
    ("an I/O queue", io),
    ("half a Write", |script| {
        let (mut peer, session) = io(script);
        let write = in_capsule(command::write(1, 0, 1, false), 1, 512);
        let write = peer::command(&write, &[0xee; 512], &peer.agreement);
        peer.send(&write[..300]);
        (peer, session)
    }),
    (READS, |script| {
        let (mut peer, session) = io(script);
        for cid in 0..COMMANDS {
            peer.command(&by_transport(command::read(1, 0, 256), cid, 128 << 10), &[]);
        }
        (peer, session)
    }),
    ("R2Ts that are not answered", |script| {
        let (mut peer, session) = io(script);
        for cid in 0..COMMANDS {
            peer.command(&by_transport(command::write(1, 0, 1, false), cid, 512), &[]);
        }
        for _ in 0..COMMANDS {
            peer.ready_to_transfer();
        }
        (peer, session)
    }),
    ("an R2T that is half answered", |script| {
        let (mut peer, session) = io(script);
        peer.command(&by_transport(command::write(1, 0, 4, false), 1, 2048), &[]);
        let request = peer.ready_to_transfer();
        let first = peer.data(&chunk(&request, 0, 1024, false), &[0xee; 1024]);
        let second = peer.data(&chunk(&request, 1024, 1024, true), &[0xee; 1024]);
        peer.send(&first);
        peer.send(&second[..400]);
        (peer, session)
    }),
];

fn connect(script: &Script, qid: u16) -> Vec<u8> {
    let digests = Peer::agreed(script.digests);
    peer::command(&script.connect(qid).into(), script.data.as_bytes(), &digests)
}

fn admin(script: &Script) -> Peer {
    script.start().admin
}

fn io(script: &Script) -> (Peer, Option<Session>) {
    let session = script.start();
    (session.io(1), Some(session))
}

/// `count` connections can be opened: there is room for them again.
fn fill(scene: &Scene, count: usize) {
    let deadline = Instant::now() + ANSWER_MAX;
    let mut peers = Vec::new();
    while peers.len() < count {
        assert!(Instant::now() < deadline, "room for {} of {count} connections", peers.len());
        let mut peer = Peer::new(scene.address);
        peer.send_some(&icreq());
        match peer.receive() {
            Some(_) => peers.push(peer),
            // The target notices an end in its own time.
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn whoever_leaves_at_any_stage_in_any_way_leaves_nothing() {
    let mut scene = Scene::with_limits(json!({"connections_max": CONNECTIONS_MAX}));
    for digests in [Digests::NONE, Digests { header: true, data: true }] {
        let mut script = scene.script();
        script.digests = digests;
        for how in Leaves::ALL {
            for (name, reach) in STAGES {
                println!("{name}, {how:?}, {digests:?}");
                await_room(&script);
                let (peer, session) = reach(&script);
                if let Some(mut peer) = peer.leave(how) {
                    // What was under way may be answered, as far as the socket has taken it.
                    if name == READS { peer.cut_off() } else { peer.closed() }
                }
                if let Some(mut session) = session {
                    let alive = session.admin.execute(&numbered(command::keep_alive(), 1), &[]);
                    assert!(alive.status().is_success(), "{name}: its admin queue goes on");
                }
            }
            scene.check();
            fill(&scene, CONNECTIONS_MAX - 2);
        }
    }
    await_room(&scene.script());
    let mut host = scene::connect(scene.address, NQN);
    assert!(host.read(1, 0, 8).expect("a read").iter().all(|&byte| byte == 0), "nothing was written");
    host.disconnect().expect("a disconnect");
    scene.end();
}

/// Three connections can be opened at a time, once the target has noticed who left.
fn await_room(script: &Script) {
    let deadline = Instant::now() + ANSWER_MAX;
    let is_served = |mut peer: Peer| {
        peer.send_some(&icreq());
        peer.receive().map(|_| peer)
    };
    let three = || (0..3).map(|_| is_served(Peer::new(script.address))).collect::<Vec<_>>();
    while three().iter().any(Option::is_none) {
        assert!(Instant::now() < deadline, "there is no room");
    }
}

#[test]
fn a_host_that_comes_back_after_a_reset_gets_the_same_queues() {
    let mut scene = Scene::start();
    let session = scene.script().start();
    for round in 0..30 {
        let deadline = Instant::now() + ANSWER_MAX;
        let mut io = loop {
            let (peer, cqe) = session.script.attempt(session.script.connect(1), &session.script.data);
            if cqe.status().is_success() {
                break peer;
            }
            assert!(Instant::now() < deadline, "round {round}: queue 1 is free again: {:?}", cqe.status());
        };
        for cid in 0..COMMANDS {
            io.command(&by_transport(command::write(1, 0, 256, false), cid, 128 << 10), &[]);
        }
        // All buffers of the queue that can be had for data of the host are waiting for it.
        io.ready_to_transfer();
        io.leave(Leaves::Resets);
    }
    scene.check();
    drop(session);
    scene.end();
}
