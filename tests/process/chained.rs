//! A target that serves the namespaces of another one on: what is verified through both, and what hosts notice when the far
//! one is killed and comes back, or does not.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use corelane::initiator::CommandError;
use corelane::initiator::blocking::HostError;
use corelane::spec::status::Status;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::harness::Server;
use crate::program::{Finished, Program, run};
use crate::scene::connect;

const FAR: &str = "nqn.2026-11.io.corelane:far";
const NEAR: &str = "nqn.2026-11.io.corelane:near";
const UUID: &str = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";
/// From the start of a load to its end.
const LOAD_MAX: Duration = Duration::from_secs(60);

fn listener(port: u16) -> Value {
    json!({"transport": "tcp", "address": "127.0.0.1", "port": port})
}

/// A far target whose disk is a file, so that it is there again after a kill; at `port`, 0 for any.
fn far(directory: &Path, port: u16, size: &str) -> Server {
    Server::start(json!({
        "state_dir": directory.join("state"),
        "bdevs": [{"name": "disk", "type": "file", "path": directory.join("disk"), "size": size, "block_size": 512}],
        "subsystems": [{"nqn": FAR, "allow_any_host": true, "listeners": [listener(port)],
            "namespaces": [{"nsid": 3, "bdev": "disk", "uuid": UUID}]}]
    }))
}

/// What serves the far namespace on.
fn near(address: SocketAddr, options: &Value) -> Value {
    let mut bdev =
        json!({"name": "far0", "type": "nvmf", "address": "127.0.0.1", "port": address.port(), "nqn": FAR});
    for (key, value) in options.as_object().expect("options") {
        bdev[key] = value.clone();
    }
    json!({
        "bdevs": [bdev],
        "subsystems": [{"nqn": NEAR, "allow_any_host": true, "listeners": [listener(0)],
            "namespaces": [{"nsid": 1, "bdev": "far0"}]}]
    })
}

/// A verified load of some seconds on this subsystem.
fn verify(address: SocketAddr, nqn: &str) -> Program {
    let target = format!("tcp://{address}/{nqn}");
    Program::start(&[
        "perf",
        "--target",
        &target,
        "--verify",
        "--mix",
        "50",
        "--depth",
        "8",
        "--connections",
        "2",
        "--duration",
        "4s",
        "--warm-up",
        "0s",
        "--json",
        "--progress",
        "--reconnect-for",
        "30s",
        "--yes-overwrite",
    ])
}

fn object(finished: &Finished) -> Value {
    serde_json::from_str(&finished.output.join("\n")).unwrap_or_else(|_| panic!("{finished:?}"))
}

/// Kills the far target under a load, and starts it again at the same place.
fn kill_and_start(mut server: Server, directory: &Path) -> Server {
    let port = server.listeners()[0].port();
    server.child.kill().expect("killing the far target");
    server.child.wait().expect("its end");
    drop(server);
    // The kernel holds the files of the dead until their last writes are done: on a busy disk for longer than the next
    // owner waits.
    let disk = fs::File::open(directory.join("disk")).expect("the disk");
    flock(&disk, FlockOperation::LockExclusive).expect("waiting for the last writes");
    drop(disk);
    far(directory, port, "16MiB")
}

#[test]
fn a_copy_that_fails_says_through_both_how_far_it_came() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let far = far(directory.path(), 0, "16MiB");
    let near = Server::start(near(far.listeners()[0], &json!({})));
    for (address, nqn, nsid) in [(near.listeners()[0], NEAR, 1), (far.listeners()[0], FAR, 3)] {
        let disk = fs::OpenOptions::new().write(true).open(directory.path().join("disk")).expect("the disk");
        disk.set_len(16 << 20).expect("a whole disk");
        let mut host = connect(address, nqn);
        host.write(nsid, 0, &[7; 8192]).expect("a write");
        // What lies beyond the end of the file cannot be read any more.
        disk.set_len(64 * 512).expect("a disk that was cut");
        for (ranges, copied) in [
            (&[(0, 8), (8, 8), (4096, 8), (0, 8)][..], 2),
            (&[(4096, 8), (0, 8)][..], 0),
            (&[(0, 8), (32_768, 8)][..], 0),
        ] {
            let failed = host.copy(nsid, ranges, 32).expect_err("a copy of what is not there");
            let HostError::Command(CommandError::Status { status, dw0 }) = failed else { panic!("{failed}") };
            assert_eq!(dw0, copied, "{nqn} {ranges:?}: {status}");
        }
        assert_eq!(host.read(nsid, 32, 16).expect("a read"), [7; 8192], "the first ranges are copied");
        host.disconnect().expect("a disconnect");
    }
    near.stop();
    far.stop();
}

