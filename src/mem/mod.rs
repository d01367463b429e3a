//! Memory that devices and sockets may touch: extents, arenas, pools and the kernels that copy and check it.
//! Knows nothing of blocks and commands.
//!
//! All of it is raw memory: several cores, the kernel and devices read and write it at any time, so no Rust
//! reference ever covers it. It is named by [`Segment`] and [`SegmentMut`], which are addresses and
//! lengths, and touched only by the kernels of this folder. A reader that races with a writer gets some
//! mixture of old and new bytes, nothing worse. Invariants:
//!
//! - a segment names bytes that stay mapped for as long as it can be used: that is what whoever makes one
//!   of a raw pointer promises, and what an [`Extent`] guarantees even beyond its own end;
//! - memory that a Rust reference covers is never behind a segment that somebody may write through.

mod arena;
mod extent;
mod kernels;
mod list;
mod numa;
mod pool;
mod shared;

pub use arena::{Arena, ArenaBacking, ArenaOptions};
pub use corelane_reactors::buffer::{Segment, SegmentMut};
pub use extent::{Backing, Extent, ExtentError, MissingHugepages, PageSize, Residence};
pub use kernels::{copy, copy_far, copy_in, copy_out, crc32c, difference, expect_read, expect_write, zero};
pub use list::{difference_list, gather, gather_far, length, length_mut, scatter};
pub use numa::node_of_core;
pub use pool::{Buffer, Class, Pool, PoolMemory};
pub use shared::Shared;
