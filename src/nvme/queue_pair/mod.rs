//! One I/O queue pair, on one reactor: commands go in, are announced with one doorbell, and complete in batches. No
//! allocation, no lock and no system call after it was made.
//!
//! Invariants:
//!
//! - a command that [`QueuePair::submit`] took completes exactly once, through [`QueuePair::poll`], and not before the
//!   device can no longer touch its memory: it was answered, or its queue was deleted, or the controller was disabled
//!   (RDY = 0), reset, cut off from memory, or is gone. Only the controller, on the management reactor, can prove the
//!   latter; what passes between the two is in `line`;
//! - as many slots as the submission ring has room, so that neither ring can overflow;
//! - doorbells are written only while the last order that was seen is [`Phase::Live`].

mod bounce;
mod data;
mod follow;
mod reap;
mod slots;
mod submit;

use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;

use super::line::{Line, Order, Phase, Wish};
use super::memory::Part;
use super::namespace::Formats;
use super::options::ENTRIES_MAX;
use super::rings::{RingMemory, Rings};
use super::translation::Translations;
use super::{Counts, Device};
use crate::spec::identify::controller::Oncs;
use crate::spec::sqe::Sqe;
use bounce::Bounces;
use slots::Slots;

/// Completions that one poll takes.
pub const COMPLETIONS_MAX: usize = 64;
/// Commands that a queue pair can have outstanding: one fewer than the largest queue has entries.
const SLOTS_MAX: u16 = ENTRIES_MAX - 1;
/// Times that a command is sent again after resets.
const REPEATS_MAX: u8 = 3;
/// A time-out is counted in so many ticks. Ticks are made by polls: a reactor that stood still, or a machine that was
/// paused, does not make commands late.
const TIMEOUT_TICKS: u32 = 8;
/// Ticks that an Abort may take before the queues are reset.
const ABORT_TICKS: u32 = 2;

/// One I/O queue pair.
pub struct QueuePair<D: Device> {
    qid: u16,
    line: Arc<Line>,
    order: Order,
    mode: Mode,
    rings: Rings<D>,
    slots: Slots,
    /// A page for each slot: PRP lists, SGLs, ranges, keys.
    pages: Part,
    /// Commands as they were sent, by slot; empty where none is ever sent again.
    copies: Box<[Sqe]>,
    bounces: Bounces,
    terms: Terms,
    formats: Arc<Formats>,
    /// Entries that were right last time.
    format_hint: usize,
    translation_hint: usize,
    translations: Translations,
    tick: u32,
    tick_next: Time,
    tick_period: Duration,
    overdue: Option<Overdue>,
    counts: Counts,
}

/// How a queue pair stands to the orders of its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// There are no queues on the device; what was kept waits for them.
    Closed,
    /// Commands go to the device.
    Live,
    /// The queues are being taken away.
    Halted,
    /// The device holds nothing any more; what is outstanding is being ended.
    Ending,
    /// As [`Mode::Ending`], and nothing comes afterwards.
    Gone,
}

/// The command that the escalation is about.
#[derive(Clone, Copy, Debug)]
struct Overdue {
    cid: u16,
    /// When its Abort was asked for.
    tick: u32,
}

/// What the controller can do, as it was when the queue pair was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The most data of one command, in bytes.
    pub(super) transfer_bytes: usize,
    /// SGLs may be used; `true` where they demand alignment to 4.
    pub(super) sgl_aligned: Option<bool>,
    pub(super) oncs: Oncs,
    /// The longest Write Zeroes, Verify and Write Uncorrectable, in bytes.
    pub(super) zeroes_bytes: u64,
    pub(super) verify_bytes: u64,
    pub(super) uncorrectable_bytes: u64,
    /// The most ranges of Dataset Management.
    pub(super) dataset_ranges: usize,
    pub(super) timeout: Duration,
    pub(super) replay: bool,
}

/// What a queue pair is made of.
pub(super) struct Parts<D> {
    pub(super) qid: u16,
    pub(super) device: Arc<D>,
    pub(super) line: Arc<Line>,
    pub(super) rings: RingMemory,
    pub(super) pages: Part,
    pub(super) bounces: Part,
    pub(super) bounce_bytes: usize,
    pub(super) terms: Terms,
    pub(super) formats: Arc<Formats>,
    pub(super) translations: Translations,
}

