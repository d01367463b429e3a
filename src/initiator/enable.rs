//! What makes a connected controller ready: a sequence of admin commands, without I/O. The caller sends them, one at a
//! time, and says what came of them.
//!
//! ```text
//!   ReadingCap -> Configuring -> ReadingStatus <-> Pausing
//!                                     | ready
//!                                     v
//!                                Identifying -> CountingQueues -> Done
//!                                     +---- no I/O queues wanted ---^
//! ```

use std::fmt;
use std::time::Duration;

use corelane_reactors::clock::Time;
use zerocopy::FromBytes;

use crate::initiator::command;
use crate::spec::cqe::Cqe;
use crate::spec::feature::NumberOfQueues;
use crate::spec::identify::controller::IdentifyController;
use crate::spec::identify::{Cns, IDENTIFY_BYTES};
use crate::spec::register::{Cap, Cc, Csts, Property, Shutdown};
use crate::spec::sqe::Sqe;

/// The unit of CAP.TO.
const TIMEOUT_UNIT: Duration = Duration::from_millis(500);
/// Between two looks at CSTS.
pub(super) const PAUSE: Duration = Duration::from_millis(1);
/// IOSQES and IOCQES: entries of 64 and 16 bytes.
const ENTRY_SIZES: (u8, u8) = (6, 4);
/// A page of CAP.MPSMIN 0.
const PAGE_BYTES: u32 = 4096;
/// IOCCSZ counts units of 16 bytes, the first four of which are the command.
const CAPSULE_UNIT: u32 = 16;
const COMMAND_BYTES: u32 = 64;

/// What is to be done next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Send this command, and hand its completion over.
    Submit {
        /// The command.
        sqe: Sqe,
        /// How many bytes of data it brings; 0 for none.
        receives: usize,
    },
    /// Go on at this time.
    Wait(Time),
    /// The controller is ready: see [`Enabling::into_controller`].
    Done,
}

/// What the commands are for, in words for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Property Get of CAP.
    ReadCapabilities,
    /// Property Set of CC.
    Configure,
    /// Property Get of CSTS.
    AwaitReady,
    /// Identify Controller.
    Identify,
    /// Set Features, Number of Queues.
    CountQueues,
}

impl fmt::Display for Task {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ReadCapabilities => "reading the controller's capabilities",
            Self::Configure => "enabling the controller",
            Self::AwaitReady => "waiting for the controller to become ready",
            Self::Identify => "identifying the controller",
            Self::CountQueues => "asking for I/O queues",
        })
    }
}

/// Why a controller does not become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnableError {
    /// CSTS.CFS is set.
    #[error("the controller reports a fatal status (CSTS.CFS)")]
    Fatal,
    /// CSTS.RDY is not set after the time that CAP.TO gives.
    #[error("the controller is not ready after {after:?} (CAP.TO)")]
    TimedOut {
        /// The time that CAP.TO gives.
        after: Duration,
    },
    /// Identify brought fewer bytes than it has to.
    #[error("the Identify data has fewer than 4,096 bytes")]
    Short,
}

/// What a ready controller is like.
#[derive(Clone, Debug)]
pub struct Controller {
    /// CAP.
    pub cap: Cap,
    /// Identify Controller.
    pub identify: Box<IdentifyController>,
    /// I/O queues that may be connected, at most as many as were asked for.
    pub queues: u16,
}

impl Controller {
    /// The most data of one command in bytes (MDTS); `None` for no limit.
    pub fn transfer_bytes_max(&self) -> Option<u32> {
        let shift = u32::from(self.identify.mdts) + u32::from(self.cap.mpsmin());
        let limit = PAGE_BYTES.checked_shl(shift).filter(|bytes| bytes >> shift == PAGE_BYTES);
        if self.identify.mdts == 0 { None } else { limit }
    }

    /// The most data that goes with a command on an I/O queue, in bytes (IOCCSZ).
    pub fn in_capsule_bytes_max(&self) -> u32 {
        if self.identify.icdoff.get() != 0 {
            return 0;
        }
        self.identify.ioccsz.get().saturating_mul(CAPSULE_UNIT).saturating_sub(COMMAND_BYTES)
    }

