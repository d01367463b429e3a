//! What a host that reads feels of hostile peers, and what they leave behind: each act of `tests/process/acts.rs` by itself,
//! then all of them, at a pace.
//!
//! `cargo bench --bench hostile -- [--pace MICROSECONDS] [--pairs N] [--window MILLISECONDS] [NAME ...]`
//!
//! The host reads 4 KiB at a time, one after another, so its rate is the inverse of its latency. Windows with and without
//! peers are by turns; what is kept is the median over the pairs, since a machine may be faster for a while. Peers, host, and
//! target share the machine: what a peer's own side costs is part of what the host feels, and so is the kernel's part of
//! connecting. Goal: at least 0.9 of the rate.
//!
//! How much of that is the target's doing: before the host comes, the peers are alone for a while, and the target's own counters
//! say which part of that time its I/O reactor had something to do. What is left of it is everybody else's.

#[path = "../../tests/process/acts.rs"]
mod acts;
#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../../tests/process/peer/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod peer;
#[path = "../../tests/process/session.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod session;

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::spec::nqn::Nqn;
use serde_json::json;

use crate::acts::{ACTS, Act, Company};
use crate::harness::Server;
use crate::session::Script;

/// What the peers do their acts to, and what the host reads.
const NQN: &str = "nqn.2026-11.io.corelane:disk0";
const OTHER_NQN: &str = "nqn.2026-11.io.corelane:disk1";

/// Windows for which the peers are alone.
const ALONE_WINDOWS: u32 = 5;

/// How it is measured.
struct Plan {
    pace: Duration,
    pairs: usize,
    window: Duration,
    names: Vec<String>,
}

/// What is shared with the threads of the host and of the peers.
#[derive(Default)]
struct Shared {
    reads: AtomicU64,
    acts: AtomicU64,
    hostile: AtomicBool,
    over: AtomicBool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let plan = Plan::read()?;
    println!(
        "{:<62} {:>8} {:>10} {:>10} {:>10} {:>6} {:>13} {:>9}",
        "each peer ...", "acts/s", "alone, I/O", "reads/s", "with peers", "kept", "spread", "KiB left"
    );
    let chosen = |act: &&Act| plan.names.is_empty() || plan.names.iter().any(|name| act.name.contains(name));
    for act in ACTS.iter().filter(chosen) {
        let place = if act.has_io_queue { "I/O reactor" } else { "management" };
        measure(&format!("{}: {place}", act.name), std::slice::from_ref(act), &plan)?;
    }
    if plan.names.is_empty() {
        measure("does one of all these", &ACTS, &plan)?;
    }
    Ok(())
}

impl Plan {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut plan = Self {
            pace: Duration::from_millis(5),
            pairs: 12,
            window: Duration::from_millis(200),
            names: Vec::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number =
                || -> Result<u64, Box<dyn Error>> { Ok(words.next().ok_or("a number is missing")?.parse()?) };
            match word.as_str() {
                "--pace" => plan.pace = Duration::from_micros(number()?),
                "--pairs" => plan.pairs = usize::try_from(number()?)?.max(1),
                "--window" => plan.window = Duration::from_millis(number()?),
                // Cargo says so.
                "--bench" => {}
                _ => plan.names.push(word),
            }
        }
        Ok(plan)
    }
}

fn configuration(metrics: SocketAddr) -> serde_json::Value {
    let listeners = json!([{"address": "127.0.0.1", "port": 0}]);
    let namespaces = |bdev: &str| json!([{"nsid": 1, "bdev": bdev}]);
    json!({
        "metrics": {"listen": metrics.to_string()},
        "bdevs": [
            {"name": "ram0", "type": "malloc", "size": "64MiB", "block_size": 512},
            {"name": "ram1", "type": "malloc", "size": "64MiB", "block_size": 512}
        ],
        "subsystems": [
            {"nqn": NQN, "allow_any_host": true, "listeners": listeners, "namespaces": namespaces("ram0")},
            {"nqn": OTHER_NQN, "allow_any_host": true, "listeners": listeners, "namespaces": namespaces("ram1")}
        ]
    })
}

