//! The target: subsystems, and the controllers that hosts have with them.

mod reservations;
mod reserve;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem::offset_of;
use std::net::SocketAddr;
use std::sync::Arc;

use corelane_reactors::clock::Time;
use corelane_reactors::published::Subscriber;

use crate::nvmf::admin::{self, Context, Reply};
use crate::nvmf::connect::Request;
use crate::nvmf::controller::{Controller, ControllerId, KeepAlive, Kind, Notice};
use crate::nvmf::fence::{Fences, Snapshot};
use crate::nvmf::host::{Host, HostId};
use crate::nvmf::namespace::NamespaceTable;
use crate::nvmf::options::Options;
use crate::nvmf::subsystem::{CntlidCircle, Counting, Served, Subsystem, SubsystemError};
use crate::spec::fabrics::{CNTLID_DYNAMIC, Connect, ConnectAccepted, ConnectData};
use crate::spec::nqn::Nqn;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

pub use reserve::FenceWork;

/// Subsystems and controllers. One owner, no I/O; time is passed in.
pub struct Target {
    options: Options,
    subsystems: Vec<Served>,
    /// CNTLIDs of each subsystem, in the same order, and of the discovery subsystem.
    cntlids: Vec<CntlidCircle>,
    discovery_cntlids: CntlidCircle,
    controllers: BTreeMap<ControllerId, Controller>,
    created: u64,
    /// GENCTR of the discovery log.
    generation: u64,
    actions: VecDeque<Action>,
    fences: Fences,
    /// Reservation commands that were not answered at once, for the log.
    asked: HashMap<u64, reserve::Asked>,
    /// Set Features commands whose namespaces are being saved, by number.
    persisting: HashMap<u64, reserve::Persisting>,
    persisted: u64,
}

/// The two ends of the connection that a command came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Our address.
    pub local: SocketAddr,
    /// The host's address.
    pub peer: SocketAddr,
}

/// A Connect that succeeded. The transport completes it with `dw0`, and with SQHD FFFFh where flow control is
/// off (NVMe base 2.1, section 6.3).
#[derive(Debug)]
pub enum Connected {
    /// An admin queue: a new controller.
    Admin {
        /// The controller; its commands go to [`Target::admin`], its end to [`Target::admin_closed`].
        controller: ControllerId,
        /// Entries of the queue, from 2.
        entries: u32,
        /// The host keeps SQ flow control.
        flow_control: bool,
        /// DW0 of the completion.
        dw0: u32,
    },
    /// An I/O queue; its end goes to [`Target::queue_closed`], whether or not an I/O reactor ever saw it.
    Io {
        /// What the I/O reactor needs.
        ticket: IoTicket,
        /// DW0 of the completion.
        dw0: u32,
    },
}

/// An accepted I/O queue on its way to its reactor.
#[derive(Clone, Debug)]
pub struct IoTicket {
    /// The controller.
    pub controller: ControllerId,
    /// QID, from 1.
    pub qid: u16,
    /// The subsystem, by its index: see [`Target::subsystem_index`].
    pub subsystem: usize,
    /// Entries of the queue, 2 to 65,536.
    pub entries: u32,
    /// The host keeps SQ flow control.
    pub flow_control: bool,
    /// Whose queue it is.
    pub host: HostId,
    /// Where its commands find their namespaces.
    pub namespaces: Arc<NamespaceTable>,
    /// Where the I/O reactors count for the subsystem.
    pub counting: Arc<dyn Counting>,
    /// Where the rights of its host are published, and the host's slot; none where there are no reservations.
    pub fence: Option<(Subscriber<Arc<Snapshot>>, u32)>,
}

/// A Connect that failed: what the transport completes it with, before it closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: Status,
    /// DW0: the offending parameter, where the status is Connect Invalid Parameters.
    pub dw0: u32,
}

