//! One turn as pollers see it, and what came out of it.

use std::{cell::Cell, marker::PhantomData};

#[cfg(test)]
use crate::quiescence::Presence;
use crate::{clock::Time, quiescence::Quiescence, reactor::ReactorIndex};

/// What came out of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "it says whether the reactor may sleep"]
pub enum Activity {
    /// Some poller did something: take another turn.
    Busy,
    /// No poller did anything.
    Idle {
        /// The earliest time a poller waits for.
        until: Option<Time>,
        /// False when some poller waits for what cannot be waited for in the kernel.
        may_park: bool,
    },
}

impl Activity {
    pub(super) fn until(self) -> Option<Time> {
        match self {
            Activity::Busy => None,
            Activity::Idle { until, .. } => until,
        }
    }
}

/// One turn of one reactor, as pollers see it. Whoever holds a reference is inside of that turn.
#[derive(Debug)]
pub struct Turn<'a> {
    pub(super) now: Time,
    pub(super) ordinal: u64,
    pub(super) reactor: ReactorIndex,
    pub(super) quiescence: &'a Quiescence,
    /// What the poller says that it did.
    pub(super) done: Cell<u64>,
    /// Neither `Send` nor `Sync`: what is borrowed from a turn is read by its reactor.
    pub(super) on_its_thread: PhantomData<*const ()>,
}

impl<'a> Turn<'a> {
    /// When the turn began. Read once: all that happens in a turn happens at one time. Never before the turn before it.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The number of the turn on this reactor, from 1.
    pub fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// The reactor whose turn it is.
    pub fn reactor(&self) -> ReactorIndex {
        self.reactor
    }

    /// For a poller that will say [`crate::poller::Poll::Busy`]: it did `count` things more, messages or completions for instance.
    /// For statistics; a busy poller that says nothing did one.
    pub fn did(&self, count: u64) {
        self.done.set(self.done.get().saturating_add(count));
    }

    pub(crate) fn quiescence(&self) -> &'a Quiescence {
        self.quiescence
    }

    /// A turn without a reactor, for models and tests.
    #[cfg(test)]
    pub(crate) fn modelled(presence: &'a Presence) -> Turn<'a> {
        assert!(presence.is_running());
        Turn {
            now: Time::ORIGIN,
            ordinal: 1,
            reactor: presence.index(),
            quiescence: presence.quiescence(),
            done: Cell::new(0),
            on_its_thread: PhantomData,
        }
    }
}
