//! NUMA nodes: which one a core belongs to, and binding memory to one. A machine without nodes is node 0.

#![expect(unsafe_code, reason = "the kernel is asked about ranges of addresses")]

#[cfg(test)]
mod tests;

use std::{fs, io};

/// The highest node that can be named, and one more.
const NODES_MAX: usize = 1024;
const WORD_BITS: usize = 64;

/// How strictly memory is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// From this node while it has any.
    Prefer,
    /// From this node or not at all.
    Bind,
}

/// The node of a core, by the kernel's numbers; 0 where the machine has no nodes.
pub fn node_of_core(core: usize) -> u32 {
    let nodes = numbered(&format!("/sys/devices/system/cpu/cpu{core}"));
    nodes.into_iter().min().unwrap_or(0)
}

/// Number of nodes, at least 1.
pub(super) fn nodes() -> usize {
    numbered("/sys/devices/system/node").len().max(1)
}

/// The numbers of the entries of `folder` that are called `node` and a number.
fn numbered(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()).collect()
}

/// Has the pages of a mapping that are not there yet come from `node`.
///
/// # Errors
///
/// What the kernel says: it has no such node, no nodes at all, or forbids it.
///
/// # Safety
///
/// The range belongs to the caller's own mapping.
pub(super) unsafe fn bind(start: *mut u8, bytes: usize, policy: Policy, node: u32) -> io::Result<()> {
    let node = node as usize;
    if node >= NODES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut mask = [0_u64; NODES_MAX / WORD_BITS];
    mask[node / WORD_BITS] = 1 << (node % WORD_BITS);
    let mode = match policy {
        Policy::Prefer => libc::MPOL_PREFERRED,
        Policy::Bind => libc::MPOL_BIND,
    };
    // The kernel takes one bit less than it is told.
    let (bits, flags) = (NODES_MAX + 1, 0);
    // SAFETY: the range is the caller's (promise of this function), and the policy changes nothing of what is in it; the
    // mask has as many bits as are named.
    let result = unsafe { libc::syscall(libc::SYS_mbind, start, bytes, mode, mask.as_ptr(), bits, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
