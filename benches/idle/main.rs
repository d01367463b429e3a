//! What the idle policies and the engines cost and give: throughput at full load, latency, and the use of CPU of the whole
//! process when nothing happens.
//!
//! `cargo bench --bench idle -- [--rounds N] [--plot DIRECTORY]`
//!
//! Each round starts a target anew for each policy and engine, one after the other, so that what drifts on the machine
//! meets all of them alike. Goals: adaptive has at least 0.98 of the throughput of spin, and with four hosts that only keep
//! alive, the process takes less than 0.5 % of a core.
//!
//! Under load, management and I/O share one core and the host spins on another. Idle, they have a core each, as by default.
//! `--plot` writes pictures of the table into a directory, in SVG.

#[path = "../loopback/client.rs"]
mod client;
mod plot;
mod server;
#[path = "../loopback/workload.rs"]
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::spec::nqn::Nqn;
use corelane_reactors::cpu;

use crate::client::Client;
use crate::server::{SUBSYSTEM, Server};
use crate::workload::WORKLOADS;

/// Hosts that are connected and do nothing.
const HOSTS: usize = 4;
/// KATO of such a host; it sends Keep Alive each half of it. Linux has 5 s: this is more work, not less.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Reads per second of the light load.
const LIGHT: u32 = 1_000;

/// An idle policy as the configuration has it: name, `policy`, `spin_us`.
type Policy = (&'static str, &'static str, Option<u32>);

const POLICIES: [Policy; 4] = [
    ("spin", "spin", None),
    ("adaptive, 1 ms", "adaptive", Some(1_000)),
    ("adaptive, 100 us", "adaptive", Some(100)),
    ("park", "park", None),
];
const ENGINES: [&str; 2] = ["epoll", "io_uring"];

/// How long each part of a round takes.
#[derive(Clone, Copy)]
struct Times {
    full: Duration,
    single: Duration,
    light: Duration,
    idle: Duration,
}

/// What came of one policy on one engine, a value for each round.
#[derive(Default)]
struct Figures {
    /// Reads per second, 128 at a time.
    throughput: Vec<f64>,
    /// Median time of a read, one at a time, in microseconds.
    latency: Vec<f64>,
    /// CPU use of the process, in percent of a core: with hosts that only keep alive, and with a light load.
    idle: Vec<f64>,
    light: Vec<f64>,
}

/// Median, least, most.
type Spread = [f64; 3];

fn main() -> Result<(), Box<dyn Error>> {
    let (rounds, times, plots) = arguments()?;
    let cores = cpu::allowed();
    let &[server_core, client_core, ..] = &cores[..] else {
        println!("idle needs two cores, one for each side: skipped");
        return Ok(());
    };
    let mut figures: Vec<Vec<Figures>> = POLICIES.map(|_| ENGINES.map(|_| Figures::default()).into()).into();
    for round in 1..=rounds {
        for (policy, figures) in POLICIES.iter().zip(&mut figures) {
            for (engine, figures) in ENGINES.iter().zip(figures) {
                let loaded = Server::start(policy, engine, [server_core, server_core])?;
                // On a thread of its own: the next target must not inherit the core.
                let load = || load(&loaded, client_core, times, figures).map_err(|error| error.to_string());
                thread::scope(|scope| scope.spawn(load).join()).map_err(|_| "the host failed")??;
                loaded.stop()?;
                let idle = Server::start(policy, engine, [server_core, client_core])?;
                figures.idle.push(keep_alive(&idle, times.idle)?);
                idle.stop()?;
            }
        }
        eprintln!("round {round} of {rounds}");
    }
    let spreads = |of: fn(&Figures) -> &Vec<f64>| -> Vec<Vec<Spread>> {
        figures.iter().map(|row| row.iter().map(|figures| spread(of(figures))).collect()).collect()
    };
    let [throughput, latency, idle, light] = [
        spreads(|figures| &figures.throughput),
        spreads(|figures| &figures.latency),
        spreads(|figures| &figures.idle),
        spreads(|figures| &figures.light),
    ];
    table(rounds, &[&throughput, &latency, &idle, &light]);
    if let Some(directory) = plots {
        std::fs::create_dir_all(&directory)?;
        let of = |values| plot::Bars { policies: POLICIES.map(|policy| policy.0), engines: ENGINES, values };
        let thousands = scaled(&throughput, 1e-3);
        let pictures = [
            (
                "idle-throughput",
                of(&thousands).linear("4 KiB random reads, 128 at a time", "thousand per second")?,
            ),
            ("idle-latency", of(&latency).linear("4 KiB random reads, one at a time", "median, us")?),
            (
                "idle-cpu",
                of(&idle).logarithmic("4 hosts that only keep alive", "CPU of the process, % of a core")?,
            ),
            ("light-cpu", of(&light).logarithmic("1,000 reads a second", "CPU of the process, % of a core")?),
        ];
        for (name, text) in pictures {
            std::fs::write(directory.join(format!("{name}.svg")), text)?;
        }
    }
    Ok(())
}

