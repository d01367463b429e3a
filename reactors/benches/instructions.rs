//! What the parts of a turn cost in instructions: `cargo bench -p corelane-reactors --bench instructions`. The same from run
//! to run and from machine to machine, where times are not: for telling one version from the next.
//!
//! Starts itself under valgrind, twice for each operation, and divides the difference by the difference in operations.
//! Without valgrind it says so and measures nothing.

use std::{env, hint::black_box, process::Command, time::Duration};

use corelane_reactors::{
    clock::{Clock, Time},
    cpu,
    group::{Group, Layout},
    idle::IdlePolicy,
    poller::{FnPoller, Phase, Poll, Wake},
    timer::Wheel,
};

/// Operations of the two runs.
const RUNS: [u64; 2] = [10_000, 30_000];

type Operation = (&'static str, fn(u64));

/// Each operation: its name, and what does it so many times.
const OPERATIONS: [Operation; 10] = [
    ("empty turn, 0 pollers", |count| turns(0, count)),
    ("empty turn, 1 poller", |count| turns(1, count)),
    ("empty turn, 16 pollers", |count| turns(16, count)),
    ("empty turn, 256 pollers", |count| turns(256, count)),
    ("published read", published),
    ("message, sent and received on one core", message),
    ("request with a reserved slot, and its reply", request),
    ("timer inserted and expired, 1 pending", |count| timers(1, count)),
    ("timer inserted and expired, 1,000 pending", |count| timers(1_000, count)),
    ("timer inserted and expired, 100,000 pending", |count| timers(100_000, count)),
];

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, mark, name, count] = &arguments[..]
        && mark == "--do"
    {
        let (_, operation) = OPERATIONS.iter().find(|(known, _)| known == name).expect("an operation");
        return operation(count.parse().expect("a number"));
    }
    println!("{:<46} instructions", "operation");
    for (name, _) in OPERATIONS {
        let [few, many] = RUNS.map(|count| instructions(name, count));
        let Some((few, many)) = few.zip(many) else {
            println!("not measured: valgrind is not there, or failed");
            return;
        };
        let per_operation = (many - few) as f64 / (RUNS[1] - RUNS[0]) as f64;
        println!("{name:<46} {per_operation:.1}");
    }
}

/// Instructions of a whole run, as valgrind counts them.
fn instructions(name: &str, count: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .args(["--do", name, &count.to_string()])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.contains("I refs:") || line.contains("I   refs:"))?;
    line.rsplit(' ').next()?.replace(',', "").parse().ok()
}

fn one_reactor() -> Group {
    let core = cpu::allowed()[0];
    // The virtual clock: reading it is one load, so that what is counted does not hang on the processor's counter.
    Group::new(&Layout { management: core, io: vec![core] }, IdlePolicy::Spin, Clock::simulated().0)
        .expect("a layout")
}

fn turns(pollers: usize, count: u64) {
    let group = one_reactor();
    let mut reactor = group.local(0);
    for _ in 0..pollers {
        let idle = FnPoller::new("idle", |_| black_box(Poll::Idle(Wake::Never)));
        reactor.add_poller(Phase::Ingress, Box::new(idle)).expect("a poller");
    }
    for _ in 0..count {
        let _ = black_box(reactor.turn());
    }
}

fn published(count: u64) {
    let group = one_reactor();
    let (_publisher, versions) = group.published(7u64);
    let mut reactor = group.local(0);
    let reading = FnPoller::new("reading", move |turn| {
        for _ in 0..count {
            black_box(black_box(&versions).read(turn));
        }
        Poll::Busy
    });
    reactor.add_poller(Phase::Ingress, Box::new(reading)).expect("a poller");
    let _ = reactor.turn();
}

fn message(count: u64) {
    let group = one_reactor();
    let (sender, mut mailbox) = group.mailbox::<u64>(0, 64);
    for number in 0..count {
        sender.send(black_box(number)).expect("room");
        black_box(mailbox.receive());
    }
}

fn request(count: u64) {
    let group = one_reactor();
    let (ask, mut asked) = group.mailbox(0, 64);
    let (answer, mut answers) = group.mailbox::<u64>(0, 64);
    for number in 0..count {
        let reply = answer.reserve().expect("room");
        ask.send((number, reply)).expect("room");
        let (number, reply) = asked.receive().expect("it was sent");
        reply.send(black_box(number));
        black_box(answers.receive());
    }
}

fn timers(pending: u32, count: u64) {
    let step = Duration::from_micros(1);
    let mut wheel = Wheel::with_capacity(2 * pending as usize);
    let mut now = Time::ORIGIN;
    for number in 1..=pending {
        wheel.insert(now + number * step, 1u64);
    }
    for _ in 0..count {
        now = now + step;
        wheel.insert(now + pending * step, black_box(1));
        wheel.expire(now, 64, |value| {
            black_box(value);
        });
    }
}
