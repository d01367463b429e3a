//! File systems that are full or cannot be written, and a process that may not write where its user may.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

/// Something mounted on a directory, while this lives.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// A file system of 64 KiB in memory.
    pub(crate) fn small(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a directory");
        mount(["-t", "tmpfs", "-o", "size=64k,mode=0700", "corelane-test"], at)
    }

    /// The directory itself once more, and it cannot be written.
    pub(crate) fn read_only(at: &Path) -> Option<Self> {
        let mounted = mount([OsStr::new("--bind"), at.as_os_str()], at)?;
        mount(["-o", "remount,bind,ro"], at).map(std::mem::forget)?;
        Some(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Not asserted: this may run while a test panics.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount<S: AsRef<OsStr>, const N: usize>(arguments: [S; N], at: &Path) -> Option<Mounted> {
    let output = Command::new("mount").args(arguments).arg(at).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(Mounted(at.to_owned()));
    }
    not_tried("full and read-only file systems; that needs root and the right to mount");
    None
}

/// Fills the file system below a directory to its last page; returns what takes the place.
pub(crate) fn fill(directory: &Path) -> PathBuf {
    let ballast = directory.join("ballast");
    let mut file = File::create(&ballast).expect("a file");
    // Page by page: what is written before the end stays.
    while file.write_all(&[1; 4096]).is_ok() {}
    ballast
}

/// The start of a command line whose process obeys modes and owners, also where its user is root.
pub(crate) fn without_privilege() -> Option<&'static [&'static str]> {
    let wrapper: &[&str] = &["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    if !geteuid().is_root() {
        return Some(&[]);
    }
    if Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").status().is_ok_and(|status| status.success())
    {
        return Some(wrapper);
    }
    not_tried("directories without permission; as root, that needs setpriv and the right to give up rights");
    None
}

/// Says so past the test runner, which hides what a passing test prints.
fn not_tried(what: &str) {
    let line = format!("\nnot tried: {what}\n");
    stderr().write_all(line.as_bytes()).expect("writing to the standard error output");
}
