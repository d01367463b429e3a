//! Bytes on their way between a socket and their user: segments, receive chunks, leases of them, and the two
//! system calls that take them. Knows nothing of protocols and decides nothing about when to receive or to send.
//!
//! Two kinds of memory meet here. A [`Segment`] names bytes that may change while they are named, because a
//! device, the kernel or another core writes them; nobody forms a Rust reference to them. A [`Lease`] names
//! bytes of a receive [`Chunk`] that were received and do not change while the lease lives; they may be read as
//! a slice.
//!
//! Invariant: the bytes of a chunk below its fill mark are written by nobody while a lease of the chunk exists.

mod chunk;
mod gather;
mod lease;
mod segment;
mod system;
#[cfg(test)]
mod tests;

pub(crate) use chunk::Received;
pub use chunk::{Chunk, Chunks};
pub use gather::{Gather, GatherList};
pub use lease::Lease;
pub use segment::{Segment, SegmentMut};
pub(crate) use system::{SEGMENTS_MAX, receive, send};
