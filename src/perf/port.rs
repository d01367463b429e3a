//! The seam between the load and what it is put on.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::reactor::Reactor;

use crate::bdev::{BdevError, OpenError};
use crate::initiator::{CommandError, Fault};
use crate::mem::{Extent, ExtentError, SegmentMut};
use crate::spec::status::Status;

/// What a load can be put on.
pub trait Target: Send + Sync + 'static {
    /// One core's way to it.
    type Port: Port + 'static;

    /// A way with `lanes` queues, for `reactor`, on whose thread this is called; the data of all commands lies in
    /// `memory`.
    ///
    /// # Errors
    /// What keeps it from being made; not that nobody answers, which the port tells.
    fn port(&self, reactor: &mut Reactor, lanes: usize, memory: &Arc<Extent>) -> io::Result<Self::Port>;

    /// Memory for the data of one core's commands.
    ///
    /// # Errors
    /// [`ExtentError`].
    fn memory(&self, bytes: usize) -> Result<Arc<Extent>, ExtentError> {
        Extent::ordinary(bytes).map(Arc::new)
    }
}

/// One core's way to a target: queues ("lanes") that take commands and tell how they ended. It stays on its reactor.
pub trait Port {
    /// Does one batch: what has ended, and what has become of lanes. True if there was anything.
    fn poll(&mut self, now: Time, sink: &mut impl Sink) -> bool;

    /// Takes a command of a lane that is up. `tag` names it on its lane until it ends.
    fn submit(&mut self, lane: usize, tag: u16, io: &Io) -> Submission;

    /// Sends what was submitted. True if more can be sent at once.
    fn flush(&mut self) -> bool;

    /// It has time limits of its own: [`Port::unanswered`] is not called.
    fn minds_time(&self) -> bool {
        false
    }

    /// A command of this lane is not answered in time: do what there is to do, so that its memory is free.
    fn unanswered(&mut self, now: Time, lane: usize, after: Duration, sink: &mut impl Sink);

    /// Begins to end it in order; no command is under way.
    fn leave(&mut self, now: Time);

    /// It has ended, in order or not.
    fn is_over(&self) -> bool;
}

/// Who is told what happens on a [`Port`].
pub trait Sink {
    /// A command ended.
    fn done(&mut self, lane: usize, tag: u16, outcome: Result<(), Failure>);

    /// These lanes take commands.
    fn up(&mut self, lanes: Range<usize>);

    /// These lanes take no commands, and those under way were lost: their memory is free. `over`: for good.
    fn down(&mut self, lanes: Range<usize>, outage: Outage, over: bool);
}

/// A read or a write.
#[derive(Clone, Copy, Debug)]
pub struct Io {
    /// A write.
    pub write: bool,
    /// The first logical block.
    pub lba: u64,
    /// Logical blocks.
    pub blocks: u32,
    /// Its data.
    pub memory: SegmentMut,
}

/// What became of a command that was to be submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a command that was not taken is still to be sent"]
pub enum Submission {
    /// It will end through [`Sink::done`], or be lost.
    Taken,
    /// Not now: try again when something has ended.
    Full,
    /// It failed.
    Failed(Failure),
}

/// Why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The controller says so.
    #[error("{0:?}")]
    Status(Status),
    /// The data came damaged or short.
    #[error("the data came damaged or short")]
    Damaged,
    /// The block device says so.
    #[error(transparent)]
    Bdev(BdevError),
    /// The controller does not take so much data at once any more.
    #[error("longer than the controller takes")]
    TooLong,
    /// It was under way when the target was given up.
    #[error("lost, and not sent again")]
    Lost,
}

impl Failure {
    /// Of a command over NVMe/TCP; `None` where its connection has ended, which is told otherwise.
    pub(super) fn of(error: CommandError) -> Option<Self> {
        match error {
            CommandError::Status { status, .. } => Some(Self::Status(status)),
            CommandError::Damaged => Some(Self::Damaged),
            CommandError::Disconnected => None,
        }
    }
}

/// Why lanes are down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The association ended.
    #[error(transparent)]
    Association(Fault),
    /// A block device gives no channel.
    #[error(transparent)]
    Open(OpenError),
}

impl Outage {
    /// Nothing was wrong but that the connection went away.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, Self::Association(fault) if fault.is_loss())
    }
}
