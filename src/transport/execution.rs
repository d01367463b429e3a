//! The hand-over of an I/O queue's commands to their bdevs, where their processing starts, and their answers.
//!
//! Invariant: a command is judged here, by the rules of this turn, right before its bdev gets it; what is refused has
//! touched nothing.

use corelane_reactors::buffer::{Segment, SegmentMut};

use crate::mem::Buffer;
use crate::nvmf::io::{Operation, Request, Transfer};
use crate::spec::status::Status;
use crate::transport::answers::worded;
use crate::transport::command::{Command, Stage, executing, tag};
use crate::transport::data::Data;
use crate::transport::io_queue::IoQueue;
use crate::transport::link::Link;
use crate::transport::queues::Services;
use crate::transport::tally::Mark;

impl IoQueue {
    /// Hands a command in a slot, whose data is in `buffer` or will be, to its bdev.
    pub(super) fn execute_slot(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        slot: u16,
        buffer: Buffer,
        bytes: u32,
    ) {
        let Some(command) = self.slots.find(slot) else { unreachable!("only slots in use are executed") };
        let (mark, request) = (command.mark, command.request);
        if services.is_barred(&request) {
            command.stage = Stage::Barred { buffer: Some(buffer), lease: None };
            return;
        }
        let Some(buffer) = self.judged(link, services, slot, buffer) else { return };
        let Some(command) = self.slots.find(slot) else { unreachable!("it was found above") };
        let (from, into) = match request.transfer {
            Transfer::ToHost(_) => (Segment::empty(), buffer.segment_mut(0..bytes as usize)),
            _ => (buffer.segment(0..bytes as usize), SegmentMut::empty()),
        };
        command.stage = executing(Some(buffer), None);
        let tag = tag(link.socket, slot);
        match services.channels.submit(tag, &mut command.request, from, into) {
            None => self.executing += 1,
            Some(status) => {
                let Some(Command { stage: Stage::Executing { buffer, .. }, request, .. }) =
                    self.slots.remove(slot)
                else {
                    unreachable!("it was put there above");
                };
                self.answer(link, services, mark, &request, buffer, status);
            }
        }
    }

    /// Takes a command out of its slot that its bdev is not to have: the host has no right to it, or it is one for the
    /// management reactor. Gives the buffer back for all others.
    fn judged(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        slot: u16,
        buffer: Buffer,
    ) -> Option<Buffer> {
        let Some(command) = self.slots.find(slot) else { unreachable!("only slots in use are judged") };
        let (mark, request) = (command.mark, command.request);
        let refused = self.judge(services, &request);
        let reserves = matches!(request.operation, Operation::Reservation { .. });
        if refused.is_ok() && !reserves {
            return Some(buffer);
        }
        self.slots.remove(slot);
        match (refused, request.transfer) {
            (Err(status), _) => {
                self.buffers.put(buffer);
                self.refuse(link, services, mark, &request, status);
            }
            (Ok(()), Transfer::ToHost(_)) => {
                self.reserve(link, services, mark, request, Segment::empty(), Some(buffer));
            }
            (Ok(()), _) => {
                let from = buffer.segment(0..request.transfer.bytes() as usize);
                self.reserve(link, services, mark, request, from, None);
                self.buffers.put(buffer);
            }
        }
        None
    }

    /// Hands a command without a buffer to its bdev; it takes a slot only if it stays there.
    pub(super) fn execute(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        mut command: Command,
        from: Segment,
    ) {
        let Some(slot) = self.slots.next() else {
            unreachable!("no command is taken on without a free slot")
        };
        if services.is_barred(&command.request) {
            let Command { stage: Stage::Executing { buffer, _lease: lease }, .. } = command else {
                unreachable!("it is about to be executed")
            };
            let stage = Stage::Barred { buffer, lease };
            self.slots.insert(Command { stage, ..command });
            return;
        }
        if let Err(status) = self.judge(services, &command.request) {
            return self.refuse(link, services, command.mark, &command.request, status);
        }
        if matches!(command.request.operation, Operation::Reservation { .. }) {
            return self.reserve(link, services, command.mark, command.request, from, None);
        }
        let tag = tag(link.socket, slot);
        match services.channels.submit(tag, &mut command.request, from, SegmentMut::empty()) {
            Some(status) => self.answer(link, services, command.mark, &command.request, None, status),
            None => {
                self.slots.insert(command);
                self.executing += 1;
            }
        }
    }

    /// Answers a Copy that failed when so many of its ranges, from the first on, were copied (NVM command set 1.0, section
    /// 3.2.2.1).
    pub(super) fn answer_copy(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        mark: Mark,
        request: &Request,
        buffer: Option<Buffer>,
        (status, ranges): (Status, u32),
    ) {
        let status = worded(status, self.namespaces.access());
        self.tally(services, mark, request, request.bytes(), status);
        if let Some(buffer) = buffer {
            self.buffers.put(buffer);
        }
        let mut cqe = self.submission.cqe(mark.cid, status);
        cqe.dw0.set(ranges);
        link.connection.respond(&cqe);
    }

    pub(super) fn answer(
        &mut self,
        link: &mut Link,
        services: &mut Services,
        mark: Mark,
        request: &Request,
        buffer: Option<Buffer>,
        status: Status,
    ) {
        let cid = mark.cid;
        let status = worded(status, self.namespaces.access());
        self.tally(services, mark, request, request.bytes(), status);
        match (request.transfer, buffer) {
            (Transfer::ToHost(bytes), Some(buffer)) if status.is_success() => {
                self.send(link, cid, Data::Buffer(buffer, bytes as usize));
            }
            (_, buffer) => {
                if let Some(buffer) = buffer {
                    self.buffers.put(buffer);
                }
                self.respond(link, cid, status);
            }
        }
    }
}
