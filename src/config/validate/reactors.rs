//! Checks of the core layout.

use std::time::Duration;

use crate::config::budgets::IO_COUNT;
use crate::config::cores;
use crate::config::document::{
    IdleEntry, IdlePolicyName, OverrideEntry, PlacementName, ReactorsEntry, RebalanceName,
};
use crate::config::finding::{Findings, Place};
use crate::config::limits::Knob;
use crate::config::{Idle, Placement, Reactors, Topology};

use super::{CORE_MAX, Unique};

/// Range of `spin_us`.
const SPIN_US: Knob<u32> = Knob { min: 1, max: 1_000_000, default: 100, unit: "microseconds" };

pub(super) fn check(
    entry: &ReactorsEntry,
    place: &Place,
    topology: &Topology,
    findings: &mut Findings,
) -> Reactors {
    let idle = idle(&entry.idle, &place.key("idle"), findings);
    let placement = match entry.placement {
        PlacementName::RoundRobin => Placement::RoundRobin,
        PlacementName::LeastLoaded => Placement::LeastLoaded,
        PlacementName::IncomingCpu => Placement::IncomingCpu,
    };
    let budgets = entry.budgets.check(&place.key("budgets"), findings);
    let (management, io) = layout(entry, place, topology, findings);
    let engine = entry.engine;
    let rebalance = entry.rebalance == RebalanceName::On;
    if rebalance && io.len() < 2 {
        findings
            .warning(place.key("rebalance"), "is \"on\", and there is only one I/O reactor: nothing moves");
    }
    let overrides = Vec::new();
    let mut reactors = Reactors { management, io, idle, overrides, placement, budgets, engine, rebalance };
    reactors.overrides = self::overrides(&entry.overrides, &reactors, &place.key("overrides"), findings);
    reactors
}

/// The core of management, and those of I/O.
fn layout(
    entry: &ReactorsEntry,
    place: &Place,
    topology: &Topology,
    findings: &mut Findings,
) -> (usize, Vec<usize>) {
    let topology = &node(entry.node, &place.key("node"), topology, findings);
    if topology.places().is_empty() {
        findings.error(place.clone(), "needs at least one core, and this process may use none");
        return (0, vec![0]);
    }
    let listed = listed(entry, &place.key("io"), topology, findings);
    let count = count(entry, &place.key("io_count"), topology, findings);
    let management = entry.management.map(|core| {
        let core = usize::try_from(core).unwrap_or(usize::MAX);
        check_cores(&[core], topology, &place.key("management"), findings);
        core
    });
    let chosen = || topology.management_beside(listed.as_deref().unwrap_or_default()).unwrap_or_default();
    let management = management.unwrap_or_else(chosen);
    let io = listed.unwrap_or_else(|| topology.io_beside(management, count));
    let mut reactors = [io.as_slice(), &[management]].concat();
    reactors.sort_unstable();
    reactors.dedup();
    if let Some((first, second, free)) = topology.needless_siblings(&reactors) {
        let message = format!(
            "puts reactors on cores {first} and {second}, which are threads of one core and slow each other down, while \
             core {free} is free"
        );
        findings.warning(place.clone(), message);
    }
    (management, io)
}

/// The cores of the node, or all.
fn node(node: Option<u64>, place: &Place, topology: &Topology, findings: &mut Findings) -> Topology {
    let Some(node) = node else { return topology.clone() };
    let cores = topology.on_node(usize::try_from(node).unwrap_or(usize::MAX));
    if !cores.places().is_empty() {
        return cores;
    }
    let nodes = topology.nodes();
    let message = if nodes.is_empty() {
        format!("is {node}; the NUMA nodes of this machine are not known, so leave it out")
    } else {
        let nodes = cores::display(&nodes);
        format!("is {node}; the cores that this process may use are on NUMA nodes {nodes}")
    };
    findings.error(place.clone(), message);
    topology.clone()
}

/// The cores that the file names.
fn listed(
    entry: &ReactorsEntry,
    place: &Place,
    topology: &Topology,
    findings: &mut Findings,
) -> Option<Vec<usize>> {
    match entry.io.as_ref().filter(|list| !list.is_auto())?.resolve() {
        Ok(cores) => {
            check_cores(&cores, topology, place, findings);
            Some(cores)
        }
        Err(problem) => {
            findings.error(place.clone(), problem.to_string());
            None
        }
    }
}

/// The number of cores that `"auto"` is to take.
fn count(
    entry: &ReactorsEntry,
    place: &Place,
    topology: &Topology,
    findings: &mut Findings,
) -> Option<usize> {
    let count = entry.io_count?;
    if entry.io.as_ref().is_some_and(|list| !list.is_auto()) {
        findings.error(place.clone(), "belongs to \"io\": \"auto\"; leave it out, as \"io\" is a list");
        return None;
    }
    let count = IO_COUNT.check(count, place.clone(), findings).into();
    if count > topology.places().len() {
        let message =
            format!("is {count}; each I/O reactor needs a core of its own, and there are only {topology}");
        findings.error(place.clone(), message);
    }
    Some(count)
}

/// One finding for all cores that may not be used.
fn check_cores(cores: &[usize], topology: &Topology, place: &Place, findings: &mut Findings) {
    let wrong: Vec<usize> = cores.iter().copied().filter(|&core| topology.place(core).is_none()).collect();
    if !wrong.is_empty() {
        let named = Topology::flat(&wrong);
        findings.error(place.clone(), format!("names {named}; this process may use {topology}"));
    }
}

fn idle(entry: &IdleEntry, place: &Place, findings: &mut Findings) -> Idle {
    let spin_us = place.key("spin_us");
    if entry.spin_us.is_some() && entry.policy != IdlePolicyName::Adaptive {
        findings
            .error(spin_us.clone(), "belongs to the policy \"adaptive\"; leave it out, or use that policy");
    }
    match entry.policy {
        IdlePolicyName::Spin => Idle::Spin,
        IdlePolicyName::Park => Idle::Park,
        IdlePolicyName::Adaptive => {
            let spin = entry.spin_us.unwrap_or(SPIN_US.default.into());
            Idle::Adaptive { spin: Duration::from_micros(SPIN_US.check(spin, spin_us, findings).into()) }
        }
    }
}

fn overrides(
    entries: &[OverrideEntry],
    reactors: &Reactors,
    place: &Place,
    findings: &mut Findings,
) -> Vec<(usize, Idle)> {
    super::count(entries.len(), CORE_MAX + 1, place, findings);
    let cores = reactors.cores();
    let mut known = Unique::new();
    let mut overrides = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let place = place.entry(index);
        let idle = idle(&entry.idle, &place.key("idle"), findings);
        let core = usize::try_from(entry.core).unwrap_or(usize::MAX);
        if !cores.contains(&core) {
            let message = format!("is {}; the reactors are on {}", entry.core, Topology::flat(&cores));
            findings.error(place.key("core"), message);
        } else if let Some(first) = known.insert(core, &place) {
            findings.error(place.key("core"), format!("is {core}, the core of {first} too"));
        } else {
            overrides.push((core, idle));
        }
    }
    overrides
}
