//! The data plane of the target: what one I/O queue pair does on its reactor. No sockets, no PDUs, no locks.
//!
//! [`decode`] turns a submission queue entry into a [`Request`] that is right in itself: opcode, namespace, range,
//! limits and transfer length are judged there, before a byte is moved. [`Channels::submit`] hands a request to its
//! bdev; that is the one place where processing starts, and so the one place where a right to read or write is
//! judged. What the bdev answers becomes a [`crate::spec::status::Status`] in [`status_of`].

mod attached;
mod blocks;
mod channels;
mod committing;
mod counts;
mod place;
mod request;
#[cfg(test)]
mod tests;

pub use attached::{Attached, Namespaces};
pub use blocks::{copy_limits, dataset_range_blocks};
pub use channels::{Channels, status_of};
pub use counts::{Counts, LaneCounts, fault_of, kind_of, kind_of_refused};
pub use place::Place;
pub use request::{Limits, Operation, Request, Transfer, decode};

/// Ranges of one Dataset Management command that the target carries out (DMRL); those behind them are left as they are.
pub const DATASET_RANGES_MAX: usize = 8;
/// Bytes of one Dataset Management range that the target carries out (DMRSL): deallocation must not hold up a reactor.
pub const DATASET_RANGE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of one Write Zeroes, Verify or Write Uncorrectable command that the target recommends (WZSL, VSL, WUSL), as a power
/// of two of 4 KiB pages: 1 MiB. Longer ones are carried out, and take longer.
pub const BLOCKS_SIZE_LOG2_PAGES: u8 = 8;
/// Source ranges of one Copy command that the target accepts (MSRC), where the device takes as many.
pub const COPY_RANGES_MAX: usize = 16;
/// Bytes of one Copy command that the target accepts, and of one of its ranges (MCL, MSSRL), where the device takes as
/// much: a copy in memory must not hold up a reactor.
pub const COPY_BYTES_MAX: u64 = 1 << 20;
