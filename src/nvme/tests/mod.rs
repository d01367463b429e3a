//! The driver against a fake of a few registers, in virtual time: the states of the controller and of its queue pairs.

pub(super) mod fake;
mod lifecycle;
mod queues;

use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;

use super::{Controller, Failure, IoCommand, Options, Outcome, QueuePair, StartError};
use crate::mem::Extent;
use fake::Fake;

/// A fake device, its controller, and a clock.
struct Rig {
    device: Arc<Fake>,
    controller: Controller<Fake>,
    now: Time,
    /// Memory that the device reaches.
    memory: Arc<Extent>,
}

impl Rig {
    /// Not started.
    fn new(device: Arc<Fake>, options: &Options) -> Self {
        let mut controller = Controller::new(Arc::clone(&device), options).unwrap();
        let memory = Arc::new(Extent::ordinary(8 << 20).unwrap());
        controller.map(&memory).unwrap();
        Self { device, controller, now: Time::ORIGIN, memory }
    }

    /// Started.
    fn ready(device: Arc<Fake>, options: &Options) -> Self {
        let mut rig = Self::new(device, options);
        rig.run(Duration::from_millis(100));
        assert!(rig.controller.is_ready(), "{:?}", rig.controller.fault());
        rig
    }

    /// A read of blocks of 512 bytes into the start of the memory.
    fn read(&self, slba: u64, blocks: u32) -> IoCommand<'static> {
        let bytes = blocks as usize * 512;
        let into = Box::leak(Box::new([self.memory.segment_mut(0..bytes)]));
        IoCommand::Read { nsid: 1, slba, blocks, into }
    }

    /// Lets time pass, a millisecond at a time.
    fn run(&mut self, time: Duration) {
        for _ in 0..time.as_millis() {
            self.now = self.now + Duration::from_millis(1);
            self.controller.poll(self.now);
            self.device.step();
        }
    }

    /// The same, with a queue pair; returns what completed.
    fn run_with(&mut self, pair: &mut QueuePair<Fake>, time: Duration) -> Vec<(u64, Outcome)> {
        let mut completed = Vec::new();
        for _ in 0..time.as_millis() {
            self.run(Duration::from_millis(1));
            pair.poll(self.now, &mut |tag, outcome| completed.push((tag, outcome)));
            pair.commit();
        }
        completed
    }
}

fn options() -> Options {
    Options { io_queue_pairs: 2, entries: 16, timeout: Duration::from_secs(1), ..Options::default() }
}

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(50);

fn aborted(tag: u64) -> (u64, Outcome) {
    (tag, Err(Failure::Aborted))
}

fn fault(rig: &Rig) -> Option<&StartError> {
    rig.controller.fault()
}
