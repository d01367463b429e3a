//! Completions: found by the phase bit, matched with their commands, handed up in batches.

use corelane_reactors::clock::Time;

use super::slots::{NO_BOUNCE, State, Worst};
use super::{COMPLETIONS_MAX, Mode, QueuePair};
use crate::nvme::{Device, Failure, Outcome};
use crate::spec::cqe::Cqe;

impl<D: Device> QueuePair<D> {
    /// Completes commands: at most [`COMPLETIONS_MAX`] answers are taken, and the device is told with at most one write
    /// of a register. `done` is called once for each command that completed, with its tag. Returns their number. Also
    /// follows what the controller ordered, and counts time by `now`.
    pub fn poll(&mut self, now: Time, done: &mut dyn FnMut(u64, Outcome)) -> usize {
        self.counts.polls += 1;
        if self.line.order() != self.order {
            self.look();
        }
        let mut completed = self.reap(done);
        if self.mode != Mode::Live && completed == 0 && self.rings.peek().is_none() {
            completed = self.end(done);
        }
        if now >= self.tick_next {
            self.tick(now);
        }
        completed
    }

    #[inline]
    fn reap(&mut self, done: &mut dyn FnMut(u64, Outcome)) -> usize {
        let (mut taken, mut completed) = (0, 0);
        while taken < COMPLETIONS_MAX {
            let Some(cqe) = self.rings.peek() else { break };
            self.rings.advance();
            taken += 1;
            completed += usize::from(self.take(&cqe, done));
        }
        if taken > 0 && self.mode == Mode::Live {
            self.rings.ring_completion(&mut self.counts);
        }
        completed
    }

    #[inline]
    fn take(&mut self, cqe: &Cqe, done: &mut dyn FnMut(u64, Outcome)) -> bool {
        let Some(index) = self.slots.find(cqe.cid.get()) else {
            // Late, doubled or made up: nobody's.
            self.counts.strays += 1;
            return false;
        };
        let status = cqe.status();
        let end = if status.is_success() { Worst::Success } else { Worst::Status(status) };
        self.answer(index, end, cqe.dw0.get(), done)
    }

    /// One part of a command has ended. Returns whether that completed the command.
    #[inline]
    pub(super) fn answer(
        &mut self,
        index: u16,
        end: Worst,
        dw0: u32,
        done: &mut dyn FnMut(u64, Outcome),
    ) -> bool {
        self.slots.renew(index);
        let slot = *self.slots.get(index);
        if slot.bounce != NO_BOUNCE {
            self.bounces.finish(slot.bounce, end == Worst::Success);
            self.slots.get_mut(index).bounce = NO_BOUNCE;
        }
        if slot.parts == 1 && slot.parent == index {
            self.slots.release(index);
            self.counts.completed += 1;
            done(slot.tag, outcome(slot.worst.or(end), dw0));
            return true;
        }
        self.answer_part(index, end, dw0, done)
    }

    fn answer_part(&mut self, index: u16, end: Worst, dw0: u32, done: &mut dyn FnMut(u64, Outcome)) -> bool {
        let parent = self.slots.get(index).parent;
        if index == parent {
            let slot = self.slots.get_mut(index);
            slot.state = State::Answered;
            slot.dw0 = dw0;
        } else {
            self.slots.release(index);
        }
        let whole = self.slots.get_mut(parent);
        whole.worst = whole.worst.or(end);
        whole.parts -= 1;
        if whole.parts > 0 {
            return false;
        }
        let (tag, worst, dw0) = (whole.tag, whole.worst, whole.dw0);
        self.slots.release(parent);
        self.counts.completed += 1;
        done(tag, outcome(worst, dw0));
        true
    }
}

fn outcome(worst: Worst, dw0: u32) -> Outcome {
    match worst {
        Worst::Success => Ok(dw0),
        Worst::Status(status) if dw0 == 0 => Err(Failure::Status(status)),
        Worst::Status(status) => Err(Failure::Partly(status, dw0)),
        Worst::Aborted => Err(Failure::Aborted),
        Worst::Gone => Err(Failure::Gone),
    }
}
