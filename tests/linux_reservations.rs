//! Two real Linux hosts, in a virtual machine, share a namespace by reservations of a `corelane serve` that is killed and
//! started again under them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use asking::wait_for;
use guest::{Guest, vm, wanted};
use harness::Server;

#[path = "guest/asking.rs"]
mod asking;
mod guest;
mod harness;

const NQN: &str = "nqn.2026-11.io.corelane:disk0";
const UUID: &str = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";
/// How often the guest kills the target.
const KILLS: usize = 2;

#[test]
fn linux_hosts_are_fenced_and_find_their_reservations_after_a_kill() {
    if !wanted("Linux hosts in a virtual machine", "linux_reservations") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let shared = directory.path().join("shared");
    let configuration = configuration(&directory.path().join("state"));
    let mut server = Server::start(configuration.clone());
    let told = [
        "ADDRESS=10.0.2.2".to_owned(),
        format!("PORT={}", server.listeners()[0].port()),
        format!("NQN={NQN}"),
    ];
    let mut vm = vm(&shared, "linux_reservations.sh", &told);
    let mut guest = Guest::start(vm.env("CORELANE_VM_APPEND", "nvme_core.multipath=N"));
    for kill in 1..=KILLS {
        wait_for(&shared.join(format!("kill-{kill}")), &mut guest);
        // Dropping it is SIGKILL.
        drop(server);
        server = Server::start(configuration.clone());
        // Renamed, so that the guest never reads half a number.
        let port = shared.join("port");
        fs::write(&port, server.listeners()[0].port().to_string()).expect("writing the port");
        fs::rename(&port, shared.join(format!("port-{kill}"))).expect("naming the port");
    }
    let status = guest.0.wait().expect("waiting for the virtual machine");
    assert!(status.success(), "the virtual machine ended with {status}; its output says which step failed");
    server.stop();
}

fn configuration(state: &Path) -> Value {
    json!({
        "state_dir": state,
        "bdevs": [{"name": "ram0", "type": "malloc", "size": "64MiB", "block_size": 4096}],
        "subsystems": [{
            "nqn": NQN, "serial": "CL0001", "model": "Corelane", "allow_any_host": true,
            "listeners": [{"transport": "tcp", "address": "127.0.0.1", "port": 0}],
            "namespaces": [{"nsid": 1, "bdev": "ram0", "uuid": UUID, "reservations": {"persist": true}}]
        }]
    })
}
