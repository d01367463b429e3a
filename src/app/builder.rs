//! An appliance put together in code: namespaces on block devices of one's own beside those of the configuration, and
//! reactors on threads of its own or in the hands of the caller.
//!
//! Invariant: what is added here meets the same rules as what a configuration says, checked before anything starts.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use corelane_reactors::group::Group;
use corelane_reactors::reactor::{Reactor, ReactorIndex};

use crate::app::appliance::Assembled;
use crate::app::{Appliance, Options, ServeError};
use crate::bdev::Bdev;
use crate::config::{self, BDEVS_MAX, Config, NAMESPACES_MAX, NSID_MAX, Reservations};
use crate::nvmf::namespace::Namespace;
use crate::nvmf::policy::ANA_GROUP_DEFAULT;
use crate::spec::nqn::Nqn;

/// Block devices of the embedding program, by name.
pub(super) type OwnBdevs = HashMap<String, Arc<dyn Bdev>>;

/// Puts an appliance together. Nothing starts before [`Builder::start`], [`Builder::serve`] or [`Builder::hand_over`].
pub struct Builder {
    options: Options,
    own: Vec<(Nqn, Namespace)>,
    reload: Option<Reload>,
}

/// Reads another configuration for an appliance that runs; what is wrong with it, in lines for the log, where it is not
/// right.
pub type Reload = Box<dyn FnMut() -> Result<Config, Vec<String>> + Send>;

/// Why a namespace of one's own cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// The configuration has no subsystem of this name.
    #[error("there is no such subsystem")]
    NoSubsystem,
    /// NSIDs go from 1 to [`NSID_MAX`].
    #[error("the namespace identifier is not from 1 to {NSID_MAX}")]
    Nsid,
    /// The subsystem has a namespace of this NSID.
    #[error("the namespace identifier is taken")]
    NsidTaken,
    /// A namespace has this UUID, or it is nil.
    #[error("the UUID is nil, or another namespace has it")]
    Uuid,
    /// A block device has this name.
    #[error("there is another block device with the name {0:?}")]
    NameTaken(String),
    /// There are [`NAMESPACES_MAX`] in the subsystem, or [`BDEVS_MAX`] block devices.
    #[error("there are as many namespaces or block devices as there may be")]
    TooMany,
}

/// A reactor that the caller runs: everything but its pollers, which are made on the thread where [`Handover::start`] is
/// called.
pub struct Handover {
    group: Arc<Group>,
    setup: Setup,
}

/// One reactor before it has a thread.
pub(super) struct Setup {
    pub(super) index: ReactorIndex,
    /// Of its thread.
    pub(super) name: String,
    /// To be called on its thread.
    pub(super) add_pollers: Box<AddPollers>,
}

/// Makes the pollers of a reactor.
type AddPollers = dyn FnOnce(&mut Reactor) -> io::Result<()> + Send;

