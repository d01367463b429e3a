//! A real Linux host, in a virtual machine, with two paths to a namespace, whose states an operator changes under load.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use guest::{Guest, wanted};
use harness::Server;

mod guest;
mod harness;

const NQN: &str = "nqn.2026-11.io.corelane:disk0";
/// Between two looks at the folder that the guest shares, and at the log.
const LOOK: Duration = Duration::from_millis(20);
/// From SIGHUP to the line of the log that says what came of it.
const RELOAD_MAX: Duration = Duration::from_secs(30);

#[test]
fn linux_fails_over_and_loses_and_finds_a_namespace() {
    if !wanted("a real Linux host in a virtual machine", "linux_paths") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let shared = directory.path().join("shared");
    let (state, ports) = (directory.path().join("state"), ports());
    let server = Server::start(configuration(&state, ports, ["optimized", "optimized"], false));
    assert!(server.listeners().iter().all(|listener| ports.contains(&listener.port())));
    let mut guest = boot(&shared, ports);
    let changes = [
        ("first-down", ["inaccessible", "non_optimized"], false),
        ("first-up", ["optimized", "inaccessible"], false),
        ("masked", ["optimized", "optimized"], true),
        ("unmasked", ["optimized", "optimized"], false),
    ];
    for (number, (name, states, masked)) in (1..).zip(changes) {
        wait_for(&shared.join(name), &mut guest);
        reload(&server, &configuration(&state, ports, states, masked), number);
        fs::write(shared.join(format!("{name}.done")), "").expect("telling the guest");
    }
    let status = guest.0.wait().expect("waiting for the virtual machine");
    assert!(status.success(), "the virtual machine ended with {status}; its output says which step failed");
    server.stop();
}

fn boot(shared: &Path, ports: [u16; 2]) -> Guest {
    let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
    let child = Command::new(vm.join("vm"))
        .env("CORELANE_VM_WORK", shared)
        .arg("ADDRESS=10.0.2.2")
        .args([format!("PORT={}", ports[0]), format!("PORT2={}", ports[1]), format!("NQN={NQN}")])
        .arg(vm.join("linux_paths.sh"))
        .spawn()
        .expect("starting the virtual machine");
    Guest(child)
}

/// Waits until the guest has made this file. Bounded by the virtual machine's own limit.
fn wait_for(file: &Path, guest: &mut Guest) {
    while !file.exists() {
        let ended = guest.0.try_wait().expect("asking after the virtual machine");
        assert!(
            ended.is_none(),
            "the virtual machine ended early: {ended:?}; its output says which step failed"
        );
        thread::sleep(LOOK);
    }
}

/// Has the server read another configuration, and waits until its log says for the `number`th time that it has.
fn reload(server: &Server, wanted: &Value, number: usize) {
    let directory = server.directory.path();
    fs::write(directory.join("corelane.json"), wanted.to_string()).expect("writing the configuration");
    kill_process(Pid::from_child(&server.child), Signal::HUP).expect("sending SIGHUP");
    let deadline = Instant::now() + RELOAD_MAX;
    loop {
        let log = fs::read_to_string(directory.join("log")).expect("a log");
        if log.matches("the configuration was read again").count() >= number {
            return;
        }
        assert!(Instant::now() < deadline, "the configuration was not read again\n{log}");
        thread::sleep(LOOK);
    }
}

/// Two ports of the loopback device that nobody listens on.
fn ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("a bound socket").port())
}

/// Two listeners, which the guest reaches at one address, and their states of group 1.
fn configuration(state: &Path, ports: [u16; 2], states: [&str; 2], masked: bool) -> Value {
    let listener = |port: u16, state: &str| json!({"transport": "tcp", "address": "127.0.0.1", "port": port, "ana": [{"group": 1, "state": state}]});
    let mut second = json!({"nsid": 2, "bdev": "ram1", "ana_group": 2});
    if masked {
        second["hosts"] = json!([]);
    }
    json!({
        "state_dir": state,
        "bdevs": [
            {"name": "ram0", "type": "malloc", "size": "128MiB", "block_size": 4096},
            {"name": "ram1", "type": "malloc", "size": "64MiB", "block_size": 4096}
        ],
        "subsystems": [{
            "nqn": NQN, "allow_any_host": true, "ana_reporting": true,
            "listeners": [listener(ports[0], states[0]), listener(ports[1], states[1])],
            "namespaces": [{"nsid": 1, "bdev": "ram0"}, second]
        }]
    })
}
