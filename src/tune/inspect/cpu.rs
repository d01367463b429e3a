//! The processors of a machine, as sysfs describes them: packages, cores, threads, NUMA nodes and caches.
//!
//! Invariant: cores are numbered as the kernel numbers them, and each is there once, ascending.

use serde::Serialize;

use crate::config::{CorePlace, Topology};

use super::super::setup::{Machine, Trouble};
use super::list;

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";
/// Levels of caches there may be.
const CACHES_MAX: usize = 16;

/// A core: what Linux calls a processor, which is one hardware thread.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cpu {
    /// Its number.
    pub core: usize,
    /// The package (socket) it is in; `None` if unknown.
    pub package: Option<usize>,
    /// The number of the first thread of its physical core.
    pub physical: usize,
    /// Its NUMA node; `None` if unknown.
    pub node: Option<usize>,
    /// Its caches, the nearest first.
    pub caches: Vec<Cache>,
}

/// A cache.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cache {
    /// 1 is the nearest.
    pub level: u64,
    /// `Data`, `Instruction` or `Unified`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its size as the kernel writes it, such as `32768K`.
    pub size: Option<String>,
    /// The cores that share it.
    pub shared_by: Vec<usize>,
}

/// The cores that are switched on, and what could not be read of them.
pub(super) fn all(machine: &Machine, troubles: &mut Vec<Trouble>) -> Vec<Cpu> {
    let mut take = |result: Result<Option<String>, Trouble>| match result {
        Ok(text) => text,
        Err(trouble) => {
            troubles.push(trouble);
            None
        }
    };
    let online = take(machine.text(&format!("{CPUS}/online")));
    let nodes = nodes(machine);
    let cores = online.and_then(|text| list::parse(&text)).unwrap_or_default();
    let mut cpus = Vec::with_capacity(cores.len());
    for core in cores {
        let folder = format!("{CPUS}/cpu{core}");
        let siblings = take(machine.text(&format!("{folder}/topology/thread_siblings_list")));
        let siblings = siblings.and_then(|text| list::parse(&text)).unwrap_or_default();
        // Minus one where the platform does not say.
        let package = take(machine.text(&format!("{folder}/topology/physical_package_id")));
        cpus.push(Cpu {
            core,
            package: package.and_then(|text| text.parse().ok()),
            physical: siblings.first().copied().unwrap_or(core),
            node: match &nodes {
                Some(nodes) => nodes.iter().find(|(_, cores)| cores.contains(&core)).map(|(node, _)| *node),
                // A kernel without NUMA has one node, and no folder for it.
                None => Some(0),
            },
            caches: caches(machine, &folder),
        });
    }
    cpus
}

/// What a configuration has to know of them.
pub(super) fn topology(cpus: &[Cpu]) -> Topology {
    let place = |cpu: &Cpu| CorePlace { core: cpu.core, physical: cpu.physical, node: cpu.node };
    Topology::new(cpus.iter().map(place).collect())
}

/// The NUMA nodes and their cores; `None` where the kernel knows none.
fn nodes(machine: &Machine) -> Option<Vec<(usize, Vec<usize>)>> {
    let names = machine.names(NODES).unwrap_or_default();
    let numbers = names.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok());
    let nodes: Vec<_> = numbers
        .filter_map(|node| {
            let cores = machine.text(&format!("{NODES}/node{node}/cpulist")).ok()??;
            Some((node, list::parse(&cores)?))
        })
        .collect();
    (!nodes.is_empty()).then_some(nodes)
}

fn caches(machine: &Machine, folder: &str) -> Vec<Cache> {
    let text = |path: &str| machine.text(path).ok().flatten();
    let cache = |index: usize| {
        let folder = format!("{folder}/cache/index{index}");
        Some(Cache {
            level: text(&format!("{folder}/level"))?.parse().ok()?,
            kind: text(&format!("{folder}/type"))?,
            size: text(&format!("{folder}/size")),
            shared_by: list::parse(&text(&format!("{folder}/shared_cpu_list"))?)?,
        })
    };
    (0..CACHES_MAX).map_while(cache).collect()
}
