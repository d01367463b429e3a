//! Another configuration for an appliance that runs: what can change does, as a whole or not at all.
//!
//! A namespace that goes is hidden from every host, and kept: commands that its block device has go on, and its reservations
//! stay as they are. So an NSID means one block device with one UUID for as long as the appliance runs, and what comes back
//! is what went.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Sender;

use crate::app::assemble::{Bdevs, Users};
use crate::app::{ServeError, assemble, policies, records};
use crate::bdev::{Bdev, CreateError};
use crate::config::{self, BdevKind, Config, Finding, Place};
use crate::nvmf::discovery::Referral;
use crate::nvmf::fence::recover::Recovered;
use crate::nvmf::namespace::Namespace;
use crate::nvmf::policy::Policy;
use crate::nvmf::subsystem::NSID_MAX_LEAST;
use crate::nvmf::target::Target;
use crate::persist::Reader;
use crate::reservation::{Identity, Options};
use crate::spec::nqn::Nqn;

const _: () = assert!(config::NSID_SPARE == NSID_MAX_LEAST);

/// Orders that can wait: one is given at a time.
pub(super) const ORDERS_MAX: usize = 2;
/// How long the management reactor may take to take an order.
const TAKEN: Duration = Duration::from_secs(5);

/// Why a configuration was not taken. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReconfigureError {
    /// It differs where nothing can change while the appliance runs.
    #[error("the configuration differs where nothing can change while the appliance runs")]
    Refused(Vec<Finding>),
    /// A block device that is new cannot be made.
    #[error("cannot make the block device {name:?}")]
    Bdev {
        /// Its name.
        name: String,
        /// Why.
        source: CreateError,
    },
    /// A block device that is new needs io_uring in the I/O reactors, which have none.
    #[error("the block device {0:?} needs io_uring, which the I/O reactors have not: restart the appliance")]
    NoRing(String),
    /// The appliance is ending, or does not answer.
    #[error("the appliance does not answer")]
    Gone,
}

/// Gives a running appliance another configuration, from any thread.
#[derive(Clone, Debug)]
pub struct Reconfigurer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    running: Mutex<Running>,
    reader: Reader,
    makes: Makes,
    orders: Sender<Order>,
}

/// What decides how block devices are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Makes {
    /// The I/O reactors have io_uring.
    pub(super) rings: bool,
    /// Who uses them.
    pub(super) users: Users,
}

#[derive(Debug)]
struct Running {
    config: Config,
    /// The same, with the namespaces and block devices that went.
    ever: Config,
    /// By name, as long as a namespace has them.
    bdevs: HashMap<String, Weak<dyn Bdev>>,
}

/// A namespace that comes.
#[derive(Debug)]
struct Added {
    nqn: Nqn,
    namespace: Namespace,
    recovered: Recovered,
    options: Options,
}

/// What the management reactor is to let hold.
#[derive(Debug)]
pub(super) struct Order {
    added: Vec<Added>,
    policies: Vec<(Nqn, Policy)>,
    referrals: Vec<Referral>,
    taken: SyncSender<()>,
}

impl Reconfigurer {
    /// For an appliance that runs `config` with these block devices.
    pub(super) fn new(
        config: Config,
        bdevs: &Bdevs,
        reader: Reader,
        makes: Makes,
        orders: Sender<Order>,
    ) -> Self {
        let bdevs = bdevs.iter().map(|(name, bdev)| (name.clone(), Arc::downgrade(bdev))).collect();
        let running = Mutex::new(Running { ever: config.clone(), config, bdevs });
        Self(Arc::new(Inner { running, reader, makes, orders }))
    }

    /// Lets `wanted` hold from now on; namespaces that the program added itself stay. The places in it whose values
    /// changed. Returns when the management reactor has taken it; I/O reactors and hosts learn of it right after. Block
    /// devices and the records of namespaces that are new are opened on the calling thread, which may block.
    ///
    /// # Errors
    /// [`ReconfigureError`].
    pub fn apply(&self, mut wanted: Config) -> Result<Vec<Place>, ReconfigureError> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        keep_own(&running.config, &mut wanted);
        let changed = config::changes(&running.config, &wanted).map_err(ReconfigureError::Refused)?;
        // What went may come back, but not as something else.
        config::changes(&running.ever, &wanted).map_err(ReconfigureError::Refused)?;
        if changed.is_empty() {
            return Ok(changed);
        }
        let bdevs = running.bdevs(&wanted, self.0.makes)?;
        let ever = with_gone(&running.ever, &wanted);
        let (taken, answer) = mpsc::sync_channel(1);
        let order = Order {
            added: self.added(&running.ever, &wanted, &bdevs),
            policies: policies(&ever, &wanted),
            referrals: policies::referrals(&wanted),
            taken,
        };
        self.0.orders.send(order).map_err(|_| ReconfigureError::Gone)?;
        answer.recv_timeout(TAKEN).map_err(|_| ReconfigureError::Gone)?;
        running.bdevs.extend(bdevs.iter().map(|(name, bdev)| (name.clone(), Arc::downgrade(bdev))));
        (running.config, running.ever) = (wanted, ever);
        Ok(changed)
    }

    /// The namespaces that were never served before, with what the state directory says of them.
    fn added(&self, ever: &Config, wanted: &Config, bdevs: &Bdevs) -> Vec<Added> {
        let mut added = Vec::new();
        for subsystem in &wanted.subsystems {
            let nqn = &subsystem.nqn;
            for namespace in subsystem.namespaces.iter().filter(|it| !has(ever, nqn, it.nsid)) {
                let (nsid, uuid) = (namespace.nsid, namespace.uuid);
                let identity = Identity { subsystem: nqn.clone(), nsid, uuid };
                let options = Options { ptpl: namespace.reservations.persist };
                let recovered = records::recovered(&self.0.reader, &identity, options);
                let namespace = Namespace { nsid, uuid, bdev: Arc::clone(&bdevs[&namespace.bdev]) };
                added.push(Added { nqn: nqn.clone(), namespace, recovered, options });
            }
        }
        added
    }
}

