//! Data structures of the Identify command (NVMe base 2.1, section 5.1.13), one per file.

pub mod command_set;
pub mod controller;
pub mod descriptor;
pub mod namespace;

use bitfield_struct::bitfield;

use super::sqe::Sqe;

/// The size of every Identify data structure.
pub const IDENTIFY_BYTES: usize = 4096;

/// CNS: which structure (section 5.1.13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cns(pub u8);

impl Cns {
    /// Identify Namespace of the NVM command set.
    pub const NAMESPACE: Self = Self(0x00);
    /// Identify Controller.
    pub const CONTROLLER: Self = Self(0x01);
    /// Active Namespace ID list.
    pub const ACTIVE_NAMESPACES: Self = Self(0x02);
    /// Namespace Identification Descriptor list.
    pub const NAMESPACE_DESCRIPTORS: Self = Self(0x03);
    /// I/O Command Set specific Identify Namespace.
    pub const COMMAND_SET_NAMESPACE: Self = Self(0x05);
    /// I/O Command Set specific Identify Controller.
    pub const COMMAND_SET_CONTROLLER: Self = Self(0x06);
    /// I/O Command Set specific Active Namespace ID list.
    pub const COMMAND_SET_ACTIVE_NAMESPACES: Self = Self(0x07);
    /// I/O Command Set Independent Identify Namespace.
    pub const INDEPENDENT_NAMESPACE: Self = Self(0x08);
    /// I/O Command Set data structure.
    pub const COMMAND_SETS: Self = Self(0x1c);
}

/// CSI: an I/O command set (base 2.1, section 3.1.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Csi(pub u8);

impl Csi {
    /// The NVM command set.
    pub const NVM: Self = Self(0x00);
    /// The Key Value command set.
    pub const KEY_VALUE: Self = Self(0x01);
    /// The Zoned Namespace command set.
    pub const ZONED: Self = Self(0x02);
}

/// CDW10 of Identify.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Identify {
    /// CNS.
    pub cns: u8,
    __: u8,
    /// CNTID: the controller that some structures ask about.
    pub cntid: u16,
}

/// CDW11 of Identify.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IdentifyOptions {
    /// CNSSI: CNS specific identifier.
    pub cnssi: u16,
    __: u8,
    /// CSI.
    pub csi: u8,
}

impl Sqe {
    /// CDW10 of Identify.
    pub fn identify(&self) -> Identify {
        Identify::from_bits(self.cdw10.get())
    }

    /// CDW11 of Identify.
    pub fn identify_options(&self) -> IdentifyOptions {
        IdentifyOptions::from_bits(self.cdw11.get())
    }
}
