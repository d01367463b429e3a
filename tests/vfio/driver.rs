//! Inside the virtual machine: the driver on a real PCI function, under load.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelane::mem::{self, Extent};
use corelane::nvme::{
    BlockRange, Condition, Controller, Counts, Device, Failure, IoCommand, Options, Outcome, QueuePair,
    SubmitError,
};
use corelane::vfio::VfioDevice;
use corelane_reactors::clock::Clock;

use crate::{device, suite};

/// Commands at a time.
const DEPTH: usize = 128;
/// Bytes of a unit of the load: each is written whole.
const UNIT: usize = 4096;
/// Units that one command moves at most.
const UNITS_MAX: usize = 24;
/// Units of the device that the load uses.
const UNITS: usize = 8192;
/// Nothing in the guest takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A controller with one queue pair, and what was written to it.
struct Load {
    clock: Clock,
    device: Arc<VfioDevice>,
    controller: Controller<VfioDevice>,
    queue: QueuePair<VfioDevice>,
    memory: Arc<Extent>,
    block_size: usize,
    random: u64,
    /// What each unit was last written with; `None` where that is not known.
    versions: Vec<Option<u64>>,
    version: u64,
    slots: Vec<Option<Slot>>,
    /// Units of commands that are outstanding.
    taken: HashSet<usize>,
    completed: u64,
    failed: Vec<Failure>,
}

/// A command that is outstanding.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: usize,
    units: usize,
    /// What it writes; `None` for a read.
    version: Option<u64>,
}

