//! What holds a block device: mounts, swap, device-mapper, RAID, exports, programs, and superblocks of what is not
//! assembled.
//!
//! A device of which one partition is used is used. What stands on a device is followed upwards: the file system on a
//! volume of LVM on a partition is a use of the namespace.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::block::{self, Block};
use super::device::{Device, Unknown};
use super::machine::{Machine, Trouble};
use super::occupation::{Holding, NVMET, Occupation, Use};
use super::openers::{self, Node};
use super::signature::{self, Signature};

/// How many devices may stand on each other. Deeper ones are held by something that is reported already.
const STACK_MAX: usize = 8;

/// Everything that the namespaces of a device, their partitions, and the controller are used for.
pub(super) fn of(machine: &Machine, device: &Device, unknown: &mut Unknown) -> Vec<Occupation> {
    let scene = Scene::read(machine, unknown);
    let mut found = Vec::new();
    let mut nodes = Vec::new();
    for block in device.blocks.iter().flat_map(Block::all) {
        scene.uses(machine, &block.name, &block.number, STACK_MAX, unknown, &mut found);
        let signature = unknown.take(signature_on(machine, block));
        found.extend(signature.map(|signature| Occupation::new(&block.name, Use::Signature { signature })));
        nodes.push(Node { path: block.path(), number: Some(block.number.clone()), block: true });
    }
    nodes.extend(characters(machine, device, unknown));
    for opener in openers::find(machine, &nodes, unknown) {
        let name = nodes[opener.node].path.trim_start_matches("/dev/").to_owned();
        found.push(Occupation::new(name, Use::Open { pid: opener.pid, program: opener.program }));
    }
    found
}

/// The controller's own node, and those through which namespaces take raw commands.
fn characters(machine: &Machine, device: &Device, unknown: &mut Unknown) -> Vec<Node> {
    let Some(controller) = &device.controller else { return Vec::new() };
    let mut names = vec![(controller.clone(), format!("/sys/class/nvme/{controller}/dev"))];
    for block in &device.blocks {
        let generic = block.name.replacen("nvme", "ng", 1);
        names.push((generic.clone(), format!("/sys/class/nvme-generic/{generic}/dev")));
    }
    let mut node = |(name, number): (String, String)| Node {
        path: format!("/dev/{name}"),
        number: unknown.take(machine.text(&number)),
        block: false,
    };
    names.into_iter().map(&mut node).collect()
}

/// What is looked up once for all block devices.
struct Scene {
    /// Number, source and place of each mount.
    mounts: Vec<(String, String, String)>,
    /// Paths of swap devices.
    swaps: Vec<String>,
    /// Path of the device, and NQN of the subsystem, of each namespace of the kernel's target.
    exports: Vec<(String, String)>,
    /// Path of the backing file, and name, of each loop device.
    loops: Vec<(String, String)>,
}

impl Scene {
    fn read(machine: &Machine, unknown: &mut Unknown) -> Self {
        let mounts = unknown.take(required(machine, "/proc/self/mountinfo"));
        // Kernels without swap have no such file.
        let swaps = unknown.take(machine.text("/proc/swaps")).unwrap_or_default();
        Self {
            mounts: mounts.lines().filter_map(mount).collect(),
            swaps: swaps
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().next())
                .map(plain)
                .collect(),
            exports: unknown.take(exports(machine)),
            loops: unknown.take(loops(machine)),
        }
    }

    /// Adds what the device of that name is used for, and what stands on it, up to `depth` devices.
    fn uses(
        &self,
        machine: &Machine,
        name: &str,
        number: &str,
        depth: usize,
        unknown: &mut Unknown,
        found: &mut Vec<Occupation>,
    ) {
        let path = block::node(name);
        let mounts = self.mounts.iter().filter(|(mounted, source, _)| mounted == number || *source == path);
        found.extend(mounts.map(|(_, _, at)| Occupation::new(name, Use::Mount { at: at.clone() })));
        if self.swaps.contains(&path) {
            found.push(Occupation::new(name, Use::Swap));
        }
        let exports = self.exports.iter().filter(|(exported, _)| *exported == path);
        found.extend(
            exports.map(|(_, subsystem)| Occupation::new(name, Use::Export { subsystem: subsystem.clone() })),
        );
        let loops = self.loops.iter().filter(|(backing, _)| *backing == path);
        found.extend(loops.map(|(_, holder)| Occupation::new(name, Use::Loop { holder: holder.clone() })));
        for holder in unknown.take(machine.names(&format!("{}/holders", block::folder(name)))) {
            let (kind, called) = unknown.take(described(machine, &holder));
            found.push(Occupation::new(name, Use::Holder { holder: holder.clone(), kind, name: called }));
            let number = unknown.take(machine.text(&format!("{}/dev", block::folder(&holder))));
            if let (Some(number), true) = (number, depth > 0) {
                self.uses(machine, &holder, &number, depth - 1, unknown, found);
            }
        }
    }
}

