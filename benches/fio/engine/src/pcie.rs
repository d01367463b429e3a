//! Controllers of this machine, driven from this process: each by one driver, of which every job has a queue pair.
//!
//! fio says before it starts which jobs there will be, one by one (`survey`), so that the controller is asked for as many
//! queue pairs when the first of them comes. Nobody but the jobs polls: whichever finds nothing to do looks after the
//! controller, too.
//!
//! Invariant: while a driver exists, [`DEVICES`] knows it; it ends under the lock of that list, so that nobody opens the
//! device a second time meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use corelane::mem::Extent;
use corelane::nvme::{
    BlockRange, Controller, ENTRIES_MAX, ENTRIES_MIN, IoCommand, MapError, NamespaceInfo, Options,
    QUEUE_PAIRS_MAX, QueuePair, StartError,
};
use corelane::spec::pci::PciAddress;
use corelane::vfio::{OpenError, VfioDevice};
use corelane_reactors::clock::{Clock, Time};

use crate::failure::Failure;
use crate::job::{Command, Operation, Refusal};
use crate::say;

/// How often a job that has nothing else to do looks after the controller.
const PACE: Duration = Duration::from_millis(1);
/// How long a job waits for a queue pair that another one has just left.
const QUEUE_MAX: Duration = Duration::from_secs(2);
/// How long a job that ends waits for commands that are under way, beyond their own time limit.
const LEAVE: Duration = Duration::from_secs(60);

/// The devices that jobs of this process have asked about.
static DEVICES: Mutex<BTreeMap<PciAddress, Known>> = Mutex::new(BTreeMap::new());

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PcieError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0}: {1}")]
    Start(PciAddress, StartError),
    #[error("{0}: the memory of a job cannot be given to the device: {1}")]
    Map(PciAddress, MapError),
    #[error(
        "{address}: the controller gave {given} queue pairs, which is too few for so many jobs at a time"
    )]
    Queues { address: PciAddress, given: usize },
    #[error("{0}: no job has asked about this device")]
    Unknown(PciAddress),
}

struct Known {
    namespaces: Vec<NamespaceInfo>,
    jobs: u16,
    depth: u16,
    timeout: Duration,
    driver: Weak<Driver>,
}

/// A controller that is driven; it is shut down when the last job leaves it.
struct Driver {
    controller: Mutex<Controller<VfioDevice>>,
    clock: Clock,
}

impl Driver {
    fn open(address: PciAddress, options: &Options) -> Result<Self, PcieError> {
        let clock = Clock::real();
        let device = Arc::new(VfioDevice::open(address)?);
        let start = |error| PcieError::Start(address, error);
        let mut controller = Controller::new(device, options).map_err(start)?;
        controller.start(&clock).map_err(start)?;
        Ok(Self { controller: Mutex::new(controller), clock })
    }

    fn controller(&self) -> MutexGuard<'_, Controller<VfioDevice>> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let controller = self.controller.get_mut().unwrap_or_else(PoisonError::into_inner);
        controller.stop(&self.clock);
    }
}

/// The namespaces of a device, for a job that will have `depth` commands under way on it.
pub(crate) fn survey(
    address: PciAddress,
    depth: u16,
    timeout: Duration,
) -> Result<Vec<NamespaceInfo>, PcieError> {
    let mut devices = devices();
    if let Some(known) = devices.get_mut(&address) {
        known.jobs = known.jobs.saturating_add(1);
        known.depth = known.depth.max(depth);
        known.timeout = known.timeout.max(timeout);
        return Ok(known.namespaces.clone());
    }
    let driver = Driver::open(address, &Options { timeout, bounce_buffers: 0, ..Options::default() })?;
    let namespaces = driver.controller().namespaces().to_vec();
    drop(driver);
    devices.insert(
        address,
        Known { namespaces: namespaces.clone(), jobs: 1, depth, timeout, driver: Weak::new() },
    );
    Ok(namespaces)
}

fn devices() -> MutexGuard<'static, BTreeMap<PciAddress, Known>> {
    // Whoever panicked left a list that is whole.
    DEVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is asked of a controller for all jobs that will use it.
fn options(known: &Known) -> Options {
    Options {
        io_queue_pairs: known.jobs.clamp(1, QUEUE_PAIRS_MAX),
        // One entry stays free.
        entries: known.depth.saturating_add(1).clamp(ENTRIES_MIN, ENTRIES_MAX),
        timeout: known.timeout,
        // The memory of jobs is the device's: what goes through bounce buffers would be measured wrong.
        bounce_buffers: 0,
        ..Options::default()
    }
}

