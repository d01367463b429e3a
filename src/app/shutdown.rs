//! The orderly end of an appliance, watched over by its management reactor.
//!
//! ```text
//!   Serving --stop--> Draining { until } --all drained, or the time is over--> Ended (every reactor is told to stop)
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::group::Handle;
use corelane_reactors::poller::{Poll, Poller, Wake};
use corelane_reactors::reactor::Turn;

use crate::transport::Endpoint;

/// Asks an appliance to stop, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    asked: Arc<AtomicBool>,
    management: Handle,
}

impl Stopper {
    pub(super) fn new(management: Handle) -> Self {
        Self { asked: Arc::new(AtomicBool::new(false)), management }
    }

    /// Finish what is in flight, then end. Returns at once; [`super::Appliance::join`] waits.
    pub fn stop(&self) {
        // Partner: `Shutdown::ready`. The wake-up that follows orders it before the reactor's second look.
        self.asked.store(true, Ordering::Release);
        self.management.wake();
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Serving,
    Draining { until: Time },
    Ended,
}

/// Looks for the wish to stop.
pub(super) struct Shutdown {
    stopper: Stopper,
    endpoint: Rc<RefCell<Endpoint>>,
    reactors: Vec<Handle>,
    limit: Duration,
    state: State,
}

impl Shutdown {
    /// Drains `endpoint`, for at most `limit`, then stops `reactors`.
    pub(super) fn new(
        stopper: Stopper,
        endpoint: Rc<RefCell<Endpoint>>,
        reactors: Vec<Handle>,
        limit: Duration,
    ) -> Self {
        Self { stopper, endpoint, reactors, limit, state: State::Serving }
    }

    fn end(&mut self) {
        self.state = State::Ended;
        for reactor in &self.reactors {
            reactor.stop();
        }
    }
}

impl Poller for Shutdown {
    fn name(&self) -> &str {
        "shutdown"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        match self.state {
            State::Serving if self.stopper.asked.load(Ordering::Acquire) => {
                self.state = State::Draining { until: turn.now() + self.limit };
                self.endpoint.borrow_mut().drain();
                Poll::Busy
            }
            State::Serving | State::Ended => Poll::Idle(Wake::Never),
            State::Draining { until } => {
                if self.endpoint.borrow().is_drained() {
                    self.end();
                    return Poll::Busy;
                }
                if turn.now() >= until {
                    tracing::warn!(limit = ?self.limit, "commands are still in flight after the time limit; giving them up");
                    self.end();
                    return Poll::Busy;
                }
                Poll::Idle(Wake::At(until))
            }
        }
    }

    fn ready(&self) -> bool {
        match self.state {
            State::Serving => self.stopper.asked.load(Ordering::Acquire),
            State::Draining { .. } => self.endpoint.borrow().is_drained(),
            State::Ended => false,
        }
    }
}
