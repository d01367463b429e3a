//! Processes that have a device open, found in `/proc`.
//!
//! A node of a device is known by its name, and, where it can be asked, by its number: a container may have given
//! it another name under `/dev`.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::device::Unknown;
use super::machine::{Machine, Trouble};

/// What is shown of a program whose name cannot be read.
const NAMELESS: &str = "?";

/// A node whose openers are looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Node {
    /// Such as `/dev/nvme0n1`.
    pub(super) path: String,
    /// `MAJOR:MINOR`, where it is known.
    pub(super) number: Option<String>,
    /// A block device; otherwise a character device.
    pub(super) block: bool,
}

/// A process that has a node open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Opener {
    pub(super) pid: u32,
    pub(super) program: String,
    /// Index of the node among those that were looked for.
    pub(super) node: usize,
}

/// Who has one of `nodes` open, once for each process and node; this process does not count. When some processes may
/// not be looked into, the first of them is in `unknown`.
pub(super) fn find(machine: &Machine, nodes: &[Node], unknown: &mut Unknown) -> Vec<Opener> {
    let mut openers = Vec::new();
    if nodes.is_empty() {
        return openers;
    }
    let mut hidden = None;
    for name in unknown.take(machine.names("/proc")) {
        let Ok(pid) = name.parse::<u32>() else { continue };
        if pid == std::process::id() {
            continue;
        }
        match descriptors(machine, pid, nodes) {
            Ok(found) => openers.extend(found),
            Err(trouble) => hidden = hidden.or(Some(trouble)),
        }
    }
    unknown.0.extend(hidden);
    openers
}

fn descriptors(machine: &Machine, pid: u32, nodes: &[Node]) -> Result<Vec<Opener>, Trouble> {
    let folder = format!("/proc/{pid}/fd");
    let mut found: Vec<usize> = Vec::new();
    for descriptor in machine.names(&folder)? {
        let path = format!("{folder}/{descriptor}");
        let target = match fs::read_link(machine.place(&path)) {
            Ok(target) => target.to_string_lossy().into_owned(),
            // Closed, or the process ended, in the meantime.
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => continue,
            Err(reason) => return Err(Trouble::reading(path, reason)),
        };
        // Others are not asked for their number: that may wait for a server of files that is gone.
        if !target.starts_with("/dev/") {
            continue;
        }
        let number = fs::metadata(machine.place(&path)).ok().and_then(|metadata| number(&metadata));
        let is = |node: &Node| {
            node.path == target
                || node.number.as_ref().is_some_and(|wanted| number == Some((node.block, wanted.clone())))
        };
        found.extend(nodes.iter().position(is));
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let program = machine.text(&format!("/proc/{pid}/comm")).ok().flatten();
    let program = program.unwrap_or_else(|| NAMELESS.to_owned()).escape_debug().to_string();
    Ok(found.into_iter().map(|node| Opener { pid, program: program.clone(), node }).collect())
}

/// Whether it is a block device, and its number; `None` for what is no device.
fn number(metadata: &fs::Metadata) -> Option<(bool, String)> {
    let kind = metadata.file_type();
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    (kind.is_block_device() || kind.is_char_device())
        .then(|| (kind.is_block_device(), format!("{major}:{minor}")))
}
