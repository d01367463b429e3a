//! A server with two subsystems, and a bystander on the second: whatever happens on the first, it is served.

use std::fs;
use std::net::SocketAddr;

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::spec::nqn::Nqn;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::pattern;
use crate::session::Script;

/// The subsystem that tests do what they like with: namespace 1, 512-byte blocks; namespace 2, null.
pub(crate) const NQN: &str = "nqn.2026-11.io.corelane:disk0";
/// The bystander's subsystem.
pub(crate) const OTHER_NQN: &str = "nqn.2026-11.io.corelane:disk1";
/// Blocks of 4,096 bytes that the bystander moves: some in a capsule, some by R2T.
const BLOCKS: [u32; 3] = [1, 2, 32];
const BLOCK_BYTES: usize = 4096;

/// A server with a bystander.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    bystander: Host,
    rounds: u64,
}

impl Scene {
    /// With the default limits.
    pub(crate) fn start() -> Self {
        Self::with_limits(json!({}))
    }

    /// With these limits.
    pub(crate) fn with_limits(limits: Value) -> Self {
        Self::with(|configuration| configuration["limits"] = limits)
    }

    /// With these changes of the configuration.
    pub(crate) fn with(change: impl FnOnce(&mut Value)) -> Self {
        let mut configuration = configuration();
        change(&mut configuration);
        let server = Server::start(configuration);
        let address = server.listeners()[0];
        let bystander = connect(address, OTHER_NQN);
        let mut scene = Self { server, address, bystander, rounds: 0 };
        scene.check();
        scene
    }

    /// What a host without a fault says to the first subsystem.
    pub(crate) fn script(&self) -> Script {
        Script::new(self.address, NQN)
    }

    /// The process lives, and the bystander reads back what it writes.
    pub(crate) fn check(&mut self) {
        let ended = self.server.child.try_wait().expect("asking after the process");
        assert!(ended.is_none(), "corelane ended with {ended:?}");
        self.rounds += 1;
        for blocks in BLOCKS {
            let data = pattern::blocks(self.rounds, u64::from(blocks), blocks as usize * BLOCK_BYTES);
            self.bystander.write(1, u64::from(blocks), &data).expect("a write of the bystander");
            let back = self.bystander.read(1, u64::from(blocks), blocks).expect("a read of the bystander");
            assert!(back == data, "the bystander reads what it wrote");
        }
    }

    /// Memory of the process in bytes, as far as it is resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.server.child.id());
        let status = fs::read_to_string(path).expect("the status of the process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line with VmRSS");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes << 10
    }

    /// The bystander is served a last time, disconnects, and the server stops in order.
    pub(crate) fn end(mut self) {
        self.check();
        self.bystander.disconnect().expect("the bystander disconnects");
        self.server.stop();
    }
}

/// A configuration with one listener, whose port the kernel picks.
pub(crate) fn configuration() -> Value {
    let listeners = json!([{"transport": "tcp", "address": "127.0.0.1", "port": 0}]);
    // All tests of this file's users on the other engine: CORELANE_TEST_ENGINE=io_uring.
    let engine = std::env::var("CORELANE_TEST_ENGINE").unwrap_or_else(|_| "auto".to_owned());
    json!({
        "reactors": {"engine": engine},
        "bdevs": [
            {"name": "ram0", "type": "malloc", "size": "64MiB", "block_size": 512},
            {"name": "void", "type": "null", "size": "1TiB", "block_size": 4096},
            {"name": "ram1", "type": "malloc", "size": "64MiB", "block_size": 4096}
        ],
        "subsystems": [
            {"nqn": NQN, "allow_any_host": true, "listeners": listeners,
             "namespaces": [{"nsid": 1, "bdev": "ram0"}, {"nsid": 2, "bdev": "void"}]},
            {"nqn": OTHER_NQN, "allow_any_host": true, "listeners": listeners,
             "namespaces": [{"nsid": 1, "bdev": "ram1"}]}
        ]
    })
}

/// A host with one I/O queue to the subsystem `nqn`.
pub(crate) fn connect(address: SocketAddr, nqn: &str) -> Host {
    let options = HostOptions::new(Nqn::parse(nqn).expect("a name"));
    Host::connect(address, &options).unwrap_or_else(|error| panic!("connecting to {nqn}: {error}"))
}
