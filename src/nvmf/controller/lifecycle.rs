//! The states of a controller and what moves it between them (NVMe base 2.1, sections 3.5, 3.6 and 3.7).
//!
//! ```text
//!              Enable            Disable                QueuesGone
//!   Disabled ---------> Ready ----------> Disabling ----------------> Disabled
//!                         |                   | Shutdown
//!                         | Shutdown          v        QueuesGone           Flushed             Disable
//!                         '-----------> ShuttingDown ----------> Flushing ----------> ShutDown ----------> Disabled
//!
//!   With no I/O queue open, Disable and Shutdown lead to Disabled and Flushing at once; with no volatile cache, what leads
//!   to Flushing leads to ShutDown.
//! ```
//!
//! A controller that says that its shutdown is complete is ready to be powered off (section 3.6.1), so what devices have
//! cached is durable before: of what the host wrote nothing is lost then. Normal and abrupt shutdowns are the same.
//!
//! [`Lifecycle::Failed`] (CSTS.CFS) is entered when enabling with an unsupported CC, when queues do not close
//! or caches are not flushed in time, when a flush fails, and when the association is lost; Disable leaves it.

use corelane_reactors::clock::Time;

use crate::spec::register::{Cc, Csts, ShutdownStatus};
use crate::spec::status::Status;

/// Where a controller is between reset and reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// CC.EN is 0 and everything is at rest.
    Disabled,
    /// Commands are taken.
    Ready,
    /// CC.EN went to 0; the I/O queues are being closed. CSTS.RDY stays 1 until they are.
    Disabling {
        /// When they must be closed.
        until: Time,
    },
    /// The host announced a shutdown; the I/O queues are being closed.
    ShuttingDown {
        /// When they must be closed.
        until: Time,
    },
    /// The host announced a shutdown and the I/O queues are closed; volatile caches are being flushed.
    Flushing {
        /// When they must be durable.
        until: Time,
    },
    /// The shutdown is complete.
    ShutDown,
    /// A fatal error (CSTS.CFS).
    Failed,
}

/// What happens to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// CC.EN went from 0 to 1.
    Enable {
        /// CC asks for what there is.
        supported: bool,
    },
    /// CC.EN went from 1 to 0.
    Disable,
    /// CC.SHN left 00b.
    Shutdown,
    /// The last I/O queue is closed.
    QueuesGone,
    /// The volatile caches are durable.
    Flushed,
    /// A volatile cache could not be made durable.
    NotFlushed,
    /// The time for closing the queues, or for flushing, is over.
    Overdue,
    /// The admin queue ended, or the keep alive timer expired.
    AssociationLost,
}

/// What a transition depends on beside state and event.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// I/O queues are open.
    pub queues: bool,
    /// Namespaces of the host have a volatile cache.
    pub caches: bool,
    /// When queues must be closed, and caches flushed, if that is to begin now.
    pub until: Time,
}

impl Lifecycle {
    /// The next state.
    ///
    /// # Errors
    /// Command Sequence Error where the host enables a controller whose reset is still going on; nothing
    /// changes.
    pub fn next(self, event: Event, closing: Closing) -> Result<Self, Status> {
        let until = closing.until;
        let disabling = if closing.queues { Self::Disabling { until } } else { Self::Disabled };
        let at_rest = |until| if closing.caches { Self::Flushing { until } } else { Self::ShutDown };
        let shutting_down = if closing.queues { Self::ShuttingDown { until } } else { at_rest(until) };
        Ok(match (self, event) {
            (Self::Disabled | Self::ShutDown, Event::Enable { supported: true }) => Self::Ready,
            (Self::Disabled | Self::ShutDown, Event::Enable { supported: false }) => Self::Failed,
            (
                Self::Ready
                | Self::Disabling { .. }
                | Self::ShuttingDown { .. }
                | Self::Flushing { .. }
                | Self::Failed,
                Event::Enable { .. },
            ) => {
                return Err(Status::COMMAND_SEQUENCE_ERROR);
            }

            (Self::Disabled | Self::Disabling { .. }, Event::Disable) => self,
            (
                Self::Ready
                | Self::ShuttingDown { .. }
                | Self::Flushing { .. }
                | Self::ShutDown
                | Self::Failed,
                Event::Disable,
            ) => disabling,

            (Self::Disabled | Self::Ready | Self::Disabling { .. } | Self::Failed, Event::Shutdown) => {
                shutting_down
            }
            (Self::ShuttingDown { .. } | Self::Flushing { .. } | Self::ShutDown, Event::Shutdown) => self,

            (Self::Disabling { .. }, Event::QueuesGone) => Self::Disabled,
            (Self::ShuttingDown { until }, Event::QueuesGone) => at_rest(until),
            (
                Self::Disabled | Self::Ready | Self::Flushing { .. } | Self::ShutDown | Self::Failed,
                Event::QueuesGone,
            ) => self,

            (Self::Flushing { .. }, Event::Flushed) => Self::ShutDown,
            (Self::Flushing { .. }, Event::NotFlushed) => Self::Failed,
            (
                Self::Disabled
                | Self::Ready
                | Self::Disabling { .. }
                | Self::ShuttingDown { .. }
                | Self::ShutDown
                | Self::Failed,
                Event::Flushed | Event::NotFlushed,
            ) => self,

            (Self::Disabling { .. } | Self::ShuttingDown { .. } | Self::Flushing { .. }, Event::Overdue) => {
                Self::Failed
            }
            (Self::Disabled | Self::Ready | Self::ShutDown | Self::Failed, Event::Overdue) => self,

            (
                Self::Disabled
                | Self::Ready
                | Self::Disabling { .. }
                | Self::ShuttingDown { .. }
                | Self::Flushing { .. }
                | Self::ShutDown
                | Self::Failed,
                Event::AssociationLost,
            ) => Self::Failed,
        })
    }

    /// CSTS in this state, with this CC.
    pub fn csts(self, cc: Cc) -> Csts {
        let csts = Csts::new();
        match self {
            Self::Disabled => csts,
            Self::Ready | Self::Disabling { .. } => csts.with_rdy(true),
            Self::ShuttingDown { .. } | Self::Flushing { .. } => {
                csts.with_rdy(cc.en()).with_shst(ShutdownStatus::OCCURRING)
            }
            Self::ShutDown => csts.with_rdy(cc.en()).with_shst(ShutdownStatus::COMPLETE),
            Self::Failed => csts.with_cfs(true),
        }
    }

    /// When this state must have ended.
    pub fn deadline(self) -> Option<Time> {
        match self {
            Self::Disabling { until } | Self::ShuttingDown { until } | Self::Flushing { until } => {
                Some(until)
            }
            Self::Disabled | Self::Ready | Self::ShutDown | Self::Failed => None,
        }
    }

    /// Whether admin commands other than fabrics commands are taken.
    pub fn is_ready(self) -> bool {
        self == Self::Ready
    }
}
