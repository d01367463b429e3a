//! The target's share in reservation commands: who asks, what is answered at once, and what the transport has to do.

use std::net::SocketAddr;

use crate::nvmf::controller::{ControllerId, Kind};
use crate::nvmf::fence::keeper::Wish;
use crate::nvmf::fence::{FenceAction, Fences, NamespaceKey, Origin};
use crate::nvmf::host::Host;
use crate::nvmf::target::Target;
use crate::reservation::{self, Request};
use crate::spec::host::HostId;
use crate::spec::opcode::NvmOpcode;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// What the transport has to do for the fences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FenceWork {
    /// Complete the reservation command that came under this number.
    Answer(u64, Status),
    /// Bring every command of these hosts on the namespace to its end; then [`Fences::drained`].
    Drain {
        /// The namespace.
        key: NamespaceKey,
        /// The victims.
        hosts: Vec<HostId>,
    },
    /// Wait for the end of every command that changes the namespace, and make durable what its device has cached; then
    /// [`Fences::drained`], or [`Fences::not_settled`].
    Settle(NamespaceKey),
}

/// Who asked for what: an operator wants to know who took a reservation from whom.
#[derive(Debug)]
pub(super) struct Asked {
    host: Host,
    peer: SocketAddr,
    nsid: u32,
    request: Request,
}

/// A Set Features command whose namespaces are being saved.
#[derive(Debug)]
pub(super) struct Persisting {
    controller: ControllerId,
    cid: u16,
    /// Namespaces that are not done.
    left: usize,
    /// The worst status so far.
    worst: Status,
}

impl Target {
    /// Takes the fences, with all subsystems that have reservations. Before any host connects.
    pub fn set_fences(&mut self, fences: Fences) {
        assert!(self.controllers.is_empty());
        self.fences = fences;
        (0..self.subsystems.len()).for_each(|subsystem| self.operate(subsystem));
        // What they begin with is known before the first host asks for it.
        let work = self.next_fence_work();
        assert!(work.is_none(), "nothing is left to do before there are hosts");
    }

    /// The fences.
    pub fn fences(&mut self) -> &mut Fences {
        &mut self.fences
    }

    /// A reservation command arrived on an I/O queue of `controller`, from `peer`; `id` names it until it is answered. Its answer,
    /// with data for the host, if it can be given at once; otherwise it comes by [`Target::next_fence_work`].
    pub fn reserve(
        &mut self,
        id: u64,
        controller: ControllerId,
        peer: SocketAddr,
        sqe: &Sqe,
        data: &[u8],
    ) -> Option<(Status, Vec<u8>)> {
        let failed = |status: Status| Some((status.with_dnr(), Vec::new()));
        let Some(found) = self.controllers.get(&controller) else {
            return failed(Status::ABORTED_SQ_DELETION);
        };
        let Kind::Io { subsystem, .. } = found.kind else { return failed(Status::INVALID_OPCODE) };
        let key = NamespaceKey { subsystem, nsid: sqe.nsid.get() };
        if sqe.nvm_opcode() == NvmOpcode::RESERVATION_REPORT {
            let bytes = match reservation::report::decode(sqe) {
                Ok(bytes) => bytes,
                Err(status) => return Some((status, Vec::new())),
            };
            let report = self.fences.report(key, bytes, |host| self.controller_of(subsystem, host));
            return Some(
                report.map_or_else(|status| (status, Vec::new()), |report| (Status::SUCCESS, report)),
            );
        }
        let request = match Request::decode(sqe, data) {
            Ok(request) => request,
            Err(status) => return Some((status, Vec::new())),
        };
        let host = found.host.clone();
        self.asked.insert(id, Asked { host: host.clone(), peer, nsid: key.nsid, request });
        self.fences.submit(key, Origin::Io(id), Wish::Request(host, request));
        None
    }

    /// Sets PTPL of namespaces for a Set Features command that was deferred; it is completed when that is durable.
    pub fn persist(&mut self, controller: ControllerId, cid: u16, nsids: &[u32], ptpl: bool) {
        self.change(controller, cid, nsids, &Wish::Persistence(ptpl));
    }

    /// Changes namespaces for a Set Features command that was deferred; it is completed when all of them are done.
    pub(super) fn change(&mut self, controller: ControllerId, cid: u16, nsids: &[u32], wish: &Wish) {
        let Some(subsystem) = self.subsystem_of(controller) else { return };
        // A number of its own: a host may use a CID twice.
        self.persisted += 1;
        let id = self.persisted;
        self.persisting.insert(id, Persisting { controller, cid, left: nsids.len(), worst: Status::SUCCESS });
        for nsid in nsids {
            let key = NamespaceKey { subsystem, nsid: *nsid };
            self.fences.submit(key, Origin::Admin(id), wish.clone());
        }
    }

    /// What the transport has to do next for the fences.
    pub fn next_fence_work(&mut self) -> Option<FenceWork> {
        loop {
            match self.fences.next_action()? {
                FenceAction::Answer(Origin::Io(id), status) => {
                    self.log_answer(id, status);
                    return Some(FenceWork::Answer(id, status));
                }
                FenceAction::Answer(Origin::Admin(id), status) => self.one_persisted(id, status),
                FenceAction::Answer(Origin::Operator, _) => {}
                FenceAction::Settle { key } => return Some(FenceWork::Settle(key)),
                FenceAction::Drain { key, hosts } => return Some(FenceWork::Drain { key, hosts }),
                FenceAction::Notify { key, notices } => self.notify(key.subsystem, key.nsid, &notices),
                FenceAction::Persistence { key, ptpl } => {
                    self.set_persistence_known(key.subsystem, key.nsid, ptpl);
                }
                FenceAction::Protection { key, protection } => self.set_protection_known(key, protection),
                FenceAction::Health { key, sound } => self.set_health_known(key, sound),
            }
        }
    }

    /// One line for each command that might have changed something.
    fn log_answer(&mut self, id: u64, status: Status) {
        if let Some(Asked { host, peer, nsid, request }) = self.asked.remove(&id) {
            let (host, hostid) = (&host.nqn, host.id);
            tracing::info!(%host, %hostid, %peer, nsid, ?request, %status, "a reservation command");
        }
    }

    /// One namespace of a Set Features command is done.
    fn one_persisted(&mut self, id: u64, status: Status) {
        let Some(persisting) = self.persisting.get_mut(&id) else { return };
        persisting.left -= 1;
        if persisting.worst.is_success() {
            persisting.worst = status;
        }
        if persisting.left == 0
            && let Some(Persisting { controller, cid, worst, .. }) = self.persisting.remove(&id)
        {
            self.complete_deferred(controller, cid, worst, 0);
        }
    }
}
