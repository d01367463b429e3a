//! One look at an epoll descriptor: what is ready now. Never waits, so no time is handed to the kernel: epoll_pwait2(2),
//! which takes one, copies and checks it, and a signal mask, each time.
#![expect(unsafe_code, reason = "no safe call looks at an epoll descriptor without a time")]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::event::epoll::EventFlags;

/// Most events taken from the kernel in one look.
const EVENTS_MAX: usize = 64;

/// The memory of the looks at one descriptor.
pub(super) struct Ready {
    events: Box<[libc::epoll_event; EVENTS_MAX]>,
    /// `count <= EVENTS_MAX`: those of the last look.
    count: usize,
}

impl Ready {
    pub(super) fn new() -> Self {
        Self { events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX]), count: 0 }
    }

    /// Takes what is ready now; returns how many events that are.
    pub(super) fn look(&mut self, epoll: BorrowedFd<'_>) -> usize {
        let most = libc::c_int::try_from(EVENTS_MAX).unwrap_or(1);
        // SAFETY: `events` is writable for `EVENTS_MAX` events, and nobody else refers to them.
        let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), self.events.as_mut_ptr(), most, 0) };
        // Nothing but EINTR can go wrong with a valid descriptor and buffer, and then the next look sees it all.
        self.count = usize::try_from(count).unwrap_or(0).min(EVENTS_MAX);
        self.count
    }

    /// An event of the last look, and the number that its descriptor was added with.
    ///
    /// # Panics
    /// If there were not so many.
    pub(super) fn event(&self, at: usize) -> (EventFlags, u64) {
        assert!(at < self.count);
        let libc::epoll_event { events, u64: data } = self.events[at];
        (EventFlags::from_bits_retain(events), data)
    }
}
