//! Commands of an admin queue: which are taken when, and what they answer (NVMe base 2.1, sections 5 and 6).
//!
//! Every command here either succeeds, or changes nothing and fails: with a status that says "do not retry", unless it is
//! the path that is in the way, or too many that wait. What fails is in the controller's error log.

mod ana;
mod effects;
mod fabrics;
mod features;
mod identify;
mod log_pages;
mod protection;
mod reservation;

use std::collections::VecDeque;

use corelane_reactors::clock::Time;

use crate::nvmf::controller::{ACL_Z, Controller, Kind};
use crate::nvmf::discovery::Referral;
use crate::nvmf::namespace::NamespaceTable;
use crate::nvmf::options::Options;
use crate::nvmf::subsystem::Served;
use crate::nvmf::target::Action;
use crate::spec::abort::AbortResult;
use crate::spec::opcode::AdminOpcode;
use crate::spec::sqe::{Fused, Psdt, Sqe};
use crate::spec::status::{Status, StatusType};

/// SQID of the admin queue.
const ADMIN_QUEUE: u16 = 0;

/// What an admin command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a command that is never completed hangs its host"]
pub enum Reply {
    /// Complete it now.
    Done {
        /// The status of the completion.
        status: Status,
        /// DW0 of the completion.
        dw0: u32,
        /// DW1 of the completion.
        dw1: u32,
        /// What to send to the host first; never more than the command's SGL describes, which is one of the transport's;
        /// often less, empty for commands without data.
        data: Vec<u8>,
    },
    /// An Asynchronous Event Request was kept, or what a Set Features asks for is being made durable:
    /// [`Action::Complete`] will name its CID, unless the admin queue ends.
    Deferred,
}

impl Reply {
    /// Failed with this status, exactly as it is.
    pub(super) fn failed(status: Status) -> Self {
        Self::Done { status, dw0: 0, dw1: 0, data: Vec::new() }
    }

    fn success() -> Self {
        Self::value(0)
    }

    fn value(dw0: u32) -> Self {
        Self::Done { status: Status::SUCCESS, dw0, dw1: 0, data: Vec::new() }
    }

    /// Succeeded with data, if the host made room for it.
    fn to_host(sqe: &Sqe, data: Vec<u8>) -> Result<Self, Status> {
        check_room(sqe, data.len() as u64)?;
        Ok(Self::Done { status: Status::SUCCESS, dw0: 0, dw1: 0, data })
    }
}

/// Refuses a command that has no room for as many bytes for the host, or room that the transport cannot fill (TCP
/// transport 1.0, section 3.3.2). To be asked before anything changes.
fn check_room(sqe: &Sqe, bytes: u64) -> Result<(), Status> {
    if !sqe.dptr.is_transport() {
        return Err(Status::SGL_TYPE_INVALID);
    }
    if bytes > u64::from(sqe.dptr.length.get()) {
        return Err(Status::DATA_SGL_LENGTH_INVALID);
    }
    Ok(())
}

/// What commands need beside their controller.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) options: &'a Options,
    pub(super) subsystems: &'a [Served],
    pub(super) referrals: &'a [Referral],
    /// GENCTR of the discovery log.
    pub(super) generation: u64,
    pub(super) actions: &'a mut VecDeque<Action>,
}

impl Context<'_> {
    /// The subsystem and the namespaces of an I/O controller.
    ///
    /// `None` for discovery controllers.
    fn served<'a>(&'a self, controller: &'a Controller) -> Option<(&'a Served, &'a NamespaceTable)> {
        match &controller.kind {
            Kind::Discovery => None,
            Kind::Io { subsystem, namespaces } => Some((&self.subsystems[*subsystem], namespaces)),
        }
    }
}

/// Carries out one command of the admin queue of `controller`. `data` is what the host sent with it.
pub(super) fn execute(
    controller: &mut Controller,
    context: &mut Context<'_>,
    sqe: &Sqe,
    data: &[u8],
) -> Reply {
    controller.keep_alive.command(context.now);
    dispatch(controller, context, sqe, data).unwrap_or_else(|status| {
        let status = if may_succeed_later(status) { status } else { status.with_dnr() };
        controller.note_failure(sqe, status);
        Reply::failed(status)
    })
}

/// Another path may do, and hosts do not look for one where they read "do not retry"; those that wait become fewer.
fn may_succeed_later(status: Status) -> bool {
    let waits = status.is(Status::ABORT_LIMIT_EXCEEDED) || status.is(Status::ASYNC_EVENT_LIMIT_EXCEEDED);
    waits || status.kind() == StatusType::PATH
}

fn dispatch(
    controller: &mut Controller,
    context: &mut Context<'_>,
    sqe: &Sqe,
    data: &[u8],
) -> Result<Reply, Status> {
    let opcode = sqe.admin_opcode();
    let fabrics = opcode == AdminOpcode::FABRICS;
    let has_psdt = if fabrics { sqe.has_fabrics_psdt() } else { sqe.psdt() == Psdt::SGL };
    if !has_psdt || sqe.fused() != Fused::NORMAL {
        return Err(Status::INVALID_FIELD);
    }
    if fabrics {
        return fabrics::execute(controller, context, sqe);
    }
    if !controller.is_ready() {
        return Err(Status::COMMAND_SEQUENCE_ERROR);
    }
    match opcode {
        AdminOpcode::IDENTIFY => identify::execute(controller, context, sqe),
        AdminOpcode::GET_LOG_PAGE => log_pages::execute(controller, context, sqe),
        AdminOpcode::GET_FEATURES => features::read(controller, context, sqe),
        AdminOpcode::SET_FEATURES => features::write(controller, context, sqe, data),
        AdminOpcode::ASYNC_EVENT_REQUEST => event_request(controller, sqe),
        AdminOpcode::ABORT => abort(controller, context, sqe),
        AdminOpcode::KEEP_ALIVE => {
            controller.keep_alive.restart(context.now);
            Ok(Reply::success())
        }
        _ => Err(Status::INVALID_OPCODE),
    }
}

/// Section 5.1.2.
fn event_request(controller: &mut Controller, sqe: &Sqe) -> Result<Reply, Status> {
    let event = controller.event_request(sqe.cid.get())?;
    Ok(event.map_or(Reply::Deferred, |event| Reply::value(event.into())))
}

/// Section 5.1.1. On the admin queue only Asynchronous Event Requests wait long enough to be aborted; a command of an I/O
/// queue is aborted where the queue is.
fn abort(controller: &mut Controller, context: &mut Context<'_>, sqe: &Sqe) -> Result<Reply, Status> {
    let abort = sqe.abort();
    let done = |aborted: bool| Ok(Reply::value(AbortResult::new().with_not_aborted(!aborted).into()));
    if abort.sqid() == ADMIN_QUEUE {
        return done(controller.abort_event_request(abort.cid(), context.actions));
    }
    if !controller.has_queue(abort.sqid()) {
        return done(false);
    }
    if controller.aborts() > usize::from(ACL_Z) {
        return Err(Status::ABORT_LIMIT_EXCEEDED);
    }
    controller.defer(sqe);
    let (id, cid) = (controller.id, sqe.cid.get());
    let (qid, victim) = (abort.sqid(), abort.cid());
    context.actions.push_back(Action::Abort { controller: id, cid, qid, victim });
    Ok(Reply::Deferred)
}
