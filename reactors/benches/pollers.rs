//! What the parts of a turn cost: `cargo bench -p corelane-reactors --bench pollers`.
//!
//! What has a goal says so in its name. Messages to another core need two CPUs, and are left out when the process may use
//! one only. What the same operations cost in instructions says `--bench instructions`.

use std::{
    cell::Cell,
    hint::black_box,
    rc::Rc,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use corelane_reactors::{
    clock::{Clock, Time},
    cpu,
    group::{Group, Layout},
    idle::IdlePolicy,
    mailbox::Sender,
    poller::{Phase, Poll, Poller, Wake},
    published::Subscriber,
    reactor::Turn,
    timer::Wheel,
};
use criterion::{Criterion, criterion_group, criterion_main};

/// Round trips before those that count.
const WARM_UP: u64 = 100;

fn one_reactor() -> Group {
    let core = cpu::allowed()[0];
    Group::new(&Layout { management: core, io: vec![core] }, IdlePolicy::Spin, Clock::real())
        .expect("a layout")
}

struct Idle;

impl Poller for Idle {
    fn name(&self) -> &str {
        "idle"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        black_box(Poll::Idle(Wake::Never))
    }
}

fn turns(criterion: &mut Criterion) {
    for (pollers, goal) in [(0, ""), (1, ""), (16, " (goal: 100 ns)"), (256, "")] {
        let group = one_reactor();
        let mut reactor = group.local(0);
        for _ in 0..pollers {
            reactor.add_poller(Phase::Ingress, Box::new(Idle)).expect("a poller");
        }
        criterion.bench_function(&format!("empty turn, {pollers} pollers{goal}"), |bencher| {
            bencher.iter(|| black_box(reactor.turn()));
        });
    }
}

/// Reads a snapshot as often as it is told, within one turn, and says how long that took.
struct Reading {
    versions: Subscriber<u64>,
    todo: Rc<Cell<u64>>,
    took: Rc<Cell<Duration>>,
}

impl Poller for Reading {
    fn name(&self) -> &str {
        "reading"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let start = Instant::now();
        for _ in 0..self.todo.get() {
            black_box(black_box(&self.versions).read(turn));
        }
        self.took.set(start.elapsed());
        Poll::Busy
    }
}

fn published(criterion: &mut Criterion) {
    let group = one_reactor();
    let (_publisher, versions) = group.published(7);
    let mut reactor = group.local(0);
    let (todo, took) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(Duration::ZERO)));
    let reading = Reading { versions, todo: Rc::clone(&todo), took: Rc::clone(&took) };
    reactor.add_poller(Phase::Ingress, Box::new(reading)).expect("a poller");
    criterion.bench_function("published read (goal: 1 ns)", |bencher| {
        bencher.iter_custom(|iterations| {
            todo.set(iterations);
            let _ = reactor.turn();
            took.get()
        });
    });
}

fn mailbox(criterion: &mut Criterion) {
    let group = one_reactor();
    let (sender, mut mailbox) = group.mailbox::<u64>(0, 64);
    criterion.bench_function("mailbox send and receive, one thread", |bencher| {
        bencher.iter(|| {
            sender.send(black_box(1)).expect("room");
            black_box(mailbox.receive())
        });
    });
    criterion.bench_function("mailbox look, empty", |bencher| bencher.iter(|| black_box(mailbox.receive())));
}

/// A message that goes back and forth.
#[derive(Clone, Copy)]
struct Ball {
    /// How many round trips are left.
    left: u64,
    /// When it left the near side.
    thrown: Time,
    /// Its time from the near side to the far one, over all round trips so far.
    under_way: Duration,
}