impl Builder {
    /// An appliance that serves what `options` say.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, own: Vec::new(), reload: None }
    }

    /// Adds a namespace on a block device of one's own to the subsystem `nqn` of the configuration. Hosts may ask for
    /// reservations on it that survive the end of the process, so its UUID must be the same after a restart:
    /// [`config::namespace_uuid`] makes such a one.
    ///
    /// The device serves every I/O reactor, each through a channel that it opens at a host's Connect. What it does in
    /// [`crate::bdev::Channel::submit`] and [`crate::bdev::Channel::poll`] is a part of a reactor's turn: it must not
    /// block, and a panic in it ends the appliance.
    #[must_use]
    pub fn namespace(mut self, nqn: Nqn, namespace: Namespace) -> Self {
        self.own.push((nqn, namespace));
        self
    }

    /// Has [`Builder::serve`] ask `reload` for another configuration at each SIGHUP, and apply it as far as
    /// [`Reconfigurer::apply`](super::Reconfigurer::apply) can. Without it a SIGHUP changes nothing.
    #[must_use]
    pub fn reload(mut self, reload: Reload) -> Self {
        self.reload = Some(reload);
        self
    }

    /// What a SIGHUP asks.
    pub(super) fn take_reload(&mut self) -> Option<Reload> {
        self.reload.take()
    }

    /// Starts it on threads of its own, one a reactor, each pinned to its core. Returns when hosts can connect.
    ///
    /// # Errors
    /// [`ServeError`]; nothing runs then, and nothing listens.
    pub fn start(self) -> Result<Appliance, ServeError> {
        let (config, own, state_directory) = self.checked()?;
        let Assembled { mut appliance, setups, scrape } = Appliance::assemble(config, own, &state_directory)?;
        appliance.spawn(setups)?;
        appliance.serve_metrics(scrape)?;
        Ok(appliance)
    }

    /// Starts it without threads: its reactors, the management reactor last, to be run by the caller, on any threads, by
    /// [`Reactor::turn`] or [`Reactor::run`]. Hosts can connect once the last of them has started and takes turns. Where
    /// the configuration gives management a core of its own, the caller gets two reactors at least, else one may do.
    /// Nothing is pinned: the configuration's cores say how many reactors there are.
    ///
    /// [`crate::app::Stopper::stop`] ends it: all reactors go on taking turns until [`Reactor::stopping`], and are then
    /// dropped. When a reactor is dropped before, because a poller panicked for instance, the caller stops the others
    /// with [`Group::stop`].
    ///
    /// # Errors
    /// [`ServeError`]; nothing listens then.
    pub fn hand_over(self) -> Result<(Appliance, Vec<Handover>), ServeError> {
        let (config, own, state_directory) = self.checked()?;
        let Assembled { mut appliance, setups, scrape } = Appliance::assemble(config, own, &state_directory)?;
        appliance.serve_metrics(scrape)?;
        let group = appliance.shared_group();
        let handovers =
            setups.into_iter().map(|setup| Handover { group: Arc::clone(group), setup }).collect();
        Ok((appliance, handovers))
    }

    /// Serves until SIGINT or SIGTERM, or until a reactor fails. Says on standard output where it listens.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn serve(self) -> Result<(), ServeError> {
        super::serve(self)
    }

    /// The options with the namespaces that were added, and the block devices that are not the configuration's.
    fn checked(self) -> Result<(Config, OwnBdevs, PathBuf), ServeError> {
        let Options { mut config, state_directory } = self.options;
        let mut bdevs = OwnBdevs::new();
        for (nqn, namespace) in self.own {
            let nsid = namespace.nsid;
            add(&mut config, &mut bdevs, &nqn, namespace).map_err(|source| ServeError::Namespace {
                nqn: nqn.to_string(),
                nsid,
                source,
            })?;
        }
        Ok((config, bdevs, state_directory))
    }

    /// What is served.
    pub(super) fn config(&self) -> &Config {
        &self.options.config
    }

    /// Which cores run what, for people.
    pub(super) fn layout(&self) -> String {
        self.options.config.reactors.to_string()
    }
}

impl From<Options> for Builder {
    fn from(options: Options) -> Self {
        Self::new(options)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Builder").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Handover {
    /// The reactor's number in its group.
    #[must_use]
    pub fn index(&self) -> ReactorIndex {
        self.setup.index
    }

    /// The reactor, which stays on the calling thread. That of management reads the state directory here.
    ///
    /// # Errors
    /// When a descriptor cannot be had or memory for connections is missing. The appliance is then of no use.
    pub fn start(self) -> io::Result<Reactor> {
        let mut reactor = self.group.local(self.setup.index);
        (self.setup.add_pollers)(&mut reactor)?;
        Ok(reactor)
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handover").field("index", &self.setup.index).finish_non_exhaustive()
    }
}

/// Adds one namespace to a configuration, and its block device to the others of the program.
fn add(
    config: &mut Config,
    bdevs: &mut OwnBdevs,
    nqn: &Nqn,
    namespace: Namespace,
) -> Result<(), NamespaceError> {
    let Namespace { nsid, uuid, bdev } = namespace;
    let name = bdev.name().to_owned();
    let mut uuids = config.subsystems.iter().flat_map(|subsystem| &subsystem.namespaces);
    if uuid.is_nil() || uuids.any(|other| other.uuid == uuid) {
        return Err(NamespaceError::Uuid);
    }
    if config.bdev(&name).is_some() || bdevs.contains_key(&name) {
        return Err(NamespaceError::NameTaken(name));
    }
    let total = config.bdevs.len() + bdevs.len();
    let subsystem = config.subsystems.iter_mut().find(|subsystem| subsystem.nqn == *nqn);
    let namespaces = &mut subsystem.ok_or(NamespaceError::NoSubsystem)?.namespaces;
    if !(1..=NSID_MAX).contains(&nsid) {
        return Err(NamespaceError::Nsid);
    }
    if namespaces.iter().any(|other| other.nsid == nsid) {
        return Err(NamespaceError::NsidTaken);
    }
    if namespaces.len() >= NAMESPACES_MAX || total >= BDEVS_MAX {
        return Err(NamespaceError::TooMany);
    }
    let reservations = Reservations { persist: true };
    namespaces.push(config::Namespace {
        write_protected: false,
        nsid,
        bdev: name.clone(),
        uuid,
        hosts: None,
        ana_group: ANA_GROUP_DEFAULT,
        reservations,
    });
    bdevs.insert(name, bdev);
    Ok(())
}

#[cfg(test)]
mod tests;
