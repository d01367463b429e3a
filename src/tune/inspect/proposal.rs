//! A layout for the machine, and why it is this one. Measures nothing.
//!
//! Invariant: what is proposed is taken by the configuration's own checks, on this machine.

use crate::config::{Config, Placement, Topology};

use super::interrupts::Source;
use super::{Usable, list};

/// A layout, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Proposal {
    /// The configuration that was looked at, with another layout.
    pub config: Config,
    /// Why it is this layout, a line each.
    pub reasons: Vec<String>,
}

/// The layout for the machine; the rest is as `config` has it. `isolated` are the cores that were set aside.
pub(super) fn propose(
    config: &Config,
    topology: &Topology,
    usable: &Usable,
    sources: &[Source],
    isolated: &[usize],
) -> Proposal {
    let mut reasons = Vec::new();
    let cores = &on_node(topology, sources, &mut reasons);
    let aside = cores.only(|place| isolated.contains(&place.core));
    let others = cores.only(|place| !isolated.contains(&place.core));
    // A process that may use nothing has no configuration that is judged.
    let management = others.management_beside(&[]).or(cores.management_beside(&[]));
    let management = management.unwrap_or(config.reactors.management);
    let count = whole_cores(usable, cores.places().len(), &mut reasons);
    let io = if aside.places().is_empty() || others.places().is_empty() {
        cores.io_beside(management, count)
    } else {
        reasons.push(format!("I/O is on {aside}, set aside by isolcpus; management is on another"));
        let io = aside.io_beside(management, None);
        io.into_iter().take(count.unwrap_or(usize::MAX)).collect()
    };
    reasons.push(reason(cores, management, &io));
    let mut config = config.clone();
    config.reactors.overrides.retain(|(core, _)| *core == management || io.contains(core));
    config.reactors.placement = placement(&io, sources, &mut reasons).unwrap_or(config.reactors.placement);
    config.reactors.management = management;
    config.reactors.io = io;
    Proposal { config, reasons }
}

/// The cores of the network card's node, if it has any that may be used.
fn on_node(topology: &Topology, sources: &[Source], reasons: &mut Vec<String>) -> Topology {
    let card =
        sources.iter().find_map(|source| Some((&source.name, source.node.filter(|_| source.network)?)));
    if topology.nodes().len() > 1
        && let Some((name, node)) = card
        && !topology.on_node(node).places().is_empty()
    {
        reasons.push(format!("all reactors are on NUMA node {node}, where the network card {name} is"));
        return topology.on_node(node);
    }
    topology.clone()
}

/// How many I/O reactors a quota of processor time feeds, beside management; `None`: as many as there are cores.
fn whole_cores(usable: &Usable, cores: usize, reasons: &mut Vec<String>) -> Option<usize> {
    let whole = usize::try_from(usable.quota_milli? / 1000).unwrap_or(usize::MAX);
    if whole >= cores {
        return None;
    }
    reasons.push(format!(
        "no more reactors than the control group's quota of processor time feeds, which is {whole}"
    ));
    Some(whole.saturating_sub(1).max(1))
}

fn reason(cores: &Topology, management: usize, io: &[usize]) -> String {
    let place = |core: usize| cores.place(core).map(|place| place.physical);
    if io == [management] {
        "one core is there, which management and I/O share".to_owned()
    } else if io.iter().any(|&core| place(core) == place(management)) {
        format!("management on core {management} and I/O are threads of one physical core: there is no other")
    } else {
        format!("I/O {} and management on core {management} are physical cores of their own", list::named(io))
    }
}

/// By incoming core where the cards' interrupts come on as many I/O cores as there are.
fn placement(io: &[usize], sources: &[Source], reasons: &mut Vec<String>) -> Option<Placement> {
    let interrupts = sources.iter().filter(|source| source.network).flat_map(|source| &source.interrupts);
    let live: Vec<_> = interrupts.filter(|one| one.count != Some(0) && !one.cores.is_empty()).collect();
    let every = io.iter().all(|core| live.iter().any(|one| one.cores == [*core]));
    (every && io.len() > 1).then(|| {
        reasons.push(
            "the network card interrupts every I/O core, so a queue goes where its packets arrive".to_owned(),
        );
        Placement::IncomingCpu
    })
}
