//! `corelane tune --measure`: each candidate serves a RAM disk of this process's own to a load of this process's own, by
//! turns, several times.
//!
//! What must hold: nothing of the operator's is opened, listened on or written but the files that are asked for; a
//! candidate that cannot run is left out with its reason; who asks for the end gets it after the run that is under way is
//! told to end, and no file.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use corelane_reactors::ring::{self, Ring};
use serde_json::{Value, json};

use crate::app::{self, Appliance};
use crate::cli::perf::Console;
use crate::cli::{Failure, chain};
use crate::config::{ByteSize, Config, Embedded, EngineName, Idle, Topology};
use crate::initiator::blocking::HostOptions;
use crate::initiator::{AssociationOptions, Backoff};
use crate::perf::{Pattern, Plan, Progress, Report, Survey, TcpTarget, Watch, run as run_load, survey};
use crate::spec::nqn::Nqn;
use crate::tune::measure::{self, Candidate, Run, Summary, Trial, plot};

use super::{TuneArguments, checked, file, refused};

/// The RAM disk: a share of it is in no cache.
const DISK_BYTES: u64 = 64 << 20;
/// Bytes of each command.
const BLOCK_BYTES: u32 = 4096;
/// How many of 100 commands read.
const READS_PERCENT: u8 = 70;
/// Connections for each core of the load, and commands under way on each, for the most commands in a second.
const CONNECTIONS_PER_CLIENT: u16 = 4;
const DEPTH: u16 = 32;
/// The load runs for this part of the time before it is measured.
const WARM_UP_DIVISOR: u32 = 4;
/// Time limit of a command, and of connecting.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A candidate with its runs, and why it has no more of them.
struct Tried {
    runs: Vec<(Candidate, Vec<Run>)>,
    left_out: Vec<String>,
}

/// Measures, prints, and writes what is asked for.
pub(super) fn run(
    options: &TuneArguments,
    judged: &Config,
    topology: &Topology,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), Failure> {
    let mut left_out = Vec::new();
    let trial = measure::trial(topology, &engines(&mut left_out))
        .ok_or_else(|| refused("this process may use no core"))?;
    let mut console = Console::new(false, errors)?;
    let mut tried = Tried { runs: Vec::new(), left_out };
    tried.runs.extend(trial.candidates.iter().map(|candidate| (candidate.clone(), Vec::new())));
    let count = trial.candidates.len();
    let seconds = 2.0 * options.duration.as_secs_f64() * (1.0 + 1.0 / f64::from(WARM_UP_DIVISOR));
    let seconds = seconds * count as f64 * f64::from(options.rounds);
    let rounds = options.rounds;
    console.say(&format!("{count} candidates, {rounds} runs each: at least {seconds:.0} seconds"));
    measure_all(options, judged, &trial, topology, &mut tried, &mut console)?;
    let best = measure::best(&tried.runs).ok_or_else(|| {
        Failure::Refused([vec!["nothing could be measured".to_owned()], tried.left_out.clone()].concat())
    })?;
    if options.json {
        writeln!(output, "{:#}", object(options, &trial, &tried, best))?;
    } else {
        table(options, &trial, &tried, best, output)?;
    }
    if let Some(path) = &options.plot {
        let caption = format!(
            "4 KiB, {READS_PERCENT} % reads, {} connections of depth {DEPTH}: median and spread of {} runs",
            connections(&trial),
            options.rounds
        );
        let about =
            |problem: &dyn std::error::Error| refused(format!("--plot {}: {problem}", path.display()));
        let picture =
            plot::candidates(&tried.runs, Some(best), &caption).map_err(|problem| about(&problem))?;
        fs::write(path, picture).map_err(|problem| about(&problem))?;
    }
    let Some(path) = &options.write else { return Ok(()) };
    let reactors = tried.runs[best].0.on(&judged.reactors);
    let config = Config { reactors, ..judged.clone() };
    file::write(path, &checked(&config, topology)?, options.force).map_err(refused)?;
    console.say(&format!("wrote {}: {}", path.display(), tried.runs[best].0));
    Ok(())
}

/// The engines of this machine.
fn engines(left_out: &mut Vec<String>) -> Vec<EngineName> {
    let usable = Ring::open(&ring::Options::default()).and_then(|ring| ring.window().map(drop));
    match usable {
        Ok(()) => vec![EngineName::Epoll, EngineName::IoUring],
        Err(error) => {
            left_out.push(format!("io_uring: {error}"));
            vec![EngineName::Epoll]
        }
    }
}

