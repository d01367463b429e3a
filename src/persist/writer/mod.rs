//! Saves and removals on a thread of their own, one after the other, in the order in which they were asked for.
//! The reactor that asks never blocks; answers come by mailbox and wake it. Does not decide what is saved.
//!
//! Invariants:
//!
//! - an order that was accepted is answered exactly once: also when the writer is dropped (it finishes what it
//!   has), and when its thread panics;
//! - it was accepted only with a reserved slot for its answer, so that the answer is never refused;
//! - one thread does all work of a store, so that two orders for one record never overtake each other.
//!
//! [`Writer::spawn`] makes the thread. [`Writer::local`] makes none: its [`Worker`] does an order when it is told
//! to, for simulations, and for programs that have a thread to spare.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError};
use std::thread::{self, JoinHandle};

use corelane_reactors::mailbox::{Sender, Slot};
use rustix::thread::{CpuSet, sched_setaffinity};
use tracing::error;

use crate::persist::store::{Files, Reason, RecordName, SaveError, Stage, StateFiles, Step, Store};

/// Something to do to a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Comes back in the answer. The writer does not look at it.
    pub ticket: u64,
    /// The record.
    pub name: RecordName,
    /// What to do.
    pub work: Work,
}

/// What to do to a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// [`Store::save`] of these bytes, at least one.
    Save(Vec<u8>),
    /// [`Store::remove`].
    Remove,
}

/// What became of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "until it is looked at nobody knows what the disk holds"]
pub struct Answer {
    /// That of the order.
    pub ticket: u64,
    /// The record.
    pub name: RecordName,
    /// `Ok` when it is on stable storage.
    pub result: Result<(), SaveError>,
}

/// An order that was not accepted: nothing was done, and no answer will come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// As many orders wait as may wait, or as many answers.
    Full(Order),
    /// The thread has ended, or the mailbox for answers was dropped.
    Ended(Order),
}

/// Takes orders. Belongs to the reactor that gets the answers.
///
/// Dropping it waits until all orders that were accepted are done and the thread has ended: as long as the disk
/// takes.
pub struct Writer {
    /// `None` only while being dropped.
    jobs: Option<SyncSender<Job>>,
    answers: Sender<Answer>,
    path_of: Arc<PathOf>,
    thread: Option<JoinHandle<()>>,
}

/// Does what a [`Writer`] was ordered to do.
pub struct Worker<F: Files = StateFiles> {
    store: Store<F>,
    jobs: Receiver<Job>,
}

type PathOf = dyn Fn(&RecordName) -> PathBuf + Send + Sync;

struct Job {
    work: Work,
    duty: Duty,
}

/// The duty to answer an order.
struct Duty {
    /// `None` only after it was answered or taken back.
    slot: Option<Slot<Answer>>,
    ticket: u64,
    name: RecordName,
    /// What is known of the disk if this is dropped without an answer.
    stage: Stage,
    path_of: Arc<PathOf>,
}

