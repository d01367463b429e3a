//! The target's side of write protection: what hosts are told of it, and what they ask for; and what they are told of records
//! that cannot be kept.

use crate::nvmf::controller::{ControllerId, Kind};
use crate::nvmf::fence::NamespaceKey;
use crate::nvmf::fence::keeper::{Protection, Wish};
use crate::nvmf::namespace::Namespace;
use crate::nvmf::protection::Protections;
use crate::nvmf::target::Target;
use crate::spec::nqn::Nqn;

impl Target {
    /// From now on the controllers of this subsystem announce write protection: before hosts can connect, since they do not
    /// look twice. No namespace is protected; its fence says what is so.
    ///
    /// # Panics
    /// When there is no such subsystem.
    pub fn enable_write_protection(&mut self, nqn: &Nqn) {
        let index = self.find_subsystem(nqn);
        assert!(index.is_some(), "there is a subsystem {nqn}");
        if let Some(served) = index.map(|index| &mut self.subsystems[index]) {
            served.protections = Some(Protections::of(&served.namespaces));
        }
    }

    /// The write protection of this namespace is so, on every I/O reactor; `None` where the namespace is out of service.
    /// Controllers that have the namespace tell their hosts.
    ///
    /// # Panics
    /// When there is no such namespace.
    pub fn set_protection_known(&mut self, key: NamespaceKey, protection: Option<Protection>) {
        let served = &mut self.subsystems[key.subsystem];
        let Some(protections) = &mut served.protections else { return };
        if protections.set(key.nsid, protection) {
            let (nqn, nsid) = (&served.subsystem.nqn, key.nsid);
            if let Some(Protection { hosts, operator }) = protection {
                tracing::info!(%nqn, nsid, hosts, operator, "the write protection of a namespace");
            }
            self.refresh(key.subsystem);
        }
    }

    /// Whether what this namespace has to keep is known, and the disk holds it. Where that is not so for a first namespace of a
    /// subsystem, hosts are told that its reliability is degraded, as far as they want to hear of it.
    ///
    /// # Panics
    /// When there is no such subsystem.
    pub fn set_health_known(&mut self, key: NamespaceKey, sound: bool) {
        let unsound = &mut self.subsystems[key.subsystem].unsound;
        let was_sound = unsound.is_empty();
        if sound {
            unsound.remove(&key.nsid);
        } else if unsound.insert(key.nsid) && was_sound {
            for controller in self.controllers.values_mut().filter(|it| it.is_of(key.subsystem)) {
                controller.warn(&mut self.actions);
            }
        }
    }

    /// Protects namespaces, or does not any more, for a Set Features command that was deferred; it is completed when that
    /// is so.
    pub fn protect(&mut self, controller: ControllerId, cid: u16, nsids: &[u32], protected: bool) {
        self.change(controller, cid, nsids, &Wish::Protection(protected));
    }

    /// Has the fences protect what the policy of a subsystem protects, and nothing else.
    pub(super) fn operate(&mut self, subsystem: usize) {
        let served = &self.subsystems[subsystem];
        let protected = &served.subsystem.policy.protected;
        let wanted: Vec<_> =
            served.namespaces.iter().map(|it| (it.nsid, protected.contains(&it.nsid))).collect();
        for (nsid, protected) in wanted {
            self.fences.operate(NamespaceKey { subsystem, nsid }, protected);
        }
    }

    /// The namespace of this key.
    pub fn namespace(&self, key: NamespaceKey) -> Option<&Namespace> {
        self.subsystems.get(key.subsystem)?.namespaces.find(key.nsid).ok()
    }

    /// The subsystem of a controller; `None` for discovery, and where the controller is gone.
    pub fn subsystem_of(&self, controller: ControllerId) -> Option<usize> {
        match self.controllers.get(&controller)?.kind {
            Kind::Discovery => None,
            Kind::Io { subsystem, .. } => Some(subsystem),
        }
    }
}
