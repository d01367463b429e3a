//! One io_uring for each reactor, shared by all who read and write there: files now, sockets as well. The only code
//! that touches the kernel's ring. Knows nothing of blocks and of protocols.
//!
//! A [`Ring`] is a handle that stays on the thread that opened it. Each part of a program that uses it is a [`User`],
//! which submits [`Operation`]s on [`FixedFile`]s and finds its own completions in its own inbox. Two pollers drive
//! the ring ([`Ring::attach`]): completions are reaped in [`Phase::Completions`], and in [`Phase::Submit`] one system
//! call hands over what all users submitted in the turn. A turn in which nothing completed makes no system call: the
//! kernel raises a flag in shared memory when it has something, and opens its work only when it is entered.
//!
//! What must hold:
//! - an operation completes exactly once, and one that receives a stream any number of times before; until then the
//!   ring holds copies of its segments, whose memory therefore stays mapped (the promise of every segment), and belongs
//!   to the kernel; it holds messages themselves;
//! - `operations` bounds what is in flight, and each user's limit what it has in flight and in its inbox together;
//!   beyond it submitting is refused with [`Full`] and nothing has happened;
//! - the completion queue has room for everything that can complete: one entry for each operation and for its
//!   cancellation;
//! - nothing is allocated after [`Ring::open`] but by [`Ring::user`], [`Ring::stream_user`] and [`Ring::window`].
//!
//! Linux 5.19 is needed (tables of files with holes, the flag in shared memory). From 6.1 on the kernel keeps its work
//! until this thread enters, which saves interruptions; before, it only waits for the next system call. Streams need
//! Linux 6.12, which fills a buffer piece by piece.
//!
//! # Example
//!
//! ```
//! use std::fs::File;
//!
//! use corelane_reactors::{
//!     buffer::SegmentMut,
//!     ring::{Operation, Options, Ring},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let Ok(ring) = Ring::open(&Options::default()) else { return Ok(()) }; // forbidden in some containers
//! let user = ring.user(8)?;
//! let file = ring.add_file(&File::open("/proc/self/cmdline")?)?;
//! let memory: &'static mut [u8] = Box::leak(Box::new([0; 4096]));
//! user.submit(7, &Operation::Read { file: &file, offset: 0, into: &[SegmentMut::of(memory)] })?;
//! let completion = loop {
//!     // What the pollers do, each in its phase.
//!     ring.reap();
//!     ring.submit();
//!     if let Some(completion) = user.take() {
//!         break completion;
//!     }
//! };
//! assert_eq!(completion.token, 7);
//! assert!(completion.result? > 0);
//! # Ok(())
//! # }
//! ```

mod error;
mod file;
mod flights;
mod kernel;
mod memory;
mod message;
mod operation;
mod pollers;
mod setup;
mod shared;
#[cfg(test)]
mod tests;
mod user;
mod window;

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
};

pub use error::RingError;
pub use file::FixedFile;
pub use flights::OperationId;
pub use message::Message;
pub use operation::{Allocation, Operation};
pub use rustix::io::Errno;
pub use user::{Completion, Full, User};
pub use window::Window;

use crate::{buffer::SegmentMut, poller::Phase, reactor::Reactor};
use pollers::{Reap, Submit};
use setup::Mode;
use shared::Shared;

/// Most segments of one operation; a user with more submits several.
pub const SEGMENTS_MAX: usize = 16;

/// Most operations in flight that [`Options`] can ask for.
pub const OPERATIONS_MAX: u32 = 16_384;

/// Most users of one ring.
pub const USERS_MAX: usize = 256;

/// Sizes of a ring, fixed when it is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Operations in flight, of all users together: 1 to [`OPERATIONS_MAX`], rounded up to a power of two. Each costs
    /// about 400 bytes.
    pub operations: u32,
    /// Files that can be open in the ring at a time: 1 to 32768.
    pub files: u32,
    /// Threads of the kernel, for each NUMA node, that carry out what would block: 1 and up. They belong to this ring
    /// and are made when they are needed: by syncing, by allocating, and by reads and writes that the file system
    /// cannot begin without waiting.
    pub workers: u32,
    /// The CPUs that those threads may use, by the kernel's numbers; empty: the kernel's choice. They should not be those
    /// of a reactor that spins, or what would block waits until it sleeps.
    pub worker_cpus: Vec<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { operations: 1024, files: 1024, workers: 8, worker_cpus: Vec::new() }
    }
}

/// A reactor's io_uring. Clones are the same ring; it stays on the thread that opened it.
///
/// When the last handle, user and file is dropped, what is still in flight is cancelled, and waited for at most
/// [`Ring::CLOSE_WAIT`]. A device that holds an operation longer than that may still read and write its memory: whoever
/// reuses memory must see its operations complete.
#[derive(Clone)]
pub struct Ring(Rc<Shared>);

impl Ring {
    /// How long the end of a ring waits for operations that cannot be cancelled.
    pub const CLOSE_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

