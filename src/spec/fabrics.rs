//! Fabrics commands and their data (NVMe base 2.1, section 6).
//!
//! Each command is a view of the same 64 bytes as [`Sqe`].

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::opcode::{AdminOpcode, FabricsType};
use super::sgl::SglDescriptor;
use super::sqe::{Psdt, Sqe};

/// What all fabrics commands share (section 6, figure 540).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FabricsHeader {
    /// OPC: 7Fh.
    pub opcode: u8,
    /// FUSE (bits 1:0) and PSDT (bits 7:6); see [`Sqe::has_fabrics_psdt`].
    pub flags: u8,
    /// CID.
    pub cid: U16,
    /// FCTYPE: which command; see [`FabricsHeader::kind`].
    pub fctype: u8,
    /// Reserved.
    pub reserved: [u8; 19],
    /// SGL1: the data, where the command has any.
    pub sgl1: SglDescriptor,
}

const _: () = {
    assert!(size_of::<FabricsHeader>() == 40);
    assert!(offset_of!(FabricsHeader, fctype) == 4 && offset_of!(FabricsHeader, sgl1) == 24);
};

impl FabricsHeader {
    /// FCTYPE.
    pub const fn kind(&self) -> FabricsType {
        FabricsType(self.fctype)
    }

    /// A header of this type; for initiators and tests.
    pub fn of(kind: FabricsType, cid: u16, sgl1: SglDescriptor) -> Self {
        Self {
            opcode: AdminOpcode::FABRICS.0,
            flags: Psdt::SGL.0 << 6,
            cid: U16::new(cid),
            fctype: kind.0,
            reserved: [0; 19],
            sgl1,
        }
    }
}

impl Sqe {
    /// FCTYPE, if this is a fabrics command.
    pub fn fabrics_type(&self) -> Option<FabricsType> {
        let header: &Connect = zerocopy::transmute_ref!(self);
        (self.admin_opcode() == AdminOpcode::FABRICS).then(|| header.header.kind())
    }

    /// PSDT is one that a fabrics command may have (figure 95): 00b without data, 10b with data, 00b with data, too; and
    /// 01b, which is reserved there, and is what Linux and SPDK send. The data pointer is an SGL descriptor in each case.
    pub fn has_fabrics_psdt(&self) -> bool {
        self.psdt() != Psdt::RESERVED
    }

    /// The same bytes, read as Connect.
    pub fn as_connect(&self) -> &Connect {
        zerocopy::transmute_ref!(self)
    }

    /// The same bytes, read as Property Get.
    pub fn as_property_get(&self) -> &PropertyGet {
        zerocopy::transmute_ref!(self)
    }

    /// The same bytes, read as Property Set.
    pub fn as_property_set(&self) -> &PropertySet {
        zerocopy::transmute_ref!(self)
    }

    /// The same bytes, read as Disconnect.
    pub fn as_disconnect(&self) -> &Disconnect {
        zerocopy::transmute_ref!(self)
    }

    /// The same bytes, read as Authentication Send or Receive.
    pub fn as_authentication(&self) -> &Authentication {
        zerocopy::transmute_ref!(self)
    }
}

/// Declares that a fabrics command is 64 bytes, and that it can be had as an [`Sqe`].
macro_rules! command {
    ($($name:ident),*) => {
        $(
            const _: () = assert!(size_of::<$name>() == 64);

            impl From<$name> for Sqe {
                fn from(command: $name) -> Self {
                    zerocopy::transmute!(command)
                }
            }
        )*
    };
}
command!(Connect, PropertyGet, PropertySet, Disconnect, Authentication);

/// Connect: creates a queue, and with queue 0 an association (section 6.3).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Connect {
    /// The common part; SGL1 describes [`ConnectData`].
    pub header: FabricsHeader,
    /// RECFMT: the format of this command; 0.
    pub recfmt: U16,
    /// QID: 0 for the admin queue.
    pub qid: U16,
    /// SQSIZE: entries of the queue, 0-based; see [`Connect::entries`].
    pub sqsize_z: U16,
    /// CATTR: see [`ConnectAttributes`].
    pub cattr: u8,
    /// Reserved.
    pub reserved: u8,
    /// KATO: keep alive time-out in milliseconds, 0 for none; admin queue only.
    pub kato: U32,
    /// Reserved.
    pub reserved_end: [u8; 12],
}

const _: () = {
    assert!(offset_of!(Connect, recfmt) == 40 && offset_of!(Connect, qid) == 42);
    assert!(offset_of!(Connect, sqsize_z) == 44 && offset_of!(Connect, cattr) == 46);
    assert!(offset_of!(Connect, kato) == 48);
};

impl Connect {
    /// SQSIZE widened: entries of the queue, 1 to 65,536.
    pub fn entries(&self) -> u32 {
        u32::from(self.sqsize_z.get()) + 1
    }

    /// CATTR.
    pub const fn attributes(&self) -> ConnectAttributes {
        ConnectAttributes::from_bits(self.cattr)
    }
}

