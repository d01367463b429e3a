//! Follows the orders of the controller, and finds commands that take too long.

use std::cmp::Reverse;

use corelane_reactors::clock::Time;

use super::slots::{State, Worst};
use super::{ABORT_TICKS, COMPLETIONS_MAX, Mode, Overdue, QueuePair, REPEATS_MAX, TIMEOUT_TICKS};
use crate::nvme::{Device, Outcome, SubmitError};

impl<D: Device> QueuePair<D> {
    /// Looks for a new order. Where nothing is outstanding, it is followed at once.
    pub(super) fn look(&mut self) {
        let order = self.line.order();
        if order == self.order {
            return;
        }
        self.order = order;
        self.mode = Mode::of(order.phase());
        if self.mode == Mode::Live {
            self.rings.set_shadowed(order.shadow());
            self.send_again();
        }
    }

    /// Whether commands can be submitted.
    #[cold]
    pub(super) fn wake_up(&mut self) -> Result<(), SubmitError> {
        self.look();
        if self.outstanding() == 0 {
            self.end(&mut |_, _| {});
            self.look();
        }
        match self.mode {
            Mode::Live => Ok(()),
            Mode::Gone => Err(SubmitError::Gone),
            Mode::Closed | Mode::Halted | Mode::Ending => Err(SubmitError::Resetting),
        }
    }

    /// Ends a batch of what the device no longer holds; with nothing left to end, makes the rings as new and says so.
    /// Returns the number of commands that completed.
    #[cold]
    pub(super) fn end(&mut self, done: &mut dyn FnMut(u64, Outcome)) -> usize {
        let (mut ended, mut completed) = (0, 0);
        let how = match self.mode {
            Mode::Live | Mode::Halted => return 0,
            Mode::Closed | Mode::Ending => Worst::Aborted,
            Mode::Gone => Worst::Gone,
        };
        for index in 0..self.depth_wire() {
            if self.slots.get(index).state != State::Busy || self.is_kept(index) {
                continue;
            }
            if ended == COMPLETIONS_MAX {
                return completed;
            }
            ended += 1;
            completed += usize::from(self.answer(index, how, 0, done));
        }
        if self.mode == Mode::Ending {
            self.rings.clear();
            self.overdue = None;
            self.mode = Mode::Closed;
            self.line.follow(self.order);
        }
        completed
    }

    /// Whether the command in a slot waits for the queues to be made anew.
    fn is_kept(&self, index: u16) -> bool {
        let slot = self.slots.get(index);
        let kept = self.mode == Mode::Closed || self.mode == Mode::Ending && self.order.keep();
        kept && self.terms.replay && slot.repeatable && !slot.unwanted && slot.repeats < REPEATS_MAX
    }

    /// Sends what was kept, under new identifiers.
    fn send_again(&mut self) {
        for index in 0..self.depth_wire() {
            if self.slots.get(index).state != State::Busy {
                continue;
            }
            self.slots.renew(index);
            let tick = self.tick;
            let slot = self.slots.get_mut(index);
            slot.repeats += 1;
            slot.tick = tick;
            let sqe = &mut self.copies[usize::from(index)];
            sqe.cid.set(slot.cid);
            self.counts.repeated += 1;
            self.rings.push(&sqe.double_words());
        }
        self.commit();
    }

    /// Counts time, and takes the next step against the oldest command if it is overdue: Abort, then a reset of the
    /// queues, which the controller turns into a reset of its own where they cannot be deleted. One pass over the slots,
    /// eight times in the span of a time-out.
    #[cold]
    pub(super) fn tick(&mut self, now: Time) {
        self.tick = self.tick.wrapping_add(1);
        self.tick_next = now + self.tick_period;
        let tick = self.tick;
        let age = |since: u32| tick.wrapping_sub(since);
        let oldest = self.slots.busy().min_by_key(|(_, slot)| Reverse(age(slot.tick)));
        let Some((index, slot)) = oldest.filter(|(_, slot)| age(slot.tick) > TIMEOUT_TICKS) else {
            self.overdue = None;
            return;
        };
        let cid = slot.cid;
        match self.overdue {
            Some(overdue) if overdue.cid == cid => {
                if age(overdue.tick) >= ABORT_TICKS {
                    self.want_reset(false);
                }
            }
            Some(_) | None => {
                self.counts.timeouts += 1;
                self.overdue = Some(Overdue { cid, tick });
                self.line.abort(usize::from(index), cid);
            }
        }
    }
}
