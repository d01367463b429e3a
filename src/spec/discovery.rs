//! The Discovery log page (NVMe base 2.1, section 5.1.12.3.1).

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The page's header, 1,024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiscoveryHeader {
    /// GENCTR: counts changes of the log; hosts read until it stays the same.
    pub genctr: U64,
    /// NUMREC: the number of entries.
    pub numrec: U64,
    /// RECFMT: 0.
    pub recfmt: U16,
    /// DLPF: bit 0 set for extended entries.
    pub dlpf: u8,
    /// Reserved.
    pub reserved: u8,
    /// TDLPL: the total length where the format is extended.
    pub tdlpl: U32,
    /// Reserved.
    pub reserved_end: [u8; 1000],
}

const _: () = {
    assert!(size_of::<DiscoveryHeader>() == 1024 && offset_of!(DiscoveryHeader, numrec) == 8);
    assert!(offset_of!(DiscoveryHeader, recfmt) == 16 && offset_of!(DiscoveryHeader, tdlpl) == 20);
};

/// One entry, 1,024 bytes: a way to a subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiscoveryEntry {
    /// TRTYPE: the transport.
    pub trtype: TransportType,
    /// ADRFAM: the address family.
    pub adrfam: AddressFamily,
    /// SUBTYPE: what is found there.
    pub subtype: SubsystemType,
    /// TREQ: secure channel (bits 1:0), "SQ flow control can be disabled" (bit 2).
    pub treq: u8,
    /// PORTID: the port of the subsystem.
    pub portid: U16,
    /// CNTLID: FFFFh for the dynamic model.
    pub cntlid: U16,
    /// ASQSZ: the largest admin queue, at least 32.
    pub asqsz: U16,
    /// EFLAGS: bit 0 duplicate information, bit 1 explicit persistent connections.
    pub eflags: U16,
    /// Reserved.
    pub reserved: [u8; 20],
    /// TRSVCID: the port number in ASCII, filled with spaces.
    pub trsvcid: [u8; 32],
    /// Reserved.
    pub reserved_middle: [u8; 192],
    /// SUBNQN, terminated by NUL.
    pub subnqn: [u8; 256],
    /// TRADDR: the address in ASCII, filled with spaces.
    pub traddr: [u8; 256],
    /// TSAS: transport specific; on TCP the first byte is [`SecurityType`].
    pub tsas: [u8; 256],
}

const _: () = {
    assert!(size_of::<DiscoveryEntry>() == 1024 && offset_of!(DiscoveryEntry, portid) == 4);
    assert!(offset_of!(DiscoveryEntry, eflags) == 10 && offset_of!(DiscoveryEntry, trsvcid) == 32);
    assert!(offset_of!(DiscoveryEntry, subnqn) == 256 && offset_of!(DiscoveryEntry, traddr) == 512);
    assert!(offset_of!(DiscoveryEntry, tsas) == 768);
};

impl DiscoveryEntry {
    /// TREQ bits 1:0: a secure channel is not required.
    pub const TREQ_NOT_REQUIRED: u8 = 2;
    /// TREQ bits 1:0: a secure channel is required.
    pub const TREQ_REQUIRED: u8 = 1;
    /// TREQ bit 2: SQ flow control can be disabled.
    pub const TREQ_FLOW_CONTROL_OPTIONAL: u8 = 1 << 2;
    /// EFLAGS bit 0: this entry leads to the same information as another one.
    pub const DUPLICATE_INFORMATION: u16 = 1 << 0;
    /// EFLAGS bit 1: persistent connections to this discovery subsystem are supported.
    pub const PERSISTENT: u16 = 1 << 1;
}

/// TRTYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct TransportType(pub u8);

impl TransportType {
    /// RDMA.
    pub const RDMA: Self = Self(1);
    /// Fibre Channel.
    pub const FIBRE_CHANNEL: Self = Self(2);
    /// TCP.
    pub const TCP: Self = Self(3);
}

/// ADRFAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct AddressFamily(pub u8);

impl AddressFamily {
    /// IPv4.
    pub const IPV4: Self = Self(1);
    /// IPv6.
    pub const IPV6: Self = Self(2);
}

/// SUBTYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct SubsystemType(pub u8);

impl SubsystemType {
    /// A referral to another discovery service.
    pub const REFERRAL: Self = Self(1);
    /// An NVM subsystem.
    pub const NVM: Self = Self(2);
    /// The discovery subsystem that was asked.
    pub const CURRENT_DISCOVERY: Self = Self(3);
}

/// SECTYPE of a TCP entry's TSAS (NVMe/TCP 1.0, section 3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityType(pub u8);

impl SecurityType {
    /// No security.
    pub const NONE: Self = Self(0);
    /// TLS 1.3.
    pub const TLS_1_3: Self = Self(2);
}