/// A job's queue pair.
pub(crate) struct PcieLane {
    address: PciAddress,
    /// `Some` until it is left.
    driver: Option<Arc<Driver>>,
    queue: Option<QueuePair<VfioDevice>>,
    look: Time,
}

impl PcieLane {
    /// Joins the jobs that use the device; the first one starts it.
    pub(crate) fn join(address: PciAddress, depth: u16) -> Result<Self, PcieError> {
        let mut devices = devices();
        let known = devices.get_mut(&address).ok_or(PcieError::Unknown(address))?;
        let driver = match known.driver.upgrade() {
            Some(driver) => driver,
            None => {
                let driver = Arc::new(Driver::open(address, &options(known))?);
                known.driver = Arc::downgrade(&driver);
                driver
            }
        };
        if depth >= ENTRIES_MAX {
            say(&format_args!("iodepth={depth}, but a queue takes {} commands at a time", ENTRIES_MAX - 1));
        }
        Ok(Self { address, driver: Some(driver), queue: None, look: Time::ORIGIN })
    }

    /// Gives the device the memory of I/Os, and takes a queue pair, which knows that memory.
    pub(crate) fn start(&mut self, memory: Option<&Arc<Extent>>) -> Result<(), PcieError> {
        let address = self.address;
        let driver = self.driver.as_ref().ok_or(PcieError::Unknown(address))?;
        let until = driver.clock.now() + QUEUE_MAX;
        let mut controller = driver.controller();
        if let Some(memory) = memory {
            controller.map(memory).map_err(|error| PcieError::Map(address, error))?;
        }
        loop {
            // A queue pair that was given back is made anew first.
            controller.poll(driver.clock.now());
            self.queue = controller.take_queue_pair();
            if self.queue.is_some() {
                return Ok(());
            }
            if driver.clock.now() >= until {
                return Err(PcieError::Queues { address, given: controller.queue_pairs() });
            }
            drop(controller);
            thread::yield_now();
            controller = driver.controller();
        }
    }

    pub(crate) fn submit(&mut self, io: &Command) -> Result<(), Refusal> {
        let queue = self.queue.as_mut().ok_or(Failure::Gone)?;
        let Command { tag, nsid, lba: slba, blocks, memory, .. } = *io;
        let taken = match io.operation {
            Operation::Read => queue.submit(tag, &IoCommand::Read { nsid, slba, blocks, into: &[memory] }),
            Operation::Write => {
                let from = &[memory.read_only()];
                queue.submit(tag, &IoCommand::Write { nsid, slba, blocks, from, fua: false })
            }
            Operation::Trim => {
                queue.submit(tag, &IoCommand::Deallocate { nsid, ranges: &[BlockRange { slba, blocks }] })
            }
            Operation::Flush => queue.submit(tag, &IoCommand::Flush { nsid }),
        };
        taken.map_err(|error| Failure::of_refusal(error).map_or(Refusal::Full, Refusal::Failed))
    }

    pub(crate) fn flush(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.commit();
        }
    }

    /// Does one batch; tells what has ended.
    pub(crate) fn poll(&mut self, now: Time, mut done: impl FnMut(u64, Result<(), Failure>)) {
        let Some(queue) = &mut self.queue else { return };
        let ended = queue.poll(now, &mut |tag, outcome| {
            done(tag, outcome.map(drop).map_err(Failure::of_outcome));
        });
        if ended == 0 && now >= self.look {
            self.look = now + PACE;
            self.look_after(now);
        }
    }

    /// Gives the queue pair back; what is under way is ended before.
    pub(crate) fn leave(&mut self, clock: &Clock) {
        if let Some(mut queue) = self.queue.take() {
            let until = clock.now() + LEAVE;
            if queue.outstanding() > 0 {
                queue.reset();
            }
            while queue.outstanding() > 0 && clock.now() < until {
                queue.poll(clock.now(), &mut |_, _| {});
                self.look_after(clock.now());
                thread::yield_now();
            }
        }
        // Under the lock: see the invariant of the module.
        let _devices = devices();
        self.driver = None;
    }

    /// Sees to what the controller has to do, unless somebody else does.
    fn look_after(&self, now: Time) {
        let Some(driver) = &self.driver else { return };
        if let Ok(mut controller) = driver.controller.try_lock() {
            // When to call again is not asked: it is polled all the time.
            let _ = controller.poll(now);
        }
    }
}
