//! A decorator that makes a block device slow, or hangs it: for trying out what stands above.
//!
//! A command waits here first and is handed to the device when its time has come, so a write that hangs is
//! not yet in the blocks and lands late when it is released. Commands overtake each other when jitter lets
//! them. Invariants of a channel: each slot is either in `free` or waits, and waits exactly once in `due`;
//! a waiting command, an ended one in `ended` and one handed to the inner channel are three different
//! commands; `due`, `free` and `ended` never grow beyond [`WAITING_MAX`]. What was ended never reaches the
//! device; once retired, nothing does.

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
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

/// The gentlest means that still ends commands of a device that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hang {
    /// Each command can be aborted.
    Abort = 1,
    /// An abort is refused, and a reset of the channel works.
    Reset,
    /// A reset is refused, too, and the device can be retired.
    Retire,
    /// There is none.
    Nothing,
}

/// A block device behind a delay. It does not lend: what it lends would be read without a delay.
pub struct Delay {
    inner: Arc<dyn Bdev>,
    clock: Clock,
    delays: Delays,
    condition: Arc<Condition>,
    /// Counted so that each channel has a seed of its own; `Relaxed`, it orders nothing.
    channels: AtomicU64,
}

/// How a device is. Told by any thread, read by every channel: `Release` and `Acquire`, so that what was done
/// before the release is seen by whoever finds the channel moving again.
#[derive(Default)]
struct Condition {
    /// 0, or a [`Hang`].
    hung: AtomicU8,
    retired: AtomicBool,
}

impl Condition {
    fn is_hung(&self) -> bool {
        self.hung.load(Ordering::Acquire) != 0
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether this ends commands now.
    fn ends(&self, means: Hang) -> bool {
        self.hung.load(Ordering::Acquire) <= means as u8
    }
}

impl Delay {
    /// Puts `delays`, measured by `clock`, before every command of `inner`.
    pub fn new(inner: Arc<dyn Bdev>, clock: Clock, delays: Delays) -> Self {
        Self { inner, clock, delays, condition: Arc::default(), channels: AtomicU64::new(0) }
    }

    /// From now on no command is handed to the device, whatever its time; it can be aborted.
    pub fn hang(&self) {
        self.hang_until(Hang::Abort);
    }

    /// As [`Delay::hang`], but nothing gentler than `means` ends a command.
    pub fn hang_until(&self, means: Hang) {
        self.condition.hung.store(means as u8, Ordering::Release);
    }

    /// Ends [`Delay::hang`]: what is due follows, unless the device was retired.
    pub fn release(&self) {
        self.condition.hung.store(0, Ordering::Release);
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
            condition: Arc::clone(&self.condition),
            random: Random::new(self.delays.seed.wrapping_add(ordinal)),
            submitted: 0,
            slots: (0..WAITING_MAX).map(|_| Slot { tag: Tag(0), stored: StoredCommand::new() }).collect(),
            free: (0..WAITING_MAX).rev().collect(),
            due: BinaryHeap::with_capacity(WAITING_MAX),
            ended: VecDeque::with_capacity(WAITING_MAX),
        }))
    }

    /// Commands that wait here end; those that the inner device has end as that device says.
    fn retire(&self) -> bool {
        if !self.condition.ends(Hang::Retire) {
            return false;
        }
        self.condition.retired.store(true, Ordering::Release);
        self.inner.retire();
        true
    }
}

struct DelayChannel {
    inner: Box<dyn Channel>,
    clock: Clock,
    delays: Delays,
    condition: Arc<Condition>,
    random: Random,
    /// Commands seen so far: keeps those that are due together in their order.
    submitted: u64,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The waiting commands, the first to be due on top: time, order, slot.
    due: BinaryHeap<Reverse<(Time, u64, usize)>>,
    /// Commands that will never reach the device, and why.
    ended: VecDeque<(Tag, BdevError)>,
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

    /// Ends every command that waits.
    fn end_all(&mut self, why: BdevError) {
        while let Some(Reverse((_, _, slot))) = self.due.pop() {
            self.free.push(slot);
            self.ended.push_back((self.slots[slot].tag, why));
        }
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
        if self.condition.is_retired() {
            return Submitted::Done(Err(BdevError::Gone));
        }
        if self.due.len() + self.ended.len() == WAITING_MAX {
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
        if self.condition.is_retired() {
            self.end_all(BdevError::Gone);
        }
        let mut completed = 0;
        while let Some((tag, why)) = self.ended.pop_front() {
            completed += 1;
            done(tag, Err(why));
        }
        completed += self.inner.poll(done);
        if self.condition.is_hung() {
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
        self.due.len() + self.ended.len() + self.inner.outstanding()
    }

    fn commit(&mut self) {
        self.inner.commit();
    }

    fn wake(&self) -> Wake {
        if !self.ended.is_empty() {
            return Wake::Soon;
        }
        let own = match self.due.peek() {
            None => Wake::Never,
            Some(_) if self.condition.is_retired() => Wake::Soon,
            Some(_) if self.condition.is_hung() => Wake::At(self.clock.now() + HUNG_LOOK),
            Some(&Reverse((time, _, _))) => Wake::At(time),
        };
        own.sooner(self.inner.wake())
    }

    fn reset(&mut self) -> bool {
        if !self.condition.ends(Hang::Reset) || self.inner.outstanding() > 0 && !self.inner.reset() {
            return false;
        }
        self.end_all(BdevError::Aborted);
        true
    }

    fn abort(&mut self, tag: Tag) -> bool {
        let Some(&Reverse((_, _, slot))) =
            self.due.iter().find(|Reverse((_, _, slot))| self.slots[*slot].tag == tag)
        else {
            return self.inner.abort(tag);
        };
        if !self.condition.ends(Hang::Abort) {
            return false;
        }
        self.due.retain(|Reverse((_, _, other))| *other != slot);
        self.free.push(slot);
        self.ended.push_back((tag, BdevError::Aborted));
        true
    }
}
