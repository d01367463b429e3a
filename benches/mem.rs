//! Kernels of raw memory beside what the standard library does with slices of the same bytes.
//!
//! `ahead` is by how many bytes the destination is ahead of the source within its page: 24 is where the
//! payload behind a header of NVMe/TCP lies, and where `rep movsb` is slow on some processors.
//!
//! `far` copies 4 KiB between a buffer that is in the cache and blocks at random in 512 MiB, which are not, 64 at a time: as a
//! memory bdev writes (`into`), and as it reads or is sent from (`from`); `hinted` when all 64 were announced before.
//!
//! Then what a buffer costs that is taken from a pool and given back: `first` from its own size, `last` when the smaller sizes
//! are out and the largest serves, `turns` 128 of them in turn.

use std::hint::black_box;

use corelane::mem::{self, Arena, ArenaOptions, Class, Extent, Pool};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 4] = [512, 4 << 10, 32 << 10, 128 << 10];

fn memory() -> Extent {
    Extent::ordinary(4 << 20).expect("4 MiB of memory")
}

fn copies(criterion: &mut Criterion) {
    let extent = memory();
    mem::copy_in(&vec![0x5A; 4 << 20], extent.segment_mut(0..4 << 20));
    let source = vec![0x5A_u8; 256 << 10];
    let mut target = vec![0xA5_u8; 256 << 10];
    let source_start = source.as_ptr().align_offset(4096);
    let target_start = target.as_ptr().align_offset(4096);
    for len in SIZES {
        for ahead in [0, 24] {
            let mut group = criterion.benchmark_group(format!("copy/{len}/ahead{ahead}"));
            group.throughput(Throughput::Bytes(len as u64));
            let from = extent.segment(0..len);
            let into = extent.segment_mut((1 << 20) + ahead..(1 << 20) + ahead + len);
            group.bench_function("kernel", |bencher| {
                bencher.iter(|| mem::copy(black_box(from), black_box(into)))
            });
            let from = &source[source_start..source_start + len];
            let into = &mut target[target_start + ahead..target_start + ahead + len];
            group.bench_function("slice", |bencher| {
                bencher.iter(|| black_box(&mut *into).copy_from_slice(black_box(from)));
            });
        }
    }
}

/// Blocks of the region of `far`, bytes of each, and how many are copied in one step.
const FAR_BLOCKS: u64 = 128 << 10;
const FAR_BYTES: usize = 4096;
const FAR_BATCH: usize = 64;

fn far(criterion: &mut Criterion) {
    let blocks = usize::try_from(FAR_BLOCKS).expect("few") * FAR_BYTES;
    let region = Extent::best(blocks).expect("512 MiB of memory");
    let near = memory();
    for start in (0..blocks).step_by(1 << 20) {
        mem::copy_in(&[0x5A; 1 << 20], region.segment_mut(start..start + (1 << 20)));
    }
    // xorshift64*.
    let mut state = 1_u64;
    let mut starts = move || {
        [0; FAR_BATCH].map(|_: usize| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            let block = (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % FAR_BLOCKS;
            usize::try_from(block).expect("few") * FAR_BYTES
        })
    };
    let buffer = |index: usize| index * (FAR_BYTES + 72) + 72;
    let mut group = criterion.benchmark_group("far");
    group.throughput(Throughput::Bytes((FAR_BATCH * FAR_BYTES) as u64));
    for (name, hinted, copy) in [
        ("into/copy", false, mem::copy as fn(_, _)),
        ("into/copy_far", false, mem::copy_far),
        ("into/copy_far/hinted", true, mem::copy_far),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let into = starts().map(|start| region.segment_mut(start..start + FAR_BYTES));
                if hinted {
                    into.into_iter().for_each(mem::expect_write);
                }
                for (index, into) in into.into_iter().enumerate() {
                    copy(near.segment(buffer(index)..buffer(index) + FAR_BYTES), into);
                }
            });
        });
    }
    for (name, hinted) in [("from/copy", false), ("from/copy/hinted", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let from = starts().map(|start| region.segment(start..start + FAR_BYTES));
                if hinted {
                    from.into_iter().for_each(mem::expect_read);
                }
                for (index, from) in from.into_iter().enumerate() {
                    mem::copy(from, near.segment_mut(buffer(index)..buffer(index) + FAR_BYTES));
                }
            });
        });
    }
}

fn checks(criterion: &mut Criterion) {
    let extent = memory();
    let slice = vec![0; 128 << 10];
    for len in [4 << 10, 128 << 10] {
        let mut group = criterion.benchmark_group("check");
        group.throughput(Throughput::Bytes(len as u64));
        let (one, other) = (extent.segment(0..len), extent.segment(1 << 20..(1 << 20) + len));
        group.bench_function(BenchmarkId::new("crc32c/kernel", len), |bencher| {
            bencher.iter(|| mem::crc32c(black_box(one), 0));
        });
        group.bench_function(BenchmarkId::new("crc32c/slice", len), |bencher| {
            bencher.iter(|| crc32c::crc32c(black_box(&slice[..len])));
        });
        group.bench_function(BenchmarkId::new("difference/kernel", len), |bencher| {
            bencher.iter(|| mem::difference(black_box(one), black_box(other)));
        });
        group.bench_function(BenchmarkId::new("zero/kernel", len), |bencher| {
            bencher.iter(|| mem::zero(black_box(extent.segment_mut(0..len))));
        });
    }
}

fn pools(criterion: &mut Criterion) {
    let classes =
        [(4 << 10, 128), (16 << 10, 32), (128 << 10, 16)].map(|(bytes, count)| Class { bytes, count });
    let mut arena =
        Arena::new(&ArenaOptions { bytes: 3 << 20, ..ArenaOptions::default() }).expect("3 MiB of memory");
    let pool = Pool::from(arena.carve(&classes).expect("its memory is enough"));
    let mut group = criterion.benchmark_group("pool");
    group.bench_function("first", |bencher| bencher.iter(|| pool.take(black_box(4096))));
    group.bench_function("turns", |bencher| {
        let mut held: Vec<_> = (0..127).map(|_| pool.take(4096)).collect();
        let mut next = 0;
        bencher.iter(|| {
            held[next] = pool.take(black_box(4096));
            next = (next + 1) % held.len();
        });
    });
    let smaller: Vec<_> = (0..128 + 32).map(|_| pool.take(4096)).collect();
    group.bench_function("last", |bencher| bencher.iter(|| pool.take(black_box(4096))));
    drop(smaller);
}

criterion_group!(benches, copies, far, checks, pools);
criterion_main!(benches);
