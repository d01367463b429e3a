//! From a configuration to the parts of an appliance: block devices, subsystems, limits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Clock;
use corelane_reactors::group::{Group, Layout};
use corelane_reactors::idle::IdlePolicy;

use crate::app::{ServeError, SocketEngine, policies};
use crate::bdev::{Bdev, File, FileOptions, Malloc, Null};
use crate::config::{self, BdevKind, ByteSize, Config, CorePlace, Topology};
use crate::nvmf::io::Counts;
use crate::nvmf::namespace::Namespace;
use crate::nvmf::options::Options;
use crate::nvmf::subsystem::Subsystem;
use crate::nvmf::target::Target;
use crate::transport::{Nearest, Placement, QueueBuffers, RECEIVE_BYTES, Settings, listen};
use crate::tune::inspect;
use crate::tune::setup::Machine;

const _: () = assert!(config::limits::RECEIVE_BYTES.bytes() == RECEIVE_BYTES as u64);

/// The sockets that are listened on, by the address that the configuration gives.
pub(super) type Sockets = HashMap<SocketAddr, TcpListener>;

/// Block devices by name.
pub(super) type Bdevs = HashMap<String, Arc<dyn Bdev>>;

/// Who uses the block devices that this process makes up. The same for as long as they live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Users {
    /// One thread, which sends what is lent to it while it does nothing else.
    One,
    /// Several threads; or a kernel that reads what was lent when it likes.
    Several,
}

impl Users {
    /// Those of an appliance whose I/O queues are on sockets of this engine.
    pub(super) fn of(config: &Config, engine: SocketEngine) -> Self {
        match engine {
            SocketEngine::Epoll | SocketEngine::EpollInstead(_) => Self::on(config.reactors.io.len()),
            // An io_uring copies what it sends when the socket has room, in parts, and perhaps on another thread.
            SocketEngine::IoUring => Self::Several,
        }
    }

    /// Those that are a reactor each and lend nothing on.
    pub(super) fn on(reactors: usize) -> Self {
        if reactors == 1 { Self::One } else { Self::Several }
    }
}

/// Makes the block devices that this process makes up, and adds them to those that are `there`.
///
/// # Errors
/// [`ServeError::Bdev`].
pub(super) fn bdevs(config: &Config, users: Users, mut there: Bdevs) -> Result<Bdevs, ServeError> {
    for entry in &config.bdevs {
        if let Some(bdev) = bdev(entry, users)? {
            there.insert(entry.name.clone(), bdev);
        }
    }
    Ok(there)
}

/// Makes one block device; `None` for a device of the machine, and for one far away.
///
/// # Errors
/// [`ServeError::Bdev`].
pub(super) fn bdev(entry: &config::Bdev, users: Users) -> Result<Option<Arc<dyn Bdev>>, ServeError> {
    let failed = |source| ServeError::Bdev { name: entry.name.clone(), source };
    let name = &entry.name;
    Ok(Some(match &entry.kind {
        BdevKind::Malloc { size, block_size, atomic_writes } => {
            let malloc = Malloc::new(name, size.bytes(), *block_size).map_err(failed)?;
            let malloc = if *atomic_writes { malloc.with_atomic_writes() } else { malloc };
            Arc::new(if users == Users::One { malloc.for_one_reactor() } else { malloc })
        }
        BdevKind::Null { size, block_size } => {
            Arc::new(Null::new(name, size.bytes(), *block_size).map_err(failed)?)
        }
        BdevKind::FileBacked { path, block_size, size, preallocate } => {
            let options = FileOptions {
                path: path.clone(),
                block_size: *block_size,
                size: size.map(ByteSize::bytes),
                preallocate: *preallocate,
            };
            Arc::new(File::open(name, &options).map_err(|error| failed(error.into()))?)
        }
        BdevKind::Nvme { .. } | BdevKind::Nvmf(_) => return Ok(None),
    }))
}

/// Binds every address of the configuration, each once.
///
/// # Errors
/// [`ServeError::Listen`].
pub(super) fn sockets(config: &Config) -> Result<Sockets, ServeError> {
    let mut sockets = Sockets::new();
    for listener in config.subsystems.iter().flat_map(|subsystem| &subsystem.listeners) {
        if let Entry::Vacant(place) = sockets.entry(listener.address) {
            place.insert(listen(listener.address)?);
        }
    }
    Ok(sockets)
}

/// The address that a socket got; the kernel chose the port where the configuration says 0.
pub(super) fn bound(sockets: &Sockets, configured: SocketAddr) -> SocketAddr {
    let socket = sockets.get(&configured);
    socket.and_then(|socket| socket.local_addr().ok()).unwrap_or(configured)
}

/// Binds the address of the metrics, if there is one.
///
/// # Errors
/// [`ServeError::Metrics`].
pub(super) fn metrics_socket(config: &Config) -> Result<Option<TcpListener>, ServeError> {
    config.metrics.map(listen).transpose().map_err(ServeError::Metrics)
}

/// Where the commands of each subsystem are counted, in the order of the configuration.
pub(super) fn counts(config: &Config) -> Vec<(String, Arc<Counts>)> {
    let lanes = config.reactors.io.len();
    let counts = |entry: &config::Subsystem| {
        let nsids = entry.namespaces.iter().map(|namespace| namespace.nsid);
        (entry.nqn.to_string(), Arc::new(Counts::new(lanes, nsids)))
    };
    config.subsystems.iter().map(counts).collect()
}

