//! What a controller may do is brought up to date on its I/O queues, and on one of them that is expected: the namespaces
//! that came to its subsystem, and the ways to all of them.
//!
//! Invariant: what a queue has under an NSID never changes; a namespace that is taken away stays, and is hidden.

use std::sync::Arc;

use crate::nvmf::io::Channels;
use crate::nvmf::target::IoTicket;
use crate::transport::Endpoint;
use crate::transport::io_queue::IoQueue;
use crate::transport::message::{AccessOrder, Grant, ManagementMail};
use crate::transport::queues::Role;

impl Endpoint {
    /// What a controller may do has changed.
    pub(super) fn take_access(&mut self, order: AccessOrder) {
        let AccessOrder { controller, number, grant, reply } = order;
        let channels = &mut self.queues.services.channels;
        for queue in self.queues.table.iter_mut().flatten() {
            if let Role::Io(io, _) = &mut queue.role
                && io.controller == controller
            {
                io.take(&grant, self.lane, channels);
            }
        }
        if let Some(io) = self.berth.as_mut().and_then(|berth| berth.of(controller)) {
            io.take(&grant, self.lane, channels);
        }
        reply.send(ManagementMail::AccessTaken { controller, number });
    }
}

impl IoQueue {
    /// A namespace whose bdev cannot be opened is not there on this queue, and the log says so.
    fn take(&mut self, grant: &Grant, lane: usize, channels: &mut Channels) {
        let counts = grant.counting.lane(lane);
        if let Err(error) = self.namespaces.extend(&grant.namespaces, channels, &counts) {
            tracing::error!(qid = self.qid, %error, "cannot open a namespace that was added");
        }
        self.namespaces.set_access(Arc::clone(&grant.access));
    }
}

impl Grant {
    /// Queues that the ticket makes from now on have it from the start.
    pub(super) fn renew(&self, ticket: &mut IoTicket) {
        ticket.access = Arc::clone(&self.access);
        ticket.namespaces = Arc::clone(&self.namespaces);
    }
}
