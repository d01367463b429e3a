//! The orderly end of an appliance, watched over by its management reactor.
//!
//! ```text
//!   Serving --stop--> Draining { until } --all drained, or the time is over--> Closing { until } (devices are shut down)
//!           --all are, or the time is over--> Ended (every reactor is told to stop)
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

use crate::app::devices::Attached;
use crate::transport::Endpoint;

/// How long local devices may take to shut down: longer than their driver waits before it forces them.
const DEVICES: Duration = Duration::from_secs(15);
/// How often is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(1);

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
    Closing { until: Time },
    Ended,
}

/// Looks for the wish to stop.
pub(super) struct Shutdown {
    stopper: Stopper,
    endpoint: Rc<RefCell<Endpoint>>,
    devices: Attached,
    reactors: Vec<Handle>,
    limit: Duration,
    state: State,
}

impl Shutdown {
    /// Drains `endpoint`, for at most `limit`, then shuts `devices` down, then stops `reactors`.
    pub(super) fn new(
        stopper: Stopper,
        endpoint: Rc<RefCell<Endpoint>>,
        devices: Attached,
        reactors: Vec<Handle>,
        limit: Duration,
    ) -> Self {
        Self { stopper, endpoint, devices, reactors, limit, state: State::Serving }
    }

    /// From here on the I/O reactors have nothing to do with devices but to take what ends.
    fn close(&mut self, now: Time) -> Poll {
        self.devices.shut_down(now);
        self.state = State::Closing { until: now + DEVICES };
        Poll::Busy
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
                    return self.close(turn.now());
                }
                if turn.now() >= until {
                    tracing::warn!(limit = ?self.limit, "commands are still in flight after the time limit; giving them up");
                    return self.close(turn.now());
                }
                Poll::Idle(Wake::At(until))
            }
            State::Closing { until } => {
                let down = self.devices.are_down();
                if down || turn.now() >= until {
                    if !down {
                        tracing::warn!(limit = ?DEVICES, "a device does not shut down; it is cut off");
                    }
                    self.end();
                    return Poll::Busy;
                }
                Poll::Idle(Wake::At(turn.now() + LOOK_EVERY))
            }
        }
    }

    fn ready(&self) -> bool {
        match self.state {
            State::Serving => self.stopper.asked.load(Ordering::Acquire),
            State::Draining { .. } => self.endpoint.borrow().is_drained(),
            State::Closing { .. } => self.devices.are_down(),
            State::Ended => false,
        }
    }
}
