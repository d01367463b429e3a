//! Connections that end at any byte of what they have to say.

use std::thread;

use corelane::initiator::command;
use zerocopy::IntoBytes;

use crate::peer::{self, Digests, Peer, by_transport, in_capsule, plain_icreq as icreq};
use crate::scene::{self, NQN, Scene};
use crate::session::Session;

/// Queues that a session opens before the next one begins: fewer than a controller may have.
const QUEUES: u16 = 60;
const CHECK_EVERY: usize = 200;

/// Where the stream ends; says so when the test fails there.
struct End(usize);

impl Drop for End {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the stream ends after {} bytes", self.0);
        }
    }
}

#[test]
fn a_handshake_may_end_at_every_byte() {
    let mut scene = Scene::start();
    let script = scene.script();
    let connect = peer::capsule(&script.connect(0).into(), script.data.as_bytes());
    let stream = [icreq(), connect].concat();
    for end in 0..stream.len() {
        let _end = End(end);
        let mut peer = Peer::new(scene.address);
        peer.send(&stream[..end]);
        peer.finish();
        peer.closed();
        if end % CHECK_EVERY == 0 {
            scene.check();
        }
    }
    scene.end();
}

#[test]
fn a_command_with_data_may_end_at_every_byte_and_writes_nothing() {
    let mut scene = Scene::start();
    let write = in_capsule(command::write(1, 0, 1, false), 1, 512);
    ends_everywhere(&mut scene, |io| (peer::command(&write, &[0xee; 512], &io.agreement), false));
    blocks_are_zero(&scene);
    scene.end();
}

#[test]
fn a_transfer_may_end_at_every_byte_and_writes_nothing() {
    let mut scene = Scene::start();
    let write = by_transport(command::write(1, 0, 1, false), 1, 512);
    ends_everywhere(&mut scene, |io| {
        io.command(&write, &[]);
        let request = io.ready_to_transfer();
        (io.data(&peer::chunk(&request, 0, 512, true), &[0xee; 512]), true)
    });
    blocks_are_zero(&scene);
    scene.end();
}

/// Sends every true prefix of what `script` makes, each on an I/O queue of its own, then closes: in order, or, every
/// other time, without having read.
fn ends_everywhere(scene: &mut Scene, script: impl Fn(&mut Peer) -> (Vec<u8>, bool)) {
    let mut with_digests = scene.script();
    with_digests.digests = Digests { header: true, data: true };
    let mut end = 0;
    let mut sessions: Vec<Session> = Vec::new();
    loop {
        sessions.clear();
        sessions.push(with_digests.start());
        let session = &sessions[0];
        for qid in 1..=QUEUES {
            let mut io = session.io(qid);
            let (bytes, _) = script(&mut io);
            if end == bytes.len() {
                scene.check();
                return;
            }
            io.send(&bytes[..end]);
            if end % 2 == 0 {
                io.finish();
                io.closed();
            }
            end += 1;
        }
        scene.check();
    }
}

fn blocks_are_zero(scene: &Scene) {
    let mut host = scene::connect(scene.address, NQN);
    assert!(host.read(1, 0, 8).expect("a read").iter().all(|&byte| byte == 0), "nothing was written");
    host.disconnect().expect("a disconnect");
}
