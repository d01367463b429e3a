//! 1,024 connections at once, and the limit on open files, of which each of them takes one.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use corelane::initiator::command;
use corelane::initiator::command::reservation;
use corelane::spec::reservation::{PersistChange, RegisterAction};
use corelane::spec::tcp::PduType;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use zerocopy::IntoBytes;

use crate::pattern;
use crate::peer::{Digests, Peer, by_transport, icreq, in_capsule};
use crate::program::{Program, run_by};
use crate::scene::{NQN, OTHER_NQN, Scene, configuration, connect};
use crate::session::{Script, Session};
use crate::starting::refused;

/// The default of `connections_max`.
const CONNECTIONS: usize = 1024;
/// What the bystander of a scene has.
const BYSTANDER: usize = 2;
const BYTES: usize = 4096;
const LATE: Duration = Duration::from_secs(20);

/// This process needs descriptors, too.
fn raise_own() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit");
}

/// An admin queue and an I/O queue of a host of its own.
struct Pair {
    session: Session,
    io: Peer,
}

impl Pair {
    fn new(script: &Script, number: usize) -> Self {
        let mut script = script.clone();
        script.data.hostid[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        let session = script.start();
        let io = session.io(1);
        Self { session, io }
    }

    /// Writes and reads back a place of its own.
    fn works(&mut self, number: usize) {
        let lba = number as u64 * 8;
        let data = pattern::blocks(7, lba, BYTES);
        let write = in_capsule(command::write(1, lba, 8, false), 1, BYTES);
        assert!(self.io.execute(&write, &data).status().is_success(), "host {number}");
        self.io.command(&by_transport(command::read(1, lba, 8), 2, BYTES), &[]);
        let pdu = self.io.receive().expect("data");
        assert!(pdu.common.pdu_type == PduType::C2H_DATA && pdu.payload() == data, "host {number}");
        let alive = self.session.admin.execute(&crate::session::numbered(command::keep_alive(), 9), &[]);
        assert!(alive.status().is_success(), "host {number}");
    }
}

/// One more is closed at once, without a word.
fn one_more_is_closed(address: SocketAddr) {
    let mut refused = Peer::new(address);
    refused.send_some(&icreq(Digests::NONE));
    assert!(refused.receive().is_none(), "it is closed");
}

/// There is room for a connection again, which the target notices in its own time.
fn room_comes_back(address: SocketAddr) -> Peer {
    let deadline = Instant::now() + LATE;
    loop {
        let mut peer = Peer::new(address);
        peer.send_some(&icreq(Digests::NONE));
        if peer.receive().is_some() {
            return peer;
        }
        assert!(Instant::now() < deadline, "there is room again");
    }
}

#[test]
fn a_thousand_connections_are_served_and_one_more_is_not() {
    raise_own();
    let mut scene = Scene::start();
    let script = scene.script();
    let mut pairs: Vec<_> =
        (0..(CONNECTIONS - BYSTANDER) / 2).map(|number| Pair::new(&script, number)).collect();
    for (number, pair) in pairs.iter_mut().enumerate() {
        pair.works(number);
    }
    for _ in 0..3 {
        one_more_is_closed(scene.address);
    }
    scene.check();
    // All at once: every command is under way before the first is answered.
    for (number, pair) in pairs.iter_mut().enumerate() {
        pair.io.command(&by_transport(command::read(1, number as u64 * 8, 8), 3, BYTES), &[]);
    }
    for (number, pair) in pairs.iter_mut().enumerate() {
        let pdu = pair.io.receive().expect("data");
        assert!(pdu.payload() == pattern::blocks(7, number as u64 * 8, BYTES), "host {number}");
    }
    drop(pairs.pop());
    let back = [room_comes_back(scene.address), room_comes_back(scene.address)];
    one_more_is_closed(scene.address);
    pairs[0].works(0);
    drop((pairs, back));
    scene.end();
}

/// A configuration file, and a state directory beside it.
struct Written {
    _directory: tempfile::TempDir,
    file: String,
    state: String,
}

impl Written {
    fn new(limits: Value) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
        let (file, state) = (path("corelane.json"), path("state"));
        let mut configuration = configuration();
        configuration["limits"] = limits;
        let uuid = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";
        // Reservations that are kept need files while everything is taken.
        configuration["bdevs"][0] =
            json!({"name": "ram0", "type": "malloc", "size": "64MiB", "block_size": 512});
        configuration["subsystems"][0]["namespaces"][0]["uuid"] = json!(uuid);
        fs::write(&file, configuration.to_string()).expect("writing the configuration");
        Self { _directory: directory, file, state }
    }

