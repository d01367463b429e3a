//! What the controller may reach: extents at addresses of its own, as behind an IOMMU.
//!
//! Invariants: mappings do not overlap and have room between them; no address of a mapping is the one that this process
//! has for the same byte, so that a driver that forgets to translate is caught; whatever else the controller is told to
//! reach is refused and recorded.

use std::ops::Range;
use std::sync::Arc;

use crate::mem::{Extent, SegmentMut, Shared};
use crate::nvme::{Iova, MapError};

/// Where the first extent lies: far from what this process has.
const FIRST: u64 = 0x00f1_2340_0000_1000;

/// Bytes between two extents that nobody has.
const GAP: u64 = 0x0123_4000;

/// The smallest page of an IOMMU.
const PAGE: u64 = 4096;

/// Extents that can be mapped at once, as an IOMMU has a limit.
const MAPPINGS_MAX: usize = 1024;

/// Violations that are kept; more are only counted.
const VIOLATIONS_MAX: usize = 64;

/// What a driver did that no driver may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It named memory that the device may not reach.
    Memory {
        /// Where.
        iova: Iova,
        /// How much, in bytes.
        bytes: usize,
    },
    /// It wrote a value to a doorbell that is not an index of the queue.
    Doorbell {
        /// The queue.
        qid: u16,
        /// What it wrote.
        value: u32,
    },
    /// It used the identifier of a command that it had not been answered.
    CidInUse {
        /// The submission queue.
        sqid: u16,
        /// The identifier.
        cid: u16,
    },
    /// The data pointer of a command is not one that the specification allows, or longer than the controller takes.
    DataPointer {
        /// The submission queue.
        sqid: u16,
        /// The command.
        cid: u16,
        /// What is wrong.
        reason: &'static str,
    },
    /// It wrote to registers what they do not take, or in the wrong state.
    Register {
        /// The register's offset in bytes.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

struct Mapping {
    iova: u64,
    extent: Arc<Extent>,
}

/// What is mapped, and what was tried beyond it.
pub(super) struct Memory {
    mappings: Vec<Mapping>,
    next: u64,
    violations: Vec<Violation>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { mappings: Vec::new(), next: FIRST, violations: Vec::new() }
    }

    pub(super) fn map(&mut self, extent: &Arc<Extent>) -> Result<Iova, MapError> {
        if self.mappings.len() == MAPPINGS_MAX {
            return Err(MapError::NoRoom { bytes: extent.len() });
        }
        let iova = self.next;
        let bytes = u64::try_from(extent.len()).expect("an address fits 64 bits");
        self.next = (iova + bytes).next_multiple_of(PAGE) + GAP;
        self.mappings.push(Mapping { iova, extent: Arc::clone(extent) });
        Ok(Iova(iova))
    }

    pub(super) fn unmap(&mut self, iova: Iova) {
        self.mappings.retain(|mapping| mapping.iova != iova.0);
    }

    /// The bytes of an address range, if all of them are mapped in one piece; recorded otherwise.
    pub(super) fn reach(&mut self, iova: u64, bytes: usize) -> Option<SegmentMut> {
        match find(&self.mappings, iova, bytes) {
            Some((mapping, range)) => Some(mapping.extent.segment_mut(range)),
            None => self.outside(iova, bytes),
        }
    }

    /// The same, for words that both sides exchange.
    pub(super) fn share(&mut self, iova: u64, bytes: usize) -> Option<Shared> {
        match find(&self.mappings, iova, bytes) {
            Some((mapping, range)) if range.start.is_multiple_of(8) => {
                Some(Shared::new(Arc::clone(&mapping.extent), range))
            }
            _ => self.outside(iova, bytes),
        }
    }

    /// Whether an address range is still mapped; recorded if it is not.
    pub(super) fn holds(&mut self, iova: u64, bytes: usize) -> bool {
        find(&self.mappings, iova, bytes).is_some() || self.outside::<()>(iova, bytes).is_some()
    }

    pub(super) fn violate(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn outside<T>(&mut self, iova: u64, bytes: usize) -> Option<T> {
        self.violate(Violation::Memory { iova: Iova(iova), bytes });
        None
    }
}

fn find(mappings: &[Mapping], iova: u64, bytes: usize) -> Option<(&Mapping, Range<usize>)> {
    mappings.iter().find_map(|mapping| {
        let start = usize::try_from(iova.checked_sub(mapping.iova)?).ok()?;
        let end = start.checked_add(bytes)?;
        (end <= mapping.extent.len()).then_some((mapping, start..end))
    })
}
