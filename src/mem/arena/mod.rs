//! The memory that one reactor's commands move their data through: taken at the start, and mapped by devices whole.
//!
//! An arena is a few extents. Whoever needs memory for good takes parts of them at the start, and nothing is ever given
//! back; buffers that come and go are what a [`super::Pool`] makes of such parts. A device maps the extents, so an
//! address of the arena and the device's address of the same byte differ by a constant for each extent.
//!
//! Invariant: of `extents[i]`, the first `taken[i]` bytes belong to somebody, each byte to one.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::pool::{ALIGNMENT, Class, PoolMemory, stride};
use super::{Backing, Extent, ExtentError, PageSize, Residence, Shared};

/// The most bytes of one extent: an IOMMU finds room for several of these sooner than for one large one, and they are
/// whole hugepages of every size.
const EXTENT_BYTES_MAX: usize = 1 << 30;

/// What an arena is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaOptions {
    /// Bytes altogether, at least 1.
    pub bytes: usize,
    /// Which pages.
    pub backing: ArenaBacking,
    /// Which hugepages, where there are to be any.
    pub page_size: PageSize,
    /// The NUMA node to take pages from: that of the reactor's core. `None`: from anywhere.
    pub node: Option<u32>,
    /// All pages are found now: devices are to know them.
    pub populate: bool,
    /// All pages are found now and stay where they are, for memory that no device pins.
    pub lock: bool,
}

/// Which pages an arena is to lie in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArenaBacking {
    /// Hugepages or nothing.
    Hugepages,
    /// Hugepages where enough are free for an extent, otherwise ordinary pages.
    Best,
    /// Ordinary pages.
    #[default]
    Ordinary,
}

/// The memory of one reactor, from which everything is taken at the start.
#[derive(Debug)]
pub struct Arena {
    extents: Box<[Arc<Extent>]>,
    taken: Box<[usize]>,
}

impl Arena {
    /// Takes the memory from the system.
    ///
    /// # Errors
    ///
    /// [`ExtentError`], which says what is missing and how to get it; nothing is taken then.
    pub fn new(options: &ArenaOptions) -> Result<Self, ExtentError> {
        if options.bytes == 0 {
            return Err(ExtentError::Size { bytes: 0 });
        }
        let mut extents = Vec::new();
        let mut left = options.bytes;
        while left > 0 {
            let bytes = left.min(EXTENT_BYTES_MAX);
            left -= bytes;
            // What is missing is told for all of it, not only for the extent that met the end.
            let had = options.bytes - left - bytes;
            extents.push(Arc::new(extent(options, bytes).map_err(|error| error.among(had, left))?));
        }
        Ok(Self { taken: vec![0; extents.len()].into(), extents: extents.into() })
    }

    /// Its extents: what devices map, whole. At least one.
    pub fn extents(&self) -> &[Arc<Extent>] {
        &self.extents
    }

    /// Bytes altogether.
    pub fn bytes(&self) -> usize {
        self.extents.iter().map(|extent| extent.len()).sum()
    }

    /// Bytes in hugepages.
    pub fn hugepage_bytes(&self) -> usize {
        let huge = self.extents.iter().filter(|extent| matches!(extent.backing(), Backing::Hugepages { .. }));
        huge.map(|extent| extent.len()).sum()
    }

    /// Takes `bytes` of one extent, for good, at an address that is a multiple of `alignment`; `None` when no extent has so
    /// many left. They hold zeros. Belongs to the start.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero, or `alignment` is no power of two from 8.
    pub fn take(&mut self, bytes: usize, alignment: usize) -> Option<Shared> {
        assert!(bytes > 0);
        assert!(alignment >= 8 && alignment.is_power_of_two());
        for (extent, taken) in self.extents.iter().zip(&mut self.taken) {
            let base = extent.address();
            let Some(start) = (base + *taken).checked_next_multiple_of(alignment) else { continue };
            let start = start - base;
            if start <= extent.len() && bytes <= extent.len() - start {
                *taken = start + bytes;
                return Some(Shared::new(Arc::clone(extent), start..start + bytes));
            }
        }
        None
    }

    /// Takes the memory of a pool with these classes; `None` when there is not enough left. Nothing is wasted between
    /// classes that are powers of two from 4,096 bytes. Belongs to the start.
    pub fn carve(&mut self, classes: &[Class]) -> Option<PoolMemory> {
        let mut classes = classes.to_vec();
        // The largest first: what an extent has left behind it is still whole buffers of the smaller ones.
        classes.sort_unstable_by_key(|class| std::cmp::Reverse(class.bytes));
        let mut memory = PoolMemory::default();
        for Class { bytes, count } in classes {
            let stride = stride(bytes)?;
            let mut left = count as usize;
            while left > 0 {
                let here = self.room().map(|room| room / stride).max().unwrap_or(0).min(left);
                if here == 0 {
                    return None;
                }
                memory.add(bytes, self.take(here * stride, ALIGNMENT)?);
                left -= here;
            }
        }
        Some(memory)
    }

    /// Bytes that each extent has left from its next whole buffer on.
    fn room(&self) -> impl Iterator<Item = usize> {
        let extents = self.extents.iter().zip(&self.taken);
        extents.map(|(extent, taken)| extent.len().saturating_sub(taken.next_multiple_of(ALIGNMENT)))
    }
}

fn extent(options: &ArenaOptions, bytes: usize) -> Result<Extent, ExtentError> {
    let ArenaOptions { backing, page_size, node, populate, lock, .. } = *options;
    let residence = Residence { node, populate, lock };
    let settled = |mut extent: Extent| extent.reside(residence, page_size).map(|()| extent);
    let huge = || Extent::hugepages_of(bytes, page_size).and_then(settled);
    let ordinary = || Extent::ordinary(bytes).and_then(settled);
    match backing {
        ArenaBacking::Hugepages => huge(),
        ArenaBacking::Best => huge().or_else(|_| ordinary()),
        ArenaBacking::Ordinary => ordinary(),
    }
}
