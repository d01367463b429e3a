//! The block devices of an NVMe controller: its namespaces and their partitions.

use serde::Serialize;

use super::Machine;
use super::machine::Trouble;

/// What sysfs counts the size of block devices in, whatever their blocks are.
const SECTOR_BYTES: u64 = 512;

/// A block device: a namespace or a partition of one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Block {
    /// The kernel's name, such as `nvme0n1` or `nvme0n1p2`.
    pub name: String,
    /// `MAJOR:MINOR`.
    pub number: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Partitions, sorted by name. Empty for partitions.
    pub partitions: Vec<Block>,
}

impl Block {
    /// The node of the device.
    #[must_use]
    pub fn path(&self) -> String {
        node(&self.name)
    }

    /// This device and its partitions.
    pub(super) fn all(&self) -> impl Iterator<Item = &Block> {
        std::iter::once(self).chain(&self.partitions)
    }

    /// The block device of that name, with its partitions; `None` if there is no such device.
    pub(super) fn read(machine: &Machine, name: &str) -> Result<Option<Self>, Trouble> {
        let Some(mut block) = Self::alone(machine, name)? else { return Ok(None) };
        let folder = folder(name);
        // Partitions lie in the folder of the whole, among its attributes, and begin with its name.
        for inner in machine.names(&folder)?.into_iter().filter(|inner| inner.starts_with(name)) {
            if machine.has(&format!("{folder}/{inner}/partition"))? {
                block.partitions.extend(Self::alone(machine, &inner)?);
            }
        }
        Ok(Some(block))
    }

    fn alone(machine: &Machine, name: &str) -> Result<Option<Self>, Trouble> {
        let folder = folder(name);
        let number = machine.text(&format!("{folder}/dev"))?;
        let sectors = machine.number(&format!("{folder}/size"))?;
        let (Some(number), Some(sectors)) = (number, sectors) else { return Ok(None) };
        let size_bytes = sectors.saturating_mul(SECTOR_BYTES);
        Ok(Some(Self { name: name.to_owned(), number, size_bytes, partitions: Vec::new() }))
    }
}

/// Where sysfs describes the block device of that name.
pub(super) fn folder(name: &str) -> String {
    format!("/sys/class/block/{name}")
}

/// The node of the block device of that name. Sysfs has `!` where the name has a slash.
pub(super) fn node(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}

/// The namespaces among the names in the folder of a controller. With multipath, a controller has hidden paths
/// (`nvme0c1n1`) to a shared device (`nvme0n1`), which is what is mounted.
pub(super) fn namespaces(names: &[String]) -> Vec<String> {
    let mut found: Vec<String> = names.iter().filter_map(|name| namespace(name)).collect();
    found.sort();
    found.dedup();
    found
}

fn namespace(name: &str) -> Option<String> {
    let (subsystem, rest) = digits(name.strip_prefix("nvme")?)?;
    let rest = match rest.strip_prefix('c') {
        Some(path) => digits(path)?.1,
        None => rest,
    };
    let (instance, rest) = digits(rest.strip_prefix('n')?)?;
    rest.is_empty().then(|| format!("nvme{subsystem}n{instance}"))
}

/// The digits at the front, at least one, and what follows.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    (end > 0).then(|| text.split_at(end))
}
