//! What is known of commands before their turn: hints to their bdevs, so that memory comes closer while the commands before
//! them are carried out.
//!
//! Invariant: nothing is taken, decided or counted here. What is foreseen may still be refused, or be no command at all.

use crate::nvmf::io;
use crate::transport::io_queue::IoQueue;
use crate::transport::link::Link;
use crate::transport::queues::Services;

/// Most commands that one look foresees: what one receive brings of small writes.
const FORESEEN_MAX: usize = 32;

impl IoQueue {
    /// Tells bdevs of the commands that seem to follow the one at the start of `stream`.
    pub(super) fn foresee(&self, link: &Link, services: &Services, stream: &[u8]) {
        if !link.connection.begins_command(stream) {
            return;
        }
        let mut left = stream;
        for place in 0..FORESEEN_MAX {
            let Some((sqe, data_bytes, total)) = link.connection.foresee(left) else { return };
            // The first one is carried out at once, and data to be sent is asked for when its command is.
            if place > 0
                && data_bytes > 0
                && let Ok(request) = io::decode(sqe, data_bytes, &self.namespaces, &self.limits)
            {
                services.channels.expect(&request);
            }
            let Some(next) = left.get(total..) else { return };
            left = next;
        }
    }
}
