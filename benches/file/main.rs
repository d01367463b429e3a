//! The bdev `file` on one core, against fio's io_uring engine on the same file and core, by turns: 4 KiB random reads and
//! writes, 128 at a time and one at a time.
//!
//! `cargo bench --bench file -- [part of a workload's name] [--path FILE] [--size BYTES] [--pairs N] [--seconds S]`
//!
//! Ours is a reactor with a ring and one channel, with file and memory registered as a target has them, which sleeps as a
//! target does (adaptive: its processor time counts the polling), or at once, as fio does; then also with memory that the
//! kernel pins for each I/O. fio registers file and buffers and does direct I/O too; it stands in the table twice, as
//! people run it, one system call for each I/O, and with batches, which is the most that it can do. Without fio installed
//! only ours is measured.
//!
//! `--path` may name a block device, whose contents are destroyed; without it, it is a new file in the temporary
//! directory. Medians over the pairs, and least and most; processor time for each I/O, user and kernel together. A disk
//! that is slower than both sides makes them equal: look at the processor time then.

mod fio;
mod ours;

use std::{
    env, fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    time::Duration,
};

use corelane_reactors::cpu;

/// A workload.
pub(crate) struct Workload {
    name: &'static str,
    pub(crate) write: bool,
    pub(crate) depth: u32,
}

/// What one run came to.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) operations_per_second: f64,
    pub(crate) cpu_us_per_operation: f64,
}

/// What is measured on.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) core: usize,
    pub(crate) time: Duration,
}

const WORKLOADS: [Workload; 4] = [
    Workload { name: "read, 128 at a time", write: false, depth: 128 },
    Workload { name: "write, 128 at a time", write: true, depth: 128 },
    Workload { name: "read, one at a time", write: false, depth: 1 },
    Workload { name: "write, one at a time", write: true, depth: 1 },
];

/// Bytes of one I/O.
pub(crate) const IO_BYTES: u32 = 4096;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// One way to do the same.
type Way<'a> = (&'a str, &'a dyn Fn(&Place, &Workload) -> Result<Figure, Error>);

struct Arguments {
    filter: String,
    path: Option<PathBuf>,
    bytes: u64,
    pairs: usize,
    time: Duration,
}

fn main() -> Result<(), Error> {
    let arguments = arguments()?;
    let cores = cpu::allowed();
    let own = env::temp_dir().join(format!("corelane-bench-{}", std::process::id()));
    // What is there is used as it is, as far as it goes.
    let bytes = match &arguments.path {
        Some(path) => fs::File::open(path)?.seek(SeekFrom::End(0))?.min(arguments.bytes),
        None => arguments.bytes,
    };
    let place = Place {
        path: arguments.path.clone().unwrap_or_else(|| own.clone()),
        bytes,
        core: *cores.last().ok_or("there is no core")?,
        time: arguments.time,
    };
    if arguments.path.is_none() {
        fill(&own, arguments.bytes)?;
    }
    let measured = measure(&arguments, &place);
    if arguments.path.is_none() {
        fs::remove_file(&own)?;
    }
    measured
}

fn measure(arguments: &Arguments, place: &Place) -> Result<(), Error> {
    let mut ways: Vec<Way<'_>> = vec![
        ("ours", &ours::run),
        ("ours, parks", &ours::run_parked),
        ("ours, parks, unpinned", &ours::run_unpinned),
    ];
    if fio::is_installed() {
        ways.push(("fio", &fio::run));
        ways.push(("fio, batches", &fio::run_batched));
    } else {
        println!("fio is not installed: ours alone");
    }
    println!(
        "{}, {} MiB; {} rounds of {:?} each; medians (least to most)",
        place.path.display(),
        place.bytes >> 20,
        arguments.pairs,
        place.time
    );
    for workload in WORKLOADS.iter().filter(|workload| workload.name.contains(&arguments.filter)) {
        let mut figures: Vec<Vec<Figure>> = ways.iter().map(|_| Vec::new()).collect();
        for round in 0..arguments.pairs {
            for turn in 0..ways.len() {
                // Whoever comes first after another kind finds other caches: each does in its turn.
                let way = (round + turn) % ways.len();
                figures[way].push((ways[way].1)(place, workload)?);
            }
        }
        println!("{}", workload.name);
        let ours = median(&figures[0], |figure| figure.operations_per_second)[0];
        for ((name, _), figures) in ways.iter().zip(&figures) {
            let [rate, least, most] = median(figures, |figure| figure.operations_per_second);
            let [cpu, ..] = median(figures, |figure| figure.cpu_us_per_operation);
            println!(
                "  {name:<22} {:>8.2} k/s ({:.2} to {:.2}) {cpu:>7.2} us of processor; ours is {:.3} of it",
                rate / 1e3,
                least / 1e3,
                most / 1e3,
                ours / rate
            );
        }
    }
    Ok(())
}

/// Median, least and most.
fn median(figures: &[Figure], of: impl Fn(&Figure) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = figures.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

/// Makes a file without holes: reads of a hole would not reach the disk.
fn fill(path: &PathBuf, bytes: u64) -> Result<(), Error> {
    let mut file = fs::File::create_new(path)?;
    let chunk: Vec<u8> =
        (0..1 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..bytes / chunk.len() as u64 {
        file.write_all(&chunk)?;
    }
    Ok(file.sync_all()?)
}

fn arguments() -> Result<Arguments, Error> {
    // `cargo test` only wants to know whether it runs.
    let (bytes, pairs, milliseconds) =
        if env::args().any(|word| word == "--bench") { (1 << 30, 5, 3000) } else { (4 << 20, 1, 20) };
    let time = Duration::from_millis(milliseconds);
    let mut parsed = Arguments { filter: String::new(), path: None, bytes, pairs, time };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or("a value is missing");
        match word.as_str() {
            "--path" => parsed.path = Some(value()?.into()),
            "--size" => parsed.bytes = value()?.parse()?,
            "--pairs" => parsed.pairs = value()?.parse::<usize>()?.max(1),
            "--seconds" => parsed.time = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--bench" => {}
            _ => parsed.filter = word,
        }
    }
    Ok(parsed)
}
