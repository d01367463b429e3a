//! An emulated controller in virtual time, and a rig on it.

use std::sync::Arc;
use std::time::Duration;

use corelane::nvme::emulated::{Emulated, Options as DeviceOptions};
use corelane::nvme::{Failure, Options};
use corelane::spec::status::Status;
use corelane_reactors::clock::{Clock, VirtualClock};

use crate::suite::{Rig, Subject};

/// What passes with each step of the device.
pub(crate) const STEP: Duration = Duration::from_micros(100);

/// How long a command may take.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(50);

pub(crate) struct World {
    pub(crate) device: Arc<Emulated>,
    pub(crate) options: Options,
    clock: Clock,
    hand: VirtualClock,
}

impl World {
    pub(crate) fn new(options: &DeviceOptions) -> Self {
        let (clock, hand) = Clock::simulated();
        let device = Arc::new(Emulated::new("emulated", options).unwrap());
        Self { device, options: driver_options(), clock, hand }
    }

    /// Does something with the controller as a subject of the suite.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Subject<'_, Emulated>) -> T) -> T {
        let progress = || {
            self.device.step();
            self.hand.advance(STEP);
        };
        work(&Subject {
            device: Arc::clone(&self.device),
            options: self.options,
            nsid: 1,
            clock: self.clock.clone(),
            progress: &progress,
        })
    }

    /// Does something with a rig on a controller that is ready.
    pub(crate) fn run(&self, work: impl FnOnce(&Emulated, &mut Rig<'_, Emulated>)) {
        self.with(|subject| work(&self.device, &mut Rig::new(subject)));
    }

    /// The words that the driver gives up with when it starts.
    pub(crate) fn refused(&self) -> String {
        self.with(|subject| match Rig::try_new(subject) {
            Ok(_) => panic!("the controller is taken"),
            Err(words) => words,
        })
    }

    /// No rule was broken.
    pub(crate) fn assert_obeyed(&self) {
        assert_eq!(self.device.violations(), []);
    }
}

pub(crate) fn driver_options() -> Options {
    Options { io_queue_pairs: 2, entries: 64, timeout: TIMEOUT, ..Options::default() }
}

/// A reset, or an Abort, ended it.
pub(crate) fn aborted(failure: Failure) -> bool {
    match failure {
        Failure::Aborted => true,
        Failure::Status(status) | Failure::Partly(status, _) => {
            status.is(Status::ABORT_REQUESTED) || status.is(Status::ABORTED_SQ_DELETION)
        }
        Failure::Gone => false,
    }
}

/// The same, or the controller is gone.
pub(crate) fn aborted_or_gone(failure: Failure) -> bool {
    aborted(failure) || failure == Failure::Gone
}
