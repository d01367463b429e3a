//! Which engine serves the sockets of I/O queues, and why: asked of the kernel once, before anything starts. And the
//! io_uring of each I/O reactor, for sockets and block devices together.

use std::fmt;

use corelane_reactors::ring::{self, Ring, RingError};

use crate::config::{Config, EngineName, Reactors, Topology};
use crate::tune::inspect;
use crate::tune::setup::Machine;

/// Whether `auto` tries io_uring, and falls back where that is not to be had. Not while a measurement shows no gain, and a
/// longer way for a single command: see `benches/README.md`.
const AUTO_IS_IO_URING: bool = false;

/// What serves the sockets of I/O queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketEngine {
    /// io_uring, because the configuration says so, or means so by `auto`.
    IoUring,
    /// epoll, because the configuration says so, or means so by `auto`.
    Epoll,
    /// epoll, because `auto` asked the kernel for io_uring in vain.
    EpollInstead(RingError),
}

/// What an I/O reactor needs an io_uring for, and how large that is.
#[derive(Clone, Debug)]
pub(super) struct RingUse {
    options: ring::Options,
    /// A bdev is reached through it.
    bdevs: bool,
    /// Sockets are served through it.
    sockets: bool,
    /// Without it there is nothing but epoll, and no error.
    optional: bool,
}

/// The io_uring of a reactor.
pub(super) struct Opened {
    pub(super) ring: Ring,
    /// Sockets are served through it.
    pub(super) sockets: bool,
}

/// What would serve the sockets of I/O queues if `config` was served here and now, by this process. `allowed` are the
/// CPUs that it may use.
///
/// # Errors
/// Why the io_uring that the configuration demands is not to be had.
pub fn socket_engine(config: &Config, allowed: &[usize]) -> Result<SocketEngine, RingError> {
    choose(config.reactors.engine, AUTO_IS_IO_URING, || probe(config, allowed))
}

/// As [`socket_engine`]; `probe` is asked only where its answer matters.
fn choose(
    asked_for: EngineName,
    auto_is_io_uring: bool,
    probe: impl FnOnce() -> Result<(), RingError>,
) -> Result<SocketEngine, RingError> {
    match asked_for {
        EngineName::Epoll => Ok(SocketEngine::Epoll),
        EngineName::Auto if !auto_is_io_uring => Ok(SocketEngine::Epoll),
        EngineName::IoUring => probe().map(|()| SocketEngine::IoUring),
        EngineName::Auto => Ok(match probe() {
            Ok(()) => SocketEngine::IoUring,
            Err(error) => SocketEngine::EpollInstead(error),
        }),
    }
}

/// Opens what an I/O reactor would, and gives it back.
fn probe(config: &Config, allowed: &[usize]) -> Result<(), RingError> {
    let options = options(config, allowed, true);
    if options.operations > ring::OPERATIONS_MAX {
        return Err(RingError::Operations(options.operations));
    }
    Ring::open(&options)?.window().map(drop)
}

impl RingUse {
    /// What each I/O reactor needs, if anything needs an io_uring.
    pub(super) fn of(config: &Config, allowed: &[usize], engine: SocketEngine) -> Option<Self> {
        let bdevs = config.bdevs.iter().any(|entry| entry.kind.needs_ring());
        let sockets = engine == SocketEngine::IoUring;
        let optional = !bdevs && config.reactors.engine == EngineName::Auto;
        (bdevs || sockets).then(|| Self {
            options: options(config, allowed, sockets),
            bdevs,
            sockets,
            optional,
        })
    }

    /// Opens it for the calling thread; `None` where it is not to be had all the same, and nothing depends on it.
    pub(super) fn open(self) -> Result<Option<Opened>, RingError> {
        let Self { options, bdevs, sockets, optional } = self;
        let opened = Ring::open(&options).and_then(|ring| {
            let sockets = sockets && ring.window().map(|_| true)?;
            Ok(Opened { ring, sockets })
        });
        match opened {
            // The limit on locked memory, which all reactors share, may be reached by now.
            Err(error) if optional => {
                tracing::warn!(%error, "the sockets of a reactor are served through epoll");
                Ok(None)
            }
            opened => opened.map(|opened| (opened.sockets || bdevs).then_some(opened)),
        }
    }
}

/// The sizes of an io_uring, and where its threads run, which do what would block.
pub(super) fn options(config: &Config, allowed: &[usize], sockets: bool) -> ring::Options {
    let worker_cpus = worker_cpus(&config.reactors, allowed, &inspect::topology(&Machine::this()));
    let default = ring::Options::default();
    // Each socket receives and sends.
    let streams = if sockets { config.limits.connections_max.saturating_mul(2) } else { 0 };
    let operations = default.operations.saturating_add(streams);
    ring::Options { operations, worker_cpus, ..default }
}

/// On physical cores that have no I/O reactor, else on the other threads of those that have, else where management is.
fn worker_cpus(reactors: &Reactors, allowed: &[usize], machine: &Topology) -> Vec<usize> {
    let physical = |core: usize| machine.place(core).map(|place| place.physical);
    let taken: Vec<usize> = reactors.io.iter().filter_map(|&core| physical(core)).collect();
    let free: Vec<usize> = allowed.iter().copied().filter(|core| !reactors.io.contains(core)).collect();
    let apart = |core: &usize| physical(*core).is_none_or(|place| !taken.contains(&place));
    let far: Vec<usize> = free.iter().copied().filter(apart).collect();
    [far, free].into_iter().find(|cores| !cores.is_empty()).unwrap_or_else(|| vec![reactors.management])
}

impl fmt::Display for SocketEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IoUring => f.write_str("io_uring"),
            Self::Epoll => f.write_str("epoll"),
            Self::EpollInstead(error) => write!(f, "epoll ({error})"),
        }
    }
}

#[cfg(test)]
mod tests;
