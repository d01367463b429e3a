//! The whole target over loopback TCP, on one core, against our initiator on another; beside it, in the same run and by
//! turns, a bare socket that exchanges messages of the same shapes. What the target does per command beyond moving
//! bytes is the distance between the two.
//!
//! `cargo bench --bench loopback -- [part of a workload's name] [--pairs N] [--seconds S]`
//!
//! Both serve from 256 MiB of memory, at random places or in order, with headers and payloads as separate stretches of
//! one gathered send; both ends spin; what can be sent together is. The bare socket differs in what it leaves out: it
//! parses the lengths of messages and nothing else, and neither end copies the payload that it received.
//!
//! Medians over the pairs, and least and most. Machines vary while they are measured: believe the ratio.

mod bare;
mod client;
mod target;
mod workload;

use std::time::Duration;

use corelane_reactors::cpu;

use crate::workload::{Figure, WORKLOADS, Workload};

struct Arguments {
    filter: String,
    pairs: usize,
    time: Duration,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = arguments()?;
    let cores = cpu::allowed();
    let [server_core, client_core, ..] = cores[..] else {
        println!("loopback needs two cores, one for each side: skipped");
        return Ok(());
    };
    let target = target::start(server_core)?;
    cpu::pin(client_core, &cores)?;
    let mut client = client::Client::connect(target.address)?;
    client.fill()?;
    let mut bare = bare::Bare::new(server_core, &cores)?;

    println!("{} pairs of {:?} each; medians (least to most)", arguments.pairs, arguments.time);
    println!("{:<26} {:>30} {:>30} {:>7}", "workload", "target", "bare socket", "ratio");
    for workload in WORKLOADS.iter().filter(|workload| workload.name.contains(&arguments.filter)) {
        let mut figures: [Vec<Figure>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..arguments.pairs {
            figures[0].push(client.run(workload, arguments.time)?);
            figures[1].push(bare.run(workload, arguments.time)?);
        }
        report(workload, &mut figures);
    }
    target.stop()
}

/// One line of the table; a ratio above 1 says that the target is faster.
fn report(workload: &Workload, figures: &mut [Vec<Figure>; 2]) {
    let latency = workload.depth == 1;
    let [target, bare] = figures.each_mut().map(|figures| {
        let mut values: Vec<f64> = figures
            .iter()
            .map(|figure| if latency { figure.median_us } else { figure.operations_per_second })
            .collect();
        values.sort_by(f64::total_cmp);
        [values[values.len() / 2], values[0], values[values.len() - 1]]
    });
    let show = |[median, least, most]: [f64; 3]| {
        if latency {
            format!("{median:.1} us ({least:.1} to {most:.1})")
        } else {
            format!("{:.1} k/s ({:.1} to {:.1})", median / 1e3, least / 1e3, most / 1e3)
        }
    };
    let ratio = if latency { bare[0] / target[0] } else { target[0] / bare[0] };
    println!("{:<26} {:>30} {:>30} {ratio:>7.3}", workload.name, show(target), show(bare));
}

fn arguments() -> Result<Arguments, Box<dyn std::error::Error>> {
    // `cargo test` only wants to know whether it runs.
    let (pairs, milliseconds) =
        if std::env::args().any(|word| word == "--bench") { (5, 1000) } else { (1, 20) };
    let mut parsed = Arguments { filter: String::new(), pairs, time: Duration::from_millis(milliseconds) };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or("a value is missing");
        match word.as_str() {
            "--pairs" => parsed.pairs = value()?.parse::<usize>()?.max(1),
            "--seconds" => parsed.time = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--bench" => {}
            _ => parsed.filter = word,
        }
    }
    Ok(parsed)
}
