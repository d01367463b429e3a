//! A connection on the management reactor: before its Connect command, and then as an admin queue.
//!
//! ```text
//!   Opening --Connect, QID 0--> Admin
//!      +-----Connect, QID > 0--> Leaving (moves to its I/O reactor once all is sent)
//! ```

use std::net::SocketAddr;

use corelane_reactors::buffer::Lease;
use corelane_reactors::poll_group::Taken;

use crate::connection::controller::Event;
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::target::{Arrival, Connected, IoTicket, Refusal};
use crate::spec::opcode::FabricsType;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::tcp::{ADMIN_IN_CAPSULE_BYTES, DWORD_BYTES};
use crate::trace::What;
use crate::transport::Settings;
use crate::transport::data::Data;
use crate::transport::link::Link;
use crate::transport::queues::Services;
use crate::transport::slots::Slots;
use crate::transport::submission::SubmissionQueue;

/// Entries of an admin queue at most; a connection is ready for as many before it says what it is.
pub(super) const ADMIN_ENTRIES_MAX: u16 = 128;

/// What a connection on the management reactor is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its Connect command has not come.
    Opening,
    /// An admin queue.
    Admin(ControllerId),
    /// An I/O queue that was accepted and goes to its reactor.
    Leaving {
        /// What the I/O reactor needs.
        ticket: IoTicket,
        /// CID of the Connect command.
        cid: u16,
        /// DW0 of its completion.
        dw0: u32,
    },
}

#[derive(Debug)]
struct Staged {
    sqe: Sqe,
    data: Vec<u8>,
}

/// A connection on the management reactor.
#[derive(Debug)]
pub(super) struct AdminQueue {
    pub(super) stage: Stage,
    pub(super) local: SocketAddr,
    submission: SubmissionQueue,
    /// Commands whose data the host was asked for, by transfer tag.
    staged: Slots<Staged>,
    /// Their data.
    staged_bytes: usize,
    /// Commands that the subsystem answers later.
    deferred: usize,
    /// With more bytes of data than these no command is taken on: one more may take as many as are left.
    held_max: usize,
}

impl AdminQueue {
    /// A connection that was just accepted on `local`.
    pub(super) fn new(local: SocketAddr, settings: &Settings) -> Self {
        Self {
            stage: Stage::Opening,
            local,
            submission: SubmissionQueue::connected(u32::from(ADMIN_ENTRIES_MAX), true),
            staged: Slots::new(ADMIN_ENTRIES_MAX),
            staged_bytes: 0,
            deferred: 0,
            held_max: settings.data_bytes_max.saturating_sub(settings.transfer_bytes_max as usize),
        }
    }

    /// More commands can be taken on. A host that does not read its pages, or does not send its data, is not read from.
    pub(super) fn has_room(&self, link: &Link) -> bool {
        let outstanding = self.staged.used() + self.deferred;
        let outbox = link.connection.outbox();
        let unsent = usize::try_from(outbox.queued() - outbox.gone()).unwrap_or(usize::MAX);
        !matches!(self.stage, Stage::Leaving { .. })
            && self.staged.next().is_some()
            && self.staged_bytes.saturating_add(unsent) <= self.held_max
            && link.connection.has_room(outstanding)
    }

    /// Takes what it can of `bytes`.
    pub(super) fn received(&mut self, link: &mut Link, services: &mut Services, bytes: &Lease) -> Taken {
        let stream = bytes.as_ref();
        let mut taken = 0;
        loop {
            let leaves = matches!(self.stage, Stage::Leaving { .. });
            if leaves || link.connection.begins_command(&stream[taken..]) && !self.has_room(link) {
                link.paused = true;
                return Taken::pause(taken);
            }
            let (used, event) = match link.connection.next(&stream[taken..]) {
                Ok(step) => step,
                Err(error) => {
                    services.counters.protocol_errors.add(1);
                    let controller =
                        if let Stage::Admin(controller) = self.stage { controller.number() } else { 0 };
                    services.note(What::ProtocolError, [controller, 0, 0]);
                    tracing::debug!(peer = %link.peer, %error, "the host broke the protocol");
                    link.end();
                    return Taken::bytes(stream.len());
                }
            };
            taken += used;
            match event {
                Event::Incomplete => return Taken::bytes(taken),
                Event::Taken | Event::Opened => {}
                Event::Command { sqe, data, intact } => self.command(link, services, sqe, data, intact),
                Event::Data { ttag, offset, bytes } => self.store(ttag, offset, bytes),
                Event::Transferred { ttag, intact } => self.transferred(link, services, ttag, intact),
                Event::Terminated(termination) => {
                    tracing::debug!(peer = %link.peer, ?termination, "the host ended the connection");
                    link.end();
                    return Taken::bytes(stream.len());
                }
            }
        }
    }

    /// Answers a command that the subsystem had deferred.
    pub(super) fn complete(&mut self, link: &mut Link, cid: u16, status: Status, dw0: u32) {
        assert!(self.deferred > 0);
        self.deferred -= 1;
        self.respond(link, cid, status, dw0, 0);
    }

    fn respond(&self, link: &mut Link, cid: u16, status: Status, dw0: u32, dw1: u32) {
        let mut cqe = self.submission.cqe(cid, status);
        (cqe.dw0, cqe.dw1) = (dw0.into(), dw1.into());
        link.connection.respond(&cqe);
    }

    /// Answers a command that the target never saw.
    fn refuse(&self, link: &mut Link, services: &mut Services, sqe: &Sqe, status: Status) {
        if let (Stage::Admin(controller), Some(management)) = (&self.stage, services.management.as_mut()) {
            management.target().admin_refused(services.now, *controller, sqe, status);
        }
        self.respond(link, sqe.cid.get(), status, 0, 0);
    }

