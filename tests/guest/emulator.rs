//! Stories about devices that QEMU emulates: told again when QEMU crashes, with the library's own tests as one of their
//! programs.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use serde_json::Value;

/// Times that a story is told from its beginning, on a fresh machine, because QEMU crashed: the controller of QEMU 7.2 frees
/// its queues at a reset, and completes what was in flight into the freed memory.
const ATTEMPTS: usize = 3;

/// The status with which `vm` says that.
const EMULATOR_CRASHED: i32 = 126;

/// Tells a story to its end, which must be a good one; see [`ATTEMPTS`].
pub(crate) fn told(story: fn() -> ExitStatus) {
    for attempt in 1..=ATTEMPTS {
        let status = story();
        if status.code() != Some(EMULATOR_CRASHED) {
            assert!(
                status.success(),
                "the virtual machine ended with {status}; its output says which step failed"
            );
            return;
        }
        eprintln!("the emulator crashed (attempt {attempt} of {ATTEMPTS})");
    }
    panic!("the emulator crashed {ATTEMPTS} times");
}

/// The library's own tests, built as this program was.
pub(crate) fn unit_tests() -> PathBuf {
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
