//! The cores of the layout: what they share, how fast they run, and who else runs on them.

use super::list;
use super::look::{Look, Unread};

const CPUS: &str = "/sys/devices/system/cpu";

pub(super) fn check(look: &mut Look<'_>) {
    if look.cpus.is_empty() {
        look.unknown("cores", "which there are: /sys/devices/system/cpu/online");
    } else {
        use_of_cores(look);
        siblings(look);
    }
    quota(look);
    nodes(look);
    governor(look);
    isolation(look);
    ticks(look);
}

fn use_of_cores(look: &mut Look<'_>) {
    const TOPIC: &str = "cores";
    let all: Vec<usize> = look.cpus.iter().map(|cpu| cpu.core).collect();
    let usable = look.topology.cores();
    let state = format!("{} of {}", list::show(&usable), list::show(&all));
    if usable.len() < all.len() {
        look.note(TOPIC, state).change(
            "the affinity of this process or its control group leaves the others out",
            format!("taskset -c {} corelane serve, or AllowedCPUs= of the unit", list::show(&all)),
        );
    } else {
        look.helps(TOPIC, state).because("this process may use every core");
    }
    if look.config.reactors.cores().len() == 1 {
        look.note(TOPIC, "management and I/O share one").because(
            "a new connection takes its turn among the I/O, in small steps; with a second core it would not",
        );
    }
}

fn quota(look: &mut Look<'_>) {
    let reactors = look.config.reactors.cores().len();
    if let Some(quota) = look.usable.quota_milli {
        let state =
            format!("{}.{:03} cores' worth of time, for {reactors} reactors", quota / 1000, quota % 1000);
        let enough = quota >= u64::try_from(reactors).unwrap_or(u64::MAX).saturating_mul(1000);
        if enough {
            look.helps("cpu quota", state).because("the control group never stops a reactor");
        } else {
            look.hurts("cpu quota", state).change(
                "when it is used up the kernel stops every reactor for the rest of the period, up to 100 ms",
                "remove the quota (CPUQuota= of the unit, --cpus of the container) and give whole cores (AllowedCPUs=, \
                 --cpuset-cpus)",
            );
        }
    }
}

fn siblings(look: &mut Look<'_>) {
    const TOPIC: &str = "threads of a core";
    let reactors = look.config.reactors.cores();
    let physical = |core: usize| look.topology.place(core).map(|place| place.physical);
    let pair = reactors.iter().enumerate().find_map(|(at, &core)| {
        let other = reactors[..at].iter().find(|&&other| physical(other) == physical(core))?;
        Some((*other, core))
    });
    let threads = look.cpus.iter().any(|cpu| cpu.physical != cpu.core);
    match (pair, look.topology.needless_siblings(&reactors)) {
        (Some(_), Some((first, second, free))) => {
            look.hurts(TOPIC, format!("reactors on {first} and {second}, which are one; {free} is free"))
                .change(
                    "two reactors on one core slow each other down",
                    format!("name core {free} instead of {second} in \"reactors\", or set \"io\": \"auto\""),
                );
        }
        (Some((first, second)), None) => {
            look.note(TOPIC, format!("reactors on {first} and {second}, which are one"))
                .because("two reactors on one core slow each other down, and no other core is free");
        }
        (None, _) if threads => {
            let io = look.io();
            let idle: Vec<usize> = look
                .cpus
                .iter()
                .filter(|cpu| !reactors.contains(&cpu.core))
                .filter(|cpu| io.iter().any(|&core| physical(core) == Some(cpu.physical)))
                .map(|cpu| cpu.core)
                .collect();
            look.helps(TOPIC, "every reactor has a core of its own").because(format!(
                "nothing else should run on the other threads of the I/O cores, {}",
                list::show(&idle)
            ));
        }
        (None, _) => {
            look.helps(TOPIC, "one each").because("no two reactors can be on one core");
        }
    }
}

fn nodes(look: &mut Look<'_>) {
    const TOPIC: &str = "NUMA";
    let all = look.topology.nodes();
    let mut used: Vec<usize> =
        look.config.reactors.cores().iter().filter_map(|&core| look.topology.place(core)?.node).collect();
    used.sort_unstable();
    used.dedup();
    match (all.len(), used.len()) {
        (0, _) => look.unknown(TOPIC, "the nodes of the cores are not in /sys/devices/system/node"),
        (1, _) => look.helps(TOPIC, "one node").because("all memory is as near"),
        (_, 1) => {
            look.helps(TOPIC, format!("the reactors are on node {} of {}", used[0], list::show(&all)))
                .because("messages and memory do not cross from node to node");
        }
        _ => {
            look.hurts(TOPIC, format!("the reactors are on nodes {}", list::show(&used))).change(
                "messages and data cross from node to node",
                "set \"node\" in \"reactors\" to that of the network card, or run one target on each node",
            );
        }
    }
}

