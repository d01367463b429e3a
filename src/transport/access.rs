//! What a controller may do is brought up to date on its I/O queues, and on one of them that is expected.

use std::sync::Arc;

use crate::transport::Endpoint;
use crate::transport::message::{AccessOrder, ManagementMail};
use crate::transport::queues::Role;

impl Endpoint {
    /// What a controller may do has changed.
    pub(super) fn take_access(&mut self, order: AccessOrder) {
        let AccessOrder { controller, number, access, reply } = order;
        for queue in self.queues.table.iter_mut().flatten() {
            if let Role::Io(io, _) = &mut queue.role
                && io.controller == controller
            {
                io.namespaces.set_access(Arc::clone(&access));
            }
        }
        if let Some(berth) = self.berth.as_mut() {
            berth.take_access(controller, &access);
        }
        reply.send(ManagementMail::AccessTaken { controller, number });
    }
}
