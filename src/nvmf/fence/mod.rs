//! The fence: in which order a reservation command, or a change of the write protection of a namespace, takes effect, and
//! what I/O reactors see of it.
//!
//! ```text
//! transition -> 1 save, durably -> 2 publish, until every reactor has observed it -> 3 drain the victims, or all writes
//!            -> 4 notify -> 5 complete
//! ```
//!
//! [`keeper::Keeper`] walks one namespace through these steps, one command at a time, and does none of them itself.
//! [`snapshot::Snapshot`] is what a step publishes: for each namespace what each host may do, found by a small index
//! that a queue pair learns when it connects ([`slots::HostSlots`]). [`Fences`] has the keepers of a target.

mod fences;
pub mod keeper;
pub mod recover;
pub mod slots;
pub mod snapshot;

#[cfg(test)]
mod tests;

pub use fences::{FenceAction, Fences, NamespaceKey, Origin};
pub use slots::HostSlots;
pub use snapshot::{Rules, Snapshot};