fn governor(look: &mut Look<'_>) {
    const TOPIC: &str = "governor";
    let mut slow: Vec<(usize, String)> = Vec::new();
    let mut fast = Vec::new();
    let mut unread = false;
    for core in look.config.reactors.cores() {
        match look.text(TOPIC, &format!("{CPUS}/cpu{core}/cpufreq/scaling_governor")) {
            Ok(Some(name)) if name == "performance" => fast.push(core),
            Ok(Some(name)) => slow.push((core, name)),
            Ok(None) => {}
            Err(Unread) => unread = true,
        }
    }
    if let Some((_, name)) = slow.first() {
        let cores: Vec<usize> = slow.iter().map(|(core, _)| *core).collect();
        let state = format!("{name} on {}", list::named(&cores));
        look.hurts(TOPIC, state).change(
            "the core slows down when a reactor sleeps, and is slow for the first commands after that",
            format!("cpupower -c {} frequency-set -g performance", list::show(&cores)),
        );
    } else if unread {
        // Some of them are fast at best.
    } else if fast.is_empty() {
        look.note(TOPIC, "the kernel has none")
            .because("firmware or hypervisor decide how fast the cores run");
    } else {
        look.helps(TOPIC, format!("performance on {}", list::named(&fast)))
            .because("the cores never slow down");
    }
}

fn isolation(look: &mut Look<'_>) {
    const TOPIC: &str = "isolcpus";
    let Ok(isolated) = look.text(TOPIC, &format!("{CPUS}/isolated")) else { return };
    let isolated = isolated.and_then(|text| list::parse(&text)).unwrap_or_default();
    let io = look.io();
    let shared: Vec<usize> = io.iter().copied().filter(|core| !isolated.contains(core)).collect();
    let unused: Vec<usize> = isolated.iter().copied().filter(|core| !io.contains(core)).collect();
    if isolated.is_empty() {
        look.note(TOPIC, "none").change(
            "the kernel may run anybody's threads on I/O cores; on a machine of its own that matters little",
            format!(
                "isolcpus={} on the kernel's command line, and taskset -c for the target",
                list::show(&io)
            ),
        );
    } else if shared.is_empty() {
        look.helps(TOPIC, list::show(&isolated)).because("the scheduler puts nobody else on the I/O cores");
    } else {
        look.hurts(TOPIC, format!("{}, but I/O {} not", list::show(&isolated), list::named(&shared))).change(
            "cores were set aside, and the reactors do not use them",
            format!(
                "name them in \"reactors\": \"io\": \"{}\", and start with taskset -c",
                list::show(&unused)
            ),
        );
    }
}

fn ticks(look: &mut Look<'_>) {
    let io = look.io();
    let full = look.text("nohz_full", &format!("{CPUS}/nohz_full"));
    // "(null)" where the kernel could do it, and was not told to.
    let full = full.map(|text| text.and_then(|text| list::parse(&text)).unwrap_or_default());
    let line = look.text("rcu_nocbs", "/proc/cmdline");
    let callbacks = match (&line, &full) {
        (Ok(line), Ok(full)) => {
            let words = line.as_deref().unwrap_or_default().split_whitespace();
            // The kernel keeps no callbacks on cores that have no tick.
            words
                .filter_map(|word| word.strip_prefix("rcu_nocbs="))
                .next_back()
                .map_or(Ok(full.clone()), |text| {
                    Ok(if text == "all" { io.clone() } else { list::parse(text).unwrap_or_default() })
                })
        }
        _ => Err(Unread),
    };
    let tick = "the timer interrupts a spinning reactor 100 to 1,000 times a second, for a microsecond each";
    let free = "the kernel frees its memory on I/O cores, in soft interrupts";
    for (topic, cores, reason) in [("nohz_full", full, tick), ("rcu_nocbs", callbacks, free)] {
        let Ok(cores) = cores else { continue };
        if io.iter().all(|core| cores.contains(core)) {
            look.helps(topic, list::show(&cores)).because("the I/O cores are spared the kernel's own work");
        } else {
            let command = format!("{topic}={} on the kernel's command line", list::show(&io));
            look.note(topic, format!("not on I/O {}", list::named(&io))).change(reason, command);
        }
    }
}
