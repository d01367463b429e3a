//! Hostile peers leave nothing behind.

use corelane::initiator::command;

use crate::hostile::{Stage, icreq};
use crate::peer::{Peer, by_transport, in_capsule};
use crate::scene::Scene;

const ROUNDS: usize = 8;
/// What one round may leave on average, in bytes: less than the state of one of its connections.
const LEFT_MAX: u64 = 64 << 10;

/// One connection after another: broken at every stage, closed without a word, left with commands under way.
fn round(scene: &mut Scene) {
    for at in [Stage::Fresh, Stage::Opened, Stage::Admin, Stage::Io] {
        for _ in 0..4 {
            let (mut peer, session) = at.reach(scene);
            peer.send_some(&[0xff; 128]);
            while peer.receive().is_some() {}
            drop(session);
        }
    }
    let mut silent = Vec::new();
    for _ in 0..16 {
        let mut peer = Peer::new(scene.address);
        peer.send(&icreq()[..64]);
        silent.push(peer);
    }
    let (mut peer, session) = Stage::Io.reach(scene);
    for cid in 0..30 {
        peer.command(&by_transport(command::read(2, 0, 32), cid, 128 << 10), &[]);
        peer.command(&by_transport(command::write(1, 0, 256, false), cid, 128 << 10), &[]);
        peer.command(&in_capsule(command::write(1, 0, 1, false), cid, 512), &[1; 512]);
    }
    drop(peer);
    drop(session);
    scene.check();
}

#[test]
fn memory_does_not_grow_with_the_number_of_hostile_peers() {
    let mut scene = Scene::start();
    // What is taken once and kept: receive chunks, buffers, tables.
    for _ in 0..3 {
        round(&mut scene);
    }
    let before = scene.resident_bytes();
    for _ in 0..ROUNDS {
        round(&mut scene);
    }
    let left = scene.resident_bytes().saturating_sub(before);
    assert!(
        left <= LEFT_MAX * ROUNDS as u64,
        "{left} bytes more are resident after {ROUNDS} rounds of hostile peers"
    );
    scene.end();
}
