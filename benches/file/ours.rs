//! A reactor with a ring, and one channel of a bdev `file` that is kept busy.

use std::time::Duration;

use corelane::{
    bdev::{Bdev, BdevError, Blocks, Channel, Command, File, FileOptions, Home, Submitted, Tag},
    mem::{self, Extent},
};
use corelane_reactors::{
    clock::{Clock, Time},
    group::{Group, Handle, Layout},
    idle::IdlePolicy,
    poller::{Phase, Poll, Poller, Wake},
    reactor::{Reactor, Turn},
    ring::{Options, Ring},
};

use crate::{Error, Figure, IO_BYTES, Place, Workload};

/// Polling on for a while before it sleeps, which is the default of a target.
const ADAPTIVE: IdlePolicy = IdlePolicy::Adaptive { spin: Duration::from_micros(100) };

/// As a target does it, whose memory is pinned by the kernel beforehand.
pub(crate) fn run(place: &Place, workload: &Workload) -> Result<Figure, Error> {
    measure(place, workload, ADAPTIVE, true)
}

/// Sleeping at once when there is nothing to do, as fio does.
pub(crate) fn run_parked(place: &Place, workload: &Workload) -> Result<Figure, Error> {
    measure(place, workload, IdlePolicy::Park, true)
}

/// As [`run_parked`], with memory that the kernel pins anew for each I/O.
pub(crate) fn run_unpinned(place: &Place, workload: &Workload) -> Result<Figure, Error> {
    measure(place, workload, IdlePolicy::Park, false)
}

/// SplitMix64, without its last step: enough to spread.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    }
}

/// What the reactor's thread tells.
struct Told {
    operations: u64,
    elapsed: Duration,
    cpu: Duration,
    failure: Option<BdevError>,
}

fn measure(place: &Place, workload: &Workload, idle: IdlePolicy, pinned: bool) -> Result<Figure, Error> {
    let options =
        FileOptions { path: place.path.clone(), block_size: IO_BYTES, size: None, preallocate: false };
    let file = File::open("bench", &options)?;
    let layout = Layout { management: place.core, io: vec![place.core] };
    let group = Group::new(&layout, idle, Clock::real())?;
    let (teller, told) = std::sync::mpsc::channel();
    let handle = group.handle(group.management());
    let (write, depth, time) = (workload.write, workload.depth, place.time);
    group.spawn(group.management(), "bench", move |reactor| {
        let load = load(reactor, &file, handle, (write, depth, time, pinned), teller);
        reactor.add_poller(Phase::Completions, Box::new(load.map_err(std::io::Error::other)?))?;
        Ok(())
    })?;
    group.join()?;
    let told: Told = told.recv()?;
    if let Some(failure) = told.failure {
        return Err(failure.into());
    }
    let operations = told.operations as f64;
    Ok(Figure {
        operations_per_second: operations / told.elapsed.as_secs_f64(),
        cpu_us_per_operation: told.cpu.as_secs_f64() * 1e6 / operations,
    })
}

fn load(
    reactor: &mut Reactor,
    file: &File,
    handle: Handle,
    (write, depth, time, pinned): (bool, u32, Duration, bool),
    teller: std::sync::mpsc::Sender<Told>,
) -> Result<Load, Error> {
    let ring = Ring::open(&Options::default())?;
    ring.attach(reactor)?;
    let memory = Extent::best(depth as usize * IO_BYTES as usize)?;
    // As fio's: what holds nothing but zeros, or can be compressed, is written faster in places.
    let mut random = Random(u64::from(depth));
    let noise: Vec<u8> = (0..memory.len() / 8).flat_map(|_| random.next().to_le_bytes()).collect();
    mem::copy_in(&noise, memory.segment_mut(0..noise.len()));
    if pinned {
        ring.pin_memory(memory.segment_mut(0..memory.len()))?;
    }
    Ok(Load {
        channel: file.open(&Home::default().with_ring(ring))?,
        memory,
        blocks: file.geometry().blocks,
        write,
        depth,
        time,
        began: None,
        random: Random(0x9E37_79B9_7F4A_7C15),
        operations: 0,
        handle,
        teller,
    })
}

/// Keeps `depth` commands in flight until the time is over.
struct Load {
    channel: Box<dyn Channel>,
    memory: Extent,
    blocks: u64,
    write: bool,
    depth: u32,
    time: Duration,
    began: Option<(Time, Duration)>,
    random: Random,
    operations: u64,
    handle: Handle,
    teller: std::sync::mpsc::Sender<Told>,
}

impl Load {
    fn submit(&mut self, slot: u32) {
        let blocks = Blocks { first: self.random.next() % self.blocks, count: 1 };
        let bytes = IO_BYTES as usize;
        let start = slot as usize * bytes;
        let (into, from) =
            (self.memory.segment_mut(start..start + bytes), self.memory.segment(start..start + bytes));
        let command = match self.write {
            true => Command::Write { blocks, from: &[from], force_unit_access: false },
            false => Command::Read { blocks, into: &[into] },
        };
        assert_eq!(self.channel.submit(Tag(slot.into()), &command), Submitted::Pending);
    }
}

impl Poller for Load {
    fn name(&self) -> &str {
        "load"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let Some((began, cpu)) = self.began else {
            self.began = Some((turn.now(), cpu_time()));
            (0..self.depth).for_each(|slot| self.submit(slot));
            self.channel.commit();
            return Poll::Busy;
        };
        let mut done = [0; 256];
        let (mut count, mut failure) = (0, None);
        self.channel.poll(&mut |Tag(slot), result| {
            failure = failure.or(result.err());
            done[count] = u32::try_from(slot).unwrap_or(u32::MAX);
            count += 1;
        });
        self.operations += count as u64;
        let elapsed = turn.now().since(began);
        if elapsed >= self.time || failure.is_some() {
            if self.channel.outstanding() == 0 {
                let told = Told { operations: self.operations, elapsed, cpu: cpu_time() - cpu, failure };
                let _ = self.teller.send(told);
                self.handle.stop();
            }
            return if count > 0 { Poll::Busy } else { Poll::Idle(Wake::Never) };
        }
        done[..count].iter().for_each(|&slot| self.submit(slot));
        self.channel.commit();
        if count > 0 { Poll::Busy } else { Poll::Idle(Wake::Never) }
    }
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
