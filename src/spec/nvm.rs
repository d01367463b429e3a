//! Dwords of the NVM command set's I/O commands, and the Dataset Management range (NVM command set 1.0,
//! section 3.2).

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::sqe::Sqe;

/// CDW12 of Read, Write, Compare and Write Zeroes (sections 3.2.1, 3.2.4, 3.2.6, 3.2.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct BlockCount {
    /// NLB: the number of blocks, 0-based; see [`Sqe::blocks`].
    pub blocks_z: u16,
    __: u8,
    /// STC: storage tag check.
    pub stc: bool,
    /// DEAC of Write Zeroes: the blocks should be deallocated. In other commands reserved, or part of the
    /// directive type.
    pub deac: bool,
    /// PRINFO: protection information.
    #[bits(4)]
    pub prinfo: u8,
    /// FUA: force unit access.
    pub fua: bool,
    /// LR: limited retry.
    pub lr: bool,
}

/// CDW11 of Dataset Management (section 3.2.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DatasetAttributes {
    /// IDR: integral dataset for read.
    pub idr: bool,
    /// IDW: integral dataset for write.
    pub idw: bool,
    /// AD: deallocate.
    pub ad: bool,
    #[bits(29)]
    __: u32,
}

/// One range of Dataset Management (section 3.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DatasetRange {
    /// Context attributes: hints.
    pub attributes: U32,
    /// The number of blocks; not 0-based.
    pub blocks: U32,
    /// The first block.
    pub starting_lba: U64,
}

const _: () = {
    assert!(size_of::<DatasetRange>() == 16);
    assert!(offset_of!(DatasetRange, blocks) == 4 && offset_of!(DatasetRange, starting_lba) == 8);
};

/// The largest number of ranges of one Dataset Management command.
pub const DATASET_RANGES_MAX: usize = 256;

/// CDW12 of Copy (section 3.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CopyDword {
    /// NR: the number of source ranges, 0-based.
    pub ranges_z: u8,
    /// DESFMT: the format of the source ranges; 0 is [`CopyRange`].
    #[bits(4)]
    pub format: u8,
    /// PRINFOR: protection information of what is read.
    #[bits(4)]
    pub prinfor: u8,
    #[bits(10)]
    __: u16,
    /// PRINFOW: protection information of what is written.
    #[bits(4)]
    pub prinfow: u8,
    /// FUA: force unit access.
    pub fua: bool,
    /// LR: limited retry.
    pub lr: bool,
}

/// A source range of Copy, format 0 (section 3.2.2).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct CopyRange {
    /// Reserved.
    pub reserved: U64,
    /// SLBA: the first block.
    pub starting_lba: U64,
    /// NLB: the number of blocks, 0-based.
    pub blocks_z: U16,
    /// Reserved, and tags of protection information.
    pub reserved_18: [u8; 14],
}

const _: () = {
    assert!(size_of::<CopyRange>() == 32);
    assert!(offset_of!(CopyRange, starting_lba) == 8 && offset_of!(CopyRange, blocks_z) == 16);
};

/// The largest number of source ranges of one Copy command that fit one page.
pub const COPY_RANGES_MAX: usize = 128;

impl DatasetRange {
    /// The double words of the range, as they are stored in memory.
    pub fn double_words(self) -> [u64; 2] {
        let words: [U64; 2] = zerocopy::transmute!(self);
        words.map(U64::get)
    }
}

impl CopyRange {
    /// The double words of the range, as they are stored in memory.
    pub fn double_words(self) -> [u64; 4] {
        let words: [U64; 4] = zerocopy::transmute!(self);
        words.map(U64::get)
    }
}

impl Sqe {
    /// CDW12 of Copy.
    pub fn copy_dword(&self) -> CopyDword {
        CopyDword::from_bits(self.cdw12.get())
    }

    /// SLBA, CDW10 and CDW11: the first block of Read, Write, Compare, Write Zeroes and Verify.
    pub fn starting_lba(&self) -> u64 {
        u64::from(self.cdw10.get()) | u64::from(self.cdw11.get()) << 32
    }

    /// Sets SLBA; for initiators and tests.
    #[inline]
    pub fn set_starting_lba(&mut self, lba: u64) {
        [self.cdw10, self.cdw11] = zerocopy::transmute!(U64::new(lba));
    }

    /// CDW12 of the commands that name a range of blocks.
    pub fn block_count(&self) -> BlockCount {
        BlockCount::from_bits(self.cdw12.get())
    }

    /// NLB as it is on the wire, 0-based.
    pub fn blocks_z(&self) -> u16 {
        self.block_count().blocks_z()
    }

    /// NLB widened: the number of blocks, 1 to 65,536.
    pub fn blocks(&self) -> u32 {
        u32::from(self.blocks_z()) + 1
    }

    /// FUA: the data must be on non-volatile media before the command completes.
    pub fn force_unit_access(&self) -> bool {
        self.block_count().fua()
    }

    /// DEAC of Write Zeroes.
    pub fn deallocate(&self) -> bool {
        self.block_count().deac()
    }

    /// NR of Dataset Management widened: the number of ranges, 1 to 256 (CDW10 bits 7:0).
    pub fn dataset_ranges(&self) -> usize {
        usize::from(self.cdw10.get().to_le_bytes()[0]) + 1
    }

    /// CDW11 of Dataset Management.
    pub fn dataset_attributes(&self) -> DatasetAttributes {
        DatasetAttributes::from_bits(self.cdw11.get())
    }
}