fn connections(trial: &Trial) -> u16 {
    u16::try_from(trial.clients.len()).unwrap_or(u16::MAX).saturating_mul(CONNECTIONS_PER_CLIENT)
}

/// All candidates by turns, as often as is asked for.
fn measure_all(
    options: &TuneArguments,
    judged: &Config,
    trial: &Trial,
    topology: &Topology,
    tried: &mut Tried,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let all = usize::from(options.rounds) * trial.candidates.len();
    let mut failed = vec![false; trial.candidates.len()];
    for round in 0..usize::from(options.rounds) {
        for (index, candidate) in trial.candidates.iter().enumerate() {
            if failed[index] {
                continue;
            }
            let number = round * trial.candidates.len() + index + 1;
            match one(options, judged, candidate, trial, topology, console) {
                Ok(run) => {
                    let Run { iops, p50_us, .. } = run;
                    console.say(&format!("[{number}/{all}] {candidate}: {iops:.0} IOPS, {p50_us:.1} us"));
                    tried.runs[index].1.push(run);
                }
                Err(_) if console.is_asked() => {}
                Err(problem) => {
                    console.say(&format!("[{number}/{all}] {candidate}: left out: {problem}"));
                    tried.left_out.push(format!("{candidate}: {problem}"));
                    tried.runs[index].1.clear();
                    failed[index] = true;
                }
            }
            if console.is_asked() {
                return Err(refused("stopped before everything was measured; nothing was written"));
            }
        }
    }
    Ok(())
}

/// One candidate: a target, both loads, and its end.
fn one(
    options: &TuneArguments,
    judged: &Config,
    candidate: &Candidate,
    trial: &Trial,
    topology: &Topology,
    console: &mut Console<'_>,
) -> Result<Run, String> {
    let directory = tempfile::tempdir().map_err(|problem| problem.to_string())?;
    let embedded =
        Embedded { listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), size: ByteSize::new(DISK_BYTES) };
    let accepted = embedded.config(topology);
    let mut config = accepted.map_err(|findings| format!("{findings:?}"))?.config;
    config.reactors = candidate.on(&judged.reactors);
    let started = app::Options { config, state_directory: directory.path().join("state") };
    let appliance = Appliance::start(started).map_err(|error| chain(&error))?;
    let result = loads(options, &appliance, trial, console);
    appliance.stopper().stop();
    let ended = appliance.join().map_err(|error| chain(&error));
    let run = result?;
    ended?;
    Ok(run)
}

fn loads(
    options: &TuneArguments,
    appliance: &Appliance,
    trial: &Trial,
    console: &mut Console<'_>,
) -> Result<Run, String> {
    let served = appliance.subsystems().first().ok_or("nothing is served")?;
    let address = *served.addresses.first().ok_or("nothing is listened on")?;
    let host = HostOptions::new(Nqn::parse(&served.nqn).map_err(|problem| problem.to_string())?);
    let many = Plan {
        block_bytes: BLOCK_BYTES,
        depth: DEPTH,
        connections: connections(trial),
        cores: trial.clients.clone(),
        reads_percent: READS_PERCENT,
        pattern: Pattern::Random,
        duration: options.duration,
        warm_up: options.duration / WARM_UP_DIVISOR,
        rate: None,
        verify: false,
        seed: 1,
        timeout: TIMEOUT,
    };
    let lone = Plan { depth: 1, connections: 1, cores: trial.clients[..1].to_vec(), ..many.clone() };
    let found = survey(address, &host, None, many.connections).map_err(|error| chain(&error))?;
    let Survey { space, queues_max, .. } = found;
    let target = |depth| TcpTarget {
        association: AssociationOptions {
            address,
            identity: host.identity.clone(),
            io_queues: 1,
            queues_elsewhere: 0,
            depth,
            header_digest: false,
            data_digest: false,
            flow_control: false,
            keep_alive: TIMEOUT,
            timeout: TIMEOUT,
            transfer_bytes_max: space.transfer_bytes_max,
            backoff: Backoff { give_up_after: Duration::ZERO, ..Backoff::DEFAULT },
        },
        nsid: space.nsid,
        queues_max,
    };
    let mut load = |plan: &Plan| -> Result<Report, String> {
        let report = run_load(target(plan.depth), plan, &space, &mut Silent(console));
        let report = report.map_err(|error| chain(&error))?;
        if report.interrupted {
            return Err("stopped".to_owned());
        }
        match report.gave_up.clone().or(report.errors.first().map(|(words, _)| words.clone())) {
            Some(problem) => Err(problem),
            None => Ok(report),
        }
    };
    let iops = load(&many)?.iops;
    if iops <= 0.0 {
        return Err("no command was answered".to_owned());
    }
    let latency = load(&lone)?.latency;
    let us = |quantile| latency.quantile(quantile).map(|nanoseconds| nanoseconds as f64 / 1e3);
    let (Some(p50_us), Some(p99_us)) = (us(0.5), us(0.99)) else {
        return Err("no command was answered".to_owned());
    };
    Ok(Run { iops, p50_us, p99_us })
}

