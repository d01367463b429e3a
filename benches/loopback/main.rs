//! The whole target over loopback TCP, on one core, against our initiator on another, once for each engine of sockets;
//! beside it, in the same run and by turns, a bare socket that exchanges messages of the same shapes. What the target does per command beyond moving
//! bytes is the distance between the two.
//!
//! `cargo bench --bench loopback -- [part of a workload's name] [--pairs N] [--seconds S] [--engine epoll|io_uring]
//! [--alone]`; `--alone` leaves the bare sockets out, for profilers. A whole name of a workload means that one only.
//!
//! Both serve from 512 MiB of memory, at random places or in order, with headers and payloads as separate stretches of
//! one gathered send; who is asked spins, and a target that is not sleeps; what can be sent together is. The bare socket
//! leaves out what it can: it parses the lengths of messages and nothing else, and knows one connection, no digests and no
//! errors. It runs twice: `drops` passes over the payload that it received, `places` copies it to where it belongs, which
//! is what a request is for: the client's buffer, or the block of the server.
//!
//! Medians over the pairs, and least and most. Machines vary while they are measured: believe the ratios.

mod bare;
mod client;
mod target;
mod workload;

use std::time::Duration;

use corelane::config::EngineName;
use corelane_reactors::cpu;

use crate::bare::Payloads;
use crate::workload::{Figure, WORKLOADS, Workload};

struct Arguments {
    filter: String,
    pairs: usize,
    time: Duration,
    engines: Vec<EngineName>,
    alone: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = arguments()?;
    let cores = cpu::allowed();
    let [server_core, client_core, ..] = cores[..] else {
        println!("loopback needs two cores, one for each side: skipped");
        return Ok(());
    };
    let mut targets = Vec::new();
    for &engine in &arguments.engines {
        targets.push(target::start(server_core, engine)?);
    }
    cpu::pin(client_core, &cores)?;
    let mut bare = bare::Bare::new(server_core, &cores)?;
    for target in &targets {
        client::Client::fill(target.address)?;
    }

    println!("{} rounds of {:?} each; medians (least to most)", arguments.pairs, arguments.time);
    print!("{:<30}", "workload");
    for engine in &arguments.engines {
        print!(" {:>30}", format!("target, {engine:?}"));
    }
    println!(
        " {:>30} {:>30} core us for each, on each engine; ratio to each",
        "bare socket, drops", "bare socket, places"
    );
    let exact = WORKLOADS.iter().any(|workload| workload.name == arguments.filter);
    let chosen = |workload: &&Workload| {
        workload.name == arguments.filter || !exact && workload.name.contains(&arguments.filter)
    };
    for workload in WORKLOADS.iter().filter(chosen) {
        let mut clients = Vec::new();
        for target in &targets {
            clients.push(client::Client::connect(target.address, workload)?);
        }
        let mut columns: Vec<Vec<Figure>> = vec![Vec::new(); clients.len() + 2];
        let mut busy = vec![Vec::new(); clients.len()];
        for _ in 0..arguments.pairs {
            for (place, (client, target)) in clients.iter_mut().zip(&targets).enumerate() {
                let before = target.busy();
                let figure = client.run(workload, arguments.time)?;
                let answered = figure.operations_per_second * arguments.time.as_secs_f64();
                busy[place].push((target.busy() - before).as_secs_f64() * 1e6 / answered);
                columns[place].push(figure);
            }
            if workload.connections == 1 && !arguments.alone {
                for (figures, payloads) in columns[clients.len()..].iter_mut().zip(PAYLOADS) {
                    figures.push(bare.run(workload, payloads, arguments.time)?);
                }
            }
        }
        report(workload, columns, &busy);
    }
    for target in targets {
        target.stop()?;
    }
    Ok(())
}

/// The two bare columns.
const PAYLOADS: [Payloads; 2] = [Payloads::Dropped, Payloads::Placed];

/// One line of the table; a ratio above 1 means that the target is faster. `busy` is the time of each target's core for a
/// request, in microseconds: of turns in which it had something to do, the kernel's share included. It tells engines apart
/// where the client is what limits.
fn report(workload: &Workload, columns: Vec<Vec<Figure>>, busy: &[Vec<f64>]) {
    let latency = workload.depth == 1;
    let value = |figure: &Figure| if latency { figure.median_us } else { figure.operations_per_second };
    let columns: Vec<_> = columns.iter().map(|figures| spread(figures, value)).collect();
    print!("{:<30}", workload.name);
    for values in &columns {
        let text = match values {
            None => String::new(),
            Some([median, least, most]) if latency => format!("{median:.1} us ({least:.1} to {most:.1})"),
            Some([median, least, most]) => {
                format!("{:.1} k/s ({:.1} to {:.1})", median / 1e3, least / 1e3, most / 1e3)
            }
        };
        print!(" {text:>30}");
    }
    for [median, ..] in busy.iter().filter_map(|values| spread(values, |&value| value)) {
        print!(" {median:.3}");
    }
    let (targets, bare) = columns.split_at(columns.len() - PAYLOADS.len());
    for target in targets.iter().flatten() {
        for bare in bare.iter().flatten() {
            print!(" {:.2}", if latency { bare[0] / target[0] } else { target[0] / bare[0] });
        }
    }
    println!();
}

/// Median, least and most, if there are any.
fn spread<T>(figures: &[T], value: impl Fn(&T) -> f64) -> Option<[f64; 3]> {
    let mut values: Vec<f64> = figures.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    Some([*values.get(values.len() / 2)?, *values.first()?, *values.last()?])
}

fn arguments() -> Result<Arguments, Box<dyn std::error::Error>> {
    // `cargo test` only wants to know whether it runs.
    let (pairs, milliseconds) =
        if std::env::args().any(|word| word == "--bench") { (5, 1000) } else { (1, 20) };
    let engines = vec![EngineName::Epoll, EngineName::IoUring];
    let mut parsed = Arguments {
        filter: String::new(),
        pairs,
        time: Duration::from_millis(milliseconds),
        engines,
        alone: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or("a value is missing");
        match word.as_str() {
            "--pairs" => parsed.pairs = value()?.parse::<usize>()?.max(1),
            "--seconds" => parsed.time = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--engine" => {
                parsed.engines = match value()?.as_str() {
                    "epoll" => vec![EngineName::Epoll],
                    "io_uring" => vec![EngineName::IoUring],
                    _ => return Err("--engine is epoll or io_uring".into()),
                }
            }
            "--alone" => parsed.alone = true,
            "--bench" => {}
            _ => parsed.filter = word,
        }
    }
    Ok(parsed)
}
