//! Assembly of a whole appliance: what starts in which order, and how it stops. The only place that knows everything.
//!
//! Start: the state directory, locked; the memory of the I/O reactors; bdevs, local devices among them, which map it;
//! the addresses, bound; then the reactors, the I/O reactors first. Nothing is accepted before the management reactor
//! runs, and a failure at any step undoes the steps before it.
//!
//! Stop: the management reactor asks every I/O reactor to finish what is in flight; when all have, or the time limit is
//! over, it shuts local devices down; then the reactors end.
//!
//! A reactor that fails, because a poller panicked for instance, ends the others after the turn they are in; each drops
//! its sockets, and [`Appliance::join`] says which reactor and which poller it was.
//!
//! There is no global state: two appliances can live in one process. A program that embeds one puts it together
//! with a [`Builder`].

mod appliance;
mod assemble;
mod banner;
mod builder;
mod descriptors;
mod devices;
mod engine;
mod memory;
mod metrics;
mod policies;
mod reconfigure;
mod records;
mod reload;
mod shutdown;

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use corelane_reactors::group::{JoinError, LayoutError};
use corelane_reactors::ring::RingError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::bdev::CreateError;
use crate::config::{BdevKind, Config};
use crate::mem::ExtentError;
use crate::nvmf::subsystem::SubsystemError;
use crate::perf::{BdevTarget, Plan};
use crate::persist::{OpenError, StateError};
use crate::spec::pci::PciAddress;
use crate::transport::ListenError;

pub use appliance::{Appliance, Served};
pub use builder::{Builder, Handover, NamespaceError, Reload};
pub use descriptors::{Descriptors, TooFew};
pub use devices::DeviceError;
pub use engine::{SocketEngine, socket_engine};
pub use reconfigure::{ReconfigureError, Reconfigurer};
pub use shutdown::Stopper;

/// What an appliance needs to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is served.
    pub config: Config,
    /// Where its state lives; owned by one appliance at a time.
    pub state_directory: PathBuf,
}

