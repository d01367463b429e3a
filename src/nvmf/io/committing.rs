//! Commands that read what is to be on the medium before: FUA of Read, Compare and Verify (NVM command set 1.0, sections
//! 3.2.1, 3.2.4 and 3.2.5), where the device has a volatile cache.
//!
//! ```text
//!   Flush, under the tag of the command --done--> the command itself --done--> completed
//!                                        --failed--> completed, with the status of the Flush
//! ```
//!
//! Invariants: a tag is here from the hand-over of its Flush until that is back and the command is handed over; the bdev has
//! one command of it all the while, so that what is asked to end ends, whichever of the two it is.

use crate::mem::{Segment, SegmentMut};
use crate::nvmf::io::{Channels, Request};
use crate::spec::status::Status;

/// Commands that wait on one reactor; one more is to be tried again.
const COMMITTING_MAX: usize = 256;

/// A command that waits for its Flush.
#[derive(Debug)]
struct Waiting {
    tag: u64,
    request: Request,
    from: Segment,
    into: SegmentMut,
    /// The Flush is done.
    flushed: bool,
}

/// The commands that wait for their Flush. Room for all is there from the start.
#[derive(Debug)]
pub(super) struct Committing {
    waiting: Vec<Waiting>,
    /// Those of them whose Flush is done.
    flushed: usize,
}

impl Default for Committing {
    fn default() -> Self {
        Self { waiting: Vec::with_capacity(COMMITTING_MAX), flushed: 0 }
    }
}

impl Committing {
    /// Whether the completion under this tag was that of a Flush after which the command goes on. A Flush that failed is all
    /// that there is of its command.
    #[inline]
    pub(super) fn is_flushed(&mut self, tag: u64, is_good: bool) -> bool {
        !self.waiting.is_empty() && self.note(tag, is_good)
    }

    #[cold]
    fn note(&mut self, tag: u64, is_good: bool) -> bool {
        let Some(at) = self.waiting.iter().position(|it| it.tag == tag) else { return false };
        if is_good {
            self.waiting[at].flushed = true;
            self.flushed += 1;
        } else {
            self.waiting.swap_remove(at);
        }
        is_good
    }

    fn take(&mut self) -> Option<Waiting> {
        let at = self.waiting.iter().position(|it| it.flushed)?;
        self.flushed -= 1;
        Some(self.waiting.swap_remove(at))
    }
}

impl Channels {
    /// Hands a command over whose blocks are to be on the medium before.
    #[cold]
    pub(super) fn commit_first(
        &mut self,
        tag: u64,
        request: &mut Request,
        from: Segment,
        into: SegmentMut,
    ) -> Option<Status> {
        if self.committing.waiting.len() == COMMITTING_MAX {
            return Some(Status::INTERRUPTED);
        }
        match self.flush_channel(tag, request.namespace.channel) {
            Some(status) if status.is_success() => self.begin(tag, request, from, into),
            Some(status) => Some(status),
            None => {
                self.committing.waiting.push(Waiting { tag, request: *request, from, into, flushed: false });
                None
            }
        }
    }

    /// Hands over what was flushed; `done` is told what is over with that.
    #[inline]
    pub(super) fn go_on(&mut self, done: impl FnMut(u64, Status)) {
        if self.committing.flushed > 0 {
            self.go_on_with_flushed(done);
        }
    }

    #[cold]
    fn go_on_with_flushed(&mut self, mut done: impl FnMut(u64, Status)) {
        while let Some(Waiting { tag, mut request, from, into, .. }) = self.committing.take() {
            if let Some(status) = self.begin(tag, &mut request, from, into) {
                done(tag, status);
            }
        }
    }
}
