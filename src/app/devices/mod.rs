//! Local NVMe controllers, and remote ones: opened and brought up before anything listens, polled by the management
//! reactor, shut down after the last command.
//!
//! Each local controller appears once, however many of its namespaces are bdevs. It has a queue pair for each I/O reactor and
//! bdev, so that a reactor that opens a bdev always gets one.

pub(super) mod load;
mod remote;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::poller::Phase;
use corelane_reactors::reactor::Reactor;

use crate::app::ServeError;
use crate::app::assemble::Bdevs;
use crate::bdev::Bdev;
use crate::bdev::nvme::{AttachError, Nvme, Queues};
use crate::bdev::nvmf::{Keeper, KeeperPoller, Nvmf, SharedKeeper};
use crate::config::{BdevKind, Config};
use crate::initiator::multipath::{LookError, Paths};
use crate::mem::{Extent, ExtentError};
use crate::nvme::{Condition, Controller, ControllerPoller, MapError, Options, SharedController, StartError};
use crate::spec::pci::PciAddress;
use crate::vfio::{OpenError, VfioDevice};

/// Why a device cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The kernel does not give it away.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The controller does not work.
    #[error("{address}: {source}")]
    Start {
        /// Where it is.
        address: PciAddress,
        /// Why.
        source: StartError,
    },
    /// It cannot reach the memory of commands.
    #[error("{address}: {source}")]
    Map {
        /// Where it is.
        address: PciAddress,
        /// Why.
        source: MapError,
    },
    /// It has too few queues.
    #[error(
        "{address} grants {granted} queue pairs, and {needed} are needed, one for each I/O reactor and namespace, \
         or for each connection of a load: use fewer cores (reactors.io), or fewer connections"
    )]
    Queues {
        /// Where it is.
        address: PciAddress,
        /// Queue pairs that there are.
        granted: usize,
        /// Queue pairs that must be.
        needed: usize,
    },
    /// It is not clear which namespace is meant.
    #[error("{address} has the namespaces {active:?}: say which with \"namespace\"")]
    Ambiguous {
        /// Where it is.
        address: PciAddress,
        /// NSIDs of the active ones.
        active: Vec<u32>,
    },
    /// There is no memory for the data of commands.
    #[error("no memory for the data of commands: {0}")]
    Memory(#[source] ExtentError),
    /// The remote namespace cannot be used.
    #[error(transparent)]
    Remote(#[from] LookError),
    /// The namespace cannot be served.
    #[error("{address}: {source}")]
    Attach {
        /// Where it is.
        address: PciAddress,
        /// Why.
        source: AttachError,
    },
}

/// The controllers of an appliance.
#[derive(Default)]
pub(super) struct Devices {
    controllers: Vec<Controller<VfioDevice>>,
    remotes: Vec<Paths>,
}

/// A bdev that is a namespace of a controller.
struct Wanted<'a> {
    name: &'a str,
    namespace: Option<u32>,
}