#[test]
fn what_is_written_through_two_targets_comes_back() {
    let malloc = Server::start(json!({
        "bdevs": [{"name": "ram", "type": "malloc", "size": "16MiB", "block_size": 4096}],
        "subsystems": [{"nqn": FAR, "allow_any_host": true, "listeners": [listener(0)],
            "namespaces": [{"nsid": 1, "bdev": "ram"}]}]
    }));
    let address = malloc.listeners()[0];
    for digests in [false, true] {
        let options = json!({"header_digest": digests, "data_digest": digests, "queue_depth": if digests { 3 } else { 127 }});
        let server = Server::start(near(address, &options));
        let finished = verify(server.listeners()[0], NEAR).finish(LOAD_MAX);
        assert_eq!(finished.code, 0, "{finished:?}");
        let object = object(&finished);
        assert!(object["verify"]["commands_read_back"].as_u64().is_some_and(|count| count > 0), "{object}");
        // Both see the same bytes, and each of the other commands has its effect.
        let (mut through, mut direct) = (connect(server.listeners()[0], NEAR), connect(address, FAR));
        through.write(1, 7, &[0x5a; 8192]).expect("a write");
        assert_eq!(direct.read(1, 7, 2).expect("a read"), [0x5a; 8192]);
        through.compare(1, 7, &[0x5a; 8192]).expect("they are the same");
        let differs = through.compare(1, 7, &[0x5b; 8192]).expect_err("they differ");
        assert_eq!(
            differs.status().map(Status::kind_and_code),
            Some(Status::COMPARE_FAILURE.kind_and_code())
        );
        through.write_zeroes(1, 7, 1, false).expect("zeros");
        through.deallocate(1, &[(8, 1), (100, 3)]).expect("a deallocation");
        through.flush(1).expect("a flush");
        assert_eq!(direct.read(1, 7, 1).expect("a read"), [0; 4096]);
        through.disconnect().expect("disconnecting");
        direct.disconnect().expect("disconnecting");
        server.stop();
    }
    malloc.stop();
}

/// The file that the documentation leads to, in front of what `corelane serve` serves without a configuration.
#[test]
fn the_example_serves_the_default_target_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let state = directory.path().join("far");
    let state = state.to_str().expect("UTF-8");
    let far = Program::start(&["serve", "--listen", "127.0.0.1:0", "--state-dir", state]);
    let lines = far.lines_until("listening tcp ");
    let address =
        lines.last().and_then(|line| line.strip_prefix("listening tcp ")).expect("where it listens");
    let address: SocketAddr = address.parse().expect("an address");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/chained.json");
    let mut example: Value =
        serde_json::from_str(&fs::read_to_string(file).expect("the file")).expect("JSON");
    // Ports are the kernel's choice here.
    let port = example["bdevs"][0]["port"].take();
    let listens = example["subsystems"][0]["listeners"][0]["port"].take();
    assert_eq!((port, listens), (json!(4420), json!(4421)), "as the documentation says");
    example["bdevs"][0]["port"] = json!(address.port());
    example["subsystems"][0]["listeners"][0]["port"] = json!(0);
    let server = Server::start(example);
    let mut through = connect(server.listeners()[0], "nqn.2026-11.io.corelane:chained");
    let mut direct = connect(address, "nqn.2026-11.io.corelane:disk0");
    assert_eq!(
        through.geometry(1).expect("the geometry").blocks,
        direct.geometry(1).expect("the other").blocks
    );
    through.write(1, 3, &[0x5a; 4096]).expect("a write");
    assert_eq!(direct.read(1, 3, 1).expect("a read"), [0x5a; 4096]);
    through.disconnect().expect("disconnecting");
    direct.disconnect().expect("disconnecting");
    server.stop();
    far.stop();
}

#[test]
fn a_far_target_that_is_killed_and_comes_back_costs_time_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = far(directory.path(), 0, "16MiB");
    let chained = Server::start(near(server.listeners()[0], &json!({"fast_io_fail_ms": 60_000})));
    let load = verify(chained.listeners()[0], NEAR);
    for _ in 0..3 {
        load.errors_until("measuring");
        server = kill_and_start(server, directory.path());
    }
    let finished = load.finish(LOAD_MAX);
    assert_eq!(finished.code, 0, "{finished:?}");
    let object = object(&finished);
    assert_eq!((&object["errors"], &object["verify"]["blocks_wrong"]), (&json!(0), &json!(0)), "{object}");
    assert_eq!(object["connections_lost"], 0, "the host does not lose its connection: {object}");
    assert!(object["verify"]["commands_read_back"].as_u64().is_some_and(|count| count > 0), "{object}");
    chained.stop();
    server.stop();
}

