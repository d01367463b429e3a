//! The way back: the document that validates to a given configuration, with every default written out.

use super::cores::CoreListText;
use super::document::{
    BdevEntry, BdevType, Document, IdleEntry, IdlePolicyName, ListenerEntry, MetricsEntry, NamespaceEntry,
    OverrideEntry, PlacementName, ReactorsEntry, RebalanceName, ReservationsEntry, SubsystemEntry,
};
use super::size::SizeText;
use super::{Bdev, BdevKind, Config, Idle, Listener, Namespace, Placement, Reactors, Subsystem};

impl From<&Config> for Document {
    fn from(config: &Config) -> Self {
        Self {
            reactors: (&config.reactors).into(),
            // A validated path came from a JSON string.
            state_dir: config.state_directory.as_ref().map(|path| path.to_string_lossy().into_owned()),
            state_must_exist: config.state_must_exist,
            limits: config.limits.into(),
            memory: config.memory.into(),
            metrics: config.metrics.map(|listen| MetricsEntry { listen: listen.to_string() }),
            bdevs: config.bdevs.iter().map(Into::into).collect(),
            subsystems: config.subsystems.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Reactors> for ReactorsEntry {
    fn from(reactors: &Reactors) -> Self {
        let number = |core: usize| u64::try_from(core).unwrap_or(u64::MAX);
        let overrides = reactors.overrides.iter();
        Self {
            management: Some(number(reactors.management)),
            io: Some(CoreListText::List(reactors.io.iter().copied().map(number).collect())),
            io_count: None,
            node: None,
            idle: reactors.idle.into(),
            overrides: overrides
                .map(|&(core, idle)| OverrideEntry { core: number(core), idle: idle.into() })
                .collect(),
            placement: match reactors.placement {
                Placement::RoundRobin => PlacementName::RoundRobin,
                Placement::LeastLoaded => PlacementName::LeastLoaded,
                Placement::IncomingCpu => PlacementName::IncomingCpu,
            },
            budgets: reactors.budgets.into(),
            engine: reactors.engine,
            rebalance: if reactors.rebalance { RebalanceName::On } else { RebalanceName::Off },
        }
    }
}

impl From<Idle> for IdleEntry {
    fn from(idle: Idle) -> Self {
        let (policy, spin_us) = match idle {
            Idle::Spin => (IdlePolicyName::Spin, None),
            Idle::Park => (IdlePolicyName::Park, None),
            Idle::Adaptive { spin } => {
                (IdlePolicyName::Adaptive, Some(u64::try_from(spin.as_micros()).unwrap_or(u64::MAX)))
            }
        };
        Self { policy, spin_us }
    }
}

impl From<&Bdev> for BdevEntry {
    fn from(bdev: &Bdev) -> Self {
        let kind = match bdev.kind {
            BdevKind::Malloc { .. } => BdevType::Malloc,
            BdevKind::Null { .. } => BdevType::Null,
            BdevKind::FileBacked { .. } => BdevType::FileBacked,
            BdevKind::Nvme { .. } => BdevType::Nvme,
        };
        let (path, preallocate) = match &bdev.kind {
            // A validated path came from a JSON string.
            BdevKind::FileBacked { path, preallocate, .. } => {
                (Some(path.to_string_lossy().into_owned()), Some(*preallocate))
            }
            BdevKind::Malloc { .. } | BdevKind::Null { .. } | BdevKind::Nvme { .. } => (None, None),
        };
        let (address, namespace) = match &bdev.kind {
            BdevKind::Nvme { address, namespace } => (Some(address.to_string()), namespace.map(u64::from)),
            BdevKind::Malloc { .. } | BdevKind::Null { .. } | BdevKind::FileBacked { .. } => (None, None),
        };
        Self {
            name: bdev.name.clone(),
            kind,
            size: bdev.kind.size().map(Into::into),
            block_size: bdev.kind.block_size().map(|bytes| SizeText::Bytes(bytes.into())),
            path,
            preallocate,
            address,
            namespace,
        }
    }
}

impl From<&Subsystem> for SubsystemEntry {
    fn from(subsystem: &Subsystem) -> Self {
        Self {
            nqn: subsystem.nqn.as_str().to_owned(),
            serial: Some(subsystem.serial.clone()),
            model: Some(subsystem.model.clone()),
            allow_any_host: subsystem.allow_any_host,
            hosts: subsystem.hosts.iter().map(|host| host.as_str().to_owned()).collect(),
            listeners: subsystem.listeners.iter().map(Into::into).collect(),
            namespaces: subsystem.namespaces.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Listener> for ListenerEntry {
    fn from(listener: &Listener) -> Self {
        Self {
            transport: listener.transport,
            address: listener.address.ip().to_string(),
            port: listener.address.port().into(),
        }
    }
}

impl From<&Namespace> for NamespaceEntry {
    fn from(namespace: &Namespace) -> Self {
        Self {
            nsid: namespace.nsid.into(),
            bdev: namespace.bdev.clone(),
            uuid: Some(namespace.uuid.to_string()),
            reservations: ReservationsEntry { persist: Some(namespace.reservations.persist) },
        }
    }
}
