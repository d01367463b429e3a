//! A namespace of a remote subsystem, as a bdev: where it is, as whom it is asked, and how long is waited for what.

use std::net::SocketAddr;
use std::time::Duration;

use uuid::Uuid;

use super::limits::Knob;
use crate::spec::nqn::Nqn;

/// Paths of one bdev.
pub const PATHS_MAX: usize = 8;
/// Range of `queue_depth`.
pub const QUEUE_DEPTH: Knob<u16> = Knob { min: 1, max: 1024, default: 127, unit: "commands" };
/// Range of `keep_alive_ms`.
pub const KEEP_ALIVE_MS: Knob<u32> = Knob { min: 1_000, max: 600_000, default: 5_000, unit: "ms" };
/// Range of `io_timeout_ms`.
pub const IO_TIMEOUT_MS: Knob<u32> = Knob { min: 100, max: 600_000, default: 10_000, unit: "ms" };
/// Range of `fast_io_fail_ms`.
pub const FAST_IO_FAIL_MS: Knob<u32> = Knob { min: 0, max: 3_600_000, default: 10_000, unit: "ms" };
/// Range of `reconnect_delay_ms`.
pub const RECONNECT_DELAY_MS: Knob<u32> = Knob { min: 10, max: 600_000, default: 2_000, unit: "ms" };
/// Range of `wait_ms`.
pub const WAIT_MS: Knob<u32> = Knob { min: 0, max: 3_600_000, default: 10_000, unit: "ms" };

/// A namespace of a remote subsystem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    /// Where its controllers are, 1 to [`PATHS_MAX`].
    pub paths: Vec<SocketAddr>,
    /// The subsystem.
    pub nqn: Nqn,
    /// NSID, 1 to 4,294,967,294; `None` for the only one.
    pub namespace: Option<u32>,
    /// As whom; `None` for a name that is made up at each start, or made of `hostid`.
    pub hostnqn: Option<Nqn>,
    /// The host identifier; `None` for that of `hostnqn`, or a new one.
    pub hostid: Option<Uuid>,
    /// Headers carry digests.
    pub header_digest: bool,
    /// Data carries digests.
    pub data_digest: bool,
    /// Commands on each queue at a time.
    pub queue_depth: u16,
    /// KATO.
    pub keep_alive: Duration,
    /// Of connecting, and of each command.
    pub io_timeout: Duration,
    /// How long commands wait for a path.
    pub fast_io_fail: Duration,
    /// Between two attempts to connect, at most.
    pub reconnect_delay: Duration,
    /// How long the start waits for it.
    pub wait: Duration,
}
