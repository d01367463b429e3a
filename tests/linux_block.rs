//! The bdev `file` on block devices of a real kernel, in a virtual machine: what is refused, what a Linux host finds, and
//! disks that fail or vanish under load.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use guest::{Guest, wanted};

mod guest;

#[test]
fn block_devices_are_served_and_their_failures_told() {
    if !wanted("block devices of a kernel in a virtual machine", "linux_block") {
        return;
    }
    let shared = tempfile::tempdir().expect("a temporary directory");
    let copy = |program: &Path, name: &str| {
        fs::copy(program, shared.path().join(name)).expect("copying a program");
    };
    // The guest's root file system is this machine's, but for /tmp: programs may lie there.
    copy(Path::new(env!("CARGO_BIN_EXE_corelane")), "corelane");
    copy(&unit_tests(), "unit");
    let disk = shared.path().join("disk");
    fs::File::create(&disk).and_then(|file| file.set_len(128 << 20)).expect("a disk");
    let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
    let child = Command::new(vm.join("vm"))
        .env("CORELANE_VM_NVME", "128M")
        .env("CORELANE_VM_WORK", shared.path())
        .args(["CORELANE=/mnt/corelane", "UNIT=/mnt/unit"])
        .arg(vm.join("block.sh"))
        .arg("-drive")
        .arg(format!("file={},format=raw,if=virtio,discard=unmap", disk.display()))
        .spawn()
        .expect("starting the virtual machine");
    let status = Guest(child).0.wait().expect("waiting for the virtual machine");
    assert!(status.success(), "the virtual machine ended with {status}; its output says which step failed");
}

/// The library's own tests, built as this program was.
fn unit_tests() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", "--quiet", "--lib", "--no-run", "--message-format=json"])
        .args(profile)
        .output()
        .expect("running cargo");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages =
        built.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let program =
        messages.filter_map(|message: Value| Some(message["executable"].as_str()?.to_owned())).next_back();
    program.expect("cargo says where it is").into()
}