    fn command(&mut self, link: &mut Link, services: &mut Services, sqe: &Sqe, data: &[u8], intact: bool) {
        if !matches!(self.stage, Stage::Opening) {
            self.submission.fetched();
        }
        let cid = sqe.cid.get();
        let fails = |status: Status| Some(status.with_dnr());
        let first = self.staged.used() == 0 && sqe.fabrics_type() == Some(FabricsType::CONNECT);
        let refused = if !intact {
            Some(Status::TRANSIENT_TRANSPORT_ERROR)
        } else if matches!(self.stage, Stage::Opening) && !first {
            // One Connect and nothing else: a stranger gets no memory for data, and no queue leaves with data under way.
            fails(Status::COMMAND_SEQUENCE_ERROR)
        } else if sqe.dptr.is_in_capsule() && sqe.dptr.address.get() != 0 {
            fails(Status::SGL_OFFSET_INVALID)
        } else if sqe.dptr.is_in_capsule() && sqe.dptr.length.get() as usize != data.len() {
            fails(Status::DATA_SGL_LENGTH_INVALID)
        } else {
            None
        };
        if let Some(status) = refused {
            return self.refuse(link, services, sqe, status);
        }
        let bytes = sqe.dptr.length.get();
        if data.is_empty() && bytes > 0 && sqe.dptr.is_transport() && has_host_data(sqe) {
            // What is asked for by R2T is a multiple of dwords (TCP transport 1.0, section 3.6.2.10).
            if !bytes.is_multiple_of(DWORD_BYTES) {
                return self.refuse(link, services, sqe, Status::DATA_SGL_LENGTH_INVALID.with_dnr());
            }
            if bytes > ADMIN_IN_CAPSULE_BYTES {
                return self.refuse(link, services, sqe, Status::INVALID_FIELD.with_dnr());
            }
            self.staged_bytes += bytes as usize;
            let slot = self.staged.insert(Staged { sqe: *sqe, data: vec![0; bytes as usize] });
            return link.connection.request_data(cid, slot, bytes);
        }
        self.execute(link, services, sqe, data);
    }

    fn store(&mut self, ttag: u16, offset: u32, bytes: &[u8]) {
        let Some(staged) = self.staged.find(ttag) else {
            unreachable!("the connection knows which transfer tags are in use");
        };
        let start = offset as usize;
        staged.data[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn transferred(&mut self, link: &mut Link, services: &mut Services, ttag: u16, intact: bool) {
        let Some(Staged { sqe, data }) = self.staged.remove(ttag) else {
            unreachable!("the connection knows which transfer tags are in use");
        };
        self.staged_bytes -= data.len();
        if !intact {
            return self.refuse(link, services, &sqe, Status::TRANSIENT_TRANSPORT_ERROR);
        }
        self.execute(link, services, &sqe, &data);
    }

    fn execute(&mut self, link: &mut Link, services: &mut Services, sqe: &Sqe, data: &[u8]) {
        let cid = sqe.cid.get();
        let now = services.now;
        let Some(management) = services.management.as_mut() else {
            unreachable!("only the management reactor has such queues");
        };
        match self.stage {
            Stage::Opening => {
                let arrival = Arrival { local: self.local, peer: link.peer };
                let outcome = management.target().connect(now, sqe, data, &arrival);
                self.connect(link, services, cid, outcome);
            }
            Stage::Admin(controller) => {
                let reply = management.target().admin(now, controller, sqe, data);
                self.reply(link, sqe, reply);
            }
            Stage::Leaving { .. } => unreachable!("a leaving queue takes nothing"),
        }
    }

    fn connect(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        cid: u16,
        outcome: Result<Connected, Refusal>,
    ) {
        match outcome {
            Err(refusal) => {
                tracing::info!(peer = %link.peer, status = %refusal.status, "refused a Connect command");
                self.respond(link, cid, refusal.status, refusal.dw0, 0);
                link.end();
            }
            Ok(Connected::Admin { controller, entries, flow_control, dw0 }) => {
                self.submission = SubmissionQueue::connected(entries, flow_control);
                self.stage = Stage::Admin(controller);
                let now = services.now;
                if let Some(management) = services.management.as_mut() {
                    management.admin_opened(now, controller, link.socket, link.peer);
                }
                services.counters.queues_opened.add(1);
                let mut cqe = self.submission.connect_cqe(cid, Status::SUCCESS);
                cqe.dw0 = dw0.into();
                link.connection.respond(&cqe);
            }
            Ok(Connected::Io { ticket, dw0 }) => {
                services.counters.queues_opened.add(1);
                self.stage = Stage::Leaving { ticket, cid, dw0 };
            }
        }
    }

    fn reply(&mut self, link: &mut Link, sqe: &Sqe, reply: Reply) {
        let cid = sqe.cid.get();
        match reply {
            Reply::Deferred => self.deferred += 1,
            Reply::Done { status, dw0, dw1, data } if data.is_empty() => {
                self.respond(link, cid, status, dw0, dw1)
            }
            Reply::Done { status, dw0, dw1, data } => {
                assert!(sqe.dptr.is_transport());
                assert!(data.len() <= sqe.dptr.length.get() as usize);
                // A page is dropped where it cannot be sent: the connection is over then.
                let _ = link.connection.send_data(cid, Data::Page(data), false);
                self.respond(link, cid, status, dw0, dw1);
            }
        }
    }
}

/// The host has data for this command: bits 1:0 of the opcode, or of the fabrics command type (base 2.1, section
/// 3.1.3.4 and 6).
fn has_host_data(sqe: &Sqe) -> bool {
    let kind = sqe.fabrics_type().map_or(sqe.opcode, |kind| kind.0);
    kind & 0b11 == 0b01
}
