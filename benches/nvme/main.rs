//! Submission plus completion of a 4 KiB read by the NVMe driver, 128 at a time: with a device that completes at once on
//! the same core, and that device's own loop alone, which is to be taken off; with the same device on another core, and
//! with the emulated controller there. Apart, the slower side sets the pace, and lines of the cache travel between them.
//!
//! With `--turns N` (and `--device` for the device alone) it runs so many turns of 64 commands and nothing else, for a
//! counter of instructions.

mod apart;
mod device;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Moment};

use corelane::mem::SegmentMut;
use corelane::nvme::{COMPLETIONS_MAX, Counts, Device, IoCommand, QueuePair};
use corelane_reactors::clock::Time;
use corelane_reactors::cpu;
use criterion::{Criterion, Throughput};

use device::{ENTRIES, Instant, Rings};

/// Commands outstanding.
const DEPTH: u64 = 128;
/// Commands of one turn: what one poll completes.
const TURN: usize = 64;

fn submit<D: Device>(pair: &mut QueuePair<D>, into: &[SegmentMut], tag: u64) {
    let read = IoCommand::Read { nsid: 1, slba: tag, blocks: 1, into };
    pair.submit(tag, &read).expect("the queue has room");
}

/// Completes what there is, a batch at most, and submits as many again; returns how many.
fn turn<D: Device>(pair: &mut QueuePair<D>, into: &[SegmentMut], tags: &mut [u64; COMPLETIONS_MAX]) -> usize {
    let mut count = 0;
    pair.poll(Time::ORIGIN, &mut |tag, outcome| {
        assert!(outcome.is_ok());
        tags[count] = tag;
        count += 1;
    });
    for tag in &tags[..count] {
        submit(pair, into, *tag);
    }
    pair.commit();
    count
}

/// Fills the queue, and completes so many batches; returns how long those took.
fn batches<D: Device>(pair: &mut QueuePair<D>, into: &[SegmentMut], count: u64) -> Duration {
    let mut tags = [0; COMPLETIONS_MAX];
    while (pair.outstanding() as u64) < DEPTH {
        submit(pair, into, pair.outstanding() as u64);
    }
    pair.commit();
    let began = Moment::now();
    let mut left = count * TURN as u64;
    while left > 0 {
        left = left.saturating_sub(turn(pair, into, &mut tags) as u64);
    }
    began.elapsed()
}

/// The device alone, as if a driver had rung for 64 more commands.
fn device_turn(rings: &mut Rings, tail: &mut u16) {
    *tail = (*tail + 64) % ENTRIES;
    rings.complete(black_box(*tail));
}

fn tell(before: &Counts, after: &Counts) {
    let count = |of: fn(&Counts) -> u64| (of(after) - of(before)) as f64;
    let completed = count(|counts| counts.completed);
    println!(
        "per command: {:.4} doorbell writes, {:.3} polls",
        count(Counts::doorbells) / completed,
        count(|counts| counts.polls) / completed
    );
}

fn turns(count: u64, device_alone: bool) {
    let (device, _controller, mut pair, mut rings, data) = Instant::ready();
    let into = [data.segment_mut(4096..8192)];
    let (mut tags, mut tail) = ([0; COMPLETIONS_MAX], device.tail(1));
    (0..DEPTH).for_each(|tag| submit(&mut pair, &into, tag));
    pair.commit();
    for _ in 0..count {
        if device_alone {
            device_turn(&mut rings, &mut tail);
        } else {
            rings.complete(device.tail(1));
            assert!(turn(&mut pair, &into, &mut tags) == TURN);
        }
    }
}

fn bench(criterion: &mut Criterion) {
    let (device, _controller, mut pair, mut rings, data) = Instant::ready();
    let into = [data.segment_mut(4096..8192)];
    let mut tags = [0; COMPLETIONS_MAX];
    (0..DEPTH).for_each(|tag| submit(&mut pair, &into, tag));
    pair.commit();
    let mut group = criterion.benchmark_group("nvme");
    group.throughput(Throughput::Elements(TURN as u64));
    let before = pair.counts();
    group.bench_function("read 4 KiB, device and driver", |bencher| {
        bencher.iter(|| {
            rings.complete(device.tail(1));
            assert!(turn(&mut pair, &into, &mut tags) == TURN);
        });
    });
    tell(&before, &pair.counts());
    let mut tail = device.tail(1);
    group.bench_function("device alone", |bencher| bencher.iter(|| device_turn(&mut rings, &mut tail)));
    group.finish();
}

fn bench_apart(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nvme");
    group.throughput(Throughput::Elements(TURN as u64));
    let cores = cpu::allowed();
    let (device, _controller, mut pair, mut rings, data) = Instant::ready();
    let into = [data.segment_mut(4096..8192)];
    let side = move |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            rings.complete(device.tail(1));
        }
    };
    apart::beside(&cores, side, || {
        let before = pair.counts();
        group.bench_function("read 4 KiB, device on another core", |bencher| {
            bencher.iter_custom(|count| batches(&mut pair, &into, count));
        });
        tell(&before, &pair.counts());
    });
    let device = apart::emulated();
    apart::beside(
        &cores,
        |stop| device.run(stop),
        || {
            let (_controller, mut pair, data) = apart::ready(&device);
            let into = [data.segment_mut(4096..8192)];
            let before = pair.counts();
            group.bench_function("read 4 KiB, emulated controller on another core", |bencher| {
                bencher.iter_custom(|count| batches(&mut pair, &into, count));
            });
            tell(&before, &pair.counts());
        },
    );
    group.finish();
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--turns") {
        let count = arguments.get(at + 1).and_then(|count| count.parse().ok()).expect("--turns N");
        return turns(count, arguments.iter().any(|argument| argument == "--device"));
    }
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    bench_apart(&mut criterion);
    criterion.final_summary();
}
