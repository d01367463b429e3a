//! The shape of a block device: what does not change while it is open.
//!
//! Invariant of every [`Geometry`]: `block_size` is a power of two in
//! `BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX`, `blocks` is not zero, and `block_size * blocks` fits a `u64`.

/// What a block device looks like from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a block: a power of two from [`Geometry::BLOCK_SIZE_MIN`] to [`Geometry::BLOCK_SIZE_MAX`].
    pub block_size: u32,
    /// Number of blocks, at least 1.
    pub blocks: u64,
    /// A completed write may be lost at power loss unless it was forced or flushed.
    pub volatile_write_cache: bool,
    /// The contents are there again after a restart of the process.
    pub survives_restart: bool,
    /// Whose memory the data of a command lies in.
    pub memory: Memory,
    /// How much of a write is atomic.
    pub atomicity: Atomicity,
    /// The commands that it carries out beyond read and write.
    pub features: Features,
}

/// How much of a write is atomic, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Atomicity {
    /// Blocks of a write that other commands see all of, or nothing: at least 1, the least that NVMe can say.
    pub normal: u32,
    /// Blocks of a write of which a loss of power leaves all old or all new: 1 to `normal`.
    pub power_fail: u32,
    /// Atomic writes do not cross multiples of so many blocks, at least `normal`; 0 for none.
    pub boundary: u32,
}

impl Atomicity {
    /// No more than a block.
    pub const BLOCK: Self = Self { normal: 1, power_fail: 1, boundary: 0 };
}

impl Geometry {
    /// Smallest block, in bytes.
    pub const BLOCK_SIZE_MIN: u32 = 512;
    /// Largest block, in bytes.
    pub const BLOCK_SIZE_MAX: u32 = 64 << 10;

    /// Divides `bytes` into blocks of `block_size` bytes, and returns their number.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] when the block size is not one that NVMe hosts use, or `bytes` is not a positive
    /// multiple of it.
    pub fn divide(bytes: u64, block_size: u32) -> Result<u64, GeometryError> {
        if !block_size.is_power_of_two()
            || !(Self::BLOCK_SIZE_MIN..=Self::BLOCK_SIZE_MAX).contains(&block_size)
        {
            return Err(GeometryError::BlockSize { block_size });
        }
        if bytes == 0 || !bytes.is_multiple_of(u64::from(block_size)) {
            return Err(GeometryError::Size { bytes, block_size });
        }
        Ok(bytes / u64::from(block_size))
    }

    /// Size of the device in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.block_size) * self.blocks
    }

    /// Whether the device itself reaches into the memory of a command's data, which must then be of the kind that
    /// [`Memory::Callers`] describes: received bytes, which lie anywhere, are not.
    pub fn uses_callers_memory(&self) -> bool {
        matches!(self.memory, Memory::Callers { .. })
    }
}

/// A size or a block size that no device can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Not a power of two, or outside the range.
    #[error(
        "block size {block_size} is not a power of two from {} to {}; use 512 or 4096",
        Geometry::BLOCK_SIZE_MIN,
        Geometry::BLOCK_SIZE_MAX
    )]
    BlockSize {
        /// The refused block size, in bytes.
        block_size: u32,
    },
    /// Zero, or not a multiple of the block size.
    #[error("size {bytes} is not a positive multiple of the block size {block_size}")]
    Size {
        /// The refused size, in bytes.
        bytes: u64,
        /// The block size, in bytes.
        block_size: u32,
    },
}

/// Whose memory the data of a command lies in, and what is demanded of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The device's own: data is copied once, at hand-over, to or from any segments, and
    /// [`super::Channel::lend`] may show where it lies.
    Own,
    /// The caller's: the device reads and writes the segments themselves. They lie in the extents of
    /// [`super::Home`], which it may have mapped or registered, and in no other memory.
    Callers {
        /// What the address and the length of every segment must be a multiple of, in bytes.
        alignment: usize,
    },
}

/// The commands that a device carries out beyond read and write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Write zeroes.
    pub write_zeroes: bool,
    /// Deallocate.
    pub deallocate: bool,
    /// Blocks read as zeros after they were deallocated.
    pub deallocated_reads_zeros: bool,
    /// Compare.
    pub compare: bool,
    /// Flush. A device without a volatile write cache may carry it out by doing nothing.
    pub flush: bool,
    /// Verify.
    pub verify: bool,
    /// Write Uncorrectable.
    pub write_uncorrectable: bool,
    /// Copy, and how much of it at once.
    pub copy: Option<CopyLimits>,
}

/// What one Copy may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// Blocks of one source range, at least 1.
    pub range_blocks: u32,
    /// Blocks of all source ranges together, at least 1.
    pub blocks: u32,
    /// Source ranges, at least 1.
    pub ranges: u16,
}

impl CopyLimits {
    /// As much as a command can say.
    pub const NONE: Self = Self { range_blocks: u32::MAX, blocks: u32::MAX, ranges: u16::MAX };
}

impl Features {
    /// Read and write alone.
    pub const NONE: Self = Self {
        write_zeroes: false,
        deallocate: false,
        deallocated_reads_zeros: false,
        compare: false,
        flush: false,
        verify: false,
        write_uncorrectable: false,
        copy: None,
    };
    /// Everything that [`super::Command`] has.
    pub const ALL: Self = Self {
        write_zeroes: true,
        deallocate: true,
        deallocated_reads_zeros: true,
        compare: true,
        flush: true,
        verify: true,
        write_uncorrectable: true,
        copy: Some(CopyLimits::NONE),
    };
}
