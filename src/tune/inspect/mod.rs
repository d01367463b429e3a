//! Looking at a machine: what of it helps a target, what hurts, what could not be read, and a layout for it.
//!
//! Invariants:
//!
//! - nothing is changed, nothing is measured, and no file outside of the root of one [`Machine`] is read;
//! - every item says why it matters, and every one that should be otherwise how that is done;
//! - what could not be read is an item of its own, and never counts as good or bad.

use serde::Serialize;

use crate::config::{Config, Embedded, Topology};

use super::setup::{Machine, Trouble};
use look::Look;

pub use cpu::{Cache, Cpu};
pub use interrupts::{Interrupt, Source};
pub use proposal::Proposal;
pub use usable::Usable;

mod cores;
mod cpu;
mod interrupts;
mod kernel;
mod list;
mod look;
mod memory;
mod network;
mod proposal;
#[cfg(test)]
pub(crate) mod tests;
mod usable;

/// What a machine is like for a target.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Inspection {
    /// The layout that was judged.
    pub layout: Layout,
    /// The cores that are switched on.
    pub cpus: Vec<Cpu>,
    /// What this process may use of them.
    pub usable: Usable,
    /// Network cards with a link, and NVMe devices.
    pub devices: Vec<Source>,
    /// What helps, hurts or is not known: what hurts first.
    pub items: Vec<Item>,
}

/// The layout that was judged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Layout {
    /// Core of the management reactor.
    pub management: usize,
    /// Cores of the I/O reactors.
    pub io: Vec<usize>,
}

/// One thing about a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Item {
    /// What it does to a target.
    pub verdict: Verdict,
    /// What was looked at.
    pub topic: &'static str,
    /// How it is.
    pub state: String,
    /// Why that matters, or why it is not known.
    pub reason: String,
    /// What changes it; `None` where nothing needs to be changed.
    pub command: Option<String>,
}

/// What a thing does to a target. Ordered as items are shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It costs throughput or latency.
    Hurts,
    /// It could be better, at a price, or only matters to some.
    Note,
    /// It is as it should be.
    Helps,
    /// It could not be read.
    Unknown,
}

/// What is read once and used by both the inspection and the proposal.
struct Facts {
    cpus: Vec<Cpu>,
    usable: Usable,
    sources: Vec<Source>,
    troubles: Vec<Trouble>,
}

impl Inspection {
    /// Looks at the machine and judges it for the layout of `config`; `topology` has the cores that may be used.
    #[must_use]
    pub fn of(machine: &Machine, config: &Config, topology: &Topology) -> Self {
        let Facts { cpus, usable, sources, troubles } = Facts::read(machine);
        let mut look = Look {
            machine,
            cpus: &cpus,
            usable: &usable,
            topology,
            config,
            sources: &sources,
            items: Vec::new(),
        };
        for trouble in &troubles {
            look.unreadable("machine", trouble);
        }
        cores::check(&mut look);
        interrupts::check(&mut look);
        memory::check(&mut look);
        kernel::check(&mut look);
        network::check(&mut look);
        let mut items = look.items;
        // Stable: items of one kind stay in the order of the checks.
        items.sort_by_key(|item| item.verdict);
        let layout = Layout { management: config.reactors.management, io: config.reactors.io.clone() };
        Self { layout, cpus, usable, devices: sources, items }
    }
}

impl Facts {
    fn read(machine: &Machine) -> Self {
        let mut troubles = Vec::new();
        Self {
            cpus: cpu::all(machine, &mut troubles),
            usable: Usable::read(machine, &mut troubles),
            sources: interrupts::sources(machine, &mut troubles),
            troubles,
        }
    }
}

/// Every core of the machine that is switched on, as far as it can be read.
#[must_use]
pub fn topology(machine: &Machine) -> Topology {
    cpu::topology(&cpu::all(machine, &mut Vec::new()))
}

/// The cores that this process may use. `allowed` are those that the kernel names when it is asked; what the files say
/// of its affinity and its control group narrows them. Cores of which the files say nothing are taken as they are.
#[must_use]
pub fn usable(machine: &Machine, allowed: &[usize]) -> Topology {
    let known = topology(machine);
    let facts = Usable::read(machine, &mut Vec::new());
    let flat = Topology::flat(allowed);
    let places = flat.places().iter().map(|place| known.place(place.core).unwrap_or(*place));
    let all = Topology::new(places.collect());
    let narrowed = all.only(|place| facts.has(place.core));
    // Files of another process's view, as a strange mount may show them, are no reason not to run.
    if narrowed.places().is_empty() { all } else { narrowed }
}

/// A layout for the machine; the rest is as `config` has it.
#[must_use]
pub fn propose(machine: &Machine, config: &Config, topology: &Topology) -> Proposal {
    let Facts { usable, sources, .. } = Facts::read(machine);
    let isolated = machine.text("/sys/devices/system/cpu/isolated").ok().flatten();
    let isolated = isolated.and_then(|text| list::parse(&text)).unwrap_or_default();
    proposal::propose(config, topology, &usable, &sources, &isolated)
}

/// What is judged where no configuration is given: the one that is served without a file. `None` without any core.
#[must_use]
pub fn embedded(topology: &Topology) -> Option<Config> {
    Embedded::default().config(topology).ok().map(|accepted| accepted.config)
}
