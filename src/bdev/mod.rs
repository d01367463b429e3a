//! Block devices: the trait that the target speaks to, one backend per folder, decorators, and one
//! conformance suite that every backend passes. Knows no NVMe and no sockets.
//!
//! A [`Bdev`] is shared by all reactors and does no I/O itself. Each reactor opens a [`Channel`] of its
//! own and submits commands to it; nothing is locked between channels. Invariants:
//!
//! - a submitted command completes exactly once: inside [`Channel::submit`], or later, with its tag,
//!   through [`Channel::poll`] of the same channel;
//! - until then the memory named by its segments stays valid, and belongs to the bdev;
//! - commands in flight are not ordered among themselves, on one channel or on several;
//! - two writes to the same blocks, or a write and a read, that are in flight together, on one reactor or on two: a backend
//!   in memory or in a file keeps them apart inside a block, and inside as many blocks as it says ([`Atomicity`]); others do
//!   what the device or the far side does. What a channel lends is whole by how it is read ([`Channel::lend`]).

mod cause;
mod channel;
mod command;
#[cfg(test)]
pub(crate) mod conformance;
mod delay;
mod file;
mod geometry;
mod malloc;
mod null;
pub mod nvme;
pub mod nvmf;
mod random;
mod stored;

pub use channel::{Channel, Submitted};
pub use command::{Access, BdevError, Blocks, Command, CopyFault, Tag};
pub use delay::{Delay, Delays, Hang};
pub use file::{File, FileError, FileOptions};
pub use geometry::{Atomicity, CopyLimits, Features, Geometry, GeometryError, Memory};
pub use malloc::Malloc;
pub use null::Null;

use std::sync::Arc;

use corelane_reactors::ring::{Ring, RingError};

use crate::mem::{Extent, ExtentError};

/// A block device, shared by all reactors.
pub trait Bdev: Send + Sync {
    /// The name that the configuration gave it.
    fn name(&self) -> &str;

    /// Its shape. It never changes during the life of this value.
    fn geometry(&self) -> &Geometry;

    /// Opens a channel for the calling reactor, which is the only one that may use it; `home` is what that
    /// reactor has to offer.
    ///
    /// May allocate; belongs to Connect, not to the I/O path.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the device cannot serve another channel.
    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError>;

    /// Asks that the device be taken out of service, for good: what is outstanding on any channel completes there
    /// with [`BdevError::Gone`], once the device can touch neither memory nor medium for it, and what is submitted
    /// later does so at once. Returns whether the request could be followed. Any thread may ask; asking again
    /// changes nothing.
    fn retire(&self) -> bool {
        false
    }
}

/// What the reactor that opens a channel has to offer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Home {
    /// The memory that the data of its commands lies in, for bdevs that use the caller's ([`Memory::Callers`]): a device
    /// maps or registers these, whole.
    pub extents: Arc<[Arc<Extent>]>,
    /// Its io_uring, if it has one, attached to it: backends that need it are refused where there is none.
    pub ring: Option<Ring>,
}

impl Home {
    /// A reactor whose commands move their data through these extents.
    #[must_use]
    pub fn new(extents: &[Arc<Extent>]) -> Self {
        Self { extents: extents.into(), ring: None }
    }

    /// As it is, and with this io_uring.
    #[must_use]
    pub fn with_ring(self, ring: Ring) -> Self {
        Self { ring: Some(ring), ..self }
    }
}

/// Why a channel could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The device is no longer there.
    #[error("the device is gone")]
    Gone,
    /// Every queue of the device has an owner.
    #[error("the device has no free queue")]
    Exhausted,
    /// The device is reached through the io_uring of the reactor, which has none.
    #[error("the reactor has no io_uring")]
    NoRing,
    /// The io_uring of the reactor cannot take it.
    #[error(transparent)]
    Ring(RingError),
    /// There is no memory for the channel.
    #[error("there is no memory for the channel")]
    Memory,
}

/// Why a block device could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Its size or block size is not possible.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] ExtentError),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}
