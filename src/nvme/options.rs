//! What is asked of a controller, and the limits of this driver.

use std::time::Duration;

use crate::spec::register::ADMIN_ENTRIES_MAX;

/// Queue pairs of one controller.
pub const QUEUE_PAIRS_MAX: u16 = 256;
/// Entries of an I/O queue, least and most: a power of two beyond the most would leave too few generations of command
/// identifiers to tell a stale completion from a fresh one.
pub const ENTRIES_MIN: u16 = 2;
/// See [`ENTRIES_MIN`].
pub const ENTRIES_MAX: u16 = 4096;
/// Entries of the admin queue, at least: event requests, aborts and a few commands at once.
pub const ADMIN_ENTRIES_MIN: u16 = 16;
/// Shortest time-out of a command.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// What is asked of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// I/O queue pairs, 1 to [`QUEUE_PAIRS_MAX`]. A controller that grants fewer gets fewer: see
    /// [`super::Controller::queue_pairs`].
    pub io_queue_pairs: u16,
    /// Entries of each I/O queue, [`ENTRIES_MIN`] to [`ENTRIES_MAX`]; no more than the controller can have. One fewer
    /// command can be outstanding.
    pub entries: u16,
    /// Entries of the admin queue, [`ADMIN_ENTRIES_MIN`] to 4,096.
    pub admin_entries: u16,
    /// How long a command may take before it is aborted, then its queue taken down, then the controller reset.
    pub timeout: Duration,
    /// Whether commands that a reset for somebody else's sake caught are sent again, instead of failing with
    /// [`super::Failure::Aborted`]. Only those that may be carried out twice are.
    pub replay: bool,
    /// Whether shadow doorbells are used where the controller offers them.
    pub shadow_doorbells: bool,
    /// Whether scatter gather lists are used for data that pages cannot name, where the controller offers them.
    pub sgls: bool,
    /// Buffers of each queue pair for data that the controller cannot reach where it lies, 0 to 64.
    pub bounce_buffers: u16,
    /// Bytes of each of those buffers, 4 KiB to 2 MiB, in whole pages of 4 KiB.
    pub bounce_bytes: usize,
}

impl Options {
    /// These options with every number brought into its range.
    #[must_use]
    pub fn clipped(&self) -> Self {
        Self {
            io_queue_pairs: self.io_queue_pairs.clamp(1, QUEUE_PAIRS_MAX),
            entries: self.entries.clamp(ENTRIES_MIN, ENTRIES_MAX),
            admin_entries: self.admin_entries.clamp(ADMIN_ENTRIES_MIN, ADMIN_ENTRIES_MAX),
            timeout: self.timeout.max(TIMEOUT_MIN),
            bounce_buffers: self.bounce_buffers.min(64),
            bounce_bytes: self.bounce_bytes.clamp(4096, 2 << 20).next_multiple_of(4096),
            ..*self
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            io_queue_pairs: 1,
            entries: 256,
            admin_entries: 32,
            timeout: Duration::from_secs(30),
            replay: false,
            shadow_doorbells: true,
            sgls: true,
            bounce_buffers: 8,
            bounce_bytes: 128 << 10,
        }
    }
}