/// Why an appliance does not serve (any more).
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory")]
    State(#[from] StateError),
    /// The records in the state directory cannot be used.
    #[error("cannot use the records in the state directory")]
    Records(#[from] OpenError),
    /// The thread that writes records cannot be started.
    #[error("cannot start the writer of records")]
    Writer(#[source] io::Error),
    /// The memory of an I/O reactor cannot be had.
    #[error("cannot take the memory of the I/O reactor on core {core}")]
    Memory {
        /// Its core.
        core: usize,
        /// Why.
        source: ExtentError,
    },
    /// A block device cannot be made.
    #[error("cannot make the block device {name}")]
    Bdev {
        /// Its name.
        name: String,
        /// Why.
        source: CreateError,
    },
    /// A local device, or a remote one, cannot be served.
    #[error("cannot use the device of the bdev {name}")]
    Device {
        /// The bdev's name.
        name: String,
        /// Why.
        source: DeviceError,
    },
    /// A subsystem cannot be added.
    #[error("cannot serve the subsystem {nqn}")]
    Subsystem {
        /// Its name.
        nqn: String,
        /// Why.
        source: SubsystemError,
    },
    /// A namespace that the program added cannot be served.
    #[error("cannot serve namespace {nsid} of {nqn}")]
    Namespace {
        /// Its subsystem.
        nqn: String,
        /// Its identifier.
        nsid: u32,
        /// Why.
        source: NamespaceError,
    },
    /// An address cannot be listened on.
    #[error("cannot listen")]
    Listen(#[from] ListenError),
    /// The metrics cannot be served.
    #[error("cannot serve the metrics")]
    Metrics(#[source] ListenError),
    /// The thread that serves the metrics cannot be started.
    #[error("cannot start the metrics endpoint")]
    MetricsThread(#[source] io::Error),
    /// Too few files may be opened.
    #[error("cannot serve with so few open files")]
    Descriptors(#[from] TooFew),
    /// The cores cannot be used.
    #[error("cannot use the core layout")]
    Layout(#[from] LayoutError),
    /// The io_uring that the configuration demands for sockets is not to be had.
    #[error(
        "cannot serve sockets through io_uring, which `reactors.engine` demands; `auto` and `epoll` do without it"
    )]
    Engine(#[source] RingError),
    /// A reactor cannot be started.
    #[error("cannot start {reactor}")]
    Start {
        /// Its name.
        reactor: String,
        /// Why.
        source: io::Error,
    },
    /// Signals cannot be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    /// Standard output is gone.
    #[error("cannot say where it listens")]
    Output(#[source] io::Error),
    /// A reactor failed.
    #[error("a reactor failed")]
    Failed(#[from] JoinError),
}

/// Serves until SIGINT or SIGTERM, or until a reactor fails. Says on standard output where it listens. At SIGHUP it reads
/// its configuration again, see [`Builder::reload`].
///
/// # Errors
/// [`ServeError`].
pub fn serve(what: impl Into<Builder>) -> Result<(), ServeError> {
    let mut builder = what.into();
    let layout = builder.layout();
    descriptors::raise(builder.config());
    let reload = builder.take_reload();
    // Before anybody is told that it serves: a signal that comes right then must find it prepared.
    let mut asked = watch_signals().map_err(ServeError::Signals)?;
    let hangups = watch(&[SIGHUP]).map_err(ServeError::Signals)?;
    let appliance = builder.start()?;
    let stopper = appliance.stopper();
    let waiter = thread::Builder::new().name("signals".to_owned());
    // A reactor that fails ends the others; this thread then stays where it is, and the process ends without it.
    let waiting = waiter.spawn(move || {
        let mut byte = [0];
        while let Err(error) = asked.read_exact(&mut byte) {
            if error.kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
        tracing::info!("asked to stop: finishing what is in flight");
        stopper.stop();
    });
    waiting.map_err(ServeError::Signals)?;
    reload::spawn(hangups, reload, appliance.reconfigurer()).map_err(ServeError::Signals)?;
    banner::print(&appliance, &layout).map_err(ServeError::Output)?;
    appliance.join()?;
    tracing::info!("stopped");
    Ok(())
}

/// Makes block device `name` of a configuration, outside of any appliance, to put the load of `plan` on; `None` when it
/// has none of this name.
///
/// # Errors
/// [`ServeError::Bdev`], [`ServeError::Device`].
pub fn bdev_target(
    config: &Config,
    name: &str,
    allowed: &[usize],
    plan: &Plan,
) -> Result<Option<BdevTarget>, ServeError> {
    let Some(entry) = config.bdev(name) else { return Ok(None) };
    let failed = |source| ServeError::Device { name: name.to_owned(), source };
    match &entry.kind {
        BdevKind::Nvme { address, namespace } => {
            return devices::load::local(*address, *namespace, plan).map(Some).map_err(failed);
        }
        BdevKind::Nvmf(remote) => return devices::load::far(name, remote, plan).map(Some).map_err(failed),
        BdevKind::Malloc { .. } | BdevKind::Null { .. } | BdevKind::FileBacked { .. } => {}
    }
    let ring = entry.kind.needs_ring().then(|| engine::options(config, allowed, false));
    let made = assemble::bdev(entry, assemble::Users::on(plan.cores.len()))?;
    Ok(made.map(|bdev| BdevTarget { nsid: 0, bdev, ring, upkeep: None, memory: None }))
}

/// Drives the NVMe controller at `address` from this process, to put the load of `plan` on its namespace `nsid`, or on the
/// only one.
///
/// # Errors
/// [`DeviceError`].
pub fn pcie_target(address: PciAddress, nsid: Option<u32>, plan: &Plan) -> Result<BdevTarget, DeviceError> {
    devices::load::local(address, nsid, plan)
}

/// A stream with a byte for each SIGINT and SIGTERM.
pub(crate) fn watch_signals() -> io::Result<UnixStream> {
    watch(&[SIGINT, SIGTERM])
}

/// A stream with a byte for each of these signals.
fn watch(signals: &[i32]) -> io::Result<UnixStream> {
    let (asked, ended) = UnixStream::pair()?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, ended.try_clone()?)?;
    }
    Ok(asked)
}