impl Devices {
    /// Opens every device of the configuration, gives it `memory`, and makes the bdevs of its namespaces.
    ///
    /// # Errors
    /// [`ServeError::Device`]; the devices that were opened are disabled again.
    pub(super) fn open(
        config: &Config,
        memory: &[Arc<Extent>],
        clock: &Clock,
    ) -> Result<(Self, Bdevs), ServeError> {
        let mut wanted: Vec<(PciAddress, Vec<Wanted<'_>>)> = Vec::new();
        for bdev in &config.bdevs {
            let BdevKind::Nvme { address, namespace } = bdev.kind else { continue };
            let entry = Wanted { name: &bdev.name, namespace };
            match wanted.iter_mut().find(|(known, _)| *known == address) {
                Some((_, entries)) => entries.push(entry),
                None => wanted.push((address, vec![entry])),
            }
        }
        let (mut devices, mut bdevs) = (Self::default(), Bdevs::new());
        for (address, entries) in wanted {
            let reactors = config.reactors.io.len();
            let failed = |name: &str, source| ServeError::Device { name: name.to_owned(), source };
            let mut controller = start(address, reactors * entries.len(), memory, clock)
                .map_err(|source| failed(entries[0].name, source))?;
            let queues = Queues::take(&mut controller);
            for Wanted { name, namespace } in entries {
                let bdev = attach(address, name, namespace, &controller, &queues, clock);
                let bdev = bdev.map_err(|source| failed(name, source))?;
                bdevs.insert(name.to_owned(), Arc::new(bdev) as Arc<dyn Bdev>);
            }
            devices.controllers.push(controller);
        }
        for bdev in &config.bdevs {
            let BdevKind::Nvmf(wanted) = &bdev.kind else { continue };
            let paths = remote::find(wanted, config.reactors.io.len())
                .map_err(|source| ServeError::Device { name: bdev.name.clone(), source })?;
            let remote = Nvmf::new(&bdev.name, paths.clone(), clock.clone());
            bdevs.insert(bdev.name.clone(), Arc::new(remote) as Arc<dyn Bdev>);
            devices.remotes.push(paths);
        }
        Ok((devices, bdevs))
    }

    /// Has the controllers polled by `reactor`, the management reactor.
    ///
    /// # Errors
    /// What the kernel says about watching their interrupts.
    pub(super) fn attach(self, reactor: &mut Reactor) -> io::Result<Attached> {
        let controllers: Vec<_> =
            self.controllers.into_iter().map(|controller| Rc::new(RefCell::new(controller))).collect();
        for controller in &controllers {
            reactor.add_poller(Phase::Completions, Box::new(ControllerPoller::new(Rc::clone(controller))))?;
        }
        let mut keepers = Vec::new();
        for paths in self.remotes {
            let keeper = Rc::new(RefCell::new(Keeper::new(paths)?));
            reactor.add_poller(Phase::Ingress, Box::new(KeeperPoller::new(Rc::clone(&keeper))?))?;
            keepers.push(keeper);
        }
        Ok(Attached { controllers, keepers })
    }
}

/// Controllers that the management reactor polls.
pub(super) struct Attached {
    controllers: Vec<SharedController<VfioDevice>>,
    keepers: Vec<SharedKeeper>,
}

impl Attached {
    /// Tells every controller that it will be disabled, or left. Commands that are outstanding end when it is.
    pub(super) fn shut_down(&self, now: Time) {
        for controller in &self.controllers {
            controller.borrow_mut().shutdown(now);
        }
        for keeper in &self.keepers {
            keeper.borrow_mut().leave(now);
        }
    }

    /// Whether no controller works any more.
    pub(super) fn are_down(&self) -> bool {
        let failed =
            |controller: &SharedController<VfioDevice>| controller.borrow().condition() == Condition::Failed;
        self.controllers.iter().all(failed) && self.keepers.iter().all(|keeper| keeper.borrow().has_left())
    }
}

/// Brings a controller up, with that many queue pairs.
fn start(
    address: PciAddress,
    queue_pairs: usize,
    memory: &[Arc<Extent>],
    clock: &Clock,
) -> Result<Controller<VfioDevice>, DeviceError> {
    let failed = |source| DeviceError::Start { address, source };
    let device = Arc::new(VfioDevice::open(address)?);
    let io_queue_pairs = u16::try_from(queue_pairs).unwrap_or(u16::MAX);
    let options = Options { io_queue_pairs, ..Options::default() };
    let mut controller = Controller::new(device, &options).map_err(failed)?;
    controller.start(clock).map_err(failed)?;
    for extent in memory {
        controller.map(extent).map_err(|source| DeviceError::Map { address, source })?;
    }
    let granted = controller.queue_pairs();
    if granted < queue_pairs {
        return Err(DeviceError::Queues { address, granted, needed: queue_pairs });
    }
    let identity = controller.identity();
    tracing::info!(%address, model = identity.model, serial = identity.serial, queue_pairs, "drives an NVMe device");
    Ok(controller)
}

/// Makes the bdev of a namespace: the only one where none is named.
fn attach(
    address: PciAddress,
    name: &str,
    namespace: Option<u32>,
    controller: &Controller<VfioDevice>,
    queues: &Queues<VfioDevice>,
    clock: &Clock,
) -> Result<Nvme<VfioDevice>, DeviceError> {
    let active: Vec<u32> = controller.namespaces().iter().map(|info| info.nsid).collect();
    let nsid = match (namespace, &active[..]) {
        (Some(nsid), _) | (None, &[nsid]) => nsid,
        (None, []) => return Err(DeviceError::Start { address, source: StartError::NoNamespaces }),
        (None, _) => return Err(DeviceError::Ambiguous { address, active }),
    };
    let bdev = Nvme::attach(name, controller, nsid, queues, clock.clone());
    bdev.map_err(|source| DeviceError::Attach { address, source })
}
