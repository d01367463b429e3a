//! What a namespace holds, in memory; with a volatile write cache where there is one.
//!
//! `bytes` is what reads see. Invariant: without a cache `volatile` is empty; with one it holds, for each block whose
//! newest contents a loss of power may take away, what is durable of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::random::Random;
use crate::mem::{self, Extent, ExtentError, Segment, SegmentMut};

pub(super) struct Medium {
    bytes: Extent,
    block_size: usize,
    cached: bool,
    volatile: BTreeMap<u64, Box<[u8]>>,
    /// Blocks that were made unreadable.
    unreadable: BTreeSet<u64>,
}

impl Medium {
    pub(super) fn new(blocks: u64, block_size: u32, cached: bool) -> Result<Self, ExtentError> {
        let bytes = blocks.saturating_mul(u64::from(block_size));
        let bytes = Extent::ordinary(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let block_size = block_size as usize;
        Ok(Self { bytes, block_size, cached, volatile: BTreeMap::new(), unreadable: BTreeSet::new() })
    }

    /// The blocks, to be read. The caller has checked that they exist.
    pub(super) fn read(&self, blocks: &Range<u64>) -> Segment {
        self.bytes.segment(self.range(blocks))
    }

    /// The blocks, to be overwritten. `durable`: the new contents survive a loss of power that follows.
    pub(super) fn write(&mut self, blocks: &Range<u64>, durable: bool) -> SegmentMut {
        self.unreadable.retain(|block| !blocks.contains(block));
        if self.cached {
            for block in blocks.clone() {
                self.before_write(block, durable);
            }
        }
        self.bytes.segment_mut(self.range(blocks))
    }

    /// Makes the blocks read as zeros.
    pub(super) fn clear(&mut self, blocks: &Range<u64>, durable: bool) {
        self.unreadable.retain(|block| !blocks.contains(block));
        if self.cached {
            mem::zero(self.write(blocks, durable));
        } else {
            self.bytes.clear(self.range(blocks));
        }
    }

    /// Makes the blocks unreadable until they are written.
    pub(super) fn spoil(&mut self, blocks: Range<u64>) {
        self.unreadable.extend(blocks);
    }

    /// Whether all of the blocks can be read.
    pub(super) fn is_readable(&self, blocks: &Range<u64>) -> bool {
        self.unreadable.range(blocks.clone()).next().is_none()
    }

    /// Makes everything durable.
    pub(super) fn flush(&mut self) {
        self.volatile.clear();
    }

    /// Power is lost: any of the blocks that are not durable lose what was written to them.
    pub(super) fn lose(&mut self, random: &mut Random) {
        for (block, old) in std::mem::take(&mut self.volatile) {
            if random.once_in(2) {
                mem::copy_in(&old, self.bytes.segment_mut(self.range(&(block..block + 1))));
            }
        }
    }

    fn before_write(&mut self, block: u64, durable: bool) {
        if durable {
            self.volatile.remove(&block);
        } else if !self.volatile.contains_key(&block) {
            let mut old = vec![0; self.block_size].into_boxed_slice();
            mem::copy_out(self.read(&(block..block + 1)), &mut old);
            self.volatile.insert(block, old);
        }
    }

    fn range(&self, blocks: &Range<u64>) -> Range<usize> {
        let byte = |block: u64| usize::try_from(block).expect("inside the medium") * self.block_size;
        byte(blocks.start)..byte(blocks.end)
    }
}
