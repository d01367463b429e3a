//! What every block device must do, as tests that each backend and decorator calls with a device of its own.
//!
//! The device must have at least [`BLOCKS_MIN`] blocks; its contents are destroyed. Each part of the suite
//! gets a new one from `make`. Devices that need a push to make progress (a virtual clock) get it from
//! `idle`; those that reach into the caller's memory get to choose it in `memory`.

mod commands;
mod flight;
mod lists;
mod oracle;
mod random;
mod ranges;
mod rig;
mod threads;
mod unmoved;

use std::{sync::Arc, thread};

use corelane_reactors::poller::Wake;

use super::{Bdev, Home};
use crate::mem::Extent;

/// Blocks that the suite needs.
pub(crate) const BLOCKS_MIN: u64 = 64;

/// What a device does with what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// It is there until it is overwritten.
    Kept,
    /// It is forgotten: every block always reads as zeros.
    Forgotten,
}

/// A device under test.
pub(crate) struct Subject<'a> {
    /// Makes a new device of this kind.
    pub(crate) make: &'a dyn Fn() -> Arc<dyn Bdev>,
    /// What it does with what is written.
    pub(crate) contents: Contents,
    /// Called when a poll completed nothing, with what the channel waits for.
    pub(crate) idle: &'a (dyn Fn(Wake) + Sync),
    /// Memory of so many bytes for the data of one channel's commands.
    pub(crate) memory: &'a (dyn Fn(usize) -> Arc<Extent> + Sync),
    /// What the reactor of the calling thread has to offer.
    pub(crate) home: &'a (dyn Fn() -> Home + Sync),
}

impl<'a> Subject<'a> {
    /// A subject that keeps what is written, needs no push, and takes any memory.
    pub(crate) fn plain(make: &'a dyn Fn() -> Arc<dyn Bdev>) -> Self {
        let memory = &|bytes| Arc::new(Extent::ordinary(bytes).unwrap());
        Self { make, contents: Contents::Kept, idle: &|_| thread::yield_now(), memory, home: &Home::default }
    }

    fn surroundings(&self) -> Surroundings<'a> {
        Surroundings { contents: self.contents, idle: self.idle, memory: self.memory, home: self.home }
    }
}

/// What a channel of a subject is surrounded by, on any thread.
#[derive(Clone, Copy)]
struct Surroundings<'a> {
    contents: Contents,
    idle: &'a (dyn Fn(Wake) + Sync),
    memory: &'a (dyn Fn(usize) -> Arc<Extent> + Sync),
    home: &'a (dyn Fn() -> Home + Sync),
}

/// Runs the suite on devices that keep what is written and need no push.
pub(crate) fn conformance(make: impl Fn() -> Arc<dyn Bdev>) {
    conformance_of(&Subject::plain(&make));
}

/// Runs the suite.
pub(crate) fn conformance_of(subject: &Subject<'_>) {
    commands::run(subject);
    ranges::run(subject);
    lists::run(subject);
    flight::run(subject);
    random::run(subject);
    threads::run(subject);
    unmoved::run(subject);
}
