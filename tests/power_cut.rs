//! The power of a whole machine is cut in a storm of reservation commands: `corelane serve` runs in a virtual machine and
//! keeps its state on the machine's own disk, the hosts are here; QEMU is killed, and booted again on the same disk.
//!
//! What is lost with the guest is what the guest had in memory: every page and every name that it did not flush to its
//! disk. What its disk had taken survives, because QEMU's writes are in the page cache of this machine, which lives on
//! (`cache=writeback`); that a disk may lose what it took and was not told to flush is tried on the simulated disk of
//! `src/persist/power_cut`.
//!
//! Five rounds, or `CORELANE_POWER_CUTS`.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use guest::{Guest, vm, wanted};
use storm::{Storm, configuration, number};

mod guest;
mod storm;

const ROUNDS: u64 = 5;
const NAMESPACES: u32 = 3;
const DISK_BYTES: u64 = 64 << 20;
/// From the moment when every host has connected to the kill, at most.
const STORM_MAX: Duration = Duration::from_secs(2);
/// Between two looks at the folder that the guest shares.
const LOOK: Duration = Duration::from_millis(20);

#[test]
fn what_was_answered_survives_a_power_cut() {
    if !wanted("power cuts of a virtual machine", "power_cut") {
        return;
    }
    let rounds = number("CORELANE_POWER_CUTS").unwrap_or(ROUNDS);
    let place = Place::new();
    let mut storm = Storm::new(NAMESPACES);
    for round in 0..rounds {
        let machine = place.boot(round);
        storm.check(machine.address, round);
        machine.has_no_complaint();
        storm.blow(machine.address, STORM_MAX, || machine.cut_power());
    }
    let machine = place.boot(rounds);
    storm.check(machine.address, rounds);
    machine.has_no_complaint();
    machine.stop();
    storm.conclude(rounds);
}

/// What outlives the machine: its disk, and the folder that it shares.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary directory"));
        let disk = File::create(place.disk()).expect("an image");
        disk.set_len(DISK_BYTES).expect("a size");
        place
    }

    fn disk(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    /// Boots the machine; returns when its target listens.
    fn boot(&self, round: u64) -> Machine {
        let shared = self.0.path().join(format!("shared-{round}"));
        fs::create_dir(&shared).expect("a directory");
        let mut configuration = configuration(NAMESPACES, &json!({"address": "0.0.0.0", "port": 4420}));
        configuration["state_must_exist"] = json!(round > 0);
        fs::write(shared.join("corelane.json"), configuration.to_string())
            .expect("writing the configuration");
        let said = File::create(shared.join("said")).expect("a file for what the harness says");
        let address = free_address();
        // The guest's flushes reach the host's page cache at least, which outlives QEMU.
        let disk = format!("file={},format=raw,if=virtio,cache=writeback", self.disk().display());
        let told =
            [format!("BINARY={}", env!("CARGO_BIN_EXE_corelane")), format!("FRESH={}", u8::from(round == 0))];
        let mut vm = vm(&shared, "power_cut.sh", &told);
        vm.env("CORELANE_VM_FORWARD", address.port().to_string());
        vm.arg("-pidfile").arg(shared.join("process")).args(["-drive", &disk]);
        vm.stdout(said.try_clone().expect("the same file")).stderr(said);
        let mut machine = Machine { guest: Guest::start(&mut vm), shared, address };
        while !machine.read("output").lines().any(|line| line.starts_with("listening tcp ")) {
            let ended = machine.guest.0.try_wait().expect("asking after the virtual machine");
            assert!(ended.is_none(), "round {round}: no target; {}", machine.read("said"));
            thread::sleep(LOOK);
        }
        machine
    }
}

/// A running machine.
struct Machine {
    guest: Guest,
    shared: PathBuf,
    /// Where its target is reached from here.
    address: SocketAddr,
}

impl Machine {
    /// A file of the shared folder; empty while there is none.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.shared.join(name)).unwrap_or_default()
    }

    /// The target has neither warned nor complained.
    fn has_no_complaint(&self) {
        assert_eq!(self.read("errors"), "", "nothing is wrong with the records");
    }

    fn cut_power(mut self) {
        let process = self.read("process").trim().parse().ok().and_then(Pid::from_raw);
        kill_process(process.expect("QEMU's process identifier"), Signal::KILL).expect("killing QEMU");
        let status = self.guest.0.wait().expect("waiting for the virtual machine");
        assert!(!status.success() && self.read("said").contains("(qemu: 137)"), "{}", self.read("said"));
    }

    /// Ends target and machine in order.
    fn stop(mut self) {
        fs::write(self.shared.join("stop"), []).expect("a file");
        let status = self.guest.0.wait().expect("waiting for the virtual machine");
        assert!(status.success(), "{status}: {}", self.read("said"));
    }
}

/// An address that nobody listens on. QEMU can be told a port only, not a socket that has it.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}
