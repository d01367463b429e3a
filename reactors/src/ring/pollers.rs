//! The share of a turn that a ring gets: reaping, and handing over.
//!
//! What must hold when the reactor sleeps: nothing waits to be handed over, no completion lies in an inbox, and the flag
//! of the kernel is down; what completes later makes the descriptor readable.

use std::os::fd::BorrowedFd;

use super::Ring;
use crate::{
    poller::{Poll, Poller, Wake},
    reactor::Turn,
};

/// In the phase of completions.
pub(super) struct Reap(Ring);

/// In the phase of hand-over.
pub(super) struct Submit(Ring);

impl Reap {
    pub(super) fn new(ring: Ring) -> Self {
        Self(ring)
    }
}

impl Submit {
    pub(super) fn new(ring: Ring) -> Self {
        Self(ring)
    }
}

impl Poller for Reap {
    fn name(&self) -> &str {
        "ring-completions"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        if self.0.reap() { Poll::Busy } else { Poll::Idle(Wake::Descriptor) }
    }

    fn ready(&self) -> bool {
        self.0.0.arm()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.0.descriptor())
    }
}

impl Poller for Submit {
    fn name(&self) -> &str {
        "ring-submit"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        if self.0.submit() { Poll::Busy } else { Poll::Idle(Wake::Never) }
    }

    fn ready(&self) -> bool {
        self.0.0.has_waiting()
    }
}
