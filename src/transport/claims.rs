//! Who has which blocks for itself: the management reactor grants places to fused operations.
//!
//! ```text
//!   I/O reactor of the pair      management                 every I/O reactor
//!   Claim --------------------> waits for overlapping ones
//!                               Bar ----------------------> hands over nothing more that touches the place
//!                                  <----------------------- Barred, when nothing is left of what touched it
//!         <-------------------- Granted
//!   Compare, then Write
//!   Released -----------------> Unbar --------------------> goes on with what it held back
//! ```
//!
//! So nothing but the pair touches the blocks from its Compare to the end of its Write, on whatever core, queue or
//! namespace; and while nothing is fused, a command pays one look at an empty list of its own reactor. Claims on the same
//! blocks are granted in the order in which they came; others need not wait for each other.
//!
//! Invariants: no two of `active` overlap; a claim of `waiting` overlaps one of `active` or one that came before it, or there are
//! [`ACTIVE_MAX`] already; each I/O reactor holds at most [`CLAIMS_MAX`](super::fusing::CLAIMS_MAX) claims, so both are bounded.

use std::collections::VecDeque;

use corelane_reactors::mailbox::Slot;

use crate::nvmf::io::Place;
use crate::transport::Management;
use crate::transport::message::{BarOrder, Claim, IoMail};

/// Places that are granted at a time, so that answers about them cannot fill the mailbox.
const ACTIVE_MAX: usize = 16;

/// The places that are claimed.
#[derive(Debug, Default)]
pub(super) struct Claims {
    numbers: u64,
    waiting: VecDeque<Claim>,
    active: Vec<Active>,
    /// I/O reactors that could not be told of a place yet: there was no room for their answer.
    untold: Vec<(usize, u64)>,
}

#[derive(Debug)]
struct Active {
    number: u64,
    place: Place,
    /// I/O reactors that have not answered.
    left: usize,
    /// Whom to tell then, and of which operation.
    holder: Option<(u64, Slot<IoMail>)>,
}

impl Claims {
    /// Everybody was told.
    pub(super) fn is_told(&self) -> bool {
        self.untold.is_empty()
    }

    /// The first claim whose turn it is, taken from those that wait.
    fn next(&mut self) -> Option<Claim> {
        let free = |index: &usize| {
            let place = &self.waiting[*index].place;
            let earlier = self.waiting.iter().take(*index).map(|claim| &claim.place);
            !self.active.iter().map(|active| &active.place).chain(earlier).any(|other| other.overlaps(place))
        };
        let index = (0..self.waiting.len()).find(free)?;
        self.waiting.remove(index)
    }
}

impl Management {
    /// A fused operation needs a place for itself.
    pub(super) fn claim(&mut self, claim: Claim) {
        self.claims.waiting.push_back(claim);
        self.grant();
    }

    /// An I/O reactor has nothing left that touches a place.
    pub(super) fn barred(&mut self, number: u64) {
        let found = self.claims.active.iter_mut().find(|active| active.number == number);
        let Some(active) = found else { unreachable!("a place is active until it is released") };
        active.left -= 1;
        if active.left == 0
            && let Some((tag, reply)) = active.holder.take()
        {
            reply.send(IoMail::Granted { tag, number });
        }
    }

    /// A fused operation is over.
    pub(super) fn released(&mut self, number: u64) {
        self.claims.active.retain(|active| active.number != number);
        for lane in 0..self.lanes.len() {
            self.send(lane, IoMail::Unbar(number));
        }
        self.grant();
    }

    /// Tells the I/O reactors that could not be told. True if there were any.
    pub(super) fn send_bars(&mut self) -> bool {
        let untold = std::mem::take(&mut self.claims.untold);
        let any = !untold.is_empty();
        untold.into_iter().for_each(|(lane, number)| self.bar_lane(lane, number));
        any
    }

    fn grant(&mut self) {
        while self.claims.active.len() < ACTIVE_MAX
            && let Some(Claim { place, tag, reply }) = self.claims.next()
        {
            self.claims.numbers += 1;
            let (number, left) = (self.claims.numbers, self.lanes.len());
            self.claims.active.push(Active { number, place, left, holder: Some((tag, reply)) });
            for lane in 0..left {
                self.bar_lane(lane, number);
            }
        }
    }

    fn bar_lane(&mut self, lane: usize, number: u64) {
        let found = self.claims.active.iter().find(|active| active.number == number);
        let Some(Active { place, .. }) = found else {
            unreachable!("a place is active until all have answered")
        };
        let place = place.clone();
        match self.mail.reserve() {
            Some(reply) => self.send(lane, IoMail::Bar(Box::new(BarOrder { number, place, reply }))),
            None => self.claims.untold.push((lane, number)),
        }
    }
}