#[test]
fn a_load_survives_its_target_being_killed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = far(directory.path(), 0, "16MiB");
    let load = verify(server.listeners()[0], FAR);
    load.errors_until("measuring");
    server = kill_and_start(server, directory.path());
    let finished = load.finish(LOAD_MAX);
    assert_eq!(finished.code, 0, "{finished:?}");
    let object = object(&finished);
    assert_eq!((&object["errors"], &object["verify"]["blocks_wrong"]), (&json!(0), &json!(0)), "{object}");
    assert!(object["connections_lost"].as_u64().is_some_and(|count| count > 0), "{object}");
    server.stop();
}

#[test]
fn a_remote_bdev_of_a_configuration_takes_loads() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = far(directory.path(), 0, "16MiB");
    let file = directory.path().join("near.json");
    fs::write(&file, near(server.listeners()[0], &json!({})).to_string()).expect("a configuration");
    let fixed = ["perf", "--target", "bdev:far0", "--config", file.to_str().expect("UTF-8"), "--json"];
    let load = |rest: &[&str]| Program::start(&[&fixed[..], rest].concat()).finish(LOAD_MAX);
    let finished = load(&["--mix", "0"]);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.errors.contains("overwrites the block device \"far0\""), "{}", finished.errors);
    let short = ["--duration", "1s", "--warm-up", "0s", "--yes-overwrite"];
    let finished = load(
        &[&short[..], &["--verify", "--mix", "50", "--connections", "3", "--cores", "2", "--depth", "4"]]
            .concat(),
    );
    assert_eq!(finished.code, 0, "{finished:?}");
    let report = object(&finished);
    assert_eq!((&report["nsid"], &report["verify"]["blocks_wrong"]), (&json!(3), &json!(0)), "{report}");
    assert!(report["verify"]["commands_read_back"].as_u64().is_some_and(|count| count > 0), "{report}");
    // Each run of a sweep connects anew.
    let finished = load(&[&short[..], &["--sweep", "--depth", "4"]].concat());
    assert_eq!(finished.code, 0, "{finished:?}");
    let report = object(&finished);
    let runs = report["sweep"].as_array().expect("the runs");
    assert_eq!((runs.len(), &report["errors"]), (3, &json!(0)), "{report}");
    assert!(runs.iter().all(|run| run["iops"].as_f64().is_some_and(|iops| iops > 0.0)), "{report}");
    server.stop();
}

#[test]
fn commands_fail_in_time_when_the_far_target_stays_away() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = far(directory.path(), 0, "16MiB");
    let port = server.listeners()[0].port();
    let chained = Server::start(near(server.listeners()[0], &json!({"fast_io_fail_ms": 300})));
    let mut host = connect(chained.listeners()[0], NEAR);
    host.write(1, 1, &[1; 512]).expect("a write");
    server.stop();
    let since = Instant::now();
    let error = host.read(1, 1, 1).expect_err("nobody is there");
    assert!(
        matches!(&error, HostError::Command(_)) && since.elapsed() >= Duration::from_millis(300),
        "{error}"
    );
    assert_eq!(error.status().map(Status::kind_and_code), Some(Status::INTERNAL_ERROR.kind_and_code()));
    assert!(!error.status().is_some_and(Status::dnr), "it may be tried again");
    // It comes back larger, which changes nothing here.
    let server = far(directory.path(), port, "32MiB");
    let deadline = Instant::now() + Duration::from_secs(20);
    let read = loop {
        match host.read(1, 1, 1) {
            Ok(read) => break read,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!(read, [1; 512]);
    assert_eq!(host.geometry(1).expect("the geometry").blocks, 16 << 20 >> 9);
    host.disconnect().expect("disconnecting");
    chained.stop();
    server.stop();
}

#[test]
fn a_start_says_what_is_wrong_with_the_far_side() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = far(directory.path(), 0, "16MiB");
    let address = server.listeners()[0];
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let rows = [
        (json!({"port": free.port()}), "Connection refused"),
        (json!({"nqn": "nqn.2026-11.io.corelane:nothing"}), "SUBNQN (subsystem name)"),
        (json!({"namespace": 1}), "the subsystem has no active namespace 1; it has 3"),
    ];
    for (mut change, words) in rows {
        change["wait_ms"] = json!(0);
        let file = directory.path().join("near.json");
        fs::write(&file, near(address, &change).to_string()).expect("a configuration");
        let finished = run(&["serve", "--config", file.to_str().expect("UTF-8")]);
        assert_eq!(finished.code, 1, "{change}: {finished:?}");
        assert!(
            finished.errors.contains("bdev far0") && finished.errors.contains(words),
            "{}",
            finished.errors
        );
        let checked = run(&["check", file.to_str().expect("UTF-8")]);
        assert_eq!(checked.code, 0, "a configuration alone is right: {checked:?}");
        assert!(checked.output.iter().any(|line| line.contains("nvmf far0, ")), "{checked:?}");
    }
    server.stop();
}