/// The parts of a round with a load, asked for from `core`.
fn load(server: &Server, core: usize, times: Times, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    cpu::pin(core, &cpu::allowed())?;
    Client::fill(server.address())?;
    let run = |name: &str, time| {
        let workload =
            WORKLOADS.iter().find(|workload| workload.name == name).ok_or("an unknown workload")?;
        Client::connect(server.address(), workload)?.run(workload, time)
    };
    figures.throughput.push(run("4k-random-read-qd128", times.full)?.operations_per_second);
    figures.latency.push(run("4k-random-read-qd1-p50", times.single)?.median_us);

    let mut host = Host::connect(server.address(), &HostOptions::new(Nqn::parse(SUBSYSTEM)?))?;
    let reads = u32::try_from(times.light.as_millis())? * LIGHT / 1_000;
    figures.light.push(server.use_of_cpu(|| {
        let start = Instant::now();
        for number in 0..reads {
            thread::sleep((start + number * Duration::from_secs(1) / LIGHT).duration_since(Instant::now()));
            host.read(1, u64::from(number), 1)?;
        }
        Ok(())
    })?);
    Ok(())
}

/// The use of CPU while hosts only keep alive.
fn keep_alive(server: &Server, time: Duration) -> Result<f64, Box<dyn Error>> {
    let mut options = HostOptions::new(Nqn::parse(SUBSYSTEM)?);
    options.keep_alive = KEEP_ALIVE;
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        hosts.push(Host::connect(server.address(), &options)?);
    }
    server.use_of_cpu(|| {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for host in &mut hosts {
                host.keep_alive()?;
            }
            thread::sleep((KEEP_ALIVE / 2).min(end.duration_since(Instant::now())));
        }
        Ok(())
    })
}

fn table(rounds: usize, columns: &[&Vec<Vec<Spread>>; 4]) {
    println!("{rounds} rounds; medians (least to most)");
    println!(
        "{:<18} {:<9} {:>30} {:>8} {:>24} {:>24} {:>24}",
        "policy",
        "engine",
        "reads at full load",
        "of spin",
        "one read, p50",
        "CPU idle, 4 hosts",
        "CPU at 1,000 reads/s"
    );
    for (place, (policy, ..)) in POLICIES.iter().enumerate() {
        for (engine, name) in ENGINES.iter().enumerate() {
            let [throughput, latency, idle, light] = columns.map(|column| column[place][engine]);
            let of_spin = throughput[0] / columns[0][0][engine][0];
            println!(
                "{policy:<18} {name:<9} {:>30} {of_spin:>8.3} {:>24} {:>24} {:>24}",
                show(throughput.map(|value| value / 1e3), 0, " k/s"),
                show(latency, 1, " us"),
                show(idle, 2, " %"),
                show(light, 2, " %"),
            );
        }
    }
}

fn show([median, least, most]: Spread, digits: usize, unit: &str) -> String {
    format!("{median:.digits$}{unit} ({least:.digits$} to {most:.digits$})")
}

fn scaled(values: &[Vec<Spread>], by: f64) -> Vec<Vec<Spread>> {
    values.iter().map(|row| row.iter().map(|spread| spread.map(|value| value * by)).collect()).collect()
}

fn spread(values: &[f64]) -> Spread {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

fn arguments() -> Result<(usize, Times, Option<PathBuf>), Box<dyn Error>> {
    // `cargo test` only wants to know whether it runs.
    let measured = std::env::args().any(|word| word == "--bench");
    let (mut rounds, [full, single, light, idle]) =
        if measured { (9, [800, 300, 500, 2_000]) } else { (1, [20, 20, 20, 20]) };
    let [full, single, light, idle] = [full, single, light, idle].map(Duration::from_millis);
    let mut plots = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or("a value is missing");
        match word.as_str() {
            "--rounds" => rounds = value()?.parse::<usize>()?.max(1),
            "--plot" => plots = Some(PathBuf::from(value()?)),
            "--bench" => {}
            _ => return Err(format!("{word}: unknown").into()),
        }
    }
    Ok((rounds, Times { full, single, light, idle }, plots))
}
