//! Random bytes, and random changes of what is right, at every stage of a connection.

use std::time::{SystemTime, UNIX_EPOCH};

use corelane::initiator::command;
use corelane::pdu::digest;
use zerocopy::IntoBytes;

use crate::hostile::Stage;
use crate::peer::{self, Digests, by_transport, in_capsule, plain_icreq as icreq};
use crate::scene::Scene;

const ROUNDS: usize = 150;
const CHECK_EVERY: usize = 10;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    /// From the variable `CORELANE_SEED`, or from the time; prints it.
    fn new() -> Self {
        let given = std::env::var("CORELANE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
            u64::from(time.subsec_nanos()) << 32 | time.as_secs() & 0xffff_ffff
        });
        println!("CORELANE_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// `bytes` with a few of them changed, cut, doubled or grown.
    fn spoil(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().min(160));
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.next().to_le_bytes()[0],
                2 => bytes[at] = [0, 0x7f, 0x80, 0xff][self.below(4)],
                3 => bytes.truncate(at.max(1)),
                4 => {
                    let more = self.below(64);
                    let more = self.bytes(more);
                    bytes.splice(at..at, more);
                }
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    }
}

#[test]
fn random_bytes_cost_only_their_own_connection() {
    let mut random = Random::new();
    let mut scene = Scene::start();
    for round in 0..ROUNDS {
        let at = [Stage::Fresh, Stage::Opened, Stage::Admin, Stage::Io][random.below(4)];
        let (mut peer, _session) = at.reach(&scene);
        let count = 1 + random.below(4096);
        let bytes = random.bytes(count);
        peer.send_some(&bytes);
        peer.finish();
        while peer.receive().is_some() {}
        if round % CHECK_EVERY == 0 {
            scene.check();
        }
    }
    scene.end();
}

#[test]
fn random_changes_of_right_bytes_cost_only_their_own_connection() {
    let mut random = Random::new();
    let mut scene = Scene::start();
    for round in 0..ROUNDS * 2 {
        let at = [Stage::Fresh, Stage::Opened, Stage::Admin, Stage::Io][random.below(4)];
        let (mut peer, _session) = at.reach(&scene);
        let script = scene.script();
        let right = match at {
            Stage::Fresh => icreq(),
            Stage::Opened => {
                peer::command(&script.connect(0).into(), script.data.as_bytes(), &peer.agreement)
            }
            Stage::Admin => {
                let page = corelane::spec::log_page::LogPageId::DISCOVERY;
                let get = by_transport(command::log_page(page, 0, 1024), 1, 1024);
                peer::command(&get, &[], &peer.agreement)
            }
            Stage::Io => {
                let mut bytes =
                    peer::command(&by_transport(command::read(1, 0, 8), 1, 4096), &[], &peer.agreement);
                let data = [0x11; 512];
                let write = in_capsule(command::write(1, 0, 1, false), 2, data.len());
                bytes.extend(peer::command(&write, &data, &peer.agreement));
                peer.command(&by_transport(command::write(1, 8, 8, false), 3, 4096), &[]);
                let request = peer.ready_to_transfer();
                if random.below(2) == 0 {
                    bytes = peer.data(&peer::chunk(&request, 0, 4096, true), &[0x22; 4096]);
                }
                bytes
            }
        };
        let wrong = random.spoil(right);
        peer.send_some(&wrong);
        peer.finish();
        while peer.receive().is_some() {}
        if round % CHECK_EVERY == 0 {
            scene.check();
        }
    }
    scene.end();
}

#[test]
fn random_changes_with_right_header_digests_cost_only_their_own_connection() {
    let mut random = Random::new();
    let mut scene = Scene::start();
    let mut script = scene.script();
    script.digests = Digests { header: true, data: true };
    let session = script.start();
    for round in 0..ROUNDS {
        let mut io = session.io(1 + u16::try_from(round % 60).expect("below 60"));
        let right = peer::command(&by_transport(command::read(1, 0, 8), 1, 4096), &[], &io.agreement);
        let mut wrong = right.clone();
        for _ in 0..=random.below(3) {
            // Behind the common header: everything that a command can say.
            wrong[8 + random.below(64)] = random.next().to_le_bytes()[0];
        }
        let digest = digest::header(&wrong[..72]);
        wrong[72..76].copy_from_slice(&digest);
        io.send_some(&wrong);
        io.finish();
        while io.receive().is_some() {}
        if round % CHECK_EVERY == 0 {
            scene.check();
        }
    }
    scene.end();
}
