//! A block device in a file, or on a block device of the machine, through the io_uring of each reactor.
//!
//! Reads and writes go past the page cache (O_DIRECT), straight between the medium and the caller's memory, wherever the
//! file system can do that; where it cannot, through the cache, which the log says. A device is never shared: a lock
//! keeps other processes and other bdevs away, and a block device that is mounted, or otherwise in use, is refused.
//!
//! What survives what: a completed write survives the end of the process in any case, a crash of the machine or the loss
//! of its power once a flush that came after it has completed, or when it was forced (FUA). So the device says that it
//! has a volatile write cache, as the disk below has one, and perhaps the file system. A flush that failed is the last
//! one that was believed: what the kernel forgot by it, no later flush brings back, so all later ones fail until the
//! target is started anew.
//!
//! One block is atomic towards all other commands on the file, on any number of reactors: where what is below does not
//! keep that promise by itself, readers and writers of a block are kept apart ([`claims`]).
//!
//! Invariants: the geometry is that of the file when it was opened; a file that others shrink answers reads beyond its
//! new end with [`super::BdevError::Media`], and grows again where it is written.

mod bounce;
mod channel;
mod claims;
mod job;
mod open;
mod outcome;
#[cfg(test)]
mod tests;

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use open::{FileError, FileOptions};

use super::{Bdev, Channel, Geometry, Home, OpenError};
use channel::FileChannel;
use claims::Claims;
use open::Opened;

/// A block device in a file.
#[derive(Debug)]
pub struct File {
    name: String,
    geometry: Geometry,
    layout: Layout,
    file: OwnedFd,
    state: Arc<State>,
    /// Where blocks are not atomic below.
    claims: Option<Arc<Claims>>,
}

/// How a file wants to be used.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// What offsets and lengths of reads and writes are a multiple of, in bytes: 1 through the page cache.
    alignment: u64,
    /// Past the page cache.
    direct: bool,
    /// What is below reads and writes a block as a whole, as far as one can know.
    atomic: bool,
}

/// What the channels of a file know of each other.
#[derive(Debug, Default)]
struct State {
    /// Out of service. `Relaxed`, as nothing is read for it: channels find out soon.
    retired: AtomicBool,
    /// A flush failed. `Relaxed`: a flush that another reactor submits meanwhile is not ordered after this one.
    sync_failed: AtomicBool,
}

impl File {
    /// Opens the file, or makes it where `options` give a size, and locks it. Waits some seconds for an owner to leave.
    ///
    /// # Errors
    ///
    /// [`FileError`], which names the path and says what to do.
    pub fn open(name: &str, options: &FileOptions) -> Result<Self, FileError> {
        Self::open_within(name, options, open::PATIENCE)
    }

    fn open_within(name: &str, options: &FileOptions, patience: Duration) -> Result<Self, FileError> {
        let Opened { file, geometry, layout } = open::open(name, options, patience)?;
        let claims = (!layout.atomic).then(|| Arc::new(Claims::new(geometry.bytes(), geometry.block_size)));
        Ok(Self { name: name.to_owned(), geometry, layout, file, state: Arc::default(), claims })
    }

    /// Whether reads and writes go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.layout.direct
    }
}

impl Bdev for File {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        let ring = home.ring.as_ref().ok_or(OpenError::NoRing)?;
        // Memory whose pages are all there anyway; of the rest the kernel would make them all at once.
        for extent in home.extents.iter().filter(|extent| extent.is_populated()) {
            if let Err(error) = ring.pin_memory(extent.segment_mut(0..extent.len())) {
                tracing::info!(bdev = self.name, %error, "memory is pinned for each command, and not once for all");
            }
        }
        Ok(Box::new(FileChannel::open(ring, self)?))
    }

    fn retire(&self) -> bool {
        self.state.retired.store(true, Ordering::Relaxed);
        true
    }
}
