//! What becomes of a controller when nothing comes: resets and shutdowns that take too long, hosts that are silent.

use std::collections::VecDeque;
use std::time::Duration;

use corelane_reactors::clock::Time;

use crate::nvmf::controller::{AdminQueue, Controller, Event, Lifecycle};
use crate::nvmf::target::Action;

/// How long an association outlives a controller that is not enabled: no less than two minutes (NVMe base 2.1, section
/// 3.3.2.1).
const ASSOCIATION: Duration = Duration::from_secs(120);

impl Controller {
    /// When something must be done although nothing comes.
    pub(in crate::nvmf) fn deadline(&self) -> Option<Time> {
        let given_up = self.given_up().map(|(at, _)| at);
        given_up.into_iter().chain(self.lifecycle.deadline()).min()
    }

    /// When the association is given up if nothing comes, and why.
    fn given_up(&self) -> Option<(Time, &'static str)> {
        if self.admin_queue != AdminQueue::Open {
            return None;
        }
        // Only who is ready can be kept alive (section 3.9.2); the other states have limits of their own.
        let timer = self.keep_alive.deadline().filter(|_| self.lifecycle.is_ready());
        let silent = timer.map(|at| (at, "the keep alive timer expired"));
        let idle = self.idle_since.map(|since| (since + ASSOCIATION, "the controller is not enabled"));
        silent.into_iter().chain(idle).min()
    }

    /// Acts on the deadlines that have passed. Returns why the association is given up, if it is.
    pub(in crate::nvmf) fn tick(
        &mut self,
        now: Time,
        actions: &mut VecDeque<Action>,
    ) -> Option<&'static str> {
        if self.lifecycle.deadline().is_some_and(|deadline| deadline <= now) {
            if matches!(self.lifecycle, Lifecycle::Flushing { .. }) {
                let (host, cntlid) = (&self.host.nqn, self.cntlid);
                tracing::error!(%host, cntlid, "what devices have cached is not durable in time: a shutdown fails");
            }
            self.happen(now, Event::Overdue, actions);
        }
        let (_, why) = self.given_up().filter(|(at, _)| *at <= now)?;
        self.expel(now, actions);
        Some(why)
    }

    /// Ends the association, whatever the host does.
    pub(in crate::nvmf) fn expel(&mut self, now: Time, actions: &mut VecDeque<Action>) {
        if self.admin_queue == AdminQueue::Open {
            self.admin_queue = AdminQueue::Closing;
            self.happen(now, Event::AssociationLost, actions);
            actions.push_back(Action::CloseAdmin { controller: self.id });
        }
    }
}
