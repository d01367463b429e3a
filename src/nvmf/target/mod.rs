//! The target: subsystems, and the controllers that hosts have with them.

mod connecting;
mod policies;
mod protection;
mod reservations;
mod reserve;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use corelane_reactors::clock::Time;
use corelane_reactors::published::Subscriber;

use crate::nvmf::access::Access;
use crate::nvmf::admin::{self, Context, Reply};
use crate::nvmf::connect::Request;
use crate::nvmf::controller::{Controller, ControllerId, Kind, Notice};
use crate::nvmf::discovery::Referral;
use crate::nvmf::errors::Failures;
use crate::nvmf::fence::{Fences, Snapshot};
use crate::nvmf::host::{Host, HostId};
use crate::nvmf::namespace::NamespaceTable;
use crate::nvmf::options::Options;
use crate::nvmf::subsystem::{CntlidCircle, Counting, Served, Subsystem, SubsystemError};
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
    /// Other discovery services that hosts are told of.
    referrals: Vec<Referral>,
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
    /// Every namespace of the subsystem, those that the host does not have included.
    pub namespaces: Arc<NamespaceTable>,
    /// What the controller may do with them, until [`Action::Access`] says otherwise.
    pub access: Arc<Access>,
    /// Where its commands are noted that fail.
    pub failures: Arc<Failures>,
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
    /// Give this to all I/O queues of the controller, those that are on their way included; then say so with
    /// [`Target::access_taken`].
    Access {
        /// The controller.
        controller: ControllerId,
        /// Counts what was given to this controller: only the last is waited for.
        number: u64,
        /// What it may do.
        access: Arc<Access>,
    },
    /// Make durable what the devices of these namespaces have cached; say so of each with [`Target::flushed`].
    Flush {
        /// Whose host shuts down; its subsystem is meant.
        controller: ControllerId,
        /// Counts the shutdowns of this controller: only the last is waited for.
        number: u64,
        /// The namespaces: at least one, ascending.
        nsids: Vec<u32>,
    },
    /// Abort a command of an I/O queue; then answer with [`Target::complete_deferred`].
    Abort {
        /// Of this controller.
        controller: ControllerId,
        /// CID of the Abort command.
        cid: u16,
        /// QID of the command's queue.
        qid: u16,
        /// CID of the command.
        victim: u16,
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
    /// Have namespaces write protected, or not any more: see [`Target::protect`].
    SetProtection {
        /// Whose host asked; its subsystem is meant.
        controller: ControllerId,
        /// CID of the command.
        cid: u16,
        /// The namespaces: at least one, ascending.
        nsids: Vec<u32>,
        /// The new value.
        protected: bool,
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
            referrals: Vec::new(),
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
        let hosts = served.subsystem.policy.hosts.clone();
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
        self.leave_room(&request.hostnqn)?;
        if request.qid == 0 {
            self.connect_admin(now, request, subsystem, arrival)
        } else {
            self.connect_io(&request, subsystem, arrival)
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
            referrals: &self.referrals,
            generation: self.generation,
            actions: &mut self.actions,
        };
        let controller = self.controllers.get_mut(&controller);
        assert!(controller.is_some());
        controller.map_or(Reply::failed(Status::INTERNAL_ERROR), |controller| {
            admin::execute(controller, &mut context, sqe, data)
        })
    }

    /// A command of the admin queue of `controller` failed with `status` before it came to [`Target::admin`]: it is noted.
    pub fn admin_refused(&mut self, now: Time, controller: ControllerId, sqe: &Sqe, status: Status) {
        if let Some(controller) = self.controllers.get_mut(&controller) {
            controller.keep_alive.command(now);
            controller.note_failure(sqe, status);
        }
    }

    /// An I/O queue ended, whoever ended it, and none of its commands is left.
    pub fn queue_closed(&mut self, now: Time, controller: ControllerId, qid: u16) {
        if let Some(found) = self.controllers.get_mut(&controller) {
            let was_open = found.queue_closed(now, qid, &mut self.actions);
            if let (true, Kind::Io { subsystem, .. }) = (was_open, &found.kind) {
                self.fences.leave(*subsystem, found.host.id);
            }
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

    /// What the device of a namespace had cached is durable on every I/O reactor, or cannot be, as [`Action::Flush`] has asked
    /// under this number. Nothing happens where nobody waits for it any more.
    pub fn flushed(&mut self, now: Time, controller: ControllerId, number: u64, nsid: u32, durable: bool) {
        let Some(found) = self.controllers.get_mut(&controller) else { return };
        if found.flushed(now, number, durable, &mut self.actions) {
            let (host, cntlid) = (&found.host.nqn, found.cntlid);
            tracing::error!(%host, cntlid, nsid, "what the device has cached cannot be made durable: a shutdown fails");
        }
    }

    /// Acts on what became due.
    pub fn tick(&mut self, now: Time) {
        for controller in self.controllers.values_mut() {
            if let Some(why) = controller.tick(now, &mut self.actions) {
                let (host, cntlid) = (&controller.host.nqn, controller.cntlid);
                tracing::warn!(%host, cntlid, why, "an association is given up");
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

    fn forget_if_gone(&mut self, controller: ControllerId) {
        if self.controllers.get(&controller).is_some_and(Controller::is_gone) {
            self.controllers.remove(&controller);
        }
    }
}
