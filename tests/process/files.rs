//! Namespaces in files: what a host has flushed is there after the target was killed, and what cannot be served is said.

use std::fs;
use std::path::Path;
use std::time::Duration;

use corelane::initiator::blocking::Host;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::pattern;
use crate::program::Program;
use crate::scene::{NQN, connect};

/// Blocks that one command writes.
const BLOCKS: u32 = 32;

/// From its start to a process that refuses its configuration.
const REFUSE_MAX: Duration = Duration::from_secs(20);

fn configuration(bdev: Value) -> Value {
    json!({
        "bdevs": [bdev],
        "subsystems": [{
            "nqn": NQN, "allow_any_host": true, "listeners": [{"address": "127.0.0.1", "port": 0}],
            "namespaces": [{"nsid": 1, "bdev": "f0"}]
        }]
    })
}

fn file(path: &Path, block_size: u32) -> Value {
    json!({"name": "f0", "type": "file", "path": path, "size": "64MiB", "block_size": block_size})
}

fn write(host: &mut Host, first: u64, block_size: u32) {
    let data = pattern::blocks(7, first, (BLOCKS * block_size) as usize);
    host.write(1, first, &data).expect("a write");
}

#[test]
fn what_was_flushed_is_there_after_the_target_was_killed() {
    // The disk of the machine, and a file system without a device below it.
    for directory in [tempfile::tempdir(), tempfile::tempdir_in("/dev/shm")] {
        let directory = directory.expect("a temporary directory");
        for block_size in [512, 4096] {
            let path = directory.path().join(format!("disk-{block_size}"));
            let firsts = [0, 1000, u64::from((64 << 20) / block_size - BLOCKS)];
            let mut server = Server::start(configuration(file(&path, block_size)));
            let mut host = connect(server.listeners()[0], NQN);
            for first in firsts {
                write(&mut host, first, block_size);
            }
            host.flush(1).expect("a flush");
            // SIGKILL: nothing of the process runs any more.
            server.child.kill().expect("killing the target");
            server.child.wait().expect("waiting for the target");
            drop((host, server));

            let server = Server::start(configuration(file(&path, block_size)));
            let mut host = connect(server.listeners()[0], NQN);
            for first in firsts {
                let expected = pattern::blocks(7, first, (BLOCKS * block_size) as usize);
                let read = host.read(1, first, BLOCKS).expect("a read");
                assert!(read == expected, "blocks of {block_size} bytes from {first} on");
            }
            host.disconnect().expect("disconnecting");
            server.stop();
            assert_eq!(fs::metadata(&path).expect("the file").len(), 64 << 20);
        }
    }
}

#[test]
fn a_file_that_cannot_be_served_ends_the_start_with_its_path_and_the_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("long"), vec![0; 65 << 20]).expect("a file");
    let held = Server::start(configuration(file(&at("held"), 4096)));
    let rows = [
        (file(&at("no/such/place"), 4096), "the directory that should hold it does not exist"),
        (file(&at("long"), 4096), "and is not cut"),
        (file(&at("held"), 4096), "another process or another bdev has it"),
        (json!({"name": "f0", "type": "file", "path": at("none")}), "give a \"size\" to have it made"),
        (json!({"name": "f0", "type": "file", "path": directory.path()}), "it is a directory"),
    ];
    for (bdev, words) in rows {
        let path = bdev["path"].as_str().expect("a path").to_owned();
        let configured = at("corelane.json");
        fs::write(&configured, configuration(bdev).to_string()).expect("writing the configuration");
        let configured = configured.to_str().expect("a path in UTF-8").to_owned();
        let finished = Program::start(&["serve", "--config", &configured]).finish(REFUSE_MAX);
        assert_ne!(finished.code, 0);
        assert!(finished.errors.contains(words) && finished.errors.contains(&path), "{}", finished.errors);
    }
    held.stop();
}
