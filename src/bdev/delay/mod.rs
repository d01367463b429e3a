//! A decorator that makes a block device slow, or hangs it: for trying out what stands above.
//!
//! A command waits here first and is handed to the device when its time has come, so a write that hangs is
//! not yet in the blocks and lands late when it is released. Commands overtake each other when jitter lets
//! them. Invariants of a channel: each slot is either in `free` or waits, and waits exactly once in `due`;
//! a waiting command, an aborted one in `aborted` and one handed to the inner channel are three different
//! commands; `due`, `free` and `aborted` never grow beyond [`WAITING_MAX`].

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use corelane_reactors::{
    clock::{Clock, Time},
    poller::Wake,
};

use super::{
    Bdev, BdevError, Channel, Command, Geometry, Home, OpenError, Submitted, Tag, random::Random,
    stored::StoredCommand,
};

/// Commands that wait on one channel; one more is [`BdevError::Busy`].
const WAITING_MAX: usize = 1024;

/// Commands that one poll hands to the device.
const POLL_MAX: usize = 64;

/// How often a channel looks whether it was released.
const HUNG_LOOK: Duration = Duration::from_millis(1);

/// How long commands wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// What every command waits at least.
    pub fixed: Duration,
    /// What is added at most: evenly spread from nothing to this.
    pub jitter: Duration,
    /// Seed of the jitter. Channels opened in the same order wait alike.
    pub seed: u64,
}

/// A block device behind a delay. It does not lend: what it lends would be read without a delay.
pub struct Delay {
    inner: Arc<dyn Bdev>,
    clock: Clock,
    delays: Delays,
    /// Told by any thread, read by every channel. `Release` and `Acquire`, so that what was done before
    /// the release is seen by whoever finds the channel moving again.
    hung: Arc<AtomicBool>,
    /// Counted so that each channel has a seed of its own; `Relaxed`, it orders nothing.
    channels: AtomicU64,
}

impl Delay {
    /// Puts `delays`, measured by `clock`, before every command of `inner`.
    pub fn new(inner: Arc<dyn Bdev>, clock: Clock, delays: Delays) -> Self {
        Self { inner, clock, delays, hung: Arc::new(AtomicBool::new(false)), channels: AtomicU64::new(0) }
    }

    /// From now on no command is handed to the device, whatever its time; it can be aborted.
    pub fn hang(&self) {
        self.hung.store(true, Ordering::Release);
    }

    /// Ends [`Delay::hang`]: what is due follows.
    pub fn release(&self) {
        self.hung.store(false, Ordering::Release);
    }
}

impl Bdev for Delay {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn geometry(&self) -> &Geometry {
        self.inner.geometry()
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        let ordinal = self.channels.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(DelayChannel {
            inner: self.inner.open(home)?,
            clock: self.clock.clone(),
            delays: self.delays,
            hung: Arc::clone(&self.hung),
            random: Random::new(self.delays.seed.wrapping_add(ordinal)),
            submitted: 0,
            slots: (0..WAITING_MAX).map(|_| Slot { tag: Tag(0), stored: StoredCommand::new() }).collect(),
            free: (0..WAITING_MAX).rev().collect(),
            due: BinaryHeap::with_capacity(WAITING_MAX),
            aborted: VecDeque::with_capacity(WAITING_MAX),
        }))
    }
}

struct DelayChannel {
    inner: Box<dyn Channel>,
    clock: Clock,
    delays: Delays,
    hung: Arc<AtomicBool>,
    random: Random,
    /// Commands seen so far: keeps those that are due together in their order.
    submitted: u64,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The waiting commands, the first to be due on top: time, order, slot.
    due: BinaryHeap<Reverse<(Time, u64, usize)>>,
    aborted: VecDeque<Tag>,
}

struct Slot {
    tag: Tag,
    stored: StoredCommand,
}

impl DelayChannel {
    fn wait(&mut self) -> Duration {
        let jitter = u64::try_from(self.delays.jitter.as_nanos()).unwrap_or(u64::MAX);
        self.delays.fixed.saturating_add(Duration::from_nanos(self.random.up_to(jitter)))
    }

    fn is_hung(&self) -> bool {
        self.hung.load(Ordering::Acquire)
    }

    /// Takes the next slot whose time has come.
    fn next_due(&mut self, now: Time) -> Option<usize> {
        let &Reverse((time, _, slot)) = self.due.peek()?;
        if time > now {
            return None;
        }
        self.due.pop();
        self.free.push(slot);
        Some(slot)
    }
}

impl Channel for DelayChannel {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        if self.due.len() + self.aborted.len() == WAITING_MAX {
            return Submitted::Done(Err(BdevError::Busy));
        }
        let Some(slot) = self.free.pop() else { return Submitted::Done(Err(BdevError::Busy)) };
        let time = self.clock.now() + self.wait();
        self.slots[slot].tag = tag;
        self.slots[slot].stored.store(command);
        self.due.push(Reverse((time, self.submitted, slot)));
        self.submitted += 1;
        Submitted::Pending
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        let mut completed = 0;
        while let Some(tag) = self.aborted.pop_front() {
            completed += 1;
            done(tag, Err(BdevError::Aborted));
        }
        completed += self.inner.poll(done);
        if self.is_hung() {
            return completed;
        }
        let now = self.clock.now();
        for _ in 0..POLL_MAX {
            let Some(slot) = self.next_due(now) else { break };
            let Slot { tag, stored } = &self.slots[slot];
            match self.inner.submit(*tag, &stored.command()) {
                Submitted::Done(result) => {
                    completed += 1;
                    done(*tag, result);
                }
                Submitted::Pending => {}
            }
        }
        completed
    }

    fn outstanding(&self) -> usize {
        self.due.len() + self.aborted.len() + self.inner.outstanding()
    }

    fn commit(&mut self) {
        self.inner.commit();
    }

    fn wake(&self) -> Wake {
        if !self.aborted.is_empty() {
            return Wake::Soon;
        }
        let own = match self.due.peek() {
            None => Wake::Never,
            Some(_) if self.is_hung() => Wake::At(self.clock.now() + HUNG_LOOK),
            Some(&Reverse((time, _, _))) => Wake::At(time),
        };
        own.sooner(self.inner.wake())
    }

    fn reset(&mut self) -> bool {
        self.inner.reset()
    }

    fn abort(&mut self, tag: Tag) -> bool {
        let Some(&Reverse((_, _, slot))) =
            self.due.iter().find(|Reverse((_, _, slot))| self.slots[*slot].tag == tag)
        else {
            return self.inner.abort(tag);
        };
        self.due.retain(|Reverse((_, _, other))| *other != slot);
        self.free.push(slot);
        self.aborted.push_back(tag);
        true
    }
}