    fn serve(&self) -> [&str; 5] {
        ["serve", "--config", &self.file, "--state-dir", &self.state]
    }
}

fn listener(program: &Program) -> SocketAddr {
    let lines = program.lines_until("listening tcp ");
    let line = lines.last().and_then(|line| line.strip_prefix("listening tcp ")).expect("its line");
    line.trim_end().parse().expect("an address")
}

/// Soft and hard limit on the open files of a process.
fn open_files(id: u32) -> (u64, u64) {
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).expect("the limits of a process");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a line");
    let mut words = line.split_whitespace().map(|word| word.parse().expect("a number"));
    (words.next().expect("the soft limit"), words.next().expect("the hard limit"))
}

#[test]
fn a_low_soft_limit_is_raised_to_what_is_needed() {
    let written = Written::new(json!({}));
    let program = Program::start_by(&["prlimit", "--nofile=256:4096"], &written.serve());
    listener(&program);
    let (soft, hard) = open_files(program.id());
    assert!((1024 + 64..2048).contains(&soft), "{soft} files may be open");
    assert_eq!(hard, 4096, "the hard limit stays");
    let errors = program.stop().errors;
    assert!(!errors.contains("open files"), "nothing is worth a word: {errors}");
}

#[test]
fn a_low_hard_limit_is_explained_and_never_costs_the_target_its_own_files() {
    raise_own();
    let written = Written::new(json!({}));
    let limit = ["prlimit", "--nofile=256:256"];
    let checked = run_by(&limit, &["check", &written.file]);
    let line = checked.output.iter().find(|line| line.starts_with("open files: ")).expect("a line");
    for part in ["1024 connections", "256 allowed", "ulimit -Hn ", "LimitNOFILE="] {
        assert!(line.contains(part), "{part:?} is missing in: {line}");
    }
    let (_, room) = line.split_once("256 allowed: ").expect("how many are served");
    let room: usize = room.split(' ').next().expect("a number").parse().expect("a number");
    assert!((16..256).contains(&room), "{room} connections");

    let program = Program::start_by(&limit, &written.serve());
    let address = listener(&program);
    program.errors_until(&format!("{room} connections are served"));
    let mut host = connect(address, OTHER_NQN);
    let mut keeper = Pair::new(&Script::new(address, NQN), 0);
    let mut others: Vec<_> = (4..room).map(|_| Peer::opened(address, Digests::NONE)).collect();
    for _ in 0..3 {
        one_more_is_closed(address);
    }
    // The target still has files of its own: a registration is made durable.
    let (sqe, data) = reservation::register(1, RegisterAction::REGISTER, PersistChange::SET, 0, 5);
    let sqe = in_capsule(sqe, 4, data.as_bytes().len());
    assert!(keeper.io.execute(&sqe, data.as_bytes()).status().is_success(), "a record is written");
    host.write(1, 0, &pattern::blocks(1, 0, BYTES)).expect("a write");
    drop(others.pop());
    drop(room_comes_back(address));
    host.disconnect().expect("a disconnect");
    drop((keeper, others));
    program.stop();
}

#[test]
fn a_limit_that_is_far_too_low_is_an_error_that_says_what_to_do() {
    let written = Written::new(json!({}));
    let finished = run_by(&["prlimit", "--nofile=100:100"], &written.serve());
    refused(
        &finished,
        &["cannot serve with so few open files", "may open 100 files", "ulimit -Hn ", "LimitNOFILE="],
    );
    // Who needs little gets along with it.
    let written = Written::new(json!({"connections_max": 2}));
    let checked = run_by(&["prlimit", "--nofile=200:200"], &["check", &written.file]);
    assert!(!checked.output.iter().any(|line| line.starts_with("open files")), "{checked:?}");
}
