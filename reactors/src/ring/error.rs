//! Why there is no ring, or no room in it.

use std::fmt;

use rustix::io::Errno;

use super::OPERATIONS_MAX;

/// Why a ring, or something in it, could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingError {
    /// This process may not use io_uring.
    Forbidden {
        /// What `kernel.io_uring_disabled` says, where it can be read: 0 leaves a filter of system calls as the cause.
        disabled: Option<u8>,
    },
    /// The kernel does not know io_uring: built without, or a filter of system calls hides it.
    Absent,
    /// The kernel's io_uring lacks what is needed: it is older than Linux 5.19.
    TooOld,
    /// The kernel's io_uring lacks what sockets need: it is older than Linux 6.12.
    NoStreams,
    /// The limit on locked memory (`ulimit -l`) is too low. Memory that is pinned counts on every kernel; the ring itself
    /// did on Linux 6.18 and did not on 6.12, for a process without the privilege to lock memory.
    Memlock,
    /// A number of the options is out of its range.
    Options,
    /// So many operations in flight are wanted, more than a ring can have.
    Operations(u32),
    /// The ring has as many users as it can.
    Users,
    /// The ring holds as many files as it was opened for.
    Files,
    /// The ring has pinned as many parts of memory as it can.
    Memory,
    /// Anything else that the kernel refuses.
    System(Errno),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { disabled: Some(level @ 1..) } => write!(
                f,
                "io_uring is switched off: kernel.io_uring_disabled is {level}; sysctl kernel.io_uring_disabled=0 allows it"
            ),
            Self::Forbidden { .. } => f.write_str(
                "io_uring is forbidden for this process, by a filter of system calls (seccomp) or a security module; \
                 allow io_uring_setup, io_uring_enter and io_uring_register",
            ),
            Self::Absent => f.write_str(
                "this kernel has no io_uring, or a filter of system calls (seccomp) hides it",
            ),
            Self::TooOld => f.write_str("the kernel is too old: io_uring as of Linux 5.19 is needed"),
            Self::NoStreams => {
                f.write_str("the kernel is too old: io_uring for sockets as of Linux 6.12 is needed")
            }
            Self::Memlock => {
                f.write_str("the limit on locked memory is too low; raise it (ulimit -l, LimitMEMLOCK=)")
            }
            Self::Options => f.write_str("a size of the io_uring is out of its range"),
            Self::Operations(wanted) => write!(
                f,
                "an io_uring has at most {OPERATIONS_MAX} operations in flight, and {wanted} are wanted; \
                 two for each connection that may be"
            ),
            Self::Users => f.write_str("the io_uring has as many users as it can"),
            Self::Files => f.write_str("the io_uring holds as many files as it can"),
            Self::Memory => f.write_str("the io_uring has pinned as many parts of memory as it can"),
            Self::System(errno) => write!(f, "the kernel refuses an io_uring: {errno}"),
        }
    }
}

impl std::error::Error for RingError {}
