//! The way back: the document that validates to a given configuration, with every default written out.

use std::net::SocketAddr;
use std::time::Duration;

use crate::spec::nqn::Nqn;

use super::cores::CoreListText;
use super::document::{
    AnaEntry, BdevEntry, BdevType, DiscoveryEntry, Document, IdleEntry, IdlePolicyName, ListenerEntry,
    MetricsEntry, NamespaceEntry, OverrideEntry, PathEntry, PlacementName, ReactorsEntry, RebalanceName,
    ReferralEntry, ReservationsEntry, SubsystemEntry,
};
use super::size::SizeText;
use super::{Bdev, BdevKind, Config, Idle, Listener, Namespace, Placement, Reactors, Remote, Subsystem};

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
            discovery: DiscoveryEntry { referrals: config.referrals.iter().map(referral).collect() },
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
            BdevKind::Nvmf(_) => BdevType::Nvmf,
        };
        let mut entry = Self {
            size: bdev.kind.size().map(Into::into),
            block_size: bdev.kind.block_size().map(|bytes| SizeText::Bytes(bytes.into())),
            ..Self::new(bdev.name.clone(), kind)
        };
        match &bdev.kind {
            BdevKind::Malloc { atomic_writes, .. } => entry.atomic_writes = Some(*atomic_writes),
            BdevKind::Null { .. } => {}
            // A validated path came from a JSON string.
            BdevKind::FileBacked { path, preallocate, .. } => {
                entry.path = Some(path.to_string_lossy().into_owned());
                entry.preallocate = Some(*preallocate);
            }
            BdevKind::Nvme { address, namespace } => {
                entry.address = Some(address.to_string());
                entry.namespace = namespace.map(u64::from);
            }
            BdevKind::Nvmf(remote) => entry.set_remote(remote),
        }
        entry
    }
}

impl BdevEntry {
    fn set_remote(&mut self, remote: &Remote) {
        let ms = |time: Duration| Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let mut paths = remote
            .paths
            .iter()
            .map(|path| PathEntry { address: path.ip().to_string(), port: Some(path.port().into()) });
        let first = paths.next();
        self.address = first.as_ref().map(|first| first.address.clone());
        self.port = first.and_then(|first| first.port);
        self.paths = paths.collect();
        self.nqn = Some(remote.nqn.to_string());
        self.namespace = remote.namespace.map(u64::from);
        self.hostnqn = remote.hostnqn.as_ref().map(ToString::to_string);
        self.hostid = remote.hostid.map(|id| id.to_string());
        self.header_digest = Some(remote.header_digest);
        self.data_digest = Some(remote.data_digest);
        self.queue_depth = Some(remote.queue_depth.into());
        self.keep_alive_ms = ms(remote.keep_alive);
        self.io_timeout_ms = ms(remote.io_timeout);
        self.fast_io_fail_ms = ms(remote.fast_io_fail);
        self.reconnect_delay_ms = ms(remote.reconnect_delay);
        self.wait_ms = ms(remote.wait);
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
            duplicate_hosts: subsystem.duplicate_hosts,
            ana_reporting: subsystem.ana_reporting,
            listeners: (0..)
                .zip(&subsystem.listeners)
                .map(|(index, it)| listener(subsystem, index, it))
                .collect(),
            namespaces: subsystem.namespaces.iter().map(|it| namespace(subsystem, it)).collect(),
        }
    }
}

fn referral(address: &SocketAddr) -> ReferralEntry {
    ReferralEntry { address: address.ip().to_string(), port: address.port().into() }
}

fn listener(subsystem: &Subsystem, index: usize, listener: &Listener) -> ListenerEntry {
    let own = subsystem.ana.iter().filter(|path| path.listener == index);
    ListenerEntry {
        transport: listener.transport,
        address: listener.address.ip().to_string(),
        port: listener.address.port().into(),
        ana: own.map(|path| AnaEntry { group: path.group.into(), state: path.state }).collect(),
    }
}

fn namespace(subsystem: &Subsystem, namespace: &Namespace) -> NamespaceEntry {
    let names = |hosts: &Vec<Nqn>| hosts.iter().map(|host| host.as_str().to_owned()).collect();
    NamespaceEntry {
        nsid: namespace.nsid.into(),
        bdev: namespace.bdev.clone(),
        uuid: Some(namespace.uuid.to_string()),
        hosts: namespace.hosts.as_ref().map(names),
        ana_group: subsystem.ana_reporting.then_some(namespace.ana_group.into()),
        write_protected: namespace.write_protected,
        reservations: ReservationsEntry { persist: Some(namespace.reservations.persist) },
    }
}
