//! One user of a ring: what it submits, and its inbox.

use std::{fmt, rc::Rc};

use rustix::io::Errno;

use super::{Operation, OperationId, RingError, shared::Shared};

/// One user of a ring, with an inbox of its own. What is in flight when it is dropped goes on, and its completions are
/// forgotten: whoever reuses the memory of operations must see them complete first.
pub struct User {
    ring: Rc<Shared>,
    index: u32,
}

/// What became of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The user's name for it.
    pub token: u64,
    /// What the operation says, see [`Operation`]; `CANCELED` when it was cancelled before it did anything.
    pub result: Result<u32, Errno>,
    /// The operation goes on, and will complete again.
    pub more: bool,
}

/// Nothing was submitted: as much is in flight as may be. There is room after a completion was taken, or after a
/// hand-over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl User {
    pub(super) fn new(ring: Rc<Shared>, operations: u32, backlog: u32) -> Result<Self, RingError> {
        let index = ring.add_user(operations, backlog)?;
        Ok(Self { ring, index })
    }

    /// Submits an operation; the kernel learns of it in the phase Submit of this turn. `token` comes back with the
    /// completion.
    ///
    /// # Errors
    /// [`Full`]; nothing has happened then.
    ///
    /// # Panics
    /// If the file or window is not one of this ring, or there are more than [`super::SEGMENTS_MAX`] segments.
    pub fn submit(&self, token: u64, operation: &Operation<'_>) -> Result<OperationId, Full> {
        assert!(operation.is_of(&self.ring));
        self.ring.start(self.index, token, operation)
    }

    /// Takes the next completion out of the inbox.
    #[must_use]
    pub fn take(&self) -> Option<Completion> {
        self.ring.take(self.index)
    }

    /// Whether there is a completion to be taken.
    #[must_use]
    pub fn has_completion(&self) -> bool {
        self.ring.has_completion(self.index)
    }

    /// Operations in flight and completions not taken.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.ring.outstanding(self.index)
    }

    /// Asks that an operation of this user end early. It still completes, with `CANCELED` if it had not begun, or as if
    /// nothing had been asked: a disk that has it keeps it. Returns whether the kernel will be asked: `false` for an
    /// operation that is no longer in flight or was cancelled before, and when the submission queue is full.
    pub fn cancel(&self, id: OperationId) -> bool {
        self.ring.cancel(self.index, id)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.ring.remove_user(self.index);
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("outstanding", &self.outstanding()).finish_non_exhaustive()
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as many operations are in flight as may be")
    }
}

impl std::error::Error for Full {}
