//! Namespace Identification Descriptors, CNS 03h (NVMe base 2.1, section 5.1.13.2.3).

use std::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The head of one descriptor; the identifier follows. A head of zeros ends the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DescriptorHead {
    /// NIDT: the type of the identifier.
    pub nidt: IdentifierType,
    /// NIDL: its length in bytes.
    pub nidl: u8,
    /// Reserved.
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<DescriptorHead>() == 4 && offset_of!(DescriptorHead, nidl) == 1);

/// NIDT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct IdentifierType(pub u8);

impl IdentifierType {
    /// EUI-64, 8 bytes, big endian.
    pub const EUI64: Self = Self(1);
    /// NGUID, 16 bytes, big endian.
    pub const NGUID: Self = Self(2);
    /// UUID, 16 bytes, big endian.
    pub const UUID: Self = Self(3);
    /// CSI, 1 byte.
    pub const CSI: Self = Self(4);
}
