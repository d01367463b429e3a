//! How long it takes to wake a reactor that sleeps, from the thread that gives it something to the poller that has it:
//! `cargo bench -p corelane-reactors --bench wake`. Criterion says the mean; the p50 and the p99 stand on a line below it.
//!
//! Needs two CPUs: the giver has the first one, the reactor the second. On one, nothing is measured.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use corelane_reactors::{
    clock::{Clock, Time},
    cpu,
    group::{Group, Layout},
    idle::IdlePolicy,
    poller::{FnPoller, Phase, Poll, Wake},
};
use criterion::{Criterion, criterion_group, criterion_main};

/// How long the reactor has slept at least when it is woken: its core has gone idle by then.
const ASLEEP: Duration = Duration::from_micros(100);

/// Gives the reactor the time, over and over, when it sleeps; each gift comes back as the time it took.
fn measure(
    criterion: &mut Criterion,
    name: &str,
    group: &Group,
    times: &Receiver<Duration>,
    mut give: impl FnMut(Time),
) {
    let reactor = group.io()[0];
    let mut samples = Vec::new();
    let mut parks = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut sum = Duration::ZERO;
            for _ in 0..iterations {
                while group.stats(reactor).parks == parks {
                    std::hint::spin_loop();
                }
                let asleep = group.clock().now();
                while group.clock().now().since(asleep) < ASLEEP {
                    std::hint::spin_loop();
                }
                parks = group.stats(reactor).parks;
                give(group.clock().now());
                let took = times.recv().expect("the reactor runs");
                samples.push(took);
                sum += took;
            }
            sum
        });
    });
    samples.sort_unstable();
    if !samples.is_empty() {
        let at = |percent: usize| samples[(samples.len() - 1) * percent / 100];
        println!("{name}: p50 {:?}, p99 {:?} of {} wake-ups", at(50), at(99), samples.len());
    }
}

/// The giver is pinned to the first CPU; the group has one reactor, on the second.
fn group() -> Option<Group> {
    let allowed = cpu::allowed();
    let &[giver, core, ..] = &allowed[..] else { return None };
    let layout = Layout { management: core, io: vec![core] };
    let group = Group::new(&layout, IdlePolicy::Park, Clock::real()).expect("a layout");
    cpu::pin(giver, &allowed).expect("a CPU of its own");
    Some(group)
}

fn wakes(criterion: &mut Criterion) {
    let Some(group) = group() else { return };
    let (sender, mailbox) = group.mailbox::<Time>(0, 4);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut near = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let (mut far, _) = listener.accept().expect("the other end");
    near.set_nodelay(true).expect("an option");
    far.set_nonblocking(true).expect("an option");

    let (took, times) = mpsc::channel();
    let clock = group.clock().clone();
    let spawned = group.spawn(0, "sleeper", move |reactor| {
        let (told, now) = (took.clone(), clock.clone());
        let poller = mailbox.into_poller("message", 1, move |_, sent| {
            told.send(now.now().since(sent)).expect("somebody waits");
        });
        reactor.add_poller(Phase::Mailbox, poller)?;
        let descriptor = far.try_clone()?.into();
        let socket = FnPoller::watching("socket", descriptor, move |_| {
            let mut bytes = [0; 8];
            match far.read(&mut bytes) {
                Ok(8) => {
                    let sent = Time::from_nanos(u64::from_ne_bytes(bytes));
                    took.send(clock.now().since(sent)).expect("somebody waits");
                    Poll::Busy
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Idle(Wake::Descriptor),
                other => panic!("a loopback connection that nobody closes: {other:?}"),
            }
        });
        reactor.add_poller(Phase::Ingress, Box::new(socket)).map(drop)
    });
    spawned.expect("a thread");
    measure(criterion, "wake by a message", &group, &times, |now| sender.send(now).expect("room"));
    measure(criterion, "wake by a socket", &group, &times, |now| {
        near.write_all(&now.as_nanos().to_ne_bytes()).expect("a send");
    });
    group.stop();
    group.join().expect("no panic");
}

criterion_group!(benches, wakes);
criterion_main!(benches);
