//! The virtual machine of `tests/vm`, for a test that has asked for it.

use std::env;
use std::ffi::OsStr;
use std::io::{Write, stderr};
use std::path::Path;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

/// Whether to boot the virtual machine. Says so when not, past the test runner, which hides what a passing test prints.
pub(crate) fn wanted(what: &str, test: &str) -> bool {
    if env::var_os("CORELANE_VM").is_some_and(|value| value == "1") {
        return true;
    }
    let line = format!(
        "\nskipped: {what}; run it with\n    CORELANE_VM=1 cargo test --test {test} -- --nocapture\n"
    );
    stderr().write_all(line.as_bytes()).expect("writing to the standard error output");
    false
}

/// A script of `tests/vm` in a virtual machine that shares this folder, told `NAME=VALUE`; arguments that follow are QEMU's.
pub(crate) fn vm(shared: &Path, script: &str, environment: &[impl AsRef<OsStr>]) -> Command {
    let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
    let mut command = Command::new(vm.join("vm"));
    command.env("CORELANE_VM_WORK", shared).args(environment).arg(vm.join(script));
    command
}

/// The process of `tests/vm/vm`, ended when it is dropped.
pub(crate) struct Guest(pub(crate) Child);

impl Guest {
    pub(crate) fn start(vm: &mut Command) -> Self {
        Self(vm.spawn().expect("starting the virtual machine"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SIGTERM: it ends the emulator, which SIGKILL would leave behind.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}