impl<D: Device> QueuePair<D> {
    pub(super) fn new(parts: Parts<D>) -> Self {
        let entries = parts.rings.entries;
        let slots = Slots::new(entries - 1);
        let copies = if parts.terms.replay { slots.len() } else { 0 };
        Self {
            qid: parts.qid,
            line: parts.line,
            order: Order::new(),
            mode: Mode::Closed,
            rings: Rings::new(parts.device, parts.rings),
            slots,
            pages: parts.pages,
            copies: vec![Sqe::with_prps(0, 0, 0); copies].into(),
            bounces: Bounces::new(&parts.bounces, parts.bounce_bytes),
            terms: parts.terms,
            formats: parts.formats,
            format_hint: 0,
            translation_hint: 0,
            translations: parts.translations,
            tick: 0,
            tick_next: Time::ORIGIN,
            tick_period: parts.terms.timeout / TIMEOUT_TICKS,
            overdue: None,
            counts: Counts::default(),
        }
    }

    /// QID: which of the controller's queue pairs this is, from 1.
    pub fn qid(&self) -> u16 {
        self.qid
    }

    /// Commands that were taken and have not completed, each part of one that was split counted by itself.
    pub fn outstanding(&self) -> usize {
        self.slots.len() - self.slots.free()
    }

    /// Commands, or parts of them, that can be outstanding.
    pub fn depth(&self) -> usize {
        self.slots.len()
    }

    /// The most data that goes in one command, in bytes; a command with more is split.
    pub fn transfer_bytes(&self) -> usize {
        self.terms.transfer_bytes
    }

    /// What was counted since it was made.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Tells the device of what was submitted since the last call, with at most one write of a register.
    #[inline]
    pub fn commit(&mut self) {
        // Where the order has changed, the next poll follows it first: what was not announced never reaches the device.
        if self.rings.is_unrung() && self.mode == Mode::Live && self.line.order() == self.order {
            self.rings.ring_submission(&mut self.counts);
        }
    }

    /// Asks that a command end early, through the controller. It still completes through [`QueuePair::poll`]: with Command
    /// Abort Requested where the Abort command got it, with what became of it otherwise. Returns whether there is such a
    /// command.
    pub fn abort(&mut self, tag: u64) -> bool {
        let mut found = false;
        for index in 0..self.depth_wire() {
            let slot = self.slots.get_mut(index);
            if slot.state == slots::State::Busy && slot.tag == tag {
                slot.unwanted = true;
                self.line.abort(usize::from(index), slot.cid);
                found = true;
            }
        }
        found
    }

    /// Asks that everything outstanding end, by force: the controller deletes the queues, or is reset if it does not
    /// delete them, and makes them anew. Each command still completes through [`QueuePair::poll`]. Returns whether it can
    /// be asked: `false` once the controller is gone, when everything ends anyway.
    pub fn reset(&mut self) -> bool {
        for index in 0..self.depth_wire() {
            self.slots.get_mut(index).unwanted |= self.slots.get(index).state == slots::State::Busy;
        }
        if self.mode == Mode::Gone {
            return false;
        }
        self.want_reset(true);
        true
    }

    fn want_reset(&self, force: bool) {
        // With no queues on the device there is nothing to be reset: the next poll ends what is not wanted.
        if matches!(self.mode, Mode::Live | Mode::Halted) {
            self.line.want(Wish::new().with_reset(true).with_force(force).with_epoch(self.order.epoch()));
        }
    }

    fn depth_wire(&self) -> u16 {
        self.rings.memory().entries - 1
    }
}

impl<D: Device> Drop for QueuePair<D> {
    /// Tells the controller, which deletes the queues. Nothing may be outstanding whose memory is about to be used for
    /// something else.
    fn drop(&mut self) {
        self.line.hang_up();
    }
}

impl Mode {
    /// What an order asks of a queue pair.
    const fn of(phase: Phase) -> Self {
        match phase {
            Phase::Closed => Self::Closed,
            Phase::Live => Self::Live,
            Phase::Halted => Self::Halted,
            Phase::Ended => Self::Ending,
            Phase::Gone => Self::Gone,
        }
    }
}
