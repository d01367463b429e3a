//! Another configuration for an appliance that runs: what can change does, as a whole or not at all.

use std::collections::HashSet;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Sender;

use crate::app::policies;
use crate::config::{self, Config, Finding, Place};
use crate::nvmf::discovery::Referral;
use crate::nvmf::policy::Policy;
use crate::nvmf::target::Target;
use crate::spec::nqn::Nqn;

/// Orders that can wait: one is given at a time.
pub(super) const ORDERS_MAX: usize = 2;
/// How long the management reactor may take to take an order.
const TAKEN: Duration = Duration::from_secs(5);

/// Why a configuration was not taken. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// It differs where nothing can change while the appliance runs.
    #[error("the configuration differs where nothing can change while the appliance runs")]
    Refused(Vec<Finding>),
    /// The appliance is ending, or does not answer.
    #[error("the appliance does not answer")]
    Gone,
}

/// Gives a running appliance another configuration, from any thread.
#[derive(Clone, Debug)]
pub struct Reconfigurer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    running: Mutex<Config>,
    orders: Sender<Order>,
}

/// What the management reactor is to let hold.
#[derive(Debug)]
pub(super) struct Order {
    policies: Vec<(Nqn, Policy)>,
    referrals: Vec<Referral>,
    taken: SyncSender<()>,
}

impl Reconfigurer {
    pub(super) fn new(running: Config, orders: Sender<Order>) -> Self {
        Self(Arc::new(Inner { running: Mutex::new(running), orders }))
    }

    /// Lets `wanted` hold from now on; namespaces that the program added itself stay. The places in it whose values
    /// changed. Returns when the management reactor has taken it; I/O reactors and hosts learn of it right after.
    ///
    /// # Errors
    /// [`ReconfigureError`].
    pub fn apply(&self, mut wanted: Config) -> Result<Vec<Place>, ReconfigureError> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        keep_own(&running, &mut wanted);
        let changed = config::changes(&running, &wanted).map_err(ReconfigureError::Refused)?;
        if changed.is_empty() {
            return Ok(changed);
        }
        let (taken, answer) = mpsc::sync_channel(1);
        let policies = wanted.subsystems.iter().map(|entry| (entry.nqn.clone(), policies::policy(entry)));
        let order = Order { policies: policies.collect(), referrals: policies::referrals(&wanted), taken };
        self.0.orders.send(order).map_err(|_| ReconfigureError::Gone)?;
        answer.recv_timeout(TAKEN).map_err(|_| ReconfigureError::Gone)?;
        *running = wanted;
        Ok(changed)
    }
}

impl Order {
    /// Lets it hold.
    pub(super) fn apply(self, now: Time, target: &mut Target) {
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
