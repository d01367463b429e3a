//! Printing what was found, for people.

use std::io::{self, Write};

use crate::tune::inspect::{Cpu, Inspection, Item, Verdict};

/// The layout, the machine, and a table of items with reason and command below each.
pub(super) fn print(inspection: &Inspection, layout: &str, output: &mut dyn Write) -> io::Result<()> {
    writeln!(output, "layout:   {layout}")?;
    writeln!(output, "machine:  {}", machine(&inspection.cpus))?;
    let topics = inspection.items.iter().map(|item| item.topic.chars().count()).max().unwrap_or(0);
    for item in &inspection.items {
        let Item { verdict, topic, state, reason, command } = item;
        writeln!(output, "\n{:7}  {topic:topics$}  {}", word(*verdict), printable(state))?;
        writeln!(output, "{:9}{}", "", printable(reason))?;
        if let Some(command) = command {
            writeln!(output, "{:9}> {command}", "")?;
        }
    }
    Ok(())
}

/// What files of the kernel say is printed, and a file may hold anything.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Hurts => "hurts",
        Verdict::Note => "note",
        Verdict::Helps => "helps",
        Verdict::Unknown => "unknown",
    }
}

/// `2 packages, 16 cores with 32 threads, 2 NUMA nodes, 4 caches of level 3`.
fn machine(cpus: &[Cpu]) -> String {
    let mut parts = Vec::new();
    let packages = different(cpus.iter().filter_map(|cpu| cpu.package));
    if packages > 0 {
        parts.push(counted(packages, "package"));
    }
    let cores = different(cpus.iter().map(|cpu| cpu.physical));
    let threads = cpus.len();
    parts.push(if threads > cores {
        format!("{} with {threads} threads", counted(cores, "core"))
    } else {
        counted(cores, "core")
    });
    parts.push(counted(different(cpus.iter().filter_map(|cpu| cpu.node)), "NUMA node"));
    let outer = cpus.iter().filter_map(|cpu| cpu.caches.iter().max_by_key(|cache| cache.level));
    if let Some(level) = outer.clone().map(|cache| cache.level).max() {
        let shared =
            outer.filter(|cache| cache.level == level).filter_map(|cache| cache.shared_by.first().copied());
        parts.push(format!("{} of level {level}", counted(different(shared), "cache")));
    }
    parts.join(", ")
}

fn different(numbers: impl Iterator<Item = usize>) -> usize {
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
