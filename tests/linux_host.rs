//! A real Linux host, in a virtual machine, makes a file system on what `corelane serve` serves.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use guest::{Guest, vm, wanted};
use harness::Server;

mod guest;
mod harness;

const NQN: &str = "nqn.2026-11.io.corelane:disk0";
const OTHER_NQN: &str = "nqn.2026-11.io.corelane:disk1";
const UUID: &str = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";
/// Of namespace 1 of [`NQN`], 4,096 bytes each.
const BLOCKS: u64 = 65_536;
/// The features that NVMe base 2.1, section 3.1.3.6, makes mandatory for I/O controllers, and the keep alive timer.
const FEATURES: &str = "0x01 0x02 0x04 0x05 0x07 0x0a 0x0b 0x0f";

#[test]
fn linux_makes_a_file_system_and_finds_its_data_again() {
    if !wanted("a real Linux host in a virtual machine", "linux_host") {
        return;
    }
    let server = Server::start(configuration());
    let shared = tempfile::tempdir().expect("a temporary directory");
    let jobs = shared.path().join("fio");
    fs::create_dir(&jobs).expect("a folder");
    for job in ["linux.fio", "load.fio"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fio").join(job);
        fs::copy(from, jobs.join(job)).expect("copying a job");
    }
    let told = [
        "FIO_JOBS=/mnt/fio".to_owned(),
        "ADDRESS=10.0.2.2".to_owned(),
        format!("PORT={}", server.listeners()[0].port()),
        format!("NQN={NQN}"),
        format!("NQN2={OTHER_NQN}"),
        format!("UUID={UUID}"),
        format!("BLOCKS={BLOCKS}"),
        format!("FEATURES={FEATURES}"),
        "SERIAL=CL0001".to_owned(),
        "MODEL=Corelane".to_owned(),
    ];
    let mut guest = Guest::start(&mut vm(shared.path(), "linux_host.sh", &told));
    let status = guest.0.wait().expect("waiting for the virtual machine");
    assert!(status.success(), "the virtual machine ended with {status}; its output says which step failed");
    server.stop();
}

fn configuration() -> Value {
    let listeners = json!([{"transport": "tcp", "address": "127.0.0.1", "port": 0}]);
    json!({
        "bdevs": [
            {"name": "ram0", "type": "malloc", "size": "256MiB", "block_size": 4096},
            {"name": "void", "type": "null", "size": "1TiB", "block_size": 512},
            {"name": "ram1", "type": "malloc", "size": "64MiB", "block_size": 512}
        ],
        "subsystems": [
            {
                "nqn": NQN, "serial": "CL0001", "model": "Corelane", "allow_any_host": true, "listeners": listeners,
                "namespaces": [{"nsid": 1, "bdev": "ram0", "uuid": UUID}, {"nsid": 2, "bdev": "void"}]
            },
            {
                "nqn": OTHER_NQN, "serial": "CL0002", "model": "Corelane", "allow_any_host": true, "listeners": listeners,
                "namespaces": [{"nsid": 1, "bdev": "ram1"}]
            }
        ]
    })
}
