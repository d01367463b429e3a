//! What changes of a subsystem while it is in service: its policy, and what follows from it for every controller.
//!
//! A change goes out in this order: the admin pages of the controllers, their I/O queues, and only when these have taken
//! it the event that tells the host: who acts on an event meets what it was told of.

use std::sync::Arc;

use corelane_reactors::clock::Time;

use crate::nvmf::controller::{ControllerId, Kind, Notice};
use crate::nvmf::discovery::Referral;
use crate::nvmf::fence::recover::Recovered;
use crate::nvmf::namespace::{Namespace, NamespaceTable};
use crate::nvmf::policy::Policy;
use crate::nvmf::subsystem::{Counting, SubsystemError};
use crate::nvmf::target::Target;
use crate::reservation::{Identity, Options};

impl Target {
    /// What holds for a subsystem now.
    pub fn policy(&self, subsystem: usize) -> &Policy {
        &self.subsystems[subsystem].subsystem.policy
    }

    /// Lets another policy hold for a subsystem from now on. Controllers of hosts that may not use it any more are closed;
    /// the others are told what changed for them, and so is who watches the discovery log.
    ///
    /// # Panics
    /// When there is no such subsystem, or when one policy has ANA and the other has not.
    pub fn set_policy(&mut self, now: Time, subsystem: usize, policy: Policy) {
        let served = &mut self.subsystems[subsystem];
        assert_eq!(served.subsystem.policy.ana.is_some(), policy.ana.is_some());
        let before = std::mem::replace(&mut served.subsystem.policy, policy);
        let hosts = &served.subsystem.policy.hosts;
        if before.hosts != *hosts {
            self.generation += 1;
            let changed = |host: &_| before.hosts.allow(host) != hosts.allow(host);
            for watching in self.controllers.values_mut().filter(|it| it.is_discovery()) {
                if changed(&watching.host.nqn) {
                    watching.raise(Notice::Discovery, &mut self.actions);
                }
            }
        }
        for controller in self.controllers.values_mut().filter(|it| it.is_of(subsystem)) {
            if !hosts.allow(&controller.host.nqn) {
                let (host, cntlid) = (&controller.host.nqn, controller.cntlid);
                tracing::info!(%host, cntlid, "a host may not use the subsystem any more");
                controller.expel(now, &mut self.actions);
            }
        }
        self.operate(subsystem);
        self.refresh(subsystem);
    }

    /// Takes another namespace into a subsystem, with what was recovered of its reservations. Its NSID was not in use since the
    /// target began, so nothing is left of another one. Hosts have it from the next [`Target::set_policy`] on.
    ///
    /// # Errors
    /// [`SubsystemError`]; nothing changes.
    ///
    /// # Panics
    /// When there is no such subsystem.
    pub fn add_namespace(
        &mut self,
        subsystem: usize,
        namespace: Namespace,
        recovered: Recovered,
        options: Options,
    ) -> Result<(), SubsystemError> {
        let served = &mut self.subsystems[subsystem];
        let (nsid, uuid) = (namespace.nsid, namespace.uuid);
        served.add_namespace(namespace)?;
        if self.fences.has(subsystem) {
            let identity = Identity { subsystem: served.subsystem.nqn.clone(), nsid, uuid };
            self.fences.add_namespace(subsystem, identity, recovered, options);
            let nqn = self.subsystems[subsystem].subsystem.nqn.clone();
            if self.subsystems[subsystem].reservations.is_none() {
                self.enable_reservations(&nqn);
            }
            if self.subsystems[subsystem].protections.is_none() {
                self.enable_write_protection(&nqn);
            }
            if !options.ptpl {
                self.forbid_persistence(subsystem, nsid);
            }
        }
        Ok(())
    }

    /// What the I/O queues of a controller are to know: every namespace of its subsystem, and where it is counted; none
    /// where the controller is gone, or is for discovery.
    pub fn attachable(&self, controller: ControllerId) -> Option<(Arc<NamespaceTable>, Arc<dyn Counting>)> {
        let Kind::Io { subsystem, .. } = self.controllers.get(&controller)?.kind else { return None };
        let served = &self.subsystems[subsystem];
        Some((Arc::clone(&served.namespaces), Arc::clone(&served.subsystem.counting)))
    }

    /// Names other discovery services to hosts from now on.
    pub fn set_referrals(&mut self, referrals: Vec<Referral>) {
        if self.referrals == referrals {
            return;
        }
        self.referrals = referrals;
        self.generation += 1;
        for watching in self.controllers.values_mut().filter(|it| it.is_discovery()) {
            watching.raise(Notice::Discovery, &mut self.actions);
        }
    }

    /// All I/O queues of the controller have what [`Action::Access`](crate::nvmf::target::Action::Access) gave out under this number.
    pub fn access_taken(&mut self, controller: ControllerId, number: u64) {
        if let Some(found) = self.controllers.get_mut(&controller) {
            found.access_taken(number, &mut self.actions);
        }
    }

    /// Brings every controller of a subsystem up to what holds for it now.
    pub(super) fn refresh(&mut self, subsystem: usize) {
        let served = &self.subsystems[subsystem];
        let those = self.controllers.values_mut().filter(|it| it.is_of(subsystem) && it.is_connected());
        for controller in those {
            let seen = served.seen_by(&controller.host.nqn);
            if let Kind::Io { namespaces, .. } = &mut controller.kind {
                *namespaces = seen;
            }
            controller.update(served, &mut self.actions);
        }
    }
}
