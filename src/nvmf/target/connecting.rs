//! Connect: which subsystem a host reaches, whether it may, and what it gets (NVMe base 2.1, section 6.3).

use std::collections::BTreeSet;
use std::mem::offset_of;
use std::sync::Arc;

use corelane_reactors::clock::Time;

use crate::nvmf::connect::Request;
use crate::nvmf::controller::{Controller, ControllerId, KeepAlive, Kind};
use crate::nvmf::host::Host;
use crate::nvmf::policy::Duplicates;
use crate::nvmf::target::{Arrival, Connected, IoTicket, Refusal, Target};
use crate::spec::fabrics::{CNTLID_DYNAMIC, Connect, ConnectAccepted, ConnectData};
use crate::spec::nqn::Nqn;
use crate::spec::status::Status;

impl Target {
    /// The index of the subsystem that a Connect names, if the host may have it here; `None` for discovery. A
    /// subsystem that does not listen at this address is not there.
    pub(super) fn reach(&self, request: &Request, arrival: &Arrival) -> Result<Option<usize>, Refusal> {
        if request.subnqn.is_discovery() {
            return Ok(None);
        }
        let found = self.find_subsystem(&request.subnqn);
        let here = found.filter(|index| self.subsystems[*index].listener_at(arrival.local).is_some());
        let index = here.ok_or_else(|| Refusal::in_data(offset_of!(ConnectData, subnqn)))?;
        if !self.subsystems[index].subsystem.policy.hosts.allow(&request.hostnqn) {
            return Err(Refusal::of(Status::CONNECT_INVALID_HOST));
        }
        Ok(Some(index))
    }

    /// A host has no more connections than it may.
    pub(super) fn leave_room(&self, host: &Nqn) -> Result<(), Refusal> {
        let its = self.controllers.values().filter(|it| it.host.nqn == *host);
        let connections: usize = its.map(Controller::connections).sum();
        if connections >= self.options.connections_per_host_max {
            return Err(Refusal::of(Status::CONNECT_CONTROLLER_BUSY));
        }
        Ok(())
    }

    pub(super) fn connect_admin(
        &mut self,
        now: Time,
        request: Request,
        subsystem: Option<usize>,
        arrival: &Arrival,
    ) -> Result<Connected, Refusal> {
        if request.entries > self.options.admin_entries_max {
            return Err(Refusal::in_command(offset_of!(Connect, sqsize_z)));
        }
        if request.cntlid != CNTLID_DYNAMIC {
            return Err(Refusal::in_data(offset_of!(ConnectData, cntlid)));
        }
        // An identifier of zeros could be anybody's, and reservations are kept by it.
        if request.hostid.is_zero() && subsystem.is_some() {
            return Err(Refusal::in_data(offset_of!(ConnectData, hostid)));
        }
        if self.controllers.len() >= self.options.controllers_max {
            return Err(Refusal::of(Status::CONNECT_CONTROLLER_BUSY));
        }
        let cntlid =
            self.next_cntlid(subsystem).ok_or_else(|| Refusal::of(Status::CONNECT_CONTROLLER_BUSY))?;
        let host = Host { nqn: request.hostnqn, id: request.hostid };
        self.look_for_duplicates(&host, subsystem, arrival)?;
        let (kind, paths) = match subsystem {
            None => (Kind::Discovery, None),
            Some(index) => {
                let served = &self.subsystems[index];
                let paths = served.paths(&host.nqn, served.listener_at(arrival.local));
                (Kind::Io { subsystem: index, namespaces: served.seen_by(&host.nqn) }, Some(paths))
            }
        };
        let bounds = self.options.keep_alive_ms;
        let keep_alive =
            KeepAlive::new(now, request.kato, subsystem.is_none(), bounds).map_err(Refusal::of)?;
        self.created += 1;
        let id = ControllerId(self.created);
        let controller = Controller::new(id, cntlid, kind, host, arrival.local, keep_alive).idle(now, paths);
        self.controllers.insert(id, controller);
        let (entries, flow_control) = (request.entries, request.flow_control);
        Ok(Connected::Admin { controller: id, entries, flow_control, dw0: accepted(cntlid) })
    }

