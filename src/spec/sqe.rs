//! The submission queue entry: the 64 bytes of a command (NVMe base 2.1, section 4.1).
//!
//! Opcodes mean different things on admin and I/O queues, so the entry keeps the raw byte; who knows the
//! queue asks for [`Sqe::admin_opcode`] or [`Sqe::nvm_opcode`]. Fabrics commands have layouts of their own in
//! [`super::fabrics`].

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::opcode::{AdminOpcode, NvmOpcode};
use super::sgl::SglDescriptor;

/// A command as it stands in a submission queue or a command capsule (section 4.1, "Common Command Format").
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sqe {
    /// OPC: the opcode; its meaning depends on the kind of the queue.
    pub opcode: u8,
    /// FUSE (bits 1:0) and PSDT (bits 7:6); see [`Sqe::fused`] and [`Sqe::psdt`].
    pub flags: u8,
    /// CID: the command identifier, unique among the outstanding commands of a queue.
    pub cid: U16,
    /// NSID: the namespace; 0 for none, FFFFFFFFh for all.
    pub nsid: U32,
    /// CDW2: command specific.
    pub cdw2: U32,
    /// CDW3: command specific.
    pub cdw3: U32,
    /// MPTR: the metadata pointer.
    pub mptr: U64,
    /// DPTR: the data pointer; on fabrics always an SGL descriptor.
    pub dptr: SglDescriptor,
    /// CDW10: command specific.
    pub cdw10: U32,
    /// CDW11: command specific.
    pub cdw11: U32,
    /// CDW12: command specific.
    pub cdw12: U32,
    /// CDW13: command specific.
    pub cdw13: U32,
    /// CDW14: command specific.
    pub cdw14: U32,
    /// CDW15: command specific.
    pub cdw15: U32,
}

const _: () = {
    assert!(size_of::<Sqe>() == 64);
    assert!(offset_of!(Sqe, cid) == 2 && offset_of!(Sqe, nsid) == 4 && offset_of!(Sqe, mptr) == 16);
    assert!(offset_of!(Sqe, dptr) == 24 && offset_of!(Sqe, cdw10) == 40 && offset_of!(Sqe, cdw15) == 60);
};

/// PSDT: how the data pointer is to be read (section 4.1). Fabrics commands read it otherwise: see
/// [`Sqe::has_fabrics_psdt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Psdt(pub u8);

impl Psdt {
    /// PRPs are used; never on fabrics.
    pub const PRP: Self = Self(0b00);
    /// SGLs for data, a contiguous buffer for metadata.
    pub const SGL: Self = Self(0b01);
    /// SGLs for data and metadata.
    pub const SGL_METADATA: Self = Self(0b10);
    /// Reserved.
    pub const RESERVED: Self = Self(0b11);
}

/// FUSE: the place of a command in a fused operation (section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fused(pub u8);

impl Fused {
    /// A command by itself.
    pub const NORMAL: Self = Self(0b00);
    /// The first command of two.
    pub const FIRST: Self = Self(0b01);
    /// The second command of two.
    pub const SECOND: Self = Self(0b10);
}

impl Sqe {
    /// The opcode, read as an admin command.
    pub const fn admin_opcode(&self) -> AdminOpcode {
        AdminOpcode(self.opcode)
    }

    /// The opcode, read as an I/O command of the NVM command set.
    pub const fn nvm_opcode(&self) -> NvmOpcode {
        NvmOpcode(self.opcode)
    }

    /// PSDT, bits 7:6 of the flags.
    pub const fn psdt(&self) -> Psdt {
        Psdt(self.flags >> 6)
    }

    /// Sets PSDT.
    pub const fn set_psdt(&mut self, psdt: Psdt) {
        self.flags = psdt.0 << 6 | self.flags & 0b11;
    }

    /// FUSE, bits 1:0 of the flags.
    pub const fn fused(&self) -> Fused {
        Fused(self.flags & 0b11)
    }

    /// Sets FUSE; for initiators and tests.
    pub const fn set_fused(&mut self, fused: Fused) {
        self.flags = self.flags & !0b11 | fused.0 & 0b11;
    }

    /// A command of this opcode and identifier that uses SGLs; everything else zero. For initiators and
    /// tests.
    pub fn of(opcode: u8, cid: u16, nsid: u32) -> Self {
        let mut sqe = Self::new_zeroed();
        sqe.opcode = opcode;
        sqe.flags = Psdt::SGL.0 << 6;
        sqe.cid = U16::new(cid);
        sqe.nsid = U32::new(nsid);
        sqe
    }
}