impl Load {
    /// Brings the controller of the script up; `None` outside of the virtual machine.
    fn start(options: Options) -> Option<Self> {
        let device = Arc::new(device::open()?);
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 =
            given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos().into());
        println!("SEED={seed}");
        let clock = Clock::real();
        let mut controller = Controller::new(Arc::clone(&device), &options).expect("a controller");
        controller.start(&clock).expect("bringing the controller up");
        let memory = Arc::new(Extent::best(DEPTH * UNITS_MAX * UNIT).expect("memory"));
        controller.map(&memory).expect("mapping memory");
        let namespace = controller.namespaces()[0];
        let block_size = usize::try_from(namespace.block_size).expect("blocks are small");
        assert!(namespace.blocks * u64::from(namespace.block_size) >= (UNITS * UNIT) as u64);
        let queue = controller.take_queue_pair().expect("a queue pair");
        Some(Self {
            clock,
            device,
            controller,
            queue,
            memory,
            block_size,
            random: seed | 1,
            versions: vec![None; UNITS],
            version: 0,
            slots: vec![None; DEPTH],
            taken: HashSet::new(),
            completed: 0,
            failed: Vec::new(),
        })
    }

    /// A number below `below`.
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).expect("31 bits") % below
    }

    fn range(slot: usize, unit: usize) -> std::ops::Range<usize> {
        let start = (slot * UNITS_MAX + unit) * UNIT;
        start..start + UNIT
    }

    /// The word that a unit is filled with.
    fn pattern(unit: usize, version: u64) -> [u8; UNIT] {
        let word = (version << 24 | unit as u64).to_le_bytes();
        std::array::from_fn(|at| word[at % 8])
    }

    /// Fills every free slot with a command, and announces them.
    fn submit(&mut self) {
        for index in 0..DEPTH {
            if self.slots[index].is_some() {
                continue;
            }
            let units = 1 + if self.random(4) == 0 { self.random(UNITS_MAX) } else { 0 };
            let first = self.random(UNITS - units);
            let write = self.random(2) == 0;
            if (first..first + units).any(|unit| self.taken.contains(&unit)) {
                continue;
            }
            self.version += 1;
            let slot = Slot { first, units, version: write.then_some(self.version) };
            if write {
                for unit in 0..units {
                    let bytes = Self::pattern(first + unit, self.version);
                    mem::copy_in(&bytes, self.memory.segment_mut(Self::range(index, unit)));
                }
            }
            let bytes = Self::range(index, 0).start..Self::range(index, units - 1).end;
            let (slba, blocks) = ((first * UNIT / self.block_size) as u64, units * UNIT / self.block_size);
            let blocks = u32::try_from(blocks).expect("commands are small");
            let (from, into) = ([self.memory.segment(bytes.clone())], [self.memory.segment_mut(bytes)]);
            let command = if write {
                IoCommand::Write { nsid: 1, slba, blocks, from: &from, fua: false }
            } else {
                IoCommand::Read { nsid: 1, slba, blocks, into: &into }
            };
            if self.queue.submit(index as u64, &command).is_err() {
                break;
            }
            self.taken.extend(first..first + units);
            self.slots[index] = Some(slot);
        }
        self.queue.commit();
    }

    /// Polls controller and queue pair once, and checks what completed.
    fn reap(&mut self) {
        self.controller.poll(self.clock.now());
        let mut done: Vec<(u64, Outcome)> = Vec::new();
        self.queue.poll(self.clock.now(), &mut |tag, outcome| done.push((tag, outcome)));
        for (tag, outcome) in done {
            let index = usize::try_from(tag).expect("one of ours");
            let slot = self.slots[index].take().expect("a command completes once");
            for unit in slot.first..slot.first + slot.units {
                assert!(self.taken.remove(&unit));
            }
            self.completed += 1;
            self.check(index, slot, outcome);
        }
    }

    fn check(&mut self, index: usize, slot: Slot, outcome: Outcome) {
        let units = slot.first..slot.first + slot.units;
        match (outcome, slot.version) {
            (Ok(_), Some(version)) => self.versions[units].fill(Some(version)),
            // Whether it was carried out is not known.
            (Err(failure), Some(_)) => {
                self.versions[units].fill(None);
                self.failed.push(failure);
            }
            (Err(failure), None) => self.failed.push(failure),
            (Ok(_), None) => {
                for unit in units {
                    let Some(version) = self.versions[unit] else { continue };
                    let mut bytes = [0; UNIT];
                    mem::copy_out(self.memory.segment(Self::range(index, unit - slot.first)), &mut bytes);
                    assert!(bytes == Self::pattern(unit, version), "unit {unit} is not what was written");
                }
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// Keeps the queue full until so many more commands have completed.
    fn run(&mut self, commands: u64) {
        let (until, began) = (self.completed + commands, Instant::now());
        while self.completed < until {
            assert!(began.elapsed() < PATIENCE, "{} commands take too long", until - self.completed);
            self.submit();
            self.reap();
        }
    }

    /// Waits until nothing is outstanding.
    fn drain(&mut self) {
        let began = Instant::now();
        while !self.is_idle() {
            assert!(began.elapsed() < PATIENCE, "{} commands never end", self.queue.outstanding());
            self.reap();
        }
        assert_eq!(self.queue.outstanding(), 0);
    }

    /// Waits until the controller works.
    fn recover(&mut self) {
        let began = Instant::now();
        while !self.controller.is_ready() {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.controller.fault());
            assert!(self.controller.fault().is_none(), "{:?}", self.controller.fault());
            self.reap();
        }
    }

    fn stop(mut self) {
        self.drain();
        let Self { clock, mut controller, queue, .. } = self;
        drop(queue);
        controller.stop(&clock);
        assert!(controller.condition() == Condition::Failed);
    }
}

fn tell(what: &str, counts: Counts) {
    let per = |writes: u64| writes as f64 / counts.completed as f64;
    println!(
        "{what}: {} commands; per command {:.4} doorbell registers, {:.4} shadow doorbells, {:.2} polls",
        counts.completed,
        per(counts.doorbells()),
        per(counts.shadow_doorbells),
        per(counts.polls)
    );
}

#[test]
fn what_was_written_is_read_at_depth_128() {
    for shadow_doorbells in [true, false] {
        let Some(mut load) = Load::start(Options { shadow_doorbells, ..Options::default() }) else { return };
        load.run(10_000);
        load.drain();
        assert_eq!(load.failed, []);
        let counts = load.queue.counts();
        tell(if shadow_doorbells { "with shadow doorbells" } else { "without shadow doorbells" }, counts);
        assert_eq!(counts.strays, 0);
        assert!(counts.doorbells() * 10 < counts.completed, "{counts:?}");
        assert_eq!(counts.shadow_doorbells > 0, shadow_doorbells);
        load.stop();
    }
}

#[test]
fn the_suite_of_the_driver_passes() {
    let Some(device) = device::open() else { return };
    suite::run(&suite::Subject {
        device: Arc::new(device),
        options: Options { io_queue_pairs: 2, ..Options::default() },
        nsid: 1,
        clock: Clock::real(),
        progress: &std::thread::yield_now,
    });
}

#[test]
fn a_copy_that_the_namespace_does_not_take_is_refused_at_once() {
    // The script gives a namespace that came with its controller: it says 0 of every limit.
    let Some(mut load) = Load::start(Options::default()) else { return };
    assert!(load.controller.identity().oncs.copy());
    assert_eq!(load.controller.namespaces()[0].copy, None);
    let from = [BlockRange { slba: 0, blocks: 1 }];
    let refused = load.queue.submit(0, &IoCommand::Copy { nsid: 1, slba: 8, from: &from, fua: false });
    assert_eq!(refused, Err(SubmitError::Unsupported));
    load.stop();
}

#[test]
fn a_reset_under_load_ends_or_repeats_every_command() {
    for replay in [false, true] {
        let Some(mut load) = Load::start(Options { replay, ..Options::default() }) else { return };
        for round in 0..4 {
            load.run(1000);
            if round % 2 == 0 {
                // By somebody else: the function is reset under the driver.
                load.device.reset().expect("resetting the function");
            } else {
                assert!(load.queue.reset());
            }
            load.run(1000);
            load.recover();
            println!("round {round}: {} commands failed so far", load.failed.len());
        }
        load.drain();
        assert!(load.failed.iter().all(|failure| *failure == Failure::Aborted), "{:?}", load.failed);
        // Those of the function's resets; a queue's own may come after the last answer.
        assert!(if replay { load.queue.counts().repeated > 0 } else { !load.failed.is_empty() });
        tell("with resets", load.queue.counts());
        load.stop();
    }
}

#[test]
fn a_device_that_vanishes_ends_every_command() {
    let Some(mut load) = Load::start(Options::default()) else { return };
    load.run(1000);
    device::tell_loaded();
    let began = Instant::now();
    while load.controller.fault().is_none() {
        assert!(began.elapsed() < PATIENCE, "the device stays");
        load.submit();
        load.reap();
    }
    load.drain();
    println!(
        "{} commands completed, {} failed: {:?}",
        load.completed,
        load.failed.len(),
        load.controller.fault()
    );
    assert!(load.device.is_gone());
    assert!(load.failed.iter().all(|failure| *failure == Failure::Gone), "{:?}", load.failed);
    load.submit();
    assert!(load.is_idle(), "nothing more is taken");
    assert!(!load.queue.reset());
}