/// A file that every machine has: that it is missing is a trouble.
fn required(machine: &Machine, path: &str) -> Result<String, Trouble> {
    machine.text(path)?.ok_or_else(|| Trouble::reading(path, io::ErrorKind::NotFound.into()))
}

/// Number, source and place of a line of `/proc/self/mountinfo`: proc_pid_mountinfo(5).
fn mount(line: &str) -> Option<(String, String, String)> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ');
    let number = front.nth(2)?;
    let at = front.nth(1)?;
    let source = back.split(' ').nth(1)?;
    Some((number.to_owned(), plain(source), plain(at)))
}

/// Undoes the octal escapes (`\040` for a blank) of the kernel's tables.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\').then(|| after.get(..3)).flatten();
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(value.unwrap_or(first));
        rest = if value.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a device that stands on another is, and its name.
fn described(machine: &Machine, holder: &str) -> Result<(Holding, String), Trouble> {
    let folder = block::folder(holder);
    let Some(name) = machine.text(&format!("{folder}/dm/name"))? else {
        let kind = if holder.starts_with("md") {
            Holding::Raid
        } else if holder.starts_with("bcache") {
            Holding::Cache
        } else {
            Holding::Other
        };
        return Ok((kind, holder.to_owned()));
    };
    let uuid = machine.text(&format!("{folder}/dm/uuid"))?.unwrap_or_default();
    let kind = match uuid.split('-').next() {
        Some("LVM") => Holding::Lvm,
        Some("CRYPT") => Holding::Crypt,
        Some("mpath") => Holding::Multipath,
        _ => Holding::DeviceMapper,
    };
    Ok((kind, name))
}

fn exports(machine: &Machine) -> Result<Vec<(String, String)>, Trouble> {
    let mut found = Vec::new();
    for subsystem in machine.names(NVMET)? {
        let namespaces = format!("{NVMET}/{subsystem}/namespaces");
        for nsid in machine.names(&namespaces)? {
            let enabled =
                machine.text(&format!("{namespaces}/{nsid}/enable"))?.is_some_and(|text| text == "1");
            let path = machine.text(&format!("{namespaces}/{nsid}/device_path"))?;
            found.extend(path.filter(|_| enabled).map(|path| (path, subsystem.clone())));
        }
    }
    Ok(found)
}

fn loops(machine: &Machine) -> Result<Vec<(String, String)>, Trouble> {
    let mut found = Vec::new();
    for name in machine.names("/sys/class/block")?.into_iter().filter(|name| name.starts_with("loop")) {
        let path = machine.text(&format!("{}/loop/backing_file", block::folder(&name)))?;
        found.extend(path.map(|path| (path, name)));
    }
    Ok(found)
}

/// Reads the device, which therefore has to be readable.
fn signature_on(machine: &Machine, block: &Block) -> Result<Option<Signature>, Trouble> {
    let path = block.path();
    let trouble = |reason| Trouble::reading(&path, reason);
    let file = File::open(machine.place(&path)).map_err(trouble)?;
    signature::find(block.size_bytes, |at, buffer| file.read_exact_at(buffer, at)).map_err(trouble)
}
