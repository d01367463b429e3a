//! Submission plus completion of a 4 KiB read by the NVMe driver, 128 at a time, with a device that completes at once on
//! the same core, and that device's own loop alone, which is to be taken off.
//!
//! With `--turns N` (and `--device` for the device alone) it runs so many turns of 64 commands and nothing else, for a
//! counter of instructions.

mod device;

use std::hint::black_box;

use corelane::mem::SegmentMut;
use corelane::nvme::{Counts, IoCommand, QueuePair};
use corelane_reactors::clock::Time;
use criterion::{Criterion, Throughput};

use device::{ENTRIES, Instant, Rings};

/// Commands outstanding.
const DEPTH: u64 = 128;
/// Commands of one turn: what one poll completes.
const TURN: usize = 64;

fn submit(pair: &mut QueuePair<Instant>, into: &[SegmentMut], tag: u64) {
    let read = IoCommand::Read { nsid: 1, slba: tag, blocks: 1, into };
    pair.submit(tag, &read).expect("the queue has room");
}

/// Completes a batch and submits as many again.
fn turn(pair: &mut QueuePair<Instant>, into: &[SegmentMut], tags: &mut [u64; TURN]) {
    let mut count = 0;
    pair.poll(Time::ORIGIN, &mut |tag, outcome| {
        assert!(outcome.is_ok());
        tags[count] = tag;
        count += 1;
    });
    assert!(count == tags.len());
    for tag in tags.iter() {
        submit(pair, into, *tag);
    }
    pair.commit();
}

/// The device alone, as if a driver had rung for 64 more commands.
fn device_turn(rings: &mut Rings, tail: &mut u16) {
    *tail = (*tail + 64) % ENTRIES;
    rings.complete(black_box(*tail));
}

fn doorbells(before: &Counts, after: &Counts) -> f64 {
    let count = |of: fn(&Counts) -> u64| (of(after) - of(before)) as f64;
    count(Counts::doorbells) / count(|counts| counts.completed)
}

fn turns(count: u64, device_alone: bool) {
    let (device, _controller, mut pair, mut rings, data) = Instant::ready();
    let into = [data.segment_mut(4096..8192)];
    let (mut tags, mut tail) = ([0; TURN], device.tail(1));
    (0..DEPTH).for_each(|tag| submit(&mut pair, &into, tag));
    pair.commit();
    for _ in 0..count {
        if device_alone {
            device_turn(&mut rings, &mut tail);
        } else {
            rings.complete(device.tail(1));
            turn(&mut pair, &into, &mut tags);
        }
    }
}

fn bench(criterion: &mut Criterion) {
    let (device, _controller, mut pair, mut rings, data) = Instant::ready();
    let into = [data.segment_mut(4096..8192)];
    let mut tags = [0; TURN];
    (0..DEPTH).for_each(|tag| submit(&mut pair, &into, tag));
    pair.commit();
    let mut group = criterion.benchmark_group("nvme");
    group.throughput(Throughput::Elements(TURN as u64));
    let before = pair.counts();
    group.bench_function("read 4 KiB, device and driver", |bencher| {
        bencher.iter(|| {
            rings.complete(device.tail(1));
            turn(&mut pair, &into, &mut tags);
        });
    });
    println!("doorbell writes per command: {:.4}", doorbells(&before, &pair.counts()));
    let mut tail = device.tail(1);
    group.bench_function("device alone", |bencher| bencher.iter(|| device_turn(&mut rings, &mut tail)));
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
    criterion.final_summary();
}
