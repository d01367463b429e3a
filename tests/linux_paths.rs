//! A real Linux host, in a virtual machine, with two paths to a namespace, whose states an operator changes under load.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use asking::wait_for;
use guest::{Guest, vm, wanted};
use harness::Server;
use relay::Relay;

#[path = "guest/asking.rs"]
mod asking;
mod guest;
mod harness;
mod relay;

const NQN: &str = "nqn.2026-11.io.corelane:disk0";
/// Between two looks at the log.
const LOOK: Duration = Duration::from_millis(20);
/// From SIGHUP to the line of the log that says what came of it.
const RELOAD_MAX: Duration = Duration::from_secs(30);

/// What an operator wants.
#[derive(Clone, Copy)]
struct Wish {
    /// Of group 1, by listener.
    states: [&'static str; 2],
    /// Namespace 2 is for nobody.
    masked: bool,
    /// There is a namespace 3.
    third: bool,
    /// Discovery tells of another service.
    referred: bool,
}

/// Both paths as good as can be, and two namespaces.
const PLAIN: Wish = Wish { states: ["optimized", "optimized"], masked: false, third: false, referred: false };

/// What the guest asks for.
enum Change {
    Reload(Wish),
    /// The way to the second listener is cut.
    Cut,
    Mend,
    /// The target dies, and another one takes its place.
    Kill,
}

#[test]
fn linux_fails_over_and_loses_and_finds_namespaces_paths_and_the_target() {
    if !wanted("a real Linux host in a virtual machine", "linux_paths") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let shared = directory.path().join("shared");
    let (kept, ports) = (directory.path().join("kept"), ports());
    fs::create_dir(&kept).expect("a directory for what outlives the target");
    let mut server = Server::start(configuration(&kept, ports, PLAIN));
    assert!(server.listeners().iter().all(|listener| ports.contains(&listener.port())));
    let mut relay = Relay::new(([127, 0, 0, 1], ports[1]).into());
    let told = [
        "ADDRESS=10.0.2.2".to_owned(),
        format!("PORT={}", ports[0]),
        format!("PORT2={}", relay.port()),
        format!("NQN={NQN}"),
    ];
    let mut guest = Guest::start(&mut vm(&shared, "linux_paths.sh", &told));
    let changes = [
        ("referred", Change::Reload(Wish { referred: true, ..PLAIN })),
        ("first-down", Change::Reload(Wish { states: ["inaccessible", "non_optimized"], ..PLAIN })),
        ("first-up", Change::Reload(Wish { states: ["optimized", "inaccessible"], ..PLAIN })),
        ("masked", Change::Reload(Wish { masked: true, ..PLAIN })),
        ("unmasked", Change::Reload(PLAIN)),
        ("added", Change::Reload(Wish { third: true, ..PLAIN })),
        ("removed", Change::Reload(PLAIN)),
        ("cut", Change::Cut),
        ("mended", Change::Mend),
        ("killed", Change::Kill),
    ];
    let mut reloads = 0;
    for (name, change) in changes {
        wait_for(&shared.join(name), &mut guest);
        match change {
            Change::Reload(wish) => {
                reloads += 1;
                reload(&server, &configuration(&kept, ports, wish), reloads);
            }
            Change::Cut => relay.cut(),
            Change::Mend => relay.mend(),
            Change::Kill => {
                // SIGKILL: nothing is finished, and nothing is said to anybody.
                drop(server);
                server = Server::start(configuration(&kept, ports, PLAIN));
            }
        }
        fs::write(shared.join(format!("{name}.done")), "").expect("telling the guest");
    }
    let status = guest.0.wait().expect("waiting for the virtual machine");
    assert!(status.success(), "the virtual machine ended with {status}; its output says which step failed");
    server.stop();
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

/// Two listeners, which the guest reaches at one address, and their states of group 1. `kept` is for what outlives the target.
fn configuration(kept: &Path, ports: [u16; 2], wish: Wish) -> Value {
    let Wish { states, masked, third, referred } = wish;
    let listener = |port: u16, state: &str| json!({"transport": "tcp", "address": "127.0.0.1", "port": port, "ana": [{"group": 1, "state": state}]});
    let mut second = json!({"nsid": 2, "bdev": "ram1", "ana_group": 2});
    if masked {
        second["hosts"] = json!([]);
    }
    let mut configuration = json!({
        "state_dir": kept.join("state"),
        "bdevs": [
            {"name": "disk0", "type": "file", "path": kept.join("disk0"), "size": "128MiB", "block_size": 4096},
            {"name": "ram1", "type": "malloc", "size": "64MiB", "block_size": 4096}
        ],
        "subsystems": [{
            "nqn": NQN, "allow_any_host": true, "ana_reporting": true,
            "listeners": [listener(ports[0], states[0]), listener(ports[1], states[1])],
            "namespaces": [{"nsid": 1, "bdev": "disk0"}, second]
        }]
    });
    if referred {
        configuration["discovery"] = json!({"referrals": [{"address": "192.0.2.1", "port": 8009}]});
    }
    if third {
        let add = |configuration: &mut Value, list: &str, entry: Value| {
            configuration.pointer_mut(list).and_then(Value::as_array_mut).expect("a list").push(entry);
        };
        let bdev = json!({"name": "ram2", "type": "malloc", "size": "32MiB", "block_size": 4096});
        add(&mut configuration, "/bdevs", bdev);
        let namespace = json!({"nsid": 3, "bdev": "ram2", "ana_group": 2});
        add(&mut configuration, "/subsystems/0/namespaces", namespace);
    }
    configuration
}
