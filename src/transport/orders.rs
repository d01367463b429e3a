//! What the management reactor has I/O reactors do for one controller: take what it may do, and abort its commands.
//!
//! Invariant: `giving` counts, for each access that was given out, the I/O reactors that have not taken it; those of them
//! that are in `unsent` have not been told.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::nvmf::access::Access;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::target::IoTicket;
use crate::spec::abort::AbortResult;
use crate::spec::status::Status;
use crate::transport::Management;
use crate::transport::message::{AbortOrder, AccessOrder, Grant, IoMail};

/// What was ordered and is not done.
#[derive(Debug, Default)]
pub(super) struct Orders {
    giving: HashMap<(ControllerId, u64), usize>,
    /// Orders that found no room for their answer.
    unsent: Vec<(usize, ControllerId, u64, Grant)>,
}

impl Orders {
    /// Every order found room.
    pub(super) fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }
}

impl Management {
    /// Gives this to every I/O reactor that has queues of the controller, and to queues that leave with these tickets.
    pub(super) fn give_access<'a>(
        &mut self,
        controller: ControllerId,
        number: u64,
        access: Arc<Access>,
        leaving: impl Iterator<Item = &'a mut IoTicket>,
    ) {
        let Some((namespaces, counting)) = self.target.attachable(controller) else { return };
        let grant = Grant { access, namespaces, counting };
        leaving.for_each(|ticket| grant.renew(ticket));
        let queues = self.io_queues.iter_mut().filter(|((owner, _), _)| *owner == controller);
        let mut lanes = BTreeSet::new();
        for (_, queue) in queues {
            grant.renew(&mut queue.ticket);
            lanes.insert(queue.lane);
        }
        // A queue on its way gets it wherever it is then: the reactors hear of it after they heard of the move.
        lanes.extend(self.heads_for(controller));
        if lanes.is_empty() {
            return self.target().access_taken(controller, number);
        }
        self.orders.giving.insert((controller, number), lanes.len());
        for lane in lanes {
            self.give_lane(lane, controller, number, grant.clone());
        }
    }

    fn give_lane(&mut self, lane: usize, controller: ControllerId, number: u64, grant: Grant) {
        // Those of a reactor keep their order: the last one holds.
        let first = self.orders.unsent.iter().all(|(waiting, ..)| *waiting != lane);
        match self.mail.reserve().filter(|_| first) {
            Some(reply) => {
                let order = AccessOrder { controller, number, grant, reply };
                self.send(lane, IoMail::Access(Box::new(order)));
            }
            None => self.orders.unsent.push((lane, controller, number, grant)),
        }
    }

    /// Sends what found no room before. True if there was something.
    pub(super) fn send_orders(&mut self) -> bool {
        let unsent = std::mem::take(&mut self.orders.unsent);
        let any = !unsent.is_empty();
        for (lane, controller, number, grant) in unsent {
            self.give_lane(lane, controller, number, grant);
        }
        any
    }

    /// An I/O reactor has taken what was given under this number.
    pub(super) fn access_taken(&mut self, controller: ControllerId, number: u64) {
        let Some(left) = self.orders.giving.get_mut(&(controller, number)) else { return };
        *left -= 1;
        if *left == 0 {
            self.orders.giving.remove(&(controller, number));
            self.target().access_taken(controller, number);
        }
    }

    /// Has a command of an I/O queue aborted. One whose queue has not arrived has no commands yet; one whose queue is on
    /// its way to another reactor runs on.
    pub(super) fn abort(&mut self, controller: ControllerId, cid: u16, qid: u16, victim: u16) {
        let lane = self.io_queues.get(&(controller, qid)).map(|queue| queue.lane);
        match lane.zip(self.mail.reserve()) {
            Some((lane, reply)) => {
                let order = AbortOrder { controller, cid, qid, victim, reply };
                self.send(lane, IoMail::Abort(Box::new(order)));
            }
            None => {
                let dw0 = AbortResult::new().with_not_aborted(true).into();
                self.target().complete_deferred(controller, cid, Status::SUCCESS, dw0);
            }
        }
    }
}
