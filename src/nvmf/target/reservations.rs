//! The target's side of persistent reservations: what hosts are told by it, and what they tell it, on admin queues.
//! The reservations themselves are kept elsewhere, and so is the disk.

use crate::nvmf::controller::ControllerId;
use crate::nvmf::host::HostId;
use crate::nvmf::persistence::{Persistence, Reservations};
use crate::nvmf::target::Target;
use crate::reservation::Notice;
use crate::spec::nqn::Nqn;
use crate::spec::status::Status;

impl Target {
    /// The index by which the other methods here, and [`IoTicket`](super::IoTicket), name a subsystem.
    pub fn subsystem_index(&self, nqn: &Nqn) -> Option<usize> {
        self.find_subsystem(nqn)
    }

    /// From now on the controllers of this subsystem announce reservations: before hosts can connect, since they do
    /// not look twice. Every namespace starts with support for persistence, and without persistence.
    ///
    /// # Panics
    /// When there is no such subsystem.
    pub fn enable_reservations(&mut self, nqn: &Nqn) {
        let index = self.find_subsystem(nqn);
        assert!(index.is_some(), "there is a subsystem {nqn}");
        let served = index.map(|index| &mut self.subsystems[index]);
        if let Some(served) = served {
            served.reservations = Some(Reservations::of(&served.namespaces));
        }
    }

    /// This namespace's reservations cannot be made to survive a power loss (RESCAP FEh instead of FFh).
    ///
    /// # Panics
    /// When the subsystem has no reservations, or no such namespace.
    pub fn forbid_persistence(&mut self, subsystem: usize, nsid: u32) {
        self.reservations(subsystem).set(nsid, Persistence::Unsupported);
    }

    /// PTPL of this namespace is so, durably: what feature 83h reports. Nothing where persistence is forbidden.
    ///
    /// # Panics
    /// When the subsystem has no reservations, or no such namespace.
    pub fn set_persistence_known(&mut self, subsystem: usize, nsid: u32, ptpl: bool) {
        let reservations = self.reservations(subsystem);
        if reservations.is_supported(nsid) {
            reservations.set(nsid, if ptpl { Persistence::On } else { Persistence::Off });
        } else {
            assert!(!ptpl, "namespace {nsid} has no persistence");
        }
    }

    /// Tells every controller that the named hosts have with this subsystem what happened to the namespace, but for
    /// what those have masked (feature 82h).
    pub fn notify(&mut self, subsystem: usize, nsid: u32, notices: &[Notice]) {
        for controller in self.controllers.values_mut().filter(|it| it.is_of(subsystem)) {
            let host = controller.host.id;
            for notice in notices.iter().filter(|notice| notice.host == host) {
                controller.notify(nsid, notice.kind, &mut self.actions);
            }
        }
    }

    /// The lowest CNTLID of the controllers that a host has with a subsystem; `None` where it has none.
    pub fn controller_of(&self, subsystem: usize, host: HostId) -> Option<u16> {
        let found = self.controllers.values().filter(|it| it.is_of(subsystem) && it.host.id == host);
        found.filter(|it| it.is_connected()).map(|it| it.cntlid).min()
    }

    /// Answers a command that [`Action::SetPersistence`](super::Action::SetPersistence) or
    /// [`Action::Abort`](super::Action::Abort) was made of. Nothing happens where the controller's admin queue has ended meanwhile.
    ///
    /// # Panics
    /// When the controller waits for no such answer.
    pub fn complete_deferred(&mut self, controller: ControllerId, cid: u16, status: Status, dw0: u32) {
        if let Some(found) = self.controllers.get_mut(&controller) {
            found.complete_deferred(cid, status, dw0, &mut self.actions);
        }
    }

    fn reservations(&mut self, subsystem: usize) -> &mut Reservations {
        self.subsystems[subsystem].reservations.as_mut().expect("the subsystem has reservations")
    }
}
