//! Asymmetric Namespace Access: the log page 0Ch (NVMe base 2.1, section 5.1.12.1.13), and the states that it reports
//! (section 8.1.1).

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::status::Status;

/// LSP of the log page, bit 0 (RGO): groups without their namespaces.
pub const GROUPS_ONLY: u8 = 1;

/// The head of the log page; descriptors follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnaHeader {
    /// CHGCNT: how often any group changed.
    pub chgcnt: U64,
    /// NAGD: number of descriptors.
    pub nagd: U16,
    /// Reserved.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<AnaHeader>() == 16 && offset_of!(AnaHeader, nagd) == 8);

/// One group; its namespaces follow as NSIDs of 4 bytes, unless they were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnaGroup {
    /// AGID: the group, from 1.
    pub agid: U32,
    /// NNV: number of NSIDs that follow.
    pub nnv: U32,
    /// CHGCNT: how often this group changed.
    pub chgcnt: U64,
    /// The state, bits 3:0; see [`AnaGroup::state`].
    pub state: u8,
    /// Reserved.
    pub reserved: [u8; 15],
}

const _: () = {
    assert!(size_of::<AnaGroup>() == 32);
    assert!(offset_of!(AnaGroup, chgcnt) == 8 && offset_of!(AnaGroup, state) == 16);
};

impl AnaGroup {
    /// Bits 3:0 of the state.
    pub const fn state(&self) -> AnaState {
        AnaState(self.state & 0xf)
    }
}

/// How well a controller reaches the namespaces of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnaState(pub u8);

impl AnaState {
    /// Optimized.
    pub const OPTIMIZED: Self = Self(0x1);
    /// Non-optimized: it works, another way is better.
    pub const NON_OPTIMIZED: Self = Self(0x2);
    /// Inaccessible: not now.
    pub const INACCESSIBLE: Self = Self(0x3);
    /// Persistent loss: never again.
    pub const PERSISTENT_LOSS: Self = Self(0x4);
    /// Change: on its way from one state to another.
    pub const CHANGE: Self = Self(0xf);

    /// What a command is answered that needs the namespace, without DNR: the host tries another path.
    ///
    /// # Errors
    /// A path related status in every state but the optimized and the non-optimized one.
    pub const fn check(self) -> Result<(), Status> {
        match self {
            Self::OPTIMIZED | Self::NON_OPTIMIZED => Ok(()),
            Self::PERSISTENT_LOSS => Err(Status::ANA_PERSISTENT_LOSS),
            Self::CHANGE => Err(Status::ANA_TRANSITION),
            _ => Err(Status::ANA_INACCESSIBLE),
        }
    }
}

/// ANACAP of Identify Controller.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Anacap {
    /// The optimized state is reported.
    pub optimized: bool,
    /// The non-optimized state is.
    pub non_optimized: bool,
    /// The inaccessible state is.
    pub inaccessible: bool,
    /// Persistent loss is.
    pub persistent_loss: bool,
    /// The change state is.
    pub change: bool,
    __: bool,
    /// ANAGRPID of a namespace does not change while it is attached.
    pub fixed_group: bool,
    /// Namespaces have an ANAGRPID other than 0.
    pub group: bool,
}
