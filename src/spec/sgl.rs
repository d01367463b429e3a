//! The SGL descriptor (NVMe base 2.1, section 4.3.2).

use std::mem::offset_of;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One descriptor of 16 bytes. Its layout is that of a data block, and of a segment; NVMe/TCP uses nothing else.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct SglDescriptor {
    /// Address, or the offset into the capsule where the sub-type is [`SglSubtype::OFFSET`].
    pub address: U64,
    /// Length in bytes.
    pub length: U32,
    /// Reserved.
    pub reserved: [u8; 3],
    /// Type (bits 7:4) and sub-type (bits 3:0).
    pub identifier: u8,
}

const _: () = {
    assert!(size_of::<SglDescriptor>() == 16);
    assert!(offset_of!(SglDescriptor, length) == 8 && offset_of!(SglDescriptor, identifier) == 15);
};

/// SGL descriptor type, bits 7:4 of the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SglType(pub u8);

impl SglType {
    /// Data block.
    pub const DATA_BLOCK: Self = Self(0x0);
    /// Bit bucket.
    pub const BIT_BUCKET: Self = Self(0x1);
    /// Segment.
    pub const SEGMENT: Self = Self(0x2);
    /// Last segment.
    pub const LAST_SEGMENT: Self = Self(0x3);
    /// Keyed data block.
    pub const KEYED_DATA_BLOCK: Self = Self(0x4);
    /// Transport data block.
    pub const TRANSPORT_DATA_BLOCK: Self = Self(0x5);
}

/// SGL descriptor sub-type, bits 3:0 of the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SglSubtype(pub u8);

impl SglSubtype {
    /// An address.
    pub const ADDRESS: Self = Self(0x0);
    /// An offset from the start of the in-capsule data.
    pub const OFFSET: Self = Self(0x1);
    /// Defined by the transport; on TCP the data come in PDUs of their own (NVMe/TCP 1.0, section 3.3).
    pub const TRANSPORT: Self = Self(0xa);
}

impl SglDescriptor {
    /// Bits 7:4 of the identifier.
    pub const fn kind(&self) -> SglType {
        SglType(self.identifier >> 4)
    }

    /// Bits 3:0 of the identifier.
    pub const fn subtype(&self) -> SglSubtype {
        SglSubtype(self.identifier & 0xf)
    }

    /// `length` bytes that are in the capsule, `offset` bytes after the command.
    pub fn in_capsule(offset: u64, length: u32) -> Self {
        Self::of(offset, length, SglType::DATA_BLOCK, SglSubtype::OFFSET)
    }

    /// `length` bytes at `address`.
    pub fn data_block(address: u64, length: u32) -> Self {
        Self::of(address, length, SglType::DATA_BLOCK, SglSubtype::ADDRESS)
    }

    /// The last segment of a list: `length` bytes of descriptors at `address`.
    pub fn last_segment(address: u64, length: u32) -> Self {
        Self::of(address, length, SglType::LAST_SEGMENT, SglSubtype::ADDRESS)
    }

    /// `length` bytes that the transport moves in either direction.
    pub fn transport(length: u32) -> Self {
        Self::of(0, length, SglType::TRANSPORT_DATA_BLOCK, SglSubtype::TRANSPORT)
    }

    /// Whether the data are in the capsule.
    pub fn is_in_capsule(&self) -> bool {
        self.kind() == SglType::DATA_BLOCK && self.subtype() == SglSubtype::OFFSET
    }

    /// Whether the transport moves the data.
    pub fn is_transport(&self) -> bool {
        self.kind() == SglType::TRANSPORT_DATA_BLOCK && self.subtype() == SglSubtype::TRANSPORT
    }

    /// The two double words of the descriptor, as they are stored in a list.
    pub fn double_words(self) -> [u64; 2] {
        let words: [U64; 2] = zerocopy::transmute!(self);
        words.map(U64::get)
    }

    fn of(address: u64, length: u32, kind: SglType, subtype: SglSubtype) -> Self {
        let identifier = kind.0 << 4 | subtype.0;
        Self { address: U64::new(address), length: U32::new(length), reserved: [0; 3], identifier }
    }
}
