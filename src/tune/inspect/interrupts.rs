//! The interrupts of network cards and NVMe devices: how many came, and on which cores they come.

use serde::Serialize;

use super::super::setup::{Machine, Trouble};
use super::list;
use super::look::Look;

const NETWORK: &str = "/sys/class/net";
const NVME: &str = "/sys/class/nvme";
const TOPIC: &str = "interrupts";
/// The program that moves interrupts about.
const BALANCER: &str = "irqbalance";

/// A device that has interrupts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Source {
    /// Its name, such as `eth0` or `nvme0`.
    pub name: String,
    /// Whether it is a network card; otherwise it is an NVMe device.
    pub network: bool,
    /// Its NUMA node; `None` where the platform does not say.
    pub node: Option<usize>,
    /// Receive queues of a network card.
    pub receive_queues: usize,
    /// Its interrupts, ascending.
    pub interrupts: Vec<Interrupt>,
}

/// One interrupt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// How often it came since the machine was booted; `None` if unknown.
    pub count: Option<u64>,
    /// The cores on which it comes; empty if unknown.
    pub cores: Vec<usize>,
}

/// Network cards with a link, and NVMe devices.
pub(super) fn sources(machine: &Machine, troubles: &mut Vec<Trouble>) -> Vec<Source> {
    let mut take = |result: Result<Vec<String>, Trouble>| {
        result.unwrap_or_else(|trouble| {
            troubles.push(trouble);
            Vec::new()
        })
    };
    let cards = take(machine.names(NETWORK));
    let disks = take(machine.names(NVME));
    let counts = match machine.text("/proc/interrupts") {
        Ok(text) => text.unwrap_or_default(),
        Err(trouble) => {
            troubles.push(trouble);
            String::new()
        }
    };
    let cards = cards.iter().map(|name| (name, NETWORK, true));
    let all = cards.chain(disks.iter().map(|name| (name, NVME, false)));
    all.filter_map(|(name, class, network)| {
        source(machine, &format!("{class}/{name}"), name, network, &counts)
    })
    .collect()
}

fn source(machine: &Machine, folder: &str, name: &str, network: bool, counts: &str) -> Option<Source> {
    let text = |path: String| machine.text(&path).ok().flatten();
    // Bridges, bonds and the loopback device have none.
    if !machine.has(&format!("{folder}/device")).ok()? {
        return None;
    }
    if network && text(format!("{folder}/operstate")).is_some_and(|state| state == "down") {
        return None;
    }
    // The card of a virtual machine stands on a device that has the interrupts.
    let places = [format!("{folder}/device/msi_irqs"), format!("{folder}/device/../msi_irqs")];
    let names = places.iter().map(|place| machine.names(place).unwrap_or_default());
    let names = names.into_iter().find(|names| !names.is_empty()).unwrap_or_default();
    let mut interrupts: Vec<Interrupt> =
        names.iter().filter_map(|name| Some(interrupt(machine, name.parse().ok()?, counts))).collect();
    interrupts.sort_by_key(|interrupt| interrupt.number);
    let nodes = [format!("{folder}/device/numa_node"), format!("{folder}/device/../numa_node")];
    let queues = machine.names(&format!("{folder}/queues")).unwrap_or_default();
    Some(Source {
        name: name.to_owned(),
        network,
        // Minus one where the platform does not say.
        node: nodes.into_iter().find_map(text).and_then(|node| node.parse().ok()),
        receive_queues: queues.iter().filter(|queue| queue.starts_with("rx-")).count(),
        interrupts,
    })
}

fn interrupt(machine: &Machine, number: u32, counts: &str) -> Interrupt {
    let files = ["effective_affinity_list", "smp_affinity_list"];
    let mut lists =
        files.iter().filter_map(|file| machine.text(&format!("/proc/irq/{number}/{file}")).ok()?);
    let cores = lists.find_map(|text| list::parse(&text).filter(|cores| !cores.is_empty()));
    Interrupt { number, count: count(counts, number), cores: cores.unwrap_or_default() }
}

/// How often it came, on all cores together. proc_interrupts(5).
fn count(table: &str, number: u32) -> Option<u64> {
    let name = format!("{number}:");
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(&name))?;
    // The chip's name follows the numbers.
    Some(line.split_whitespace().map_while(|word| word.parse::<u64>().ok()).fold(0, u64::saturating_add))
}

/// Says which of them come on I/O cores, and who moves them.
pub(super) fn check(look: &mut Look<'_>) {
    let io = look.io();
    for source in look.sources {
        affinity(look, source, &io);
        if source.network {
            nearness(look, source, &io);
        }
    }
    balancer(look);
}

