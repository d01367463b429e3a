//! SIGHUP: what an operator changes while hosts are connected.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::spec::nqn::Nqn;
use corelane::spec::status::Status;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::Server;
use crate::residence::register;
use crate::scene::{NQN, configuration, connect};
use crate::storm::report;

/// From SIGHUP to the line of the log that says what came of it.
const RELOAD_MAX: Duration = Duration::from_secs(30);
const UUID: &str = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a33";
const OTHER_UUID: &str = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a34";
const NOBODY: &str = "nqn.2026-11.com.example:nobody";

/// The scene's configuration with asymmetric access on its first subsystem.
fn with_ana() -> Value {
    let mut wanted = configuration();
    wanted["subsystems"][0]["ana_reporting"] = json!(true);
    wanted
}

/// Writes another configuration and sends SIGHUP. Waits until the log says `times` times that a configuration was dealt
/// with, and returns the log.
pub(crate) fn reload(server: &Server, mut wanted: Value, times: usize) -> String {
    if wanted["state_dir"].is_null() {
        wanted["state_dir"] = json!(server.directory.path().join("state"));
    }
    fs::write(server.directory.path().join("corelane.json"), wanted.to_string()).expect("writing");
    kill_process(Pid::from_child(&server.child), Signal::HUP).expect("sending SIGHUP");
    let deadline = Instant::now() + RELOAD_MAX;
    loop {
        let log = fs::read_to_string(server.directory.path().join("log")).expect("a log");
        let ends = ["the configuration was read again", "nothing changes"];
        if ends.iter().map(|end| log.matches(end).count()).sum::<usize>() >= times {
            return log;
        }
        assert!(Instant::now() < deadline, "the configuration was not read again\n{log}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a read answers within a time: the change reaches the cores right after the log tells of it.
fn reads_until(host: &mut Host, wanted: Status) {
    let deadline = Instant::now() + RELOAD_MAX;
    loop {
        let status = match host.read(1, 0, 1) {
            Ok(_) => Status::SUCCESS,
            Err(error) => error.status().unwrap_or_else(|| panic!("{error}")),
        };
        if status.is(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "reads answer {status}, not {wanted}");
    }
}

fn refused(address: SocketAddr) -> bool {
    Host::connect(address, &HostOptions::new(Nqn::parse(NQN).expect("a name"))).is_err()
}

#[test]
fn states_and_masks_change_under_a_connected_host() {
    let server = Server::start(with_ana());
    let mut host = connect(server.listeners()[0], NQN);
    reads_until(&mut host, Status::SUCCESS);
    let mut wanted = with_ana();
    wanted["subsystems"][0]["listeners"][0]["ana"] = json!([{"group": 1, "state": "inaccessible"}]);
    let log = reload(&server, wanted, 1);
    assert!(log.contains("subsystems[0].listeners[0].ana"), "{log}");
    reads_until(&mut host, Status::ANA_INACCESSIBLE);
    let mut wanted = with_ana();
    wanted["subsystems"][0]["namespaces"][0]["hosts"] = json!([NOBODY]);
    reload(&server, wanted, 2);
    reads_until(&mut host, Status::INVALID_FIELD);
    reload(&server, with_ana(), 3);
    reads_until(&mut host, Status::SUCCESS);
    host.disconnect().expect("a disconnect");
    server.stop();
}

/// The scene's configuration with namespace 3, 512-byte blocks, on a block device of its own.
fn with_third() -> Value {
    with_third_on(json!({"name": "extra", "type": "malloc", "size": "16MiB", "block_size": 512}))
}

fn with_third_on(bdev: Value) -> Value {
    let mut wanted = with_ana();
    wanted["bdevs"].as_array_mut().expect("a list").push(bdev);
    let namespace = json!({"nsid": 3, "bdev": "extra", "uuid": UUID});
    wanted["subsystems"][0]["namespaces"].as_array_mut().expect("a list").push(namespace);
    wanted
}

/// The statuses of reads of namespace 3 within a time, until one is the wanted one.
fn third_until(host: &mut Host, wanted: Status) {
    let deadline = Instant::now() + RELOAD_MAX;
    loop {
        let status = match host.read(3, 0, 1) {
            Ok(_) => Status::SUCCESS,
            Err(error) => error.status().unwrap_or_else(|| panic!("{error}")),
        };
        if status.is(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "reads answer {status}, not {wanted}");
    }
}

#[test]
fn a_namespace_comes_goes_and_comes_back_with_its_data_and_its_reservations() {
    let server = Server::start(with_ana());
    let mut host = connect(server.listeners()[0], NQN);
    assert_eq!(host.namespaces().expect("a list"), [1, 2]);
    let log = reload(&server, with_third(), 1);
    assert!(log.contains("subsystems[0].namespaces[2]") && log.contains("bdevs[3]"), "{log}");
    third_until(&mut host, Status::SUCCESS);
    assert_eq!(host.namespaces().expect("a list"), [1, 2, 3]);
    host.write(3, 5, &[7; 512]).expect("a write");
    register(&mut host, 3, 0xabc).expect("a registration");
    reload(&server, with_ana(), 2);
    third_until(&mut host, Status::INVALID_FIELD);
    assert_eq!(host.namespaces().expect("a list"), [1, 2]);
    assert!(register(&mut host, 3, 0xabc).is_err());
    // What was a namespace does not become another one.
    let mut other = with_third();
    other["subsystems"][0]["namespaces"][2]["uuid"] = json!(OTHER_UUID);
    let log = reload(&server, other, 3);
    assert!(log.contains("subsystems[0].namespaces[2].uuid"), "{log}");
    let mut other = with_third();
    other["bdevs"][3]["size"] = json!("32MiB");
    let log = reload(&server, other, 4);
    assert!(log.contains("bdevs[3]: ") || log.contains("place=bdevs[3]"), "{log}");
    reload(&server, with_third(), 5);
    third_until(&mut host, Status::SUCCESS);
    assert_eq!(host.read(3, 5, 1).expect("a read"), [7; 512]);
    assert_eq!(report(&mut host, 3).expect("a report").registrants[0].rkey.get(), 0xabc);
    host.disconnect().expect("a disconnect");
    server.stop();
}

#[test]
fn a_block_device_that_cannot_be_made_changes_nothing() {
    let server = Server::start(with_ana());
    // Without io_uring in the I/O reactors, and without its folder.
    let file = server.directory.path().join("no/such/folder/extra");
    let log = reload(&server, with_third_on(json!({"name": "extra", "type": "file", "path": file})), 1);
    assert!(log.contains("extra") && log.contains("cannot be made"), "{log}");
    let mut host = connect(server.listeners()[0], NQN);
    assert_eq!(host.namespaces().expect("a list"), [1, 2]);
    host.disconnect().expect("a disconnect");
    server.stop();
}

#[test]
fn a_host_that_is_taken_off_the_list_loses_its_connections() {
    let server = Server::start(with_ana());
    let address = server.listeners()[0];
    let mut host = connect(address, NQN);
    let mut wanted = with_ana();
    wanted["subsystems"][0]["allow_any_host"] = json!(false);
    wanted["subsystems"][0]["hosts"] = json!([NOBODY]);
    reload(&server, wanted, 1);
    let deadline = Instant::now() + RELOAD_MAX;
    while host.read(1, 0, 1).is_ok() {
        assert!(Instant::now() < deadline, "the host is still served");
    }
    assert!(refused(address));
    reload(&server, with_ana(), 2);
    connect(address, NQN).disconnect().expect("a disconnect");
    server.stop();
}

#[test]
fn what_cannot_change_is_refused_as_a_whole() {
    let server = Server::start(with_ana());
    let mut wanted = with_ana();
    wanted["subsystems"][0]["allow_any_host"] = json!(false);
    wanted["subsystems"][0]["serial"] = json!("CL0009");
    let log = reload(&server, wanted, 1);
    assert!(log.contains("subsystems[0].serial") && log.contains("restart"), "{log}");
    let mut wanted = with_ana();
    wanted["subsystems"][0]["unknown"] = json!(1);
    let log = reload(&server, wanted, 2);
    assert!(log.contains("subsystems[0].unknown"), "{log}");
    let log = reload(&server, with_ana(), 3);
    assert!(log.contains("the configuration is the same"), "{log}");
    connect(server.listeners()[0], NQN).disconnect().expect("a disconnect");
    server.stop();
}
