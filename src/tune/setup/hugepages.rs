//! Huge pages: how many there are, and asking the kernel for more.
//!
//! Invariant: what is reported after a change was read back, and is not what was asked for.

use std::fmt;

use serde::Serialize;

use crate::config::ByteSize;

use super::device::Unknown;
use super::machine::{Machine, Trouble};

const POOLS: &str = "/sys/kernel/mm/hugepages";
const NODES: &str = "/sys/devices/system/node";
/// Folders of sizes are named by KiB: `hugepages-2048kB`.
const KIB: u64 = 1024;

/// The huge pages of one size, of the whole machine or of one NUMA node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Pool {
    /// Size of a page in bytes.
    pub size_bytes: u64,
    /// The node; `None` for the whole machine.
    pub node: Option<u32>,
    /// Pages that there are.
    pub total: u64,
    /// Pages that nobody has touched yet.
    pub free: u64,
    /// Free pages that are promised to somebody; the kernel counts them for the whole machine only.
    pub reserved: Option<u64>,
}

/// What came of asking for pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Pages that were asked for.
    pub wanted: u64,
    /// Pages that there are now.
    pub got: u64,
    /// Size of a page in bytes.
    pub size_bytes: u64,
    /// The node; `None` for the whole machine.
    pub node: Option<u32>,
}

/// Why the number of pages was not set.
#[derive(Debug, thiserror::Error)]
pub enum HugepageError {
    /// The kernel has no pages of that size.
    #[error("this machine has no huge pages of {wanted}; it has: {there}")]
    Size {
        /// What was asked for.
        wanted: ByteSize,
        /// The sizes that there are, separated by commas.
        there: String,
    },
    /// The machine has no such node.
    #[error("this machine has no NUMA node {wanted}; it has: {there}")]
    Node {
        /// What was asked for.
        wanted: u32,
        /// The nodes that there are, separated by commas.
        there: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// Every pool: by size, the whole machine before its nodes.
pub(super) fn pools(machine: &Machine, unknown: &mut Unknown) -> Vec<Pool> {
    let mut pools = Vec::new();
    let nodes = unknown.take(nodes(machine));
    for size_bytes in unknown.take(sizes(machine, POOLS)) {
        pools.extend(unknown.take(pool(machine, size_bytes, None)));
        for node in &nodes {
            pools.extend(unknown.take(pool(machine, size_bytes, Some(*node))));
        }
    }
    pools
}

/// Asks for `count` pages of `size_bytes` altogether, on the whole machine or on one node.
///
/// # Errors
///
/// There is no such size or node, or the kernel's files cannot be read or written. That the kernel found fewer pages
/// is no error here: see [`Outcome`].
pub fn set(
    machine: &mut Machine,
    count: u64,
    size_bytes: u64,
    node: Option<u32>,
) -> Result<Outcome, HugepageError> {
    if let Some(wanted) = node {
        let nodes = nodes(machine)?;
        if !nodes.contains(&wanted) {
            return Err(HugepageError::Node { wanted, there: list(&nodes) });
        }
    }
    let file = format!("{}/nr_hugepages", folder(size_bytes, node));
    if !machine.has(&file)? {
        let sizes: Vec<ByteSize> = sizes(machine, POOLS)?.into_iter().map(ByteSize::new).collect();
        return Err(HugepageError::Size { wanted: ByteSize::new(size_bytes), there: list(&sizes) });
    }
    machine.write(&file, &format!("{count}\n"))?;
    let got = machine.number(&file)?.unwrap_or(0);
    Ok(Outcome { wanted: count, got, size_bytes, node })
}

fn pool(machine: &Machine, size_bytes: u64, node: Option<u32>) -> Result<Option<Pool>, Trouble> {
    let folder = folder(size_bytes, node);
    let number = |name: &str| machine.number(&format!("{folder}/{name}"));
    let (total, free) = (number("nr_hugepages")?, number("free_hugepages")?);
    let reserved = number("resv_hugepages")?;
    Ok(total.zip(free).map(|(total, free)| Pool { size_bytes, node, total, free, reserved }))
}

fn folder(size_bytes: u64, node: Option<u32>) -> String {
    let size = format!("hugepages-{}kB", size_bytes / KIB);
    match node {
        None => format!("{POOLS}/{size}"),
        Some(node) => format!("{NODES}/node{node}/hugepages/{size}"),
    }
}

/// Sizes in bytes, ascending.
fn sizes(machine: &Machine, folder: &str) -> Result<Vec<u64>, Trouble> {
    let names = machine.names(folder)?;
    let size = |name: &String| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok();
    let mut sizes: Vec<u64> = names.iter().filter_map(size).filter_map(|kib| kib.checked_mul(KIB)).collect();
    sizes.sort_unstable();
    Ok(sizes)
}

/// Numbers of the NUMA nodes, ascending.
fn nodes(machine: &Machine) -> Result<Vec<u32>, Trouble> {
    let names = machine.names(NODES)?;
    let mut nodes: Vec<u32> =
        names.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok()).collect();
    nodes.sort_unstable();
    Ok(nodes)
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Outcome {
    /// Whether there are as many pages as were asked for.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.got == self.wanted
    }

    /// What an operator does about a number that is not what was asked for.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let Self { wanted, got, size_bytes, node: _ } = *self;
        if got == wanted {
            return None;
        }
        if got > wanted {
            return Some(format!(
                "{} more than wanted are in use: end the programs that use them",
                got.saturating_sub(wanted)
            ));
        }
        let boot = match size_bytes >> 20 {
            mib if mib >= 1024 => format!("hugepagesz={}G hugepages={wanted}", mib >> 10),
            mib => format!("hugepagesz={mib}M hugepages={wanted}"),
        };
        Some(format!(
            "memory is used up or in pieces: free it (echo 3 > /proc/sys/vm/drop_caches), join it \
             (echo 1 > /proc/sys/vm/compact_memory), and try again; surest is to ask at boot, on the kernel's command \
             line: {boot}"
        ))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, got, size_bytes, node } = *self;
        let size = ByteSize::new(size_bytes);
        write!(formatter, "{got} huge pages of {size}")?;
        if let Some(node) = node {
            write!(formatter, " on node {node}")?;
        }
        if got == wanted { Ok(()) } else { write!(formatter, ", not {wanted}") }
    }
}
