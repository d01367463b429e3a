//! What can go wrong for a host that waits, with all that a person needs to know.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::initiator::multipath::FormatError;
use crate::initiator::{CommandError, EnableError, End, NotSubmitted, QueueName, Task};
use crate::mem::ExtentError;
use crate::spec::status::Status;

/// Why something did not work.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No TCP connection.
    #[error("cannot connect to {address}: {error}")]
    Unreachable {
        /// Where to.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// A queue ended, or did not become one. The host is of no use any more.
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
    /// The controller does not answer a command. The host is of no use any more.
    #[error("{queue}: a command is not answered after {after:?}")]
    TimedOut {
        /// The queue.
        queue: QueueName,
        /// The time limit.
        after: Duration,
    },
    /// A command failed; the host goes on.
    #[error(transparent)]
    Command(#[from] CommandError),
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
    /// A command was not even sent.
    #[error(transparent)]
    NotSubmitted(#[from] NotSubmitted),
    /// More data than one command can carry.
    #[error("{bytes} bytes of data are more than the {max} of one command")]
    TooLong {
        /// The length of the data.
        bytes: usize,
        /// The most that there is room for.
        max: usize,
    },
    /// Data that is not a whole number of blocks, or none.
    #[error("{bytes} bytes are not a whole number of blocks of {block_size} bytes")]
    Length {
        /// The length of the data.
        bytes: usize,
        /// The size of a block in bytes.
        block_size: u32,
    },
    /// A namespace that cannot be used.
    #[error("namespace {nsid}: {error}")]
    Format {
        /// Which.
        nsid: u32,
        /// Why.
        error: FormatError,
    },
    /// Identify Namespace or a log page holds something impossible.
    #[error("the controller describes {0} in a way that makes no sense")]
    Nonsense(&'static str),
    /// The discovery log never stayed the same while it was read.
    #[error("the discovery log changed each of the {times} times that it was read")]
    Unstable {
        /// How often it was read.
        times: usize,
    },
    /// A command of a host without I/O queues, or after its end.
    #[error("there is no such queue, or it is closed")]
    Closed,
    /// No memory for the buffer.
    #[error(transparent)]
    Memory(#[from] ExtentError),
    /// The system refused something.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl HostError {
    /// The status of the completion, if the controller refused a command or a Connect.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Command(CommandError::Status { status, .. })
            | Self::Enabling { error: CommandError::Status { status, .. }, .. } => Some(*status),
            Self::Ended { end: End::Refused(refusal), .. } => Some(refusal.status),
            _ => None,
        }
    }
}