impl Writer {
    /// A writer with a thread named `persist` that may run on `cpus`: those of the management reactor or of no
    /// reactor. With no `cpus` it may run where the calling thread may, which therefore must not be pinned yet.
    ///
    /// At most `orders_max` orders wait, at least one; the mailbox of `answers` should have room for as many.
    ///
    /// # Errors
    /// When there is no thread, or it may not run on `cpus`.
    ///
    /// # Panics
    /// When `orders_max` is 0.
    pub fn spawn<F>(
        store: Store<F>,
        answers: Sender<Answer>,
        orders_max: usize,
        cpus: &[usize],
    ) -> io::Result<Self>
    where
        F: Files + Send + Sync + 'static,
    {
        let (mut writer, mut worker) = Self::local(store, answers, orders_max);
        let affinity = affinity(cpus)?;
        let (report, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("persist".to_owned()).spawn(move || {
            let placed = affinity.map_or(Ok(()), |cpus| sched_setaffinity(None, &cpus));
            let is_placed = placed.is_ok();
            // Nobody is left to be told when the receiver is gone.
            let _ = report.send(placed);
            if is_placed {
                while worker.wait() {}
            }
        })?;
        writer.thread = Some(thread);
        // A thread that ended without a word panicked, as the first order will show.
        started.recv().unwrap_or(Ok(())).map(|()| writer).map_err(io::Error::from)
    }

    /// A writer without a thread: the worker does what is ordered, whenever it is called.
    ///
    /// # Panics
    /// When `orders_max` is 0.
    pub fn local<F>(store: Store<F>, answers: Sender<Answer>, orders_max: usize) -> (Self, Worker<F>)
    where
        F: Files + Send + Sync + 'static,
    {
        assert!(orders_max > 0);
        let reader = store.reader();
        let path_of: Arc<PathOf> = Arc::new(move |name: &RecordName| reader.path(name));
        let (sender, jobs) = mpsc::sync_channel(orders_max);
        let writer = Self { jobs: Some(sender), answers, path_of, thread: None };
        (writer, Worker { store, jobs })
    }

    /// Accepts an order, or gives it back. Never blocks. Orders are done in the order of these calls.
    ///
    /// # Errors
    /// [`Refused`]; nothing was done then.
    ///
    /// # Panics
    /// When the order is to save no bytes.
    pub fn submit(&self, order: Order) -> Result<(), Refused> {
        assert!(!matches!(&order.work, Work::Save(bytes) if bytes.is_empty()));
        let Some(jobs) = &self.jobs else { return Err(Refused::Ended(order)) };
        let Some(slot) = self.answers.reserve() else {
            let is_closed = self.answers.is_closed();
            return Err(if is_closed { Refused::Ended(order) } else { Refused::Full(order) });
        };
        let Order { ticket, name, work } = order;
        let path_of = Arc::clone(&self.path_of);
        let duty = Duty { slot: Some(slot), ticket, name, stage: Stage::Before, path_of };
        jobs.try_send(Job { work, duty }).map_err(|refused| match refused {
            TrySendError::Full(job) => Refused::Full(job.take_back()),
            TrySendError::Disconnected(job) => Refused::Ended(job.take_back()),
        })
    }
}

impl<F: Files> Worker<F> {
    /// Does the next order, if there is one; whether there was.
    pub fn step(&mut self) -> bool {
        match self.jobs.try_recv() {
            Ok(job) => {
                self.run(job);
                true
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => false,
        }
    }

    /// Waits for an order and does it; false when the writer was dropped and everything is done.
    pub fn wait(&mut self) -> bool {
        match self.jobs.recv() {
            Ok(job) => {
                self.run(job);
                true
            }
            Err(mpsc::RecvError) => false,
        }
    }

    fn run(&mut self, Job { work, mut duty }: Job) {
        // From here on a panic leaves it open how far the order came.
        duty.stage = Stage::Unknown;
        let result = match &work {
            Work::Save(bytes) => self.store.save(&duty.name, bytes),
            Work::Remove => self.store.remove(&duty.name),
        };
        duty.answer(result);
    }
}

impl Job {
    fn take_back(mut self) -> Order {
        // Dropping the slot gives the room for the answer back.
        drop(self.duty.slot.take());
        Order { ticket: self.duty.ticket, name: self.duty.name.clone(), work: self.work }
    }
}

impl Duty {
    fn answer(&mut self, result: Result<(), SaveError>) {
        if let Some(slot) = self.slot.take() {
            slot.send(Answer { ticket: self.ticket, name: self.name.clone(), result });
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if self.slot.is_some() {
            let (path, stage) = ((self.path_of)(&self.name), self.stage);
            self.answer(Err(SaveError { path, stage, step: Step::Prepare, reason: Reason::WriterEnded }));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that writes records has panicked");
        }
    }
}

/// The set of these CPUs; `None` if there are none.
fn affinity(cpus: &[usize]) -> io::Result<Option<CpuSet>> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no CPU {cpu}")));
        }
        set.set(cpu);
    }
    Ok((!cpus.is_empty()).then_some(set))
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Writer").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl<F: Files> fmt::Debug for Worker<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
