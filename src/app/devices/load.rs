//! Devices that a load is put on, outside of any appliance: the reactors of the load poll what belongs to the management
//! reactor otherwise.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::poller::{Phase, Poll, Poller, Wake};
use corelane_reactors::reactor::{Reactor, Turn};

use crate::app::DeviceError;
use crate::app::devices::{attach, remote, start};
use crate::bdev::nvme::Queues;
use crate::bdev::nvmf::{Keeper, Nvmf};
use crate::config::Remote;
use crate::initiator::multipath::Paths;
use crate::mem::Extent;
use crate::nvme::Controller;
use crate::perf::{BdevTarget, Lent, Plan};
use crate::spec::pci::PciAddress;
use crate::vfio::VfioDevice;

/// How often a controller is looked at: events, and commands that take too long.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Memory of a core without connections: such a plan is refused later.
const PAGE: usize = 4096;

/// Brings the controller at `address` up, with what `plan` needs of queue pairs and memory; it is disabled when the target
/// is dropped.
///
/// # Errors
/// [`DeviceError`].
pub(in crate::app) fn local(
    address: PciAddress,
    namespace: Option<u32>,
    plan: &Plan,
) -> Result<BdevTarget, DeviceError> {
    let clock = Clock::real();
    let memory: Result<Vec<_>, _> = (0..plan.cores.len())
        .map(|core| Extent::best(plan.memory_bytes(core).max(PAGE)).map(Arc::new))
        .collect();
    let memory = memory.map_err(DeviceError::Memory)?;
    let mut controller = start(address, plan.connections.into(), &memory, &clock)?;
    let queues = Queues::take(&mut controller);
    let bdev = attach(address, &format!("pcie://{address}"), namespace, &controller, &queues, &clock)?;
    let controller = Arc::new(Mutex::new(controller));
    let upkeep = move |reactor: &mut Reactor| -> io::Result<()> {
        let looks = Looks { controller: Arc::clone(&controller), clock: clock.clone(), next: Time::ORIGIN };
        reactor.add_poller(Phase::Completions, Box::new(looks)).map(drop)
    };
    Ok(BdevTarget {
        nsid: bdev.nsid(),
        bdev: Arc::new(bdev),
        ring: None,
        upkeep: Some(Arc::new(upkeep)),
        memory: Some(Arc::new(Lent { extents: memory, next: AtomicUsize::new(0) })),
    })
}

/// Finds a remote namespace, for as many channels as `plan` has connections.
///
/// # Errors
/// [`DeviceError`].
pub(in crate::app) fn far(name: &str, remote: &Remote, plan: &Plan) -> Result<BdevTarget, DeviceError> {
    let paths = remote::find(remote, plan.connections.into())?;
    let (nsid, bdev) = (paths.found().nsid, Nvmf::new(name, paths.clone(), Clock::real()));
    let taken = Arc::new(AtomicBool::new(false));
    let upkeep = move |reactor: &mut Reactor| -> io::Result<()> {
        // The first core of each run keeps the paths up.
        if taken.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let keeps = Keeps { keeper: Keeper::new(Paths::clone(&paths))?, taken: Arc::clone(&taken) };
        reactor.add_poller(Phase::Ingress, Box::new(keeps)).map(drop)
    };
    Ok(BdevTarget { nsid, bdev: Arc::new(bdev), ring: None, upkeep: Some(Arc::new(upkeep)), memory: None })
}

/// Polls a controller that the cores of a load share: one of them at a time, and not in every turn.
struct Looks {
    controller: Arc<Mutex<Controller<VfioDevice>>>,
    /// The one that the queue pairs have.
    clock: Clock,
    next: Time,
}

impl Poller for Looks {
    fn name(&self) -> &str {
        "nvme-admin"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        if turn.now() >= self.next {
            self.next = turn.now() + LOOK_EVERY;
            let controller = match self.controller.try_lock() {
                Ok(controller) => Some(controller),
                Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(PoisonError::into_inner(poisoned)),
                Err(std::sync::TryLockError::WouldBlock) => None,
            };
            if let Some(mut controller) = controller
                && controller.poll(self.clock.now()) == Wake::Soon
            {
                self.next = Time::ORIGIN;
            }
        }
        Poll::Idle(Wake::At(self.next))
    }
}

/// Keeps paths up, and lets the next run do so afterwards.
struct Keeps {
    keeper: Keeper,
    taken: Arc<AtomicBool>,
}

impl Poller for Keeps {
    fn name(&self) -> &str {
        "paths"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        self.keeper.poll(turn.now())
    }
}

impl Drop for Keeps {
    fn drop(&mut self) {
        self.taken.store(false, Ordering::Release);
    }
}