/// The target with all its subsystems.
///
/// # Errors
/// [`ServeError::Subsystem`].
pub(super) fn target(
    config: &Config,
    settings: &Settings,
    bdevs: &Bdevs,
    sockets: &Sockets,
    counts: &[(String, Arc<Counts>)],
) -> Result<Target, ServeError> {
    let mut target = Target::new(Options {
        controllers_max: settings.connections_max,
        connections_per_host_max: config.limits.connections_per_host_max as usize,
        io_queues_max: config.limits.queues_per_controller_max,
        io_entries_max: u32::from(config.limits.queue_depth_max),
        mdts: mdts(config.limits.transfer_bytes_max),
        in_capsule_bytes: settings.in_capsule_bytes,
        keep_alive_ms: (
            milliseconds(config.limits.keep_alive_min),
            milliseconds(config.limits.keep_alive_max),
        ),
        ..Options::default()
    });
    for (entry, (_, counts)) in config.subsystems.iter().zip(counts) {
        let failed = |source| ServeError::Subsystem { nqn: entry.nqn.to_string(), source };
        target.add_subsystem(subsystem(entry, bdevs, sockets, counts)).map_err(failed)?;
    }
    target.set_referrals(policies::referrals(config));
    Ok(target)
}

/// MDTS, which counts in memory pages of 4 KiB, as powers of two (CAP.MPSMIN is 0).
fn mdts(transfer_bytes_max: u32) -> u8 {
    u8::try_from((transfer_bytes_max >> 12).ilog2()).unwrap_or(u8::MAX)
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn subsystem(entry: &config::Subsystem, bdevs: &Bdevs, sockets: &Sockets, counts: &Arc<Counts>) -> Subsystem {
    let namespaces = entry.namespaces.iter().map(|namespace| Namespace {
        nsid: namespace.nsid,
        uuid: namespace.uuid,
        bdev: Arc::clone(&bdevs[&namespace.bdev]),
    });
    Subsystem {
        nqn: entry.nqn.clone(),
        serial: entry.serial.clone(),
        model: entry.model.clone(),
        policy: policies::policy(entry, []),
        listeners: entry.listeners.iter().map(|listener| bound(sockets, listener.address)).collect(),
        namespaces: namespaces.collect(),
        counting: Arc::<Counts>::clone(counts),
    }
}

/// Sizes and time limits of the transport.
pub(super) fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    let budgets = &config.reactors.budgets;
    let buffers = QueueBuffers::for_entries(limits.queue_depth_max);
    let data_bytes_max = limits.connection_bytes_max as usize - RECEIVE_BYTES;
    let shares_core = config.reactors.io.contains(&config.reactors.management);
    let defaults = Settings::default();
    Settings {
        connections_max: limits.connections_max as usize,
        transfer_bytes_max: limits.transfer_bytes_max,
        in_capsule_bytes: limits.in_capsule_bytes_max,
        data_bytes_max,
        buffers: buffers.within(data_bytes_max, limits.transfer_bytes_max),
        icreq_timeout: limits.icreq_timeout,
        connect_timeout: limits.connect_timeout,
        abort_after: limits.preempt_abort_after,
        reset_after: limits.preempt_reset_after,
        retire_after: limits.preempt_retire_after,
        messages_per_turn: budgets.messages_per_turn.into(),
        sockets_per_turn: budgets.sockets_per_turn.into(),
        accepts_per_turn: budgets.accepts_per_turn.into(),
        management_pace: if shares_core { defaults.management_pace } else { Duration::ZERO },
        ..defaults
    }
}

/// How I/O queues are spread over the I/O reactors. Packets can come in on any core of this machine.
pub(super) fn placement(config: &Config) -> Placement {
    match config.reactors.placement {
        config::Placement::RoundRobin => Placement::round_robin(),
        config::Placement::LeastLoaded => Placement::LeastLoaded,
        config::Placement::IncomingCpu => {
            let machine = inspect::topology(&Machine::this());
            Placement::IncomingCpu(nearest(&config.reactors.io, &machine))
        }
    }
}

/// For each core the I/O reactors on it, else on another thread of it, else on its node.
fn nearest(io: &[usize], machine: &Topology) -> Nearest {
    let mut nearest = Nearest::new(io.len());
    for &place in machine.places() {
        let lanes = |near: &dyn Fn(CorePlace) -> bool| -> Vec<usize> {
            let places = io.iter().map(|&core| machine.place(core));
            places.enumerate().filter_map(|(lane, other)| near(other?).then_some(lane)).collect()
        };
        let same = lanes(&|other| other.core == place.core);
        let sibling = lanes(&|other| other.physical == place.physical);
        let node = lanes(&|other| place.node.is_some() && other.node == place.node);
        if let Some(lanes) = [same, sibling, node].into_iter().find(|lanes| !lanes.is_empty()) {
            nearest.set(place.core, lanes);
        }
    }
    nearest
}

/// The reactors, which do not run yet.
///
/// # Errors
/// [`ServeError::Layout`].
pub(super) fn group(config: &Config, clock: Clock) -> Result<Group, ServeError> {
    let reactors = &config.reactors;
    let layout = Layout { management: reactors.management, io: reactors.io.clone() };
    let mut group = Group::new(&layout, policy(reactors.idle), clock)?;
    for index in 0..group.reactors() {
        if let Some(core) = group.cpu(index) {
            group.set_idle(index, policy(reactors.idle_of(core)));
        }
    }
    Ok(group)
}

fn policy(idle: config::Idle) -> IdlePolicy {
    match idle {
        config::Idle::Spin => IdlePolicy::Spin,
        config::Idle::Park => IdlePolicy::Park,
        config::Idle::Adaptive { spin } => IdlePolicy::Adaptive { spin },
    }
}

#[cfg(test)]
mod tests;