fn measure(name: &str, acts: &[Act], plan: &Plan) -> Result<(), Box<dyn Error>> {
    let metrics = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let server = Server::start(configuration(metrics));
    let address = server.listeners()[0];
    let options = HostOptions::new(Nqn::parse(OTHER_NQN)?);
    let script = Script::new(address, NQN);
    let shared = Shared::default();
    let (mut with, mut without, mut left) = (Vec::new(), Vec::new(), 0);
    let (mut played, mut busy) = (Duration::ZERO, 0.0);
    thread::scope(|scope| {
        let peers = scope.spawn(|| play(acts, &script, &shared, plan.pace));
        let (start, before) = (Instant::now(), io_busy_seconds(metrics));
        rate(&shared, true, plan.window * ALONE_WINDOWS);
        played += start.elapsed();
        busy = (io_busy_seconds(metrics) - before) / start.elapsed().as_secs_f64();
        scope.spawn(|| {
            let mut host = Host::connect(address, &options).expect("the host that reads connects");
            while !shared.over.load(Ordering::Relaxed) {
                host.read(1, 0, 8).expect("a read");
                shared.reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Memory that is touched once stays, up to what the target ever uses: only the second half is looked at.
        let mut before = 0;
        for pair in 0..plan.pairs {
            if pair == plan.pairs / 2 {
                before = resident_bytes(&server);
            }
            let calm = rate(&shared, false, plan.window);
            let start = Instant::now();
            let disturbed = rate(&shared, true, plan.window);
            played += start.elapsed();
            without.push(calm);
            with.push(disturbed);
        }
        shared.over.store(true, Ordering::Relaxed);
        // A peer that was in the middle of an act ends it.
        peers.join().expect("peers do what they do");
        thread::sleep(plan.window);
        left = resident_bytes(&server).saturating_sub(before);
    });
    let acts = shared.acts.load(Ordering::Relaxed) as f64 / played.as_secs_f64();
    let mut kept: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
    let (least, most) =
        kept.iter().fold((f64::MAX, 0.0_f64), |(least, most), &it| (least.min(it), most.max(it)));
    let (without, with) = (median(&mut without), median(&mut with));
    println!(
        "{name:<62} {acts:>8.0} {:>8.2} % {without:>10.0} {with:>10.0} {:>6.3} {:>13} {:>9}",
        busy * 100.0,
        median(&mut kept),
        format!("{least:.2} to {most:.2}"),
        left >> 10
    );
    server.stop();
    Ok(())
}

/// Plays the acts in turn while it is asked for.
fn play(acts: &[Act], script: &Script, shared: &Shared, pace: Duration) {
    let mut company = Company::default();
    let mut number: u64 = 0;
    for act in acts.iter().cycle() {
        while !shared.hostile.load(Ordering::Relaxed) && !shared.over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        if shared.over.load(Ordering::Relaxed) {
            return;
        }
        let mut script = script.clone();
        number += 1;
        // Another host each time.
        script.data.hostid[..8].copy_from_slice(&number.to_le_bytes());
        (act.play)(&script, &mut company);
        shared.acts.fetch_add(1, Ordering::Relaxed);
        thread::sleep(pace);
    }
}

/// Reads a second in one window.
fn rate(shared: &Shared, hostile: bool, window: Duration) -> f64 {
    shared.hostile.store(hostile, Ordering::Relaxed);
    let (start, before) = (Instant::now(), shared.reads.load(Ordering::Relaxed));
    thread::sleep(window);
    let reads = shared.reads.load(Ordering::Relaxed) - before;
    shared.hostile.store(false, Ordering::Relaxed);
    reads as f64 / start.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds for which the I/O reactor has had something to do since the target's start.
fn io_busy_seconds(metrics: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(metrics).expect("the metrics endpoint");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a page");
    let is_wanted = |line: &&str| {
        line.starts_with("corelane_reactor_busy_seconds_total{") && line.contains(r#"reactor="1""#)
    };
    let line = text.lines().find(is_wanted).expect("an I/O reactor of its own: two cores");
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Memory of the target, as far as it is resident.
fn resident_bytes(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.child.id());
    let status = fs::read_to_string(path).expect("the status of the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line with VmRSS");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}