impl Running {
    /// The block devices that are wanted and that namespaces use, by name: those that are there, and new ones.
    fn bdevs(&self, wanted: &Config, makes: Makes) -> Result<Bdevs, ReconfigureError> {
        let used = wanted.subsystems.iter().flat_map(|subsystem| &subsystem.namespaces);
        let mut bdevs = Bdevs::new();
        for name in used.map(|namespace| &namespace.bdev) {
            if let Some(bdev) = self.bdevs.get(name).and_then(Weak::upgrade) {
                bdevs.insert(name.clone(), bdev);
            } else if let Some(entry) = wanted.bdev(name) {
                if matches!(entry.kind, BdevKind::FileBacked { .. }) && !makes.rings {
                    return Err(ReconfigureError::NoRing(name.clone()));
                }
                let made = assemble::bdev(entry, makes.users).map_err(|error| match error {
                    ServeError::Bdev { name, source } => ReconfigureError::Bdev { name, source },
                    other => unreachable!("a block device is made, and nothing else: {other}"),
                })?;
                // A device of the machine, or one far away, is there from the start, or was refused.
                bdevs.extend(made.map(|bdev| (name.clone(), bdev)));
            }
        }
        Ok(bdevs)
    }
}

impl Order {
    /// Lets it hold.
    pub(super) fn apply(self, now: Time, target: &mut Target) {
        for Added { nqn, namespace, recovered, options } in self.added {
            let Some(index) = target.subsystem_index(&nqn) else { continue };
            let nsid = namespace.nsid;
            if let Err(error) = target.add_namespace(index, namespace, recovered, options) {
                tracing::error!(%nqn, nsid, %error, "a namespace cannot be added");
            }
        }
        for (nqn, policy) in self.policies {
            if let Some(index) = target.subsystem_index(&nqn) {
                target.set_policy(now, index, policy);
            }
        }
        target.set_referrals(self.referrals);
        // Who asked may have given up.
        let _ = self.taken.send(());
    }
}

/// Whether a configuration has a namespace.
fn has(config: &Config, nqn: &Nqn, nsid: u32) -> bool {
    let found = config.subsystems.iter().find(|subsystem| subsystem.nqn == *nqn);
    found.is_some_and(|subsystem| subsystem.namespaces.iter().any(|namespace| namespace.nsid == nsid))
}

/// `wanted` with what `ever` has besides.
fn with_gone(ever: &Config, wanted: &Config) -> Config {
    let mut all = wanted.clone();
    for subsystem in &mut all.subsystems {
        let before = ever.subsystems.iter().find(|other| other.nqn == subsystem.nqn);
        for namespace in before.into_iter().flat_map(|before| &before.namespaces) {
            if subsystem.namespaces.iter().all(|other| other.nsid != namespace.nsid) {
                subsystem.namespaces.push(namespace.clone());
            }
        }
    }
    all.bdevs.extend(ever.bdevs.iter().filter(|bdev| wanted.bdev(&bdev.name).is_none()).cloned());
    all
}

/// What is to hold for each subsystem.
fn policies(ever: &Config, wanted: &Config) -> Vec<(Nqn, Policy)> {
    let policy = |entry: &config::Subsystem| {
        let all = ever.subsystems.iter().filter(|subsystem| subsystem.nqn == entry.nqn);
        let nsids = all.flat_map(|subsystem| &subsystem.namespaces).map(|namespace| namespace.nsid);
        let gone = nsids.filter(|nsid| !has(wanted, &entry.nqn, *nsid));
        (entry.nqn.clone(), policies::policy(entry, gone))
    };
    wanted.subsystems.iter().map(policy).collect()
}

/// Adds to `wanted` the namespaces of `running` that no configuration describes.
fn keep_own(running: &Config, wanted: &mut Config) {
    let described: HashSet<&str> = running.bdevs.iter().map(|bdev| bdev.name.as_str()).collect();
    for subsystem in &mut wanted.subsystems {
        let before = running.subsystems.iter().find(|other| other.nqn == subsystem.nqn);
        let own = before.into_iter().flat_map(|before| &before.namespaces);
        for namespace in own.filter(|namespace| !described.contains(namespace.bdev.as_str())) {
            if subsystem.namespaces.iter().all(|other| other.nsid != namespace.nsid) {
                subsystem.namespaces.push(namespace.clone());
            }
        }
    }
}