/// Signals, without progress: runs are short, and each is told when it is over.
struct Silent<'a, 'b>(&'a mut Console<'b>);

impl Watch for Silent<'_, '_> {
    fn wait(&mut self, at_most: Duration) -> usize {
        self.0.wait(at_most)
    }

    fn progress(&mut self, _progress: &Progress) {}
}

fn summary(runs: &[Run], number: impl Fn(&Run) -> f64) -> Option<Summary> {
    Summary::of(runs.iter().map(number))
}

fn table(
    options: &TuneArguments,
    trial: &Trial,
    tried: &Tried,
    best: usize,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    writeln!(
        output,
        "4 KiB, {READS_PERCENT} % reads, load on {} of the cores; {} runs of {:?} each, by turns\n",
        trial.clients.len(),
        options.rounds,
        options.duration
    )?;
    writeln!(output, "  {:<44} {:>10} {:>21} {:>8} {:>8}", "", "IOPS", "least to most", "p50 us", "p99 us")?;
    for (index, (candidate, runs)) in tried.runs.iter().enumerate() {
        let numbers = (summary(runs, |run| run.iops), summary(runs, |run| run.p50_us));
        let ((Some(iops), Some(p50)), Some(p99)) = (numbers, summary(runs, |run| run.p99_us)) else {
            continue;
        };
        let mark = if index == best { ">" } else { " " };
        let spread = format!("{:.0} to {:.0}", iops.min, iops.max);
        let (iops, p50, p99) = (iops.median, p50.median, p99.median);
        writeln!(
            output,
            "{mark} {:<44} {iops:>10.0} {spread:>21} {p50:>8.1} {p99:>8.1}",
            candidate.to_string()
        )?;
    }
    tried.left_out.iter().try_for_each(|line| writeln!(output, "  left out: {line}"))?;
    writeln!(output, "\nbest: {}", tried.runs[best].0)?;
    Ok(())
}

fn object(options: &TuneArguments, trial: &Trial, tried: &Tried, best: usize) -> Value {
    let spread = |summary: Option<Summary>| match summary {
        Some(Summary { median, min, max }) => json!({"median": median, "min": min, "max": max}),
        None => Value::Null,
    };
    let each = tried.runs.iter().map(|(candidate, runs)| {
        let spin_us = match candidate.idle {
            Idle::Adaptive { spin } => Some(spin.as_micros()),
            Idle::Spin | Idle::Park => None,
        };
        json!({
            "management": candidate.management,
            "io": candidate.io,
            "engine": candidate.engine,
            "idle": match candidate.idle { Idle::Spin => "spin", Idle::Park => "park", Idle::Adaptive { .. } => "adaptive" },
            "spin_us": spin_us,
            "iops": spread(summary(runs, |run| run.iops)),
            "p50_us": spread(summary(runs, |run| run.p50_us)),
            "p99_us": spread(summary(runs, |run| run.p99_us)),
            "runs": runs.len(),
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "load": {
            "block_size": BLOCK_BYTES,
            "reads_percent": READS_PERCENT,
            "connections": connections(trial),
            "depth": DEPTH,
            "cores": trial.clients,
        },
        "duration_ms": u64::try_from(options.duration.as_millis()).unwrap_or(u64::MAX),
        "rounds": options.rounds,
        "candidates": each.collect::<Vec<_>>(),
        "best": best,
        "left_out": tried.left_out,
    })
}
