//! Memory of a channel's own: a few buffers that comparisons read into, and zeros to be written.
//!
//! Invariant: `free` holds each buffer at most once, and exactly those that nobody has.

use corelane_reactors::buffer::{Segment, SegmentMut};

use crate::mem::{Extent, ExtentError};

/// Bytes that one comparison reads at once.
pub(super) const BOUNCE_BYTES: usize = 128 << 10;

/// Comparisons that run at once on one channel; more of them wait.
pub(super) const BOUNCES: usize = 4;

/// Bytes of zeros that are written at once.
pub(super) const ZEROS_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Bounces {
    memory: Extent,
    free: Vec<usize>,
    zeros: Extent,
}

impl Bounces {
    pub(super) fn new() -> Result<Self, ExtentError> {
        Ok(Self {
            memory: Extent::ordinary(BOUNCES * BOUNCE_BYTES)?,
            free: (0..BOUNCES).rev().collect(),
            zeros: Extent::zeros(ZEROS_BYTES)?,
        })
    }

    pub(super) fn take(&mut self) -> Option<usize> {
        self.free.pop()
    }

    pub(super) fn give_back(&mut self, bounce: usize) {
        assert!(bounce < BOUNCES);
        assert!(!self.free.contains(&bounce));
        self.free.push(bounce);
    }

    /// The first `len` bytes of a buffer.
    pub(super) fn segment(&self, bounce: usize, len: usize) -> SegmentMut {
        assert!(len <= BOUNCE_BYTES);
        let start = bounce * BOUNCE_BYTES;
        self.memory.segment_mut(start..start + len)
    }

    /// So many zeros.
    pub(super) fn zeros(&self, len: usize) -> Segment {
        self.zeros.segment(0..len)
    }
}
