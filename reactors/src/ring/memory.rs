//! The memory that the kernel has pinned for a ring: where it lies.

use std::ops::Range;

use crate::buffer::Segment;

/// Most parts: each operation looks at them, one after the other.
pub(super) const PARTS_MAX: u16 = 64;

/// Longest part that the kernel takes, in bytes.
pub(super) const PART_BYTES_MAX: usize = 1 << 30;

/// The pinned parts; the kernel knows them by their index here.
#[derive(Debug, Default)]
pub(super) struct Pinned(Vec<Range<usize>>);

impl Pinned {
    pub(super) fn with_capacity() -> Self {
        Self(Vec::with_capacity(PARTS_MAX.into()))
    }

    /// The index that the next part gets; `None` when there are as many as there can be.
    pub(super) fn next_index(&self) -> Option<u16> {
        u16::try_from(self.0.len()).ok().filter(|&index| index < PARTS_MAX)
    }

    /// A part was pinned.
    pub(super) fn add(&mut self, part: Segment) {
        let start = part.pointer().addr();
        self.0.push(start..start + part.len());
    }

    /// The index of the part that a segment lies in, as a whole.
    pub(super) fn find(&self, segment: Segment) -> Option<u16> {
        let start = segment.pointer().addr();
        let end = start.checked_add(segment.len())?;
        let index = self.0.iter().position(|part| part.start <= start && end <= part.end)?;
        u16::try_from(index).ok()
    }
}
