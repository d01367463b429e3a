//! The part of a reactor that other threads touch: whether it sleeps, whether it shall stop, the
//! eventfd that wakes it, and its counters.

use std::{io, os::fd::OwnedFd};

use crossbeam::utils::CachePadded;
use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};

use crate::{
    sleep::ParkFlag,
    stats::{Counters, Registry},
    sync::{AtomicBool, Ordering},
};

pub(crate) struct Seat {
    /// Read by every sender after each message.
    flag: CachePadded<ParkFlag>,
    /// Written by the reactor in every turn.
    pub(crate) counters: CachePadded<Counters>,
    /// Touched when pollers and mailboxes come and go, and by those who read.
    pub(crate) registry: Registry,
    /// Partner: `Reactor::run` and the second look before sleeping. Relaxed: stopping orders nothing
    /// but itself, and `ParkFlag` sees to it that it is not slept over.
    stop: AtomicBool,
    eventfd: OwnedFd,
}

impl Seat {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Seat {
            flag: CachePadded::new(ParkFlag::new()),
            counters: CachePadded::default(),
            registry: Registry::default(),
            stop: AtomicBool::new(false),
            eventfd: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// Makes work visible by `publish` and wakes the reactor if it sleeps.
    pub(crate) fn announce(&self, publish: impl FnOnce()) {
        self.flag.announce(publish, || self.write());
    }

    pub(crate) fn stop(&self) {
        self.announce(|| self.stop.store(true, Ordering::Relaxed));
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn flag(&self) -> &ParkFlag {
        &self.flag
    }

    pub(crate) fn eventfd(&self) -> &OwnedFd {
        &self.eventfd
    }

    fn write(&self) {
        let written = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        // EAGAIN: the counter is full, so the descriptor is readable anyhow. A lost wake-up would
        // hang the reactor, so nothing else is passed over.
        assert!(matches!(written, Ok(8) | Err(Errno::AGAIN)), "eventfd: {written:?}");
    }
}
