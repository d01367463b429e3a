//! Where the submission queue of a connection is, as its completions tell the host.
//!
//! Invariant: `head < entries`.

use crate::spec::cqe::Cqe;
use crate::spec::status::Status;

/// The controller's view of a submission queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubmissionQueue {
    entries: u32,
    head: u32,
    flow_control: bool,
}

impl SubmissionQueue {
    /// A queue of `entries` whose first entry was the Connect command.
    pub(super) fn connected(entries: u32, flow_control: bool) -> Self {
        assert!(entries > 0);
        Self { entries, head: 1 % entries, flow_control }
    }

    /// A command was taken.
    pub(super) fn fetched(&mut self) {
        self.head += 1;
        if self.head == self.entries {
            self.head = 0;
        }
    }

    /// The host wants to know how far the queue was fetched.
    pub(super) fn flow_control(&self) -> bool {
        self.flow_control
    }

    /// The completion of the Connect command `cid`: an SQHD of FFFFh tells the host that there is no flow control (base
    /// 2.1, section 6.3).
    pub(super) fn connect_cqe(&self, cid: u16, status: Status) -> Cqe {
        let mut cqe = self.cqe(cid, status);
        if !self.flow_control && status.is_success() {
            cqe.sqhd = u16::MAX.into();
        }
        cqe
    }

    /// The completion of `cid`.
    pub(super) fn cqe(&self, cid: u16, status: Status) -> Cqe {
        let mut cqe = Cqe::of(cid, status);
        // Without flow control SQHD is reserved (base 2.1, section 3.3.1.2).
        if self.flow_control {
            cqe.sqhd = u16::try_from(self.head).unwrap_or(0).into();
        }
        cqe
    }
}