/// Two reactors on two CPUs that never sleep; the measured time is that of a batch of round trips, or their ways out.
fn round_trip(criterion: &mut Criterion) {
    let cpus = cpu::allowed();
    let &[first, second, ..] = &cpus[..] else { return };
    let layout = Layout { management: first, io: vec![second] };
    let group = Group::new(&layout, IdlePolicy::Spin, Clock::real()).expect("a layout");
    let (to_near, near) = group.mailbox::<Ball>(0, 4);
    let (to_far, far) = group.mailbox::<Ball>(1, 4);
    let (done, finished) = mpsc::channel();
    let (serve, back): (_, Sender<Ball>) = (to_near.clone(), to_near);
    let (clock, far_clock) = (group.clock().clone(), group.clock().clone());
    group
        .spawn(0, "near", move |reactor| {
            let mut start = None;
            let poller = near.into_poller("near", 1, move |_, ball| {
                let start = start.get_or_insert_with(Instant::now);
                if ball.left > 0 {
                    to_far
                        .send(Ball { left: ball.left - 1, thrown: clock.now(), ..ball })
                        .ok()
                        .expect("room");
                } else {
                    let took = std::mem::replace(start, Instant::now()).elapsed();
                    done.send((took, ball.under_way)).expect("a receiver");
                }
            });
            reactor.add_poller(Phase::Mailbox, poller).map(drop)
        })
        .expect("a thread");
    group
        .spawn(1, "far", move |reactor| {
            let poller = far.into_poller("far", 1, move |_, ball| {
                let under_way = ball.under_way + far_clock.now().since(ball.thrown);
                back.send(Ball { under_way, ..ball }).ok().expect("room");
            });
            reactor.add_poller(Phase::Mailbox, poller).map(drop)
        })
        .expect("a thread");
    let play = |left| {
        serve.send(Ball { left, thrown: Time::ORIGIN, under_way: Duration::ZERO }).ok().expect("room");
        finished.recv().expect("an answer")
    };
    criterion.bench_function("message round trip, two CPUs", |bencher| {
        bencher.iter_custom(|iterations| {
            // An empty batch sets the clock: what passed since the last one is not counted.
            play(0);
            play(iterations).0
        });
    });
    criterion.bench_function("message one way, two CPUs (goal: 100 ns)", |bencher| {
        bencher.iter_custom(|iterations| play(iterations).1);
    });
    group.stop();
    group.join().expect("no panic");
}

/// What the machine itself takes: two threads on the two CPUs that hand one cache line back and forth and do nothing else.
/// Halved, it is what no message can go below.
fn floor(criterion: &mut Criterion) {
    #[repr(align(128))]
    struct Line(AtomicU64);
    let cpus = cpu::allowed();
    let &[first, second, ..] = &cpus[..] else { return };
    /// Waits for each number of its parity, and stores the next.
    fn play(line: &Line, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            while line.0.load(Ordering::Acquire) != number {}
            line.0.store(number + 1, Ordering::Release);
        }
    }
    criterion.bench_function("floor: one line there and back, two CPUs", |bencher| {
        bencher.iter_custom(|iterations| {
            let line = Line(AtomicU64::new(0));
            // The first round trips find the other thread started.
            let all = 2 * (WARM_UP + iterations);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    cpu::pin(second, &cpus).expect("an allowed CPU");
                    play(&line, (1..all).step_by(2));
                });
                let near = threads.spawn(|| {
                    cpu::pin(first, &cpus).expect("an allowed CPU");
                    play(&line, (0..2 * WARM_UP).step_by(2));
                    let start = Instant::now();
                    play(&line, (2 * WARM_UP..all).step_by(2));
                    start.elapsed()
                });
                near.join().expect("no panic")
            })
        });
    });
}

fn timers(criterion: &mut Criterion) {
    let step = Duration::from_micros(1);
    for pending in [1, 1_000, 100_000u32] {
        let mut wheel = Wheel::with_capacity(2 * pending as usize);
        let mut now = Time::ORIGIN;
        for number in 1..=pending {
            wheel.insert(now + number * step, 1u64);
        }
        criterion.bench_function(
            &format!("timer insert and expire, {pending} pending (goal: 50 ns)"),
            |bencher| {
                bencher.iter(|| {
                    // The one after all that are there: each step expires one on average.
                    now = now + step;
                    wheel.insert(now + pending * step, black_box(1u64));
                    wheel.expire(now, 64, |value| {
                        black_box(value);
                    })
                });
            },
        );
        criterion.bench_function(&format!("timer insert and cancel, {pending} pending"), |bencher| {
            bencher.iter(|| {
                let key = wheel.insert(now + pending * step, black_box(1u64));
                wheel.cancel(key)
            });
        });
    }
}

criterion_group!(benches, turns, published, mailbox, round_trip, floor, timers);
criterion_main!(benches);
