//! What a queue pair counts. Written by its reactor alone.

/// Counts of one queue pair since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands given to the ring, each part of one that was split by itself.
    pub submitted: u64,
    /// Commands that completed.
    pub completed: u64,
    /// Calls of `poll`.
    pub polls: u64,
    /// Writes of the submission queue's doorbell register.
    pub submission_doorbells: u64,
    /// Writes of the completion queue's doorbell register.
    pub completion_doorbells: u64,
    /// Writes of doorbells in memory.
    pub shadow_doorbells: u64,
    /// Completions that named no outstanding command.
    pub strays: u64,
    /// Parts of commands whose data was copied, because the device could not be told of where it lies.
    pub bounced: u64,
    /// Commands that took too long.
    pub timeouts: u64,
    /// Commands that were sent again after a reset.
    pub repeated: u64,
}

impl Counts {
    /// Writes of doorbell registers.
    pub const fn doorbells(&self) -> u64 {
        self.submission_doorbells + self.completion_doorbells
    }
}
