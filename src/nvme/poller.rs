//! The poller of a controller: its admin queue, on the management reactor. Wakes by the interrupt's descriptor where the
//! device has one, and by time, so that neither an overdue command nor a request of a queue pair waits for long.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;

use corelane_reactors::clock::Time;
use corelane_reactors::poller::{Poll, Poller, Wake};
use corelane_reactors::reactor::Turn;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::controller::LOOK_EVERY;
use super::{Controller, Device};

/// A controller that its poller shares with whoever else on the same thread asks it for something.
pub type SharedController<D> = Rc<RefCell<Controller<D>>>;

/// Polls a controller.
pub struct ControllerPoller<D: Device> {
    controller: SharedController<D>,
    device: Arc<D>,
    name: String,
    /// When the interrupt is made silent at the latest.
    silence_next: Time,
}

impl<D: Device> ControllerPoller<D> {
    /// A poller for this controller.
    pub fn new(controller: SharedController<D>) -> Self {
        let device = Arc::clone(controller.borrow().device());
        let name = format!("nvme-admin {}", device.name());
        Self { controller, device, name, silence_next: Time::ORIGIN }
    }

    /// Makes the interrupt's descriptor silent, which would keep the reactor awake otherwise. What was signalled meanwhile
    /// is not lost only if the completions are looked at once more afterwards.
    fn silence(&self) {
        let Some(interrupt) = self.device.interrupt() else { return };
        let mut descriptors = [PollFd::new(&interrupt, PollFlags::IN)];
        // Without asking first, a descriptor that was not signalled might block.
        if rustix::event::poll(&mut descriptors, Some(&Timespec::default())) == Ok(1) {
            let _ = rustix::io::read(interrupt, &mut [0; 8]);
        }
    }
}

impl<D: Device> Poller for ControllerPoller<D> {
    fn name(&self) -> &str {
        &self.name
    }

    /// At most one batch of admin completions. A controller that somebody is using in this moment has its turn later.
    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let Ok(mut controller) = self.controller.try_borrow_mut() else { return Poll::Idle(Wake::Soon) };
        let wake = controller.poll(turn.now());
        if wake != Wake::Soon && turn.now() < self.silence_next {
            return Poll::Idle(wake);
        }
        // No system call in every turn: only after completions, and now and then.
        drop(controller);
        self.silence();
        self.silence_next = turn.now() + LOOK_EVERY;
        Poll::Busy
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.device.interrupt()
    }
}
