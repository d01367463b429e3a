//! Structures of the I/O command sets: CNS 05h, 06h and 1Ch (NVM command set 1.0, sections 4.1.5.3 and
//! 4.1.5.4; NVMe base 2.1, section 5.1.13.2.19).

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// I/O Command Set specific Identify Namespace of the NVM command set, CNS 05h, 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NvmNamespace {
    /// LBSTM: storage tag mask.
    pub lbstm: U64,
    /// PIC: protection information capabilities.
    pub pic: u8,
    /// Reserved.
    pub reserved: [u8; 3],
    /// ELBAF0 to ELBAF63: protection information format and storage tag size.
    pub elbaf: [U32; 64],
    /// Reserved.
    pub reserved_end: [u8; 3828],
}

const _: () = {
    assert!(size_of::<NvmNamespace>() == super::IDENTIFY_BYTES);
    assert!(offset_of!(NvmNamespace, pic) == 8 && offset_of!(NvmNamespace, elbaf) == 12);
};

/// I/O Command Set specific Identify Controller of the NVM command set, CNS 06h, 4,096 bytes. Zero means "no
/// limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NvmController {
    /// VSL: largest Verify, in pages of CAP.MPSMIN, as a power of two.
    pub vsl: u8,
    /// WZSL: largest Write Zeroes, in pages of CAP.MPSMIN, as a power of two.
    pub wzsl: u8,
    /// WUSL: largest Write Uncorrectable, in pages of CAP.MPSMIN, as a power of two.
    pub wusl: u8,
    /// DMRL: ranges of one Dataset Management.
    pub dmrl: u8,
    /// DMRSL: blocks of one range.
    pub dmrsl: U32,
    /// DMSL: blocks of one Dataset Management.
    pub dmsl: U64,
    /// Reserved.
    pub reserved: [u8; 4080],
}

const _: () = {
    assert!(size_of::<NvmController>() == super::IDENTIFY_BYTES);
    assert!(offset_of!(NvmController, dmrsl) == 4 && offset_of!(NvmController, dmsl) == 8);
};

/// The I/O Command Set data structure, CNS 1Ch: 512 combinations, 4,096 bytes. Elements hold [`CommandSets`].
pub const COMMAND_SET_COMBINATIONS: usize = 512;

/// One combination of I/O command sets that can be enabled together.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct CommandSets {
    /// The NVM command set.
    pub nvm: bool,
    /// The Key Value command set.
    pub key_value: bool,
    /// The Zoned Namespace command set.
    pub zoned: bool,
    #[bits(61)]
    __: u64,
}
