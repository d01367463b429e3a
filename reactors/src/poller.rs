//! The contract between a reactor and what it runs.
//!
//! A poller never blocks, does at most one named batch per call, and says whether it did anything.
//!
//! What must hold: once a poller has said [`Poll::Idle`], anything that gives it new work is seen by
//! [`Poller::ready`], makes its descriptor readable, or is the time it named. Otherwise its reactor
//! may sleep over the work.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{clock::Time, reactor::Turn};

/// The place of a poller within a turn. Phases run in this order, pollers of one phase in the order
/// they were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// Messages of other reactors.
    Mailbox,
    /// Reap completions of devices and rings.
    Completions,
    /// What has come due.
    Timers,
    /// New work from outside: sockets, listeners.
    Ingress,
    /// Hand over what was collected: one doorbell, one system call per queue.
    Submit,
    /// Pending sends.
    Flush,
}

/// What a poller did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the reactor decides by it whether it may sleep"]
pub enum Poll {
    /// Something. The reactor takes another turn at once.
    Busy,
    /// Nothing, and this is what has to happen before there is something to do.
    Idle(Wake),
}

/// What ends the idleness of a poller, besides [`Poller::ready`] and its descriptor, which is
/// watched whatever the poller says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// Nothing but a message.
    Never,
    /// A time.
    At(Time),
    /// The descriptor named by [`Poller::descriptor`] alone.
    Descriptor,
    /// Something that cannot be waited for: the reactor must not sleep.
    Soon,
}

impl Wake {
    /// What ends the idleness of two who wait together. Descriptors are watched anyway, so a time stands for both.
    #[must_use]
    pub fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Soon, _) | (_, Self::Soon) => Self::Soon,
            (Self::At(one), Self::At(other)) => Self::At(one.min(other)),
            (Self::At(time), _) | (_, Self::At(time)) => Self::At(time),
            (Self::Descriptor, _) | (_, Self::Descriptor) => Self::Descriptor,
            (Self::Never, Self::Never) => Self::Never,
        }
    }
}

/// A piece of work that a reactor gives a share of each turn.
///
/// Pollers live on one reactor's thread and need not be `Send`.
pub trait Poller {
    /// A name for people, for instance `nvme-completions`.
    fn name(&self) -> &str;

    /// Does at most one batch and never blocks: all pollers of the reactor wait meanwhile. A panic ends the reactor, and
    /// the group with it.
    fn poll(&mut self, turn: &Turn<'_>) -> Poll;

    /// Whether there is work now. Asked once more after the reactor has announced that it is about
    /// to sleep; must see all that was given to this poller, from any thread, before the giver
    /// looked whether the reactor sleeps.
    fn ready(&self) -> bool {
        false
    }

    /// A descriptor that becomes readable when there is work. Asked once, when the poller is added:
    /// it must stay the same, and open, as long as the poller lives. Watched level triggered, and
    /// only while the reactor sleeps.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A poller that is one closure, for those that need no [`Poller::ready`]: work reaches it through its descriptor or in
/// time, never by another thread's store.
pub struct FnPoller<F> {
    name: &'static str,
    descriptor: Option<OwnedFd>,
    poll: F,
}

impl<F: FnMut(&Turn<'_>) -> Poll> FnPoller<F> {
    /// A poller that is called in every turn. Its answers name a time, or never.
    pub fn new(name: &'static str, poll: F) -> Self {
        FnPoller { name, descriptor: None, poll }
    }

    /// A poller whose work makes `descriptor` readable; it may answer [`Wake::Descriptor`]. A duplicate of a listener's or
    /// a poll group's descriptor, for instance.
    pub fn watching(name: &'static str, descriptor: OwnedFd, poll: F) -> Self {
        FnPoller { name, descriptor: Some(descriptor), poll }
    }
}

impl<F: FnMut(&Turn<'_>) -> Poll> Poller for FnPoller<F> {
    fn name(&self) -> &str {
        self.name
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        (self.poll)(turn)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }
}

impl<F> fmt::Debug for FnPoller<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnPoller").field("name", &self.name).finish_non_exhaustive()
    }
}
