//! What counting costs: `cargo bench -p corelane-reactors --bench stats`. Goals: a counter under 1 ns, a histogram's
//! sample at most 5 ns.

use std::hint::black_box;

use corelane_reactors::stats::{Counter, Histogram, Sample};
use criterion::{Criterion, criterion_group, criterion_main};

/// Updates in one iteration, so that the loop of the bench itself does not count.
const BATCH: u64 = 1000;

fn counters(criterion: &mut Criterion) {
    let counter = Counter::default();
    criterion.bench_function("counter, 1000 updates", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                black_box(&counter).add(black_box(1));
            }
        });
    });
}

/// Times as they come from a device: most near 80 us, some far away.
fn times() -> Vec<u64> {
    let mut random = 1u64;
    let mut time = || {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let spread = (random >> 40) & 0x3fff;
        if random >> 58 == 0 { spread * 1000 } else { 75_000 + spread }
    };
    (0..BATCH).map(|_| time()).collect()
}

fn histograms(criterion: &mut Criterion) {
    let (one, other) = (Histogram::new(), Histogram::new());
    let times = times();
    criterion.bench_function("histogram, 1000 samples", |bencher| {
        bencher.iter(|| {
            for &time in &times {
                black_box(&one).record(black_box(time));
            }
        });
    });
    criterion.bench_function("histogram, 1000 samples into two", |bencher| {
        bencher.iter(|| {
            for &time in &times {
                let sample = Sample::of(black_box(time));
                black_box(&one).add(sample);
                black_box(&other).add(sample);
            }
        });
    });
}

criterion_group!(benches, counters, histograms);
criterion_main!(benches);
