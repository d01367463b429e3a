//! A PCI NVMe controller, QEMU's behind an emulated IOMMU, is driven from user space in a virtual machine. Most of what is
//! tested runs there: `vfio/` is that part of this program, and scripts of `vm/` call it.

#[path = "vfio/device.rs"]
mod device;
#[path = "vfio/driver.rs"]
mod driver;
#[path = "guest/emulator.rs"]
mod emulator;
mod guest;
#[cfg(test)]
#[path = "nvme/suite/mod.rs"]
#[expect(unused_imports, reason = "the emulated controller is tested with more of it")]
mod suite;

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write, stderr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use emulator::{told, unit_tests};
use guest::{Guest, vm, wanted};

/// Devices that `vfio_removal.sh` has pulled out; the last one it cuts off itself.
const PULLED: usize = 4;

#[test]
fn a_device_is_driven_and_served_from_user_space() {
    if wanted("a PCI NVMe device driven in a virtual machine", "linux_vfio") {
        told(drive_and_serve);
    }
}

fn drive_and_serve() -> ExitStatus {
    let machine = Machine::new();
    machine.copy(&example(), "nvme_read");
    machine.copy(&unit_tests(), "unit");
    let mut programs = vec!["NVME_READ=/mnt/nvme_read", "UNIT=/mnt/unit"];
    if let Some(engine) = ioengine() {
        machine.copy(&engine, "libcorelane_fio.so");
        programs.push("CORELANE_FIO=/mnt/libcorelane_fio.so");
    }
    for name in ["meta", "suite", "twin0", "twin1"] {
        File::create(machine.path(name)).and_then(|file| file.set_len(32 << 20)).expect("a disk");
    }
    let disk = |name: &str| format!("file={},if=none,id={name},format=raw", machine.path(name));
    let mut vm = machine.vm("256M", "vfio.sh", &programs);
    vm.args([
        "-device",
        "nvme,serial=EMPTY",
        "-device",
        "nvme,id=meta0,serial=META",
        "-drive",
        &disk("meta"),
        "-device",
        "nvme-ns,bus=meta0,drive=meta,nsid=1,ms=8",
        "-device",
        // A namespace of its own, and not one that comes with the controller: those forget their limits of Copy, and
        // take none.
        "nvme,id=suite0,serial=SUITE,max_ioqpairs=8",
        "-drive",
        &disk("suite"),
        "-device",
        "nvme-ns,bus=suite0,drive=suite,nsid=1,mssrl=16",
        "-device",
        "pcie-root-port,id=twins,chassis=9,slot=9",
        "-drive",
        &disk("twin0"),
        "-device",
        "nvme,serial=TWIN0,drive=twin0,bus=twins,addr=0.0,multifunction=on",
        "-drive",
        &disk("twin1"),
        "-device",
        "nvme,serial=TWIN1,drive=twin1,bus=twins,addr=0.1",
    ]);
    ended(&mut vm)
}

#[test]
fn devices_are_taken_away_under_load() {
    if wanted("a PCI NVMe device driven in a virtual machine", "linux_vfio") {
        told(take_away);
    }
}

