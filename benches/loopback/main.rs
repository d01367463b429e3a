//! The whole target over loopback TCP, on one core, against our initiator on another, once for each engine of sockets;
//! beside it, in the same run and by turns, a bare socket that exchanges messages of the same shapes. What the target does per command beyond moving
//! bytes is the distance between the two.
//!
//! `cargo bench --bench loopback -- [part of a workload's name] [--pairs N] [--seconds S]`
//!
//! Both serve from 256 MiB of memory, at random places or in order, with headers and payloads as separate stretches of
//! one gathered send; who is asked spins, and a target that is not sleeps; what can be sent together is. The bare socket differs in what it leaves out: it
//! parses the lengths of messages and nothing else, and neither end copies the payload that it received.
//!
//! Medians over the pairs, and least and most. Machines vary while they are measured: believe the ratio.

mod bare;
mod client;
mod target;
mod workload;

use std::time::Duration;

use corelane::config::EngineName;
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
    let targets = [EngineName::Epoll, EngineName::IoUring].map(|engine| target::start(server_core, engine));
    let [epoll, io_uring] = targets;
    let (epoll, io_uring) = (epoll?, io_uring?);
    cpu::pin(client_core, &cores)?;
    let mut bare = bare::Bare::new(server_core, &cores)?;

    println!("{} rounds of {:?} each; medians (least to most)", arguments.pairs, arguments.time);
    println!(
        "{:<26} {:>30} {:>30} {:>30} {:>8}",
        "workload", "target, epoll", "target, io_uring", "bare socket", "uring/ep"
    );
    for workload in WORKLOADS.iter().filter(|workload| workload.name.contains(&arguments.filter)) {
        let mut clients = Vec::new();
        for target in [&epoll, &io_uring] {
            let mut client = client::Client::connect(target.address, workload.connections)?;
            client.fill()?;
            clients.push(client);
        }
        let mut figures: [Vec<Figure>; 3] = Default::default();
        for _ in 0..arguments.pairs {
            for (client, figures) in clients.iter_mut().zip(&mut figures) {
                figures.push(client.run(workload, arguments.time)?);
            }
            if workload.connections == 1 {
                figures[2].push(bare.run(workload, arguments.time)?);
            }
        }
        report(workload, &mut figures);
    }
    epoll.stop()?;
    io_uring.stop()
}

/// One line of the table; the ratio compares the engines: above 1, io_uring is faster.
fn report(workload: &Workload, figures: &mut [Vec<Figure>; 3]) {
    let latency = workload.depth == 1;
    let [epoll, io_uring, bare] = figures.each_mut().map(|figures| {
        let mut values: Vec<f64> = figures
            .iter()
            .map(|figure| if latency { figure.median_us } else { figure.operations_per_second })
            .collect();
        values.sort_by(f64::total_cmp);
        Some([*values.get(values.len() / 2)?, *values.first()?, *values.last()?])
    });
    let show = |values: Option<[f64; 3]>| match values {
        None => String::new(),
        Some([median, least, most]) if latency => format!("{median:.1} us ({least:.1} to {most:.1})"),
        Some([median, least, most]) => {
            format!("{:.1} k/s ({:.1} to {:.1})", median / 1e3, least / 1e3, most / 1e3)
        }
    };
    let ratio = match (epoll, io_uring) {
        (Some(epoll), Some(io_uring)) if latency => epoll[0] / io_uring[0],
        (Some(epoll), Some(io_uring)) => io_uring[0] / epoll[0],
        _ => 0.0,
    };
    println!(
        "{:<26} {:>30} {:>30} {:>30} {ratio:>8.3}",
        workload.name,
        show(epoll),
        show(io_uring),
        show(bare)
    );
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