/// What the transport must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// End an I/O queue; say so with [`Target::queue_closed`] when nothing of it is left.
    CloseQueue {
        /// Of this controller.
        controller: ControllerId,
        /// QID.
        qid: u16,
    },
    /// End the admin queue; say so with [`Target::admin_closed`].
    CloseAdmin {
        /// Of this controller.
        controller: ControllerId,
    },
    /// Complete a command that was deferred.
    Complete {
        /// Of this controller.
        controller: ControllerId,
        /// CID of the command.
        cid: u16,
        /// The status of the completion.
        status: Status,
        /// DW0 of the completion.
        dw0: u32,
    },
    /// Make PTPL of these namespaces so, durably; then say what is so with [`Target::set_persistence_known`], and
    /// answer with [`Target::complete_deferred`].
    SetPersistence {
        /// Whose host asked; its subsystem is meant.
        controller: ControllerId,
        /// CID of the command.
        cid: u16,
        /// The namespaces: at least one, ascending, each with support for persistence.
        nsids: Vec<u32>,
        /// The new value.
        ptpl: bool,
    },
}

/// Who is behind a controller, for logs and for people.
#[derive(Clone, Copy, Debug)]
pub struct Association<'a> {
    /// CNTLID.
    pub cntlid: u16,
    /// The subsystem's name; `None` for discovery.
    pub subsystem: Option<&'a Nqn>,
    /// The host.
    pub host: &'a Host,
}

impl Target {
    /// A target with only the discovery subsystem.
    ///
    /// # Panics
    /// When a value of `options` is out of its range.
    pub fn new(options: Options) -> Self {
        options.assert_ranges();
        Self {
            options,
            subsystems: Vec::new(),
            cntlids: Vec::new(),
            discovery_cntlids: CntlidCircle::default(),
            controllers: BTreeMap::new(),
            created: 0,
            generation: 1,
            actions: VecDeque::new(),
            fences: Fences::default(),
            asked: HashMap::new(),
            persisting: HashMap::new(),
            persisted: 0,
        }
    }

    /// The limits it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Puts a subsystem in service, and tells hosts that watch the discovery log.
    ///
    /// # Errors
    /// [`SubsystemError`]; nothing changes.
    pub fn add_subsystem(&mut self, subsystem: Subsystem) -> Result<(), SubsystemError> {
        let served = Served::new(subsystem)?;
        if self.find_subsystem(&served.subsystem.nqn).is_some() {
            return Err(SubsystemError::Duplicate(served.subsystem.nqn));
        }
        let hosts = served.subsystem.hosts.clone();
        self.subsystems.push(served);
        self.cntlids.push(CntlidCircle::default());
        self.generation += 1;
        let watching =
            self.controllers.values_mut().filter(|it| it.is_discovery() && hosts.allow(&it.host.nqn));
        for controller in watching {
            controller.raise(Notice::Discovery, &mut self.actions);
        }
        Ok(())
    }

    /// The first command of a connection: `data` is what came with it.
    ///
    /// # Errors
    /// [`Refusal`], and nothing changes.
    pub fn connect(
        &mut self,
        now: Time,
        sqe: &Sqe,
        data: &[u8],
        arrival: &Arrival,
    ) -> Result<Connected, Refusal> {
        let request = Request::read(sqe, data)?;
        let subsystem = self.reach(&request, arrival)?;
        if request.qid == 0 {
            self.connect_admin(now, request, subsystem, arrival)
        } else {
            self.connect_io(&request, subsystem)
        }
    }

    /// A command of the admin queue of `controller`; `data` is what came with it.
    ///
    /// # Panics
    /// When the controller's admin queue was closed: the transport said so itself.
    pub fn admin(&mut self, now: Time, controller: ControllerId, sqe: &Sqe, data: &[u8]) -> Reply {
        let mut context = Context {
            now,
            options: &self.options,
            subsystems: &self.subsystems,
            generation: self.generation,
            actions: &mut self.actions,
        };
        let controller = self.controllers.get_mut(&controller);
        assert!(controller.is_some());
        controller.map_or(Reply::failed(Status::INTERNAL_ERROR), |controller| {
            admin::execute(controller, &mut context, sqe, data)
        })
    }

    /// An I/O queue ended, whoever ended it, and none of its commands is left.
    pub fn queue_closed(&mut self, now: Time, controller: ControllerId, qid: u16) {
        if let Some(found) = self.controllers.get_mut(&controller) {
            found.queue_closed(now, qid, &mut self.actions);
            self.forget_if_gone(controller);
        }
    }

    /// An admin queue ended, whoever ended it. The association is over; its I/O queues are closed.
    pub fn admin_closed(&mut self, now: Time, controller: ControllerId) {
        if let Some(found) = self.controllers.get_mut(&controller) {
            found.admin_closed(now, &mut self.actions);
            self.forget_if_gone(controller);
        }
    }

