//! Lists of blocks that are a command's data: the ranges of Dataset Management and of Copy, and their limits.
//!
//! Invariant: what comes out lies inside the namespace, and within the limits that Identify announces.

use zerocopy::FromBytes;

use crate::bdev::{Blocks, CopyLimits, Geometry};
use crate::mem::{self, Segment};
use crate::nvmf::io::{
    Attached, COPY_BYTES_MAX, COPY_RANGES_MAX, DATASET_RANGE_BYTES_MAX, DATASET_RANGES_MAX,
};
use crate::nvmf::namespace::NamespaceTable;
use crate::spec::nvm::{self, CopyRange, DatasetRange};
use crate::spec::status::Status;

/// DMRSL: the blocks of one Dataset Management range that are deallocated. It belongs to the controller, so the largest
/// block decides.
pub fn dataset_range_blocks(table: &NamespaceTable) -> u32 {
    let block_sizes = table.iter().map(|namespace| namespace.bdev.geometry().block_size);
    let largest = block_sizes.max().unwrap_or(Geometry::BLOCK_SIZE_MIN);
    u32::try_from(DATASET_RANGE_BYTES_MAX / u64::from(largest)).unwrap_or(u32::MAX)
}

/// MSSRL, MCL and MSRC of a namespace: what its device takes, and no more than the target does; `None` without Copy.
pub fn copy_limits(geometry: &Geometry) -> Option<CopyLimits> {
    let device = geometry.features.copy?;
    let blocks = u32::try_from(COPY_BYTES_MAX / u64::from(geometry.block_size)).unwrap_or(u32::MAX);
    let range_blocks = blocks.min(device.range_blocks).min(u16::MAX.into());
    let ranges = u16::try_from(COPY_RANGES_MAX).unwrap_or(u16::MAX).min(device.ranges);
    Some(CopyLimits { range_blocks, blocks: blocks.min(device.blocks), ranges })
}

/// The ranges of a Dataset Management command, from the host's data, which lists `count`. Of what is beyond a limit it is
/// only looked whether it exists: such blocks are to be left as they are, and are no reason to refuse the command (NVM
/// command set 1.0, section 3.2.3.1).
///
/// # Errors
/// LBA Out of Range.
pub(super) fn dataset_ranges(
    from: Segment,
    count: usize,
    namespace: &Attached,
    into: &mut [Blocks; DATASET_RANGES_MAX],
) -> Result<usize, Status> {
    let mut bytes = [0; nvm::DATASET_RANGES_MAX * size_of::<DatasetRange>()];
    let bytes = &mut bytes[..count * size_of::<DatasetRange>()];
    mem::copy_out(from, bytes);
    let ranges = <[DatasetRange]>::ref_from_bytes(bytes).expect("a whole number of ranges without alignment");
    for (index, range) in ranges.iter().enumerate() {
        let mut blocks = Blocks { first: range.starting_lba.get(), count: range.blocks.get() };
        blocks.bytes(&namespace.geometry).map_err(|_| Status::LBA_OUT_OF_RANGE.with_dnr())?;
        blocks.count = blocks.count.min(namespace.dataset_range_blocks);
        if let Some(place) = into.get_mut(index) {
            *place = blocks;
        }
    }
    Ok(count.min(DATASET_RANGES_MAX))
}

/// The source ranges of a Copy command, from the host's data, which lists `count`, to `to` and what follows it.
///
/// # Errors
/// Command Size Limit Exceeded where a range or all of them together are too long; otherwise LBA Out of Range.
pub(super) fn copy_ranges(
    from: Segment,
    (count, to): (usize, u64),
    namespace: &Attached,
    into: &mut [Blocks; COPY_RANGES_MAX],
) -> Result<usize, Status> {
    assert!(count <= COPY_RANGES_MAX);
    let geometry = &namespace.geometry;
    let limits = copy_limits(geometry).ok_or(Status::INVALID_OPCODE.with_dnr())?;
    let mut bytes = [0; COPY_RANGES_MAX * size_of::<CopyRange>()];
    let bytes = &mut bytes[..count * size_of::<CopyRange>()];
    mem::copy_out(from, bytes);
    let ranges = <[CopyRange]>::ref_from_bytes(bytes).expect("a whole number of ranges without alignment");
    let mut total = 0;
    for (range, place) in ranges.iter().zip(into.iter_mut()) {
        let blocks = u32::from(range.blocks_z.get()) + 1;
        // 16 ranges of 65,536 blocks at most.
        total += blocks;
        if blocks > limits.range_blocks || total > limits.blocks {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        *place = Blocks { first: range.starting_lba.get(), count: blocks };
    }
    let target = Blocks { first: to, count: total };
    let exists = |blocks: &Blocks| blocks.bytes(geometry).is_ok();
    if into[..count].iter().chain([&target]).all(exists) {
        Ok(count)
    } else {
        Err(Status::LBA_OUT_OF_RANGE.with_dnr())
    }
}
