//! Why a controller does not work, in words for whoever set it up.

use std::time::Duration;

use super::device::{MapError, ResetError};
use crate::mem::ExtentError;
use crate::spec::status::Status;

/// Why a controller could not be brought to work, or no longer does.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is not there any more.
    #[error("the controller is gone: it was removed, or its link is down")]
    Gone,
    /// Its registers are not those of an NVMe controller with I/O queues.
    #[error("this is no NVMe controller with the NVM command set (CAP is {cap:#x})")]
    NotNvme {
        /// CAP.
        cap: u64,
    },
    /// It does not take pages of 4 KiB.
    #[error("the controller takes no memory pages below {bytes} bytes; 4096 are needed")]
    PageSize {
        /// The smallest page, in bytes.
        bytes: u64,
    },
    /// Fewer registers are mapped than there are doorbells.
    #[error(
        "{wanted} bytes of registers are needed for so many queue pairs, the device has {bytes}: ask for fewer"
    )]
    Registers {
        /// Bytes needed.
        wanted: usize,
        /// Bytes there are.
        bytes: usize,
    },
    /// There is no memory for the queues.
    #[error("no memory for the queues: {0}")]
    Memory(#[from] ExtentError),
    /// The device cannot be given memory.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It cannot be disabled, and not be reset either.
    #[error("the controller did not become not-ready within {0:?}, and a function reset did not help: {1}")]
    NeverStopped(Duration, ResetError),
    /// It does not become ready.
    #[error("the controller did not become ready within {0:?}: reset or power-cycle the device")]
    NeverReady(Duration),
    /// It reports a fatal error.
    #[error("the controller reports a fatal error (CSTS.CFS): reset or power-cycle the device")]
    Fatal,
    /// It stopped being ready by itself.
    #[error("the controller stopped being ready by itself: somebody else has reset it")]
    Lost,
    /// It does not answer a command.
    #[error("the controller does not answer {command} within {limit:?}")]
    Silent {
        /// The command.
        command: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// It refuses a command that it must carry out.
    #[error("the controller refuses {command}: {status}")]
    Refused {
        /// The command.
        command: &'static str,
        /// What it says.
        status: Status,
    },
    /// It has no namespace.
    #[error("the controller has no active namespace: create and attach one (nvme create-ns, nvme attach-ns)")]
    NoNamespaces,
    /// It was shut down.
    #[error("the controller was shut down")]
    ShutDown,
}
