//! Hostile peers leave nothing behind.

use corelane::initiator::command;

use crate::hostile::Stage;
use crate::peer::{Peer, by_transport, in_capsule, plain_icreq as icreq};
use crate::scene::Scene;

/// Rounds of a batch.
const ROUNDS: usize = 10;
/// Batches until one must have left nothing.
const BATCHES: usize = 10;
/// What a batch may leave, in bytes: about a hundred for each of its connections.
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
    // Memory is touched first where more connections than ever are open at once, and stays; what a connection leaves
    // behind grows with every batch.
    let mut grown = Vec::new();
    for _ in 0..BATCHES {
        let before = scene.resident_bytes();
        for _ in 0..ROUNDS {
            round(&mut scene);
        }
        let left = scene.resident_bytes().saturating_sub(before);
        if left <= LEFT_MAX {
            return scene.end();
        }
        grown.push(left);
    }
    panic!("{ROUNDS} rounds of hostile peers each time leave bytes: {grown:?}");
}
