//! Opens the kernel's ring: in which mode, what it must be able to do, what its refusals mean. Submits nothing.

use std::{fs, io};

use io_uring::{Builder, IoUring, Probe, opcode};
use rustix::io::Errno;

use super::{OPERATIONS_MAX, Options, RingError};

/// Where the administrator switches io_uring off.
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Files that a table can hold.
const FILES_MAX: u32 = 32_768;

/// How the kernel treats what has completed, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// It keeps it until this thread enters, and takes entries in order: Linux 6.6.
    DeferredInOrder,
    /// It keeps it until this thread enters: Linux 6.1.
    Deferred,
    /// It handles it in the next system call of this thread, whichever that is: Linux 5.19.
    Cooperative,
}

impl Mode {
    pub(super) const ALL: [Self; 3] = [Self::DeferredInOrder, Self::Deferred, Self::Cooperative];

    /// Whether completions appear only while this thread is inside of io_uring_enter.
    pub(super) fn is_deferred(self) -> bool {
        self != Self::Cooperative
    }

    fn apply(self, builder: &mut Builder) {
        builder.dontfork().setup_submit_all().setup_taskrun_flag();
        match self {
            Self::Cooperative => builder.setup_coop_taskrun(),
            Self::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
            Self::DeferredInOrder => builder.setup_single_issuer().setup_defer_taskrun().setup_no_sqarray(),
        };
    }
}

/// Opens a ring in the first of `modes` that the kernel has. Its submission queue holds every operation that can be in
/// flight, its completion queue each of them and its cancellation.
///
/// # Errors
/// [`RingError`].
pub(super) fn open(options: &Options, modes: &[Mode]) -> Result<(IoUring, Mode), RingError> {
    let Options { operations, files, workers, .. } = *options;
    if !(1..=OPERATIONS_MAX).contains(&operations) || !(1..=FILES_MAX).contains(&files) || workers == 0 {
        return Err(RingError::Options);
    }
    let entries = operations.next_power_of_two();
    let mut refused = RingError::TooOld;
    for &mode in modes {
        let mut builder = IoUring::builder();
        mode.apply(&mut builder);
        match builder.setup_cqsize(entries * 2).build(entries) {
            Ok(ring) => {
                probe(&ring)?;
                let tables = ring.submitter().register_files_sparse(files);
                tables.map_err(|error| refusal(&error))?;
                let limited = ring.submitter().register_iowq_max_workers(&mut [workers, workers]);
                limited.map_err(|error| refusal(&error))?;
                return Ok((ring, mode));
            }
            Err(error) => refused = refusal(&error),
        }
        if refused != RingError::TooOld {
            break;
        }
    }
    Err(refused)
}

/// What a refusal of the kernel means.
pub(super) fn refusal(error: &io::Error) -> RingError {
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => RingError::Forbidden { disabled: switch() },
        Some(Errno::NOSYS) => RingError::Absent,
        // Flags and registrations that it does not know.
        Some(Errno::INVAL) => RingError::TooOld,
        Some(Errno::NOMEM) => RingError::Memlock,
        Some(errno) => RingError::System(errno),
        None => RingError::System(Errno::IO),
    }
}

fn switch() -> Option<u8> {
    fs::read_to_string(SWITCH).ok()?.trim().parse().ok()
}

/// Every operation that this folder submits must be known.
fn probe(ring: &IoUring) -> Result<(), RingError> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| refusal(&error))?;
    let needed = [
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::Readv::CODE,
        opcode::Writev::CODE,
        opcode::ReadFixed::CODE,
        opcode::WriteFixed::CODE,
        opcode::Fsync::CODE,
        opcode::Fallocate::CODE,
        opcode::AsyncCancel::CODE,
    ];
    let known = needed.iter().all(|&code| probe.is_supported(code));
    let params = ring.params();
    // Lists of segments are copied when they are handed over, and completions are never dropped.
    let features = params.is_feature_submit_stable() && params.is_feature_nodrop();
    if known && features { Ok(()) } else { Err(RingError::TooOld) }
}
