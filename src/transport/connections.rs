//! The connections of a target as others may see them. Known to the management reactor, which handed them out.

use std::net::SocketAddr;
use std::sync::Arc;

use corelane_reactors::clock::{Clock, Time};

use crate::nvmf::controller::ControllerId;
use crate::nvmf::target::{Association, IoTicket};
use crate::trace::CommandTrace;
use crate::transport::{Endpoint, Management};

/// An I/O queue, where the management reactor knows it.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) lane: usize,
    pub(super) peer: SocketAddr,
    pub(super) trace: Arc<CommandTrace>,
    /// What another I/O reactor needs.
    pub(super) ticket: IoTicket,
    /// What it had done when the load was looked at last: see [`balance`](super::balance).
    pub(super) done: u64,
    /// Until when it is not asked to move.
    pub(super) rests_until: Time,
}

/// A connection as others may see it.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// The host's name.
    pub host: String,
    /// The subsystem's name; `None` for discovery.
    pub subsystem: Option<String>,
    /// The controller.
    pub controller: ControllerId,
    /// CNTLID.
    pub cntlid: u16,
    /// QID: 0 for an admin queue.
    pub qid: u16,
    /// The host's address.
    pub peer: SocketAddr,
    /// The I/O reactor that serves it, from 0; `None` for the management reactor.
    pub lane: Option<usize>,
    /// Where its commands are counted; `None` for an admin queue.
    pub trace: Option<Arc<CommandTrace>>,
}

impl Endpoint {
    /// Commands are timed by `clock` from now on, which is that of the reactor.
    pub(super) fn set_clock(&mut self, clock: &Clock) {
        self.queues.services.clock = Some(clock.clone());
    }

    /// The connections of all reactors; on the management reactor only.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.queues.services.management.as_ref().map(Management::connections).unwrap_or_default()
    }
}

impl Management {
    /// The connections of all reactors, in no order. Allocates; costs a microsecond for few of them.
    pub(super) fn connections(&self) -> Vec<ConnectionView> {
        let admin = self.admin.iter().map(|(controller, (_, peer))| (*controller, 0, *peer, None));
        let io = self
            .io_queues
            .iter()
            .map(|((controller, qid), queue)| (*controller, *qid, queue.peer, Some(queue)));
        let view = |(controller, qid, peer, queue): (_, _, _, Option<&Assigned>)| {
            let Association { cntlid, subsystem, host } = self.target.association(controller)?;
            Some(ConnectionView {
                host: host.nqn.to_string(),
                subsystem: subsystem.map(ToString::to_string),
                controller,
                cntlid,
                qid,
                peer,
                lane: queue.map(|queue| queue.lane),
                trace: queue.map(|queue| Arc::clone(&queue.trace)),
            })
        };
        admin.chain(io).filter_map(view).collect()
    }
}