fn take_away() -> ExitStatus {
    let machine = Machine::new();
    let socket = machine.path("qmp");
    let mut vm = machine.vm("64M", "vfio_removal.sh", &[]);
    vm.arg("-chardev").arg(format!("socket,id=qmp,path={socket},server=on,wait=off"));
    vm.args(["-mon", "chardev=qmp,mode=control"]);
    for number in 0..PULLED {
        let name = format!("disk{number}");
        File::create(machine.path(&name)).and_then(|file| file.set_len(256 << 20)).expect("a disk");
        vm.arg("-device").arg(format!("pcie-root-port,id=port{number},chassis={number},slot={number}"));
        vm.arg("-drive").arg(format!("file={},if=none,id={name},format=raw", machine.path(&name)));
        vm.arg("-device")
            .arg(format!("nvme,id=pull{number},serial=PULL{number},drive={name},bus=port{number}"));
    }
    let mut vm = Guest::start(&mut vm);
    let mut left: Vec<_> = (0..PULLED).map(|number| format!("pull{number}")).collect();
    loop {
        if let Some(status) = vm.0.try_wait().expect("the virtual machine") {
            return status;
        }
        if let Some(at) = left.iter().position(|name| Path::new(&machine.path(name)).exists()) {
            pull(&socket, &left.swap_remove(at));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_device_without_an_iommu_is_refused() {
    if wanted("a PCI NVMe device driven in a virtual machine", "linux_vfio") {
        told(refuse_without_an_iommu);
    }
}

fn refuse_without_an_iommu() -> ExitStatus {
    let machine = Machine::new();
    File::create(machine.path("disk")).and_then(|file| file.set_len(32 << 20)).expect("a disk");
    let mut vm = machine.vm("", "vfio_no_iommu.sh", &[]);
    vm.arg("-drive").arg(format!("file={},if=none,id=disk,format=raw", machine.path("disk")));
    vm.args(["-device", "nvme,serial=EMULATED0,drive=disk"]);
    ended(&mut vm)
}

/// What a virtual machine and this one share.
struct Machine {
    shared: TempDir,
}

impl Machine {
    /// A folder with the programs that the guest runs: its root file system is this machine's, but for /tmp, where they
    /// may lie.
    fn new() -> Self {
        let machine = Self { shared: tempfile::tempdir().expect("a temporary directory") };
        machine.copy(Path::new(env!("CARGO_BIN_EXE_corelane")), "corelane");
        machine.copy(&env::current_exe().expect("this program"), "test");
        machine
    }

    fn copy(&self, program: &Path, name: &str) {
        fs::copy(program, self.path(name))
            .unwrap_or_else(|error| panic!("copying {}: {error}", program.display()));
    }

    fn path(&self, name: &str) -> String {
        self.shared.path().join(name).to_str().expect("a path of letters").to_owned()
    }

    /// A script of `vm/`, on a machine whose own controller has a disk of that size; none when empty.
    fn vm(&self, disk: &str, script: &str, environment: &[&str]) -> Command {
        let programs = ["CORELANE=/mnt/corelane", "TEST=/mnt/test"];
        let mut vm = vm(self.shared.path(), script, &[&programs, environment].concat());
        vm.env("CORELANE_VM_NVME", disk);
        vm
    }
}

/// Runs a virtual machine to its end.
fn ended(vm: &mut Command) -> ExitStatus {
    Guest::start(vm).0.wait().expect("the virtual machine")
}

/// The example, built as this program was, and where it lies then.
fn example() -> PathBuf {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--example", "nvme_read", "--profile", profile])
        .status();
    assert!(built.expect("running cargo").success());
    let program = env::current_exe().expect("this program");
    let target = program.parent().and_then(Path::parent).expect("programs lie in target/PROFILE/deps");
    target.join("examples/nvme_read")
}

/// fio's engine, built as this program was; `None` after it was said that it is left out, without fio's headers.
fn ioengine() -> Option<PathBuf> {
    if env::var_os("FIO_SRC").is_none_or(|headers| headers.is_empty()) {
        let line = "\nskipped: fio on a PCI NVMe device; it wants FIO_SRC=$(benches/fio/build --headers)\n";
        stderr().write_all(line.as_bytes()).expect("writing to the standard error output");
        return None;
    }
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", "corelane-fio", "--lib", "--profile", profile])
        .status();
    assert!(built.expect("running cargo").success());
    let program = env::current_exe().expect("this program");
    let target = program.parent().and_then(Path::parent).expect("programs lie in target/PROFILE/deps");
    Some(target.join("libcorelane_fio.so"))
}

/// Has QEMU take a device out of its slot, as an operator would: the guest is asked.
fn pull(socket: &str, device: &str) {
    let mut stream = UnixStream::connect(socket).expect("QEMU's monitor");
    let mut answers = BufReader::new(stream.try_clone().expect("a second end")).lines();
    let mut line = || answers.next().expect("an answer").expect("QEMU's monitor");
    assert!(line().contains("QMP"));
    let delete = format!(r#"{{"execute": "device_del", "arguments": {{"id": "{device}"}}}}"#);
    for command in [r#"{"execute": "qmp_capabilities"}"#, &delete] {
        writeln!(stream, "{command}").expect("QEMU's monitor");
        // Events of other devices may come before it.
        while !line().contains("\"return\"") {}
    }
}
