//! Which CPUs the process may use, and pinning a thread to one of them.
//!
//! [`allowed`] must be asked before any thread is pinned: a pinned thread, and every thread it
//! spawns, sees its own CPU only. [`crate::group::Group::new`] asks it once and keeps the answer.

use std::{error, fmt};

use core_affinity::CoreId;

/// The CPUs the calling thread may run on, ascending; empty when the kernel does not say.
///
/// Respects cpusets, control groups and `taskset`, as they are at this moment.
pub fn allowed() -> Vec<usize> {
    let mut cpus: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cpus.sort_unstable();
    cpus
}

/// Pins the calling thread to `cpu`, which must be one of `allowed`, and checks that it took effect.
///
/// # Errors
///
/// [`PinError`] when `cpu` is not in `allowed`, or the kernel refuses.
pub fn pin(cpu: usize, allowed: &[usize]) -> Result<(), PinError> {
    // An identifier past the kernel's mask would end the process inside the library: look first.
    if !allowed.contains(&cpu) {
        return Err(PinError::NotAllowed { cpu });
    }
    if !core_affinity::set_for_current(CoreId { id: cpu }) || rustix::thread::sched_getcpu() != cpu {
        return Err(PinError::Refused { cpu });
    }
    Ok(())
}

/// Why a thread was not pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinError {
    /// The process may not use this CPU, or there is none of that number.
    NotAllowed {
        /// The CPU that was asked for.
        cpu: usize,
    },
    /// The kernel did not move the thread; the CPU may have gone offline.
    Refused {
        /// The CPU that was asked for.
        cpu: usize,
    },
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinError::NotAllowed { cpu } => write!(f, "CPU {cpu} is not one this process may use"),
            PinError::Refused { cpu } => write!(f, "the kernel does not run this thread on CPU {cpu}"),
        }
    }
}

impl error::Error for PinError {}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