    /// Opens a ring for the calling thread, which is the only one that can use it.
    ///
    /// # Errors
    /// [`RingError`], which tells a kernel that is too old from one that is told to refuse.
    pub fn open(options: &Options) -> Result<Self, RingError> {
        Self::open_as(options, &Mode::ALL)
    }

    /// Opens it in the first of `modes` that the kernel has.
    fn open_as(options: &Options, modes: &[Mode]) -> Result<Self, RingError> {
        Ok(Self(Rc::new(Shared::open(options, modes)?)))
    }

    /// Adds the pollers of this ring to the reactor of this thread. To be done before anything is added that looks for
    /// completions in [`Phase::Completions`], so that they are found in the turn that reaps them.
    ///
    /// # Errors
    /// What the reactor says when it cannot watch the ring: the ring was attached before, or the kernel's limits are
    /// reached.
    pub fn attach(&self, reactor: &mut Reactor) -> io::Result<()> {
        reactor.add_poller(Phase::Completions, Box::new(Reap::new(self.clone())))?;
        reactor.add_poller(Phase::Submit, Box::new(Submit::new(self.clone())))?;
        Ok(())
    }

    /// A user with an inbox of its own, which has at most `operations` operations in flight and completions not taken.
    /// Allocates.
    ///
    /// # Errors
    /// [`RingError::Users`] when there are [`USERS_MAX`] already.
    ///
    /// # Panics
    /// If `operations` is 0.
    pub fn user(&self, operations: u32) -> Result<User, RingError> {
        assert!(operations > 0);
        User::new(Rc::clone(&self.0), operations, 0)
    }

    /// As [`Ring::user`], for operations that complete more than once: about `backlog` of their completions find room in
    /// the inbox; what is beyond it waits, and all other users with it, until some are taken.
    ///
    /// # Errors
    /// As [`Ring::user`].
    ///
    /// # Panics
    /// If a number is 0.
    pub fn stream_user(&self, operations: u32, backlog: u32) -> Result<User, RingError> {
        assert!(operations > 0);
        assert!(backlog > 0);
        User::new(Rc::clone(&self.0), operations, backlog)
    }

    /// A place for memory that a stream is received into. Takes a page.
    ///
    /// # Errors
    /// [`RingError::NoStreams`] when the kernel cannot; [`RingError::Memory`] when there are as many as there can be, and
    /// [`RingError::Memlock`] when the limit on locked memory forbids it.
    pub fn window(&self) -> Result<Window, RingError> {
        Window::new(Rc::clone(&self.0))
    }

    /// Opens `file` in the ring, which from now on holds it by itself; operations then find it without counting its
    /// users. `file` may be closed.
    ///
    /// # Errors
    /// [`RingError::Files`] when the table is full; [`RingError::System`] when the kernel refuses the file.
    pub fn add_file(&self, file: &impl AsFd) -> Result<FixedFile, RingError> {
        FixedFile::new(Rc::clone(&self.0), file.as_fd())
    }

    /// Has the kernel pin the pages of `memory` once and for all, so that it need not find and count them for each
    /// operation with one segment inside of it. Lasts as long as the ring. More than 1 GiB is pinned in parts, and an
    /// operation that crosses their border is carried out as if nothing were pinned. What is pinned already is not pinned
    /// again.
    ///
    /// # Errors
    /// [`RingError::Memlock`] when the limit on locked memory forbids it, [`RingError::Memory`] when there are too many
    /// parts, [`RingError::System`] otherwise. What was pinned so far stays so, and everything works without.
    pub fn pin_memory(&self, memory: SegmentMut) -> Result<(), RingError> {
        self.0.pin_memory(memory)
    }

    /// Moves what has completed into the inboxes; enters the kernel only when it has something. Returns whether there
    /// is anything in an inbox. What the poller in [`Phase::Completions`] does.
    pub fn reap(&self) -> bool {
        self.0.reap()
    }

    /// Hands what was submitted over, with one system call; none when nothing was. Returns whether something was. What
    /// the poller in [`Phase::Submit`] does.
    pub fn submit(&self) -> bool {
        self.0.submit()
    }

    /// Hands over, and waits for something to complete, at most so long. For those who give something up and need the
    /// kernel to let go of it first.
    pub(crate) fn wait(&self, limit: std::time::Duration) {
        self.0.wait(limit);
    }

    /// What a sleeper watches, once [`Ring::attach`] has seen to it that the ring is prepared for the sleep.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }

    /// What the poller does before a sleep: whether there is something to do instead.
    #[cfg(test)]
    pub(crate) fn prepare_for_sleep(&self) -> bool {
        self.0.arm()
    }

    /// Operations in flight, of all users.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// System calls that were made to hand over and to reap.
    #[must_use]
    pub fn enters(&self) -> u64 {
        self.0.enters()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("mode", &self.0.mode()).field("in_flight", &self.in_flight()).finish()
    }
}