    /// Acts on what became due.
    pub fn tick(&mut self, now: Time) {
        for controller in self.controllers.values_mut() {
            if controller.tick(now, &mut self.actions) {
                let (host, cntlid) = (&controller.host.nqn, controller.cntlid);
                tracing::warn!(%host, cntlid, "keep alive timer expired");
            }
        }
    }

    /// When [`Target::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        self.controllers.values().filter_map(Controller::deadline).min()
    }

    /// The next thing that the transport must do. Look after every call of another method.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Who is behind a controller; `None` when it is gone.
    pub fn association(&self, controller: ControllerId) -> Option<Association<'_>> {
        let found = self.controllers.get(&controller)?;
        let subsystem = match &found.kind {
            Kind::Discovery => None,
            Kind::Io { subsystem, .. } => Some(&self.subsystems[*subsystem].subsystem.nqn),
        };
        Some(Association { cntlid: found.cntlid, subsystem, host: &found.host })
    }

    /// Controllers that hosts have, or that are still being taken down.
    pub fn controllers(&self) -> impl Iterator<Item = ControllerId> + '_ {
        self.controllers.keys().copied()
    }

    fn find_subsystem(&self, nqn: &Nqn) -> Option<usize> {
        self.subsystems.iter().position(|served| served.subsystem.nqn == *nqn)
    }

    /// The index of the subsystem that a Connect names, if the host may have it here; `None` for discovery. A
    /// subsystem that does not listen at this address is not there.
    fn reach(&self, request: &Request, arrival: &Arrival) -> Result<Option<usize>, Refusal> {
        if request.subnqn.is_discovery() {
            return Ok(None);
        }
        let found = self.find_subsystem(&request.subnqn);
        let here = found.filter(|index| self.subsystems[*index].listens_at(arrival.local));
        let index = here.ok_or_else(|| Refusal::in_data(offset_of!(ConnectData, subnqn)))?;
        if !self.subsystems[index].subsystem.hosts.allow(&request.hostnqn) {
            return Err(Refusal::of(Status::CONNECT_INVALID_HOST));
        }
        Ok(Some(index))
    }

    fn connect_admin(
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
        self.warn_of_clones(&host, subsystem);
        let kind = match subsystem {
            None => Kind::Discovery,
            Some(index) => {
                Kind::Io { subsystem: index, namespaces: Arc::clone(&self.subsystems[index].namespaces) }
            }
        };
        let keep_alive = KeepAlive::new(now, request.kato, subsystem.is_none());
        self.created += 1;
        let id = ControllerId(self.created);
        let controller = Controller::new(id, cntlid, kind, host, arrival.local, keep_alive);
        self.controllers.insert(id, controller);
        let (entries, flow_control) = (request.entries, request.flow_control);
        Ok(Connected::Admin { controller: id, entries, flow_control, dw0: accepted(cntlid) })
    }

    fn connect_io(&mut self, request: &Request, subsystem: Option<usize>) -> Result<Connected, Refusal> {
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
        let Kind::Io { subsystem, namespaces } = &controller.kind else {
            return Err(wrong_controller());
        };
        let ticket = IoTicket {
            controller: controller.id,
            qid: request.qid,
            subsystem: *subsystem,
            entries: request.entries,
            flow_control: request.flow_control,
            host: controller.host.id,
            namespaces: Arc::clone(namespaces),
            counting: Arc::clone(&self.subsystems[*subsystem].subsystem.counting),
            fence: self.fences.admit(*subsystem, controller.host.id),
        };
        controller.open_queue(request.qid).map_err(Refusal::of)?;
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
    fn warn_of_clones(&self, host: &Host, subsystem: Option<usize>) {
        let other = self.controllers.values().find(|it| it.host.id == host.id && it.host.nqn != host.nqn);
        if let Some(other) = other.filter(|_| subsystem.is_some()) {
            let (first, second) = (&other.host.nqn, &host.nqn);
            tracing::warn!(hostid = %host.id, %first, %second, "two hosts have one host identifier");
        }
    }

    fn forget_if_gone(&mut self, controller: ControllerId) {
        if self.controllers.get(&controller).is_some_and(Controller::is_gone) {
            self.controllers.remove(&controller);
        }
    }
}

fn accepted(cntlid: u16) -> u32 {
    ConnectAccepted::new().with_cntlid(cntlid).into()
}
