//! A range of a block device: what a fused operation has for itself, and whether other commands touch it.

use std::fmt;
use std::sync::Arc;

use crate::bdev::{Bdev, Blocks};
use crate::nvmf::io::Operation;

/// Blocks of a device, whichever namespaces show it.
#[derive(Clone)]
pub struct Place {
    pub(super) bdev: Arc<dyn Bdev>,
    pub(super) blocks: Blocks,
}

impl Place {
    /// Both have a block in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bdev, &other.bdev) && overlap(self.blocks, other.blocks)
    }

    /// An operation on the device of this place touches it. One whose blocks are in its data may touch any.
    pub(super) fn is_touched(&self, operation: Operation) -> bool {
        match operation {
            Operation::Read(blocks)
            | Operation::Write { blocks, .. }
            | Operation::Compare(blocks)
            | Operation::WriteZeroes { blocks, .. }
            | Operation::Verify(blocks)
            | Operation::WriteUncorrectable(blocks) => overlap(self.blocks, blocks),
            Operation::Deallocate(_) | Operation::Copy { .. } => true,
            Operation::Flush | Operation::Hint | Operation::Reservation { .. } => false,
        }
    }
}

fn overlap(one: Blocks, other: Blocks) -> bool {
    let end = |blocks: Blocks| blocks.first + u64::from(blocks.count);
    one.first < end(other) && other.first < end(one)
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Place")
            .field("bdev", &self.bdev.name())
            .field("blocks", &self.blocks)
            .finish()
    }
}