fn affinity(look: &mut Look<'_>, source: &Source, io: &[usize]) {
    let name = &source.name;
    // One that never came, such as that of a card's set-up, disturbs nobody.
    let live: Vec<&Interrupt> =
        source.interrupts.iter().filter(|interrupt| interrupt.count != Some(0)).collect();
    if live.is_empty() {
        return;
    }
    if live.iter().all(|interrupt| interrupt.cores.is_empty()) {
        return look.unknown(TOPIC, &format!("where those of {name} come: /proc/irq/*/smp_affinity_list"));
    }
    let on_io: Vec<&&Interrupt> =
        live.iter().filter(|one| one.cores.iter().any(|core| io.contains(core))).collect();
    let mut cores: Vec<usize> = on_io.iter().flat_map(|one| one.cores.iter().copied()).collect();
    cores.retain(|core| io.contains(core));
    cores.sort_unstable();
    cores.dedup();
    let state = format!("{} of {} of {name} come on I/O {}", on_io.len(), live.len(), list::named(&cores));
    if on_io.is_empty() {
        look.helps(TOPIC, format!("none of {} of {name} comes on an I/O core", live.len()))
            .because("an I/O reactor is not interrupted by the device");
    } else if !source.network {
        look.note(TOPIC, state).because(
            "the kernel has one for each core and does not let it be moved; it comes for what this core asked of the \
             device, so only a program that does so from an I/O core disturbs its reactor",
        );
    } else if look.config.reactors.placement == crate::config::Placement::IncomingCpu {
        look.helps(TOPIC, state).because(
            "with the placement \"incoming_cpu\" a connection is served where its packets arrive, with warm caches",
        );
    } else {
        let numbers: Vec<String> = on_io.iter().map(|one| one.number.to_string()).collect();
        let elsewhere = look.elsewhere();
        let command = if elsewhere == "none" {
            "set \"placement\": \"incoming_cpu\" in \"reactors\"".to_owned()
        } else {
            format!(
                "for irq in {}; do echo {elsewhere} > /proc/irq/$irq/smp_affinity_list; done; or set \"placement\": \
                 \"incoming_cpu\" in \"reactors\"",
                numbers.join(" ")
            )
        };
        look.hurts(TOPIC, state).change(
            "packets of other reactors' connections take time from this one; its own gain only if they arrive here",
            command,
        );
    }
}

/// Whether the card is near the I/O cores, and spreads its load.
fn nearness(look: &mut Look<'_>, source: &Source, io: &[usize]) {
    const TOPIC: &str = "network card";
    let name = &source.name;
    if let Some(node) = source.node {
        let far: Vec<usize> = io
            .iter()
            .copied()
            .filter(|&core| {
                look.topology.place(core).and_then(|place| place.node).is_some_and(|other| other != node)
            })
            .collect();
        let near = look.topology.on_node(node);
        if far.is_empty() {
            look.helps(TOPIC, format!("{name} is on NUMA node {node}, as the I/O cores are"))
                .because("packets are in the memory and the cache of the node that reads them");
        } else if near.places().is_empty() {
            look.hurts(TOPIC, format!("{name} is on NUMA node {node}, where this process may use no core"))
                .change(
                    "every packet crosses from node to node",
                    format!("let the process use cores of node {node} (taskset, cpuset)"),
                );
        } else {
            look.hurts(TOPIC, format!("{name} is on NUMA node {node}, I/O {} is not", list::named(&far)))
                .change(
                    "every packet crosses from node to node",
                    format!("set \"node\": {node} in \"reactors\", or name {near} there"),
                );
        }
    }
    if source.receive_queues > 0 && source.receive_queues < io.len() {
        look.note(
            TOPIC,
            format!(
                "{name} has {}, for {} I/O reactors",
                counted(source.receive_queues, "receive queue"),
                io.len()
            ),
        )
        .change(
            "the kernel receives on as many cores as the card has queues",
            format!("ethtool -L {name} combined {}, if the card has so many", io.len()),
        );
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn balancer(look: &mut Look<'_>) {
    const TOPIC: &str = "irqbalance";
    let Ok(processes) = look.names(TOPIC, "/proc") else { return };
    let numbers = processes.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let runs = numbers
        .filter_map(|process| look.machine.text(&format!("/proc/{process}/comm")).ok().flatten())
        .any(|name| name == BALANCER);
    if runs {
        let io = list::show(&look.io());
        look.hurts(TOPIC, "runs").change(
            "it moves interrupts on to I/O cores whenever it likes",
            format!("IRQBALANCE_BANNED_CPULIST={io} in /etc/default/irqbalance, or systemctl disable --now irqbalance"),
        );
    } else {
        look.helps(TOPIC, "does not run, as far as this process can see")
            .because("interrupts stay where they are");
    }
}