/// CATTR of Connect (section 6.3).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct ConnectAttributes {
    /// Priority class; only with weighted round robin.
    #[bits(2)]
    pub priority: u8,
    /// DSQFC: the host asks to disable SQ flow control.
    pub flow_control_disabled: bool,
    /// Individual I/O queue deletion is supported by the host.
    pub queue_deletion: bool,
    #[bits(4)]
    __: u8,
}

/// The data of Connect, 1,024 bytes (section 6.3).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ConnectData {
    /// HOSTID: the host identifier.
    pub hostid: [u8; 16],
    /// CNTLID: FFFFh for "any" on the admin queue (dynamic model), the controller on I/O queues.
    pub cntlid: U16,
    /// Reserved.
    pub reserved: [u8; 238],
    /// SUBNQN: the subsystem, terminated by NUL.
    pub subnqn: [u8; 256],
    /// HOSTNQN: the host, terminated by NUL.
    pub hostnqn: [u8; 256],
    /// Reserved.
    pub reserved_end: [u8; 256],
}

const _: () = {
    assert!(size_of::<ConnectData>() == 1024 && offset_of!(ConnectData, cntlid) == 16);
    assert!(offset_of!(ConnectData, subnqn) == 256 && offset_of!(ConnectData, hostnqn) == 512);
};

/// CNTLID FFFFh: the host leaves the choice to the subsystem (section 6.3).
pub const CNTLID_DYNAMIC: u16 = 0xffff;

/// The largest CNTLID that a controller may have: FFEFh (section 6.3).
pub const CNTLID_MAX: u16 = 0xffef;

/// DW0 of a successful Connect (section 6.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ConnectAccepted {
    /// CNTLID of the controller.
    pub cntlid: u16,
    __: bool,
    /// ATR: the queue must authenticate.
    pub atr: bool,
    /// ASCR: the queue must authenticate and concatenate a secure channel.
    pub ascr: bool,
    #[bits(13)]
    __: u16,
}

/// DW0 of a Connect that was refused with Connect Invalid Parameters (section 6.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ConnectRefused {
    /// IPO: the offset of the first invalid field.
    pub ipo: u16,
    /// IATTR bit 0: the offset is one into the data, not into the command.
    pub in_data: bool,
    #[bits(15)]
    __: u16,
}

impl ConnectRefused {
    /// Points at a field of the command, `offset` bytes in.
    pub fn command(offset: usize) -> Self {
        Self::new().with_ipo(u16::try_from(offset).unwrap_or(u16::MAX))
    }

    /// Points at a field of [`ConnectData`], `offset` bytes in.
    pub fn data(offset: usize) -> Self {
        Self::command(offset).with_in_data(true)
    }
}

/// ATTRIB of Property Get and Set, bits 2:0: the size of the property (sections 6.5, 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct PropertySize(pub u8);

impl PropertySize {
    /// 4 bytes.
    pub const FOUR: Self = Self(0);
    /// 8 bytes.
    pub const EIGHT: Self = Self(1);

    /// Bits 2:0; the others are reserved.
    pub const fn kind(self) -> Self {
        Self(self.0 & 0b111)
    }
}

/// Property Get; the value comes back in DW0 and DW1 (section 6.5).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PropertyGet {
    /// The common part.
    pub header: FabricsHeader,
    /// ATTRIB: the size.
    pub attrib: PropertySize,
    /// Reserved.
    pub reserved: [u8; 3],
    /// OFST: which property.
    pub ofst: U32,
    /// Reserved.
    pub reserved_end: [u8; 16],
}

const _: () = assert!(offset_of!(PropertyGet, attrib) == 40 && offset_of!(PropertyGet, ofst) == 44);

/// Property Set (section 6.6).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PropertySet {
    /// The common part.
    pub header: FabricsHeader,
    /// ATTRIB: the size.
    pub attrib: PropertySize,
    /// Reserved.
    pub reserved: [u8; 3],
    /// OFST: which property.
    pub ofst: U32,
    /// VALUE: the new value; 4-byte properties use the lower half.
    pub value: U64,
    /// Reserved.
    pub reserved_end: [u8; 8],
}

const _: () = assert!(offset_of!(PropertySet, ofst) == 44 && offset_of!(PropertySet, value) == 48);

/// Disconnect: deletes one I/O queue (section 6.4).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Disconnect {
    /// The common part.
    pub header: FabricsHeader,
    /// RECFMT: 0.
    pub recfmt: U16,
    /// Reserved.
    pub reserved: [u8; 22],
}

/// Authentication Send and Receive (sections 6.1, 6.2).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Authentication {
    /// The common part.
    pub header: FabricsHeader,
    /// Reserved.
    pub reserved: u8,
    /// SPSP0: security protocol specific; 1.
    pub spsp0: u8,
    /// SPSP1: security protocol specific; 1.
    pub spsp1: u8,
    /// SECP: the security protocol; E9h.
    pub secp: u8,
    /// TL of Send, AL of Receive: length in bytes.
    pub length: U32,
    /// Reserved.
    pub reserved_end: [u8; 16],
}

const _: () = assert!(offset_of!(Authentication, secp) == 43 && offset_of!(Authentication, length) == 44);
