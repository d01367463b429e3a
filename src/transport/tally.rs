//! What an I/O queue counts of its commands: for its connection, and for the namespace on this reactor.
//!
//! How long a command took runs from the batch of received bytes in which its capsule was taken, to the end of the batch
//! in which its response was queued. A batch is what one receive brought; its end is the beginning of the next one in the
//! same turn. The clock is read once at the end of each batch that answered something. Commands that a bdev completes
//! later, or the management reactor, end with the beginning of the turn in which they are back. So times are exact to a
//! batch, and are never those of the network.
//!
//! Commands of one batch that came together are counted together: what is the same of them is looked up once.
//!
//! Invariant: a command is counted once, also where nobody is left to read the answer: at the end of the batch in which it
//! is answered, before the answer is sent. `answered` holds those of this batch.

use corelane_reactors::clock::Time;
use corelane_reactors::stats::Sample;

use crate::nvmf::errors::Failed;
use crate::nvmf::io::{self, Request};
use crate::spec::opcode::{FabricsType, NvmOpcode};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::trace::{Fault, Kind, What};
use crate::transport::answers::worded;
use crate::transport::io_queue::IoQueue;
use crate::transport::link::Link;
use crate::transport::queues::Services;

/// Runs of like answers that share the reading of the clock at the end of a batch; one more has it read before.
pub(super) const ANSWERED_MAX: usize = 128;

/// What names a command towards its host, and when its capsule was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) cid: u16,
    pub(super) since: Time,
}

/// Commands that were answered one after the other, and are not counted yet: all of one kind, on one namespace, and taken in
/// one batch; all succeeded, or all failed for one reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    alike: Alike,
    commands: u64,
    bytes: u64,
}

/// What the commands of a run have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Alike {
    since: Time,
    nsid: u32,
    kind: Kind,
    fault: Option<Fault>,
}

impl IoQueue {
    /// A command is answered with `status`; if that is success, it has moved, verified or copied `bytes`.
    pub(super) fn tally(
        &mut self,
        services: &mut Services,
        mark: Mark,
        request: &Request,
        bytes: u64,
        status: Status,
    ) {
        let (nsid, operation) = (request.namespace.nsid, request.operation);
        self.note_failure(services, mark, (operation.opcode(), operation.first_block()), nsid, status);
        self.tally_as(services, mark, io::kind_of(operation), nsid, bytes, status);
    }

    /// Answers a command of which nothing was done.
    pub(super) fn refuse(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        mark: Mark,
        request: &Request,
        status: Status,
    ) {
        let status = worded(status, self.namespaces.access());
        self.tally(services, mark, request, 0, status);
        self.respond(link, mark.cid, status);
    }

    /// A command that was refused before anything was known of it.
    pub(super) fn tally_refused(&mut self, services: &mut Services, mark: Mark, sqe: &Sqe, status: Status) {
        let (opcode, nsid) = (sqe.nvm_opcode(), sqe.nsid.get());
        let kind = io::kind_of_refused(opcode);
        let first = if matches!(kind, Kind::Read | Kind::Write | Kind::Compare | Kind::WriteZeroes) {
            sqe.starting_lba()
        } else {
            0
        };
        self.note_failure(services, mark, (opcode, first), nsid, status);
        self.tally_as(services, mark, kind, nsid, 0, status);
    }

    /// A fabrics command. The error log has no Connect commands (base 2.1, section 6.3).
    pub(super) fn tally_fabrics(&mut self, services: &mut Services, mark: Mark, sqe: &Sqe, status: Status) {
        if sqe.fabrics_type() != Some(FabricsType::CONNECT) {
            self.note_failure(services, mark, (NvmOpcode::FABRICS, 0), 0, status);
        }
        self.tally_as(services, mark, io::kind_of_refused(NvmOpcode::FABRICS), 0, 0, status);
    }

    /// For the error log of the controller: a command with this opcode, which begins at this block.
    fn note_failure(
        &self,
        services: &Services,
        mark: Mark,
        (opcode, lba): (NvmOpcode, u64),
        nsid: u32,
        status: Status,
    ) {
        if !status.is_success() {
            let failed = Failed { cid: mark.cid, status, nsid, lba, opcode: opcode.0 };
            self.failures.note(services.latest, &failed);
        }
    }

    #[inline]
    fn tally_as(
        &mut self,
        services: &mut Services,
        mark: Mark,
        kind: Kind,
        nsid: u32,
        bytes: u64,
        status: Status,
    ) {
        let fault = io::fault_of(status);
        if fault == Some(Fault::Media) {
            let values = [self.controller.number(), nsid.into(), status.kind_and_code().into()];
            services.note(What::MediaError, values);
        }
        let alike = Alike { since: mark.since, nsid, kind, fault };
        match self.answered.last_mut() {
            Some(run) if run.alike == alike => {
                run.commands += 1;
                run.bytes += bytes;
            }
            _ => self.begin_run(services, alike, bytes),
        }
    }

    /// The first command of a run.
    #[cold]
    fn begin_run(&mut self, services: &mut Services, alike: Alike, bytes: u64) {
        if self.answered.len() == ANSWERED_MAX {
            services.batch_ends();
            self.settle_answers(services);
        }
        self.answered.push(Answered { alike, commands: 1, bytes });
    }

    /// The batch is over: counts its commands, and notes how long they took.
    pub(super) fn settle_answers(&mut self, services: &Services) {
        for Answered { alike: Alike { since, nsid, kind, fault }, commands, bytes } in self.answered.drain(..)
        {
            let sample = Sample::of_time(services.latest.since(since));
            for trace in [Some(&*self.trace), self.namespaces.trace(nsid)].into_iter().flatten() {
                match fault {
                    None => trace.succeeded(kind, commands, bytes),
                    Some(fault) => trace.failed(kind, fault, commands),
                }
                trace.took(kind.class(), sample, commands);
            }
        }
    }

    /// A batch of received bytes is over.
    pub(super) fn batch_ends(&mut self, services: &mut Services) {
        if !self.answered.is_empty() {
            services.batch_ends();
            self.settle_answers(services);
        }
    }
}
