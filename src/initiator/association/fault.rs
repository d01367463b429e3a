//! Why an association is down.

use std::time::Duration;

use corelane_reactors::poll_group::Errno;

use crate::initiator::{CommandError, EnableError, End, QueueName, Task};

/// What ended an association, or kept it from beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Unreachable(Errno),
    /// The address does not answer.
    #[error("cannot connect: no answer after {after:?}")]
    NoAnswer {
        /// The time limit.
        after: Duration,
    },
    /// A queue ended, or did not become one.
    #[error("{queue}: {end}")]
    Ended {
        /// The queue.
        queue: QueueName,
        /// Why.
        end: End,
    },
    /// The controller does not answer while a queue is connected.
    #[error("{queue}: not connected after {after:?}")]
    ConnectTimedOut {
        /// The queue.
        queue: QueueName,
        /// The time limit.
        after: Duration,
    },
    /// The controller does not answer a command.
    #[error("{queue}: a command is not answered after {after:?}")]
    CommandTimedOut {
        /// The queue.
        queue: QueueName,
        /// The time limit.
        after: Duration,
    },
    /// A command failed that makes the controller ready.
    #[error("{task}: {error}")]
    Enabling {
        /// What it was for.
        task: Task,
        /// How it failed.
        error: CommandError,
    },
    /// The controller does not become ready.
    #[error(transparent)]
    Enable(#[from] EnableError),
    /// A Keep Alive command failed.
    #[error("keeping the association alive: {0}")]
    KeepAlive(CommandError),
    /// An I/O queue that was opened elsewhere was lost.
    #[error("an I/O queue of another reactor was lost")]
    QueueElsewhere,
    /// The controller gives fewer I/O queues than are needed.
    #[error("the controller gives {given} I/O queues, and not {wanted}")]
    FewerQueues {
        /// What it gives.
        given: u16,
        /// What was asked for.
        wanted: u16,
    },
}

impl Fault {
    /// The controller has said that trying again is of no use (Do Not Retry).
    pub fn is_final(&self) -> bool {
        match self {
            Self::Ended { end: End::Refused(refusal), .. } => refusal.status.dnr(),
            Self::Enabling { error: CommandError::Status { status, .. }, .. } => status.dnr(),
            Self::FewerQueues { .. } => true,
            _ => false,
        }
    }

    /// The connection went away as connections do, with nothing wrong in what went over it: the peer closed it, or
    /// the network did.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::NoAnswer { .. }
                | Self::Ended { end: End::ClosedByPeer | End::Broken(_), .. }
        )
    }
}