    /// The most commands that may be under way on an I/O queue, 1 and up (CAP.MQES).
    pub fn depth_max(&self) -> u16 {
        self.cap.mqes_z().clamp(1, u16::MAX - 1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Working(Task),
    Pausing(Time),
    Done,
}

/// The sequence.
#[derive(Debug)]
pub struct Enabling {
    state: State,
    queues_wanted: u16,
    cap: Cap,
    ready_until: Time,
    identify: Option<Box<IdentifyController>>,
    queues: u16,
}

impl Enabling {
    /// Begins; `queues_wanted` I/O queues are asked for, none for a discovery controller.
    pub fn new(queues_wanted: u16) -> Self {
        Self {
            state: State::Working(Task::ReadCapabilities),
            queues_wanted,
            cap: Cap::new(),
            ready_until: Time::MAX,
            identify: None,
            queues: 0,
        }
    }

    /// What the next command is for; `None` when there is none.
    pub fn task(&self) -> Option<Task> {
        match self.state {
            State::Working(task) => Some(task),
            State::Pausing(_) => Some(Task::AwaitReady),
            State::Done => None,
        }
    }

    /// What is to be done next.
    pub fn step(&mut self, now: Time) -> Step {
        if let State::Pausing(until) = self.state {
            if now < until {
                return Step::Wait(until);
            }
            self.state = State::Working(Task::AwaitReady);
        }
        let State::Working(task) = self.state else { return Step::Done };
        let without_data = |sqe| Step::Submit { sqe, receives: 0 };
        match task {
            Task::ReadCapabilities => without_data(command::property_get(Property::CAP)),
            Task::Configure => without_data(command::property_set(Property::CC, enable())),
            Task::AwaitReady => without_data(command::property_get(Property::CSTS)),
            Task::Identify => {
                Step::Submit { sqe: command::identify(Cns::CONTROLLER, 0), receives: IDENTIFY_BYTES }
            }
            Task::CountQueues => without_data(command::number_of_queues(self.queues_wanted)),
        }
    }

    /// The command of the last [`Step::Submit`] succeeded, and brought `data`.
    ///
    /// # Errors
    /// [`EnableError`]: the controller is of no use.
    pub fn completed(&mut self, now: Time, cqe: &Cqe, data: &[u8]) -> Result<(), EnableError> {
        let State::Working(task) = self.state else { unreachable!("no command was asked for") };
        self.state = match task {
            Task::ReadCapabilities => {
                let (low, high) = (u64::from(cqe.dw0.get()), u64::from(cqe.dw1.get()));
                self.cap = Cap::from_bits(low | high << 32);
                self.ready_until = now + self.ready_timeout();
                State::Working(Task::Configure)
            }
            Task::Configure => State::Working(Task::AwaitReady),
            Task::AwaitReady => self.judge(now, Csts::from_bits(cqe.dw0.get()))?,
            Task::Identify => {
                let identify = IdentifyController::read_from_bytes(data).map_err(|_| EnableError::Short)?;
                self.identify = Some(Box::new(identify));
                if self.queues_wanted > 0 { State::Working(Task::CountQueues) } else { State::Done }
            }
            Task::CountQueues => {
                let given = NumberOfQueues::from_bits(cqe.dw0.get());
                let queues_z = given.submission_z().min(given.completion_z());
                self.queues = queues_z.saturating_add(1).min(self.queues_wanted);
                State::Done
            }
        };
        Ok(())
    }

    /// The controller that is ready; `None` before [`Step::Done`].
    pub fn into_controller(self) -> Option<Controller> {
        let done = self.state == State::Done;
        let identify = self.identify.filter(|_| done)?;
        Some(Controller { cap: self.cap, identify, queues: self.queues })
    }

    fn ready_timeout(&self) -> Duration {
        TIMEOUT_UNIT * u32::from(self.cap.to().max(1))
    }

    fn judge(&self, now: Time, csts: Csts) -> Result<State, EnableError> {
        if csts.cfs() {
            return Err(EnableError::Fatal);
        }
        if csts.rdy() {
            return Ok(State::Working(Task::Identify));
        }
        if now >= self.ready_until {
            return Err(EnableError::TimedOut { after: self.ready_timeout() });
        }
        Ok(State::Pausing(now + PAUSE))
    }
}

/// CC that enables a controller with the NVM command set (base 2.1, section 3.1.4.5).
fn enable() -> u32 {
    configuration().into_bits()
}

/// CC that announces a normal shutdown to a controller that [`Enabling`] has enabled.
pub(super) fn shut_down() -> u32 {
    configuration().with_shn(Shutdown::NORMAL).into_bits()
}

fn configuration() -> Cc {
    Cc::new().with_en(true).with_css(Cc::CSS_NVM).with_iosqes(ENTRY_SIZES.0).with_iocqes(ENTRY_SIZES.1)
}
