//! The load on a block device of this process.
//!
//! Invariant: a tag that a channel has is told to the sink once, by `ready` or by the channel's own poll, unless the device
//! is given up.

use std::io;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::reactor::Reactor;
use corelane_reactors::ring::{self, Ring};

use crate::bdev::{Bdev, BdevError, Blocks, Channel, Command, Home, Submitted, Tag};
use crate::mem::{Extent, ExtentError};
use crate::perf::{Failure, Io, Port, Sink, Submission, Target};

/// A block device.
#[derive(Clone)]
pub struct BdevTarget {
    /// NSID, for messages and stamps; 0 for a device that is no namespace.
    pub nsid: u32,
    /// The device.
    pub bdev: Arc<dyn Bdev>,
    /// The io_uring of each reactor, for a device that needs one.
    pub ring: Option<ring::Options>,
    /// What has to be polled beside it.
    pub upkeep: Option<Upkeep>,
    /// Memory that the device has mapped, for one that needs that.
    pub memory: Option<Arc<Lent>>,
}

/// Called on each core of each run: adds pollers to the reactor, where something has to be polled for the device.
pub type Upkeep = Arc<dyn Fn(&mut Reactor) -> io::Result<()> + Send + Sync>;

/// Memory that was made before any run, and is lent to one core of a run after the other.
#[derive(Debug)]
pub struct Lent {
    /// For each core of a run, in their order; as long as [`crate::perf::Plan::memory_bytes`].
    pub extents: Vec<Arc<Extent>>,
    /// Counts what was lent. Relaxed: one thread starts the cores of a run.
    pub next: AtomicUsize,
}

impl Target for BdevTarget {
    type Port = BdevPort;

    fn port(&self, reactor: &mut Reactor, lanes: usize, memory: &Arc<Extent>) -> io::Result<BdevPort> {
        let mut home = Home::new(&[Arc::clone(memory)]);
        if let Some(options) = &self.ring {
            let ring = Ring::open(options).map_err(io::Error::other)?;
            ring.attach(reactor)?;
            home = home.with_ring(ring);
        }
        if let Some(upkeep) = &self.upkeep {
            upkeep(reactor)?;
        }
        let channels: Result<Vec<_>, _> = (0..lanes).map(|_| self.bdev.open(&home)).collect();
        let channels = channels.map_err(io::Error::other)?;
        Ok(BdevPort { channels, memory: Arc::clone(memory), ready: Vec::new(), state: State::New })
    }

    fn memory(&self, bytes: usize) -> Result<Arc<Extent>, ExtentError> {
        let Some(lent) = &self.memory else { return Extent::best(bytes).map(Arc::new) };
        let extent = &lent.extents[lent.next.fetch_add(1, Ordering::Relaxed) % lent.extents.len()];
        assert!(extent.len() >= bytes, "it was made for the plan");
        Ok(Arc::clone(extent))
    }
}

/// One core's channels to a block device.
pub struct BdevPort {
    channels: Vec<Box<dyn Channel>>,
    memory: Arc<Extent>,
    /// What ended inside `submit`: lane, tag and outcome.
    ready: Vec<(usize, u16, Result<(), Failure>)>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Up,
    Over,
}

impl Port for BdevPort {
    fn poll(&mut self, _now: Time, sink: &mut impl Sink) -> bool {
        if self.state == State::New {
            self.state = State::Up;
            sink.up(self.lanes());
        }
        let mut done = self.ready.len();
        for (lane, tag, outcome) in self.ready.drain(..) {
            sink.done(lane, tag, outcome);
        }
        if self.state == State::Over {
            return done > 0;
        }
        for (lane, channel) in self.channels.iter_mut().enumerate() {
            if channel.outstanding() == 0 {
                continue;
            }
            done += channel.poll(&mut |Tag(tag), outcome| {
                let tag = u16::try_from(tag).expect("tags are slots");
                sink.done(lane, tag, outcome.map_err(Failure::Bdev));
            });
        }
        done > 0
    }

    fn submit(&mut self, lane: usize, tag: u16, io: &Io) -> Submission {
        let blocks = Blocks { first: io.lba, count: io.blocks };
        let (from, into) = ([io.memory.read_only()], [io.memory]);
        let command = if io.write {
            Command::Write { blocks, from: &from, force_unit_access: false }
        } else {
            Command::Read { blocks, into: &into }
        };
        match self.channels[lane].submit(Tag(tag.into()), &command) {
            Submitted::Pending => Submission::Taken,
            Submitted::Done(Err(BdevError::Busy)) => Submission::Full,
            Submitted::Done(outcome) => {
                // Grows to the depth of all lanes, and then no more.
                self.ready.push((lane, tag, outcome.map_err(Failure::Bdev)));
                Submission::Taken
            }
        }
    }

    fn flush(&mut self) -> bool {
        self.channels.iter_mut().for_each(|channel| channel.commit());
        !self.ready.is_empty()
    }

    fn minds_time(&self) -> bool {
        true
    }

    fn unanswered(&mut self, _now: Time, _lane: usize, _after: Duration, _sink: &mut impl Sink) {
        unreachable!("block devices mind the time themselves")
    }

    fn leave(&mut self, _now: Time) {
        self.state = State::Over;
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

impl BdevPort {
    fn lanes(&self) -> Range<usize> {
        0..self.channels.len()
    }
}

impl Drop for BdevPort {
    fn drop(&mut self) {
        // What a device still has, it may still write to: neither channel nor memory is given back.
        if self.channels.iter().any(|channel| channel.outstanding() > 0) {
            mem::forget(mem::take(&mut self.channels));
            mem::forget(Arc::clone(&self.memory));
        }
    }
}
