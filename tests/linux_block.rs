//! The bdev `file` on block devices of a real kernel, in a virtual machine: what is refused, what a Linux host finds, and
//! disks that fail or vanish under load.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use emulator::{told, unit_tests};
use guest::{Guest, vm, wanted};

#[path = "guest/emulator.rs"]
mod emulator;
mod guest;

#[test]
fn block_devices_are_served_and_their_failures_told() {
    if wanted("block devices of a kernel in a virtual machine", "linux_block") {
        told(serve_and_break);
    }
}

fn serve_and_break() -> ExitStatus {
    let shared = tempfile::tempdir().expect("a temporary directory");
    let copy = |program: &Path, name: &str| {
        fs::copy(program, shared.path().join(name)).expect("copying a program");
    };
    // The guest's root file system is this machine's, but for /tmp: programs may lie there.
    copy(Path::new(env!("CARGO_BIN_EXE_corelane")), "corelane");
    copy(&unit_tests(), "unit");
    let disk = shared.path().join("disk");
    fs::File::create(&disk).and_then(|file| file.set_len(128 << 20)).expect("a disk");
    let mut vm = vm(shared.path(), "block.sh", &["CORELANE=/mnt/corelane", "UNIT=/mnt/unit"]);
    vm.env("CORELANE_VM_NVME", "128M");
    vm.arg("-drive").arg(format!("file={},format=raw,if=virtio,discard=unmap", disk.display()));
    Guest::start(&mut vm).0.wait().expect("waiting for the virtual machine")
}