    pub(super) fn connect_io(
        &mut self,
        request: &Request,
        subsystem: Option<usize>,
        arrival: &Arrival,
    ) -> Result<Connected, Refusal> {
        let wrong_controller = || Refusal::in_data(offset_of!(ConnectData, cntlid));
        let is_named = |found: &&mut Controller| {
            found.cntlid == request.cntlid
                && matches!(found.kind, Kind::Io { subsystem: index, .. } if Some(index) == subsystem)
        };
        let controller = self.controllers.values_mut().find(is_named).ok_or_else(wrong_controller)?;
        if controller.host.nqn != request.hostnqn {
            return Err(Refusal::in_data(offset_of!(ConnectData, hostnqn)));
        }
        if !request.hostid.is_zero() && controller.host.id != request.hostid {
            return Err(Refusal::in_data(offset_of!(ConnectData, hostid)));
        }
        if request.qid > self.options.io_queues_max {
            return Err(Refusal::in_command(offset_of!(Connect, qid)));
        }
        if request.entries > self.options.io_entries_max {
            return Err(Refusal::in_command(offset_of!(Connect, sqsize_z)));
        }
        let Kind::Io { subsystem, .. } = &controller.kind else {
            return Err(wrong_controller());
        };
        let (subsystem, served) = (*subsystem, &self.subsystems[*subsystem]);
        // A controller is one path: its queues come by one listener where paths differ.
        let asymmetric = served.subsystem.policy.ana.is_some();
        if asymmetric && !controller.came_by(served.listener_at(arrival.local)) {
            return Err(wrong_controller());
        }
        let failures = controller.open_queue(request.qid)?;
        let ticket = IoTicket {
            controller: controller.id,
            qid: request.qid,
            subsystem,
            entries: request.entries,
            flow_control: request.flow_control,
            host: controller.host.id,
            namespaces: Arc::clone(&served.namespaces),
            access: controller.access(served),
            failures,
            counting: Arc::clone(&served.subsystem.counting),
            fence: self.fences.admit(subsystem, controller.host.id),
        };
        Ok(Connected::Io { ticket, dw0: accepted(controller.cntlid) })
    }

    fn next_cntlid(&mut self, subsystem: Option<usize>) -> Option<u16> {
        let same = |controller: &&Controller| match (&controller.kind, subsystem) {
            (Kind::Discovery, None) => true,
            (Kind::Io { subsystem, .. }, Some(index)) => *subsystem == index,
            (Kind::Discovery, Some(_)) | (Kind::Io { .. }, None) => false,
        };
        let taken: BTreeSet<u16> = self.controllers.values().filter(same).map(|found| found.cntlid).collect();
        let circle = match subsystem {
            None => &mut self.discovery_cntlids,
            Some(index) => &mut self.cntlids[index],
        };
        circle.next(&taken)
    }

    /// Cloned machines share a HOSTID, and with it reservations: that must not happen silently.
    fn look_for_duplicates(
        &self,
        host: &Host,
        subsystem: Option<usize>,
        arrival: &Arrival,
    ) -> Result<(), Refusal> {
        let Some(index) = subsystem else { return Ok(()) };
        let served = &self.subsystems[index];
        let same = || self.controllers.values().filter(|it| it.host.id == host.id && !it.is_discovery());
        let clone = same().find(|it| it.host.nqn != host.nqn);
        if let Some(other) = clone {
            let (first, second) = (&other.host.nqn, &host.nqn);
            tracing::warn!(hostid = %host.id, %first, %second, "two hosts have one host identifier");
        }
        let here = served.listener_at(arrival.local);
        let again = || same().any(|it| it.is_of(index) && it.is_connected() && it.came_by(here));
        match served.subsystem.policy.duplicates {
            Duplicates::Allow => Ok(()),
            _ if clone.is_some() => Err(Refusal::of(Status::CONNECT_INVALID_HOST)),
            // The old one may be on its way out: trying again helps then.
            Duplicates::OnePerListener if again() => Err(Refusal::of(Status::CONNECT_CONTROLLER_BUSY)),
            Duplicates::OnePerListener | Duplicates::RefuseClones => Ok(()),
        }
    }
}

fn accepted(cntlid: u16) -> u32 {
    ConnectAccepted::new().with_cntlid(cntlid).into()
}
