//! Identify Namespace: CNS 00h, and CNS 08h (NVMe base 2.1, section 5.1.13.2.8; NVM command set 1.0, section
//! 4.1.5.1).

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Identify Namespace of the NVM command set, CNS 00h, 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// NSZE: size in blocks.
    pub nsze: U64,
    /// NCAP: capacity in blocks.
    pub ncap: U64,
    /// NUSE: utilisation in blocks.
    pub nuse: U64,
    /// NSFEAT: see [`Nsfeat`].
    pub nsfeat: u8,
    /// NLBAF: LBA formats, 0-based.
    pub nlbaf_z: u8,
    /// FLBAS: the format in use; see [`Flbas`].
    pub flbas: u8,
    /// MC: metadata capabilities.
    pub mc: u8,
    /// DPC: protection capabilities.
    pub dpc: u8,
    /// DPS: protection settings; see [`Dps`].
    pub dps: u8,
    /// NMIC: bit 0, the namespace may be attached to several controllers.
    pub nmic: u8,
    /// RESCAP: see [`Rescap`].
    pub rescap: u8,
    /// FPI: format progress.
    pub fpi: u8,
    /// DLFEAT: see [`Dlfeat`].
    pub dlfeat: u8,
    /// NAWUN: in blocks, 0-based.
    pub nawun_z: U16,
    /// NAWUPF: in blocks, 0-based.
    pub nawupf_z: U16,
    /// NACWU: in blocks, 0-based.
    pub nacwu_z: U16,
    /// NABSN: atomic boundary in blocks, 0-based.
    pub nabsn_z: U16,
    /// NABO: atomic boundary offset in blocks.
    pub nabo: U16,
    /// NABSPF: atomic boundary at power fail in blocks, 0-based.
    pub nabspf_z: U16,
    /// NOIOB: optimal I/O boundary in blocks.
    pub noiob: U16,
    /// NVMCAP: capacity in bytes.
    pub nvmcap: U128,
    /// NPWG: preferred write granularity in blocks, 0-based.
    pub npwg_z: U16,
    /// NPWA: preferred write alignment in blocks, 0-based.
    pub npwa_z: U16,
    /// NPDG: preferred deallocate granularity in blocks, 0-based.
    pub npdg_z: U16,
    /// NPDA: preferred deallocate alignment in blocks, 0-based.
    pub npda_z: U16,
    /// NOWS: optimal write size in blocks, 0-based.
    pub nows_z: U16,
    /// MSSRL: blocks of one source range of Copy.
    pub mssrl: U16,
    /// MCL: blocks of one Copy.
    pub mcl: U32,
    /// MSRC: source ranges of one Copy, 0-based.
    pub msrc_z: u8,
    /// KPIOS, NULBAF and reserved.
    pub reserved_81: [u8; 11],
    /// ANAGRPID.
    pub anagrpid: U32,
    /// Reserved.
    pub reserved: [u8; 3],
    /// NSATTR: bit 0, write protected.
    pub nsattr: u8,
    /// NVMSETID.
    pub nvmsetid: U16,
    /// ENDGID.
    pub endgid: U16,
    /// NGUID: big endian, zero for none.
    pub nguid: [u8; 16],
    /// EUI64: big endian, zero for none.
    pub eui64: [u8; 8],
    /// LBAF0 to LBAF63.
    pub lbaf: [LbaFormat; 64],
    /// Vendor specific.
    pub vendor: [u8; 3712],
}

const _: () = {
    assert!(size_of::<IdentifyNamespace>() == super::IDENTIFY_BYTES);
    assert!(offset_of!(IdentifyNamespace, nsfeat) == 24 && offset_of!(IdentifyNamespace, dlfeat) == 33);
    assert!(offset_of!(IdentifyNamespace, nvmcap) == 48 && offset_of!(IdentifyNamespace, npwg_z) == 64);
    assert!(offset_of!(IdentifyNamespace, mssrl) == 74 && offset_of!(IdentifyNamespace, msrc_z) == 80);
    assert!(offset_of!(IdentifyNamespace, anagrpid) == 92);
    assert!(offset_of!(IdentifyNamespace, nsattr) == 99 && offset_of!(IdentifyNamespace, nguid) == 104);
    assert!(offset_of!(IdentifyNamespace, lbaf) == 128 && offset_of!(IdentifyNamespace, vendor) == 384);
};

/// One LBA format.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct LbaFormat {
    /// MS: metadata bytes per block.
    pub ms: U16,
    /// LBADS: block size, as a power of two.
    pub lbads: u8,
    /// RP: relative performance, bits 1:0; 0 is the best.
    pub rp: u8,
}

const _: () = assert!(size_of::<LbaFormat>() == 4);

/// NSFEAT of CNS 00h.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Nsfeat {
    /// THINP: thin provisioning.
    pub thin: bool,
    /// NSABP: NAWUN, NAWUPF and NACWU are defined.
    pub atomics: bool,
    /// DAE: errors of deallocated blocks are supported.
    pub deallocated_errors: bool,
    /// UIDREUSE: identifiers are never reused.
    pub uid_never_reused: bool,
    /// OPTPERF: NPWG to NOWS are defined.
    #[bits(2)]
    pub preferences: u8,
    #[bits(2)]
    __: u8,
}

/// FLBAS: the format in use, and where its metadata lies.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Flbas {
    /// Bits 3:0 of the index of the format; see [`Flbas::format`].
    #[bits(4)]
    pub format_low: u8,
    /// MTELBA: metadata follows the data of each block.
    pub extended: bool,
    /// Bits 5:4 of the index of the format.
    #[bits(2)]
    pub format_high: u8,
    __: bool,
}

impl Flbas {
    /// The index of the format in use, 0 to 63. The upper bits count only where there are more than 16 formats.
    pub const fn format(self, formats: u8) -> usize {
        let high = if formats > 16 { self.format_high() } else { 0 };
        (high << 4 | self.format_low()) as usize
    }
}

/// DPS: the protection of the data, end to end.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Dps {
    /// PIT: the type of protection information; 0 for none.
    #[bits(3)]
    pub pit: u8,
    /// PIP: protection information is at the start of the metadata.
    pub first: bool,
    #[bits(4)]
    __: u8,
}

/// DLFEAT: what deallocated blocks read as.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Dlfeat {
    /// DRB: 001b zeros, 010b FFh, 000b not reported.
    #[bits(3)]
    pub reads: u8,
    /// WZDS: Write Zeroes may deallocate.
    pub write_zeroes_deallocates: bool,
    /// GDS: guards of deallocated blocks.
    pub guard: bool,
    #[bits(3)]
    __: u8,
}

impl Dlfeat {
    /// DRB 001b: deallocated blocks read as zeros.
    pub const READS_ZEROS: u8 = 0b001;
}

/// RESCAP: which reservations the namespace supports.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Rescap {
    /// PTPLS: persist through power loss.
    pub ptpl: bool,
    /// Write Exclusive.
    pub write_exclusive: bool,
    /// Exclusive Access.
    pub exclusive_access: bool,
    /// Write Exclusive, Registrants Only.
    pub write_exclusive_registrants: bool,
    /// Exclusive Access, Registrants Only.
    pub exclusive_access_registrants: bool,
    /// Write Exclusive, All Registrants.
    pub write_exclusive_all: bool,
    /// Exclusive Access, All Registrants.
    pub exclusive_access_all: bool,
    /// IEKEY as revision 1.3 and later define it.
    pub ignore_existing_key: bool,
}

/// I/O Command Set Independent Identify Namespace, CNS 08h, 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IndependentNamespace {
    /// NSFEAT: see [`IndependentNsfeat`].
    pub nsfeat: u8,
    /// NMIC: bit 0, the namespace may be attached to several controllers.
    pub nmic: u8,
    /// RESCAP: see [`Rescap`].
    pub rescap: u8,
    /// FPI: format progress.
    pub fpi: u8,
    /// ANAGRPID.
    pub anagrpid: U32,
    /// NSATTR: bit 0, write protected.
    pub nsattr: u8,
    /// Reserved.
    pub reserved: u8,
    /// NVMSETID.
    pub nvmsetid: U16,
    /// ENDGID.
    pub endgid: U16,
    /// NSTAT: bit 0, the namespace is ready.
    pub nstat: u8,
    /// KPIOS.
    pub kpios: u8,
    /// MAXKT.
    pub maxkt: U16,
    /// Reserved.
    pub reserved_18: U16,
    /// RGRPID: reachability group.
    pub rgrpid: U32,
    /// Reserved.
    pub reserved_24: [u8; 4072],
}

const _: () = {
    assert!(size_of::<IndependentNamespace>() == super::IDENTIFY_BYTES);
    assert!(offset_of!(IndependentNamespace, anagrpid) == 4 && offset_of!(IndependentNamespace, nsattr) == 8);
    assert!(offset_of!(IndependentNamespace, nstat) == 14 && offset_of!(IndependentNamespace, rgrpid) == 20);
};

/// NSFEAT of CNS 08h; its bits are not those of CNS 00h.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct IndependentNsfeat {
    #[bits(3)]
    __: u8,
    /// UIDREUSE: identifiers are never reused.
    pub uid_never_reused: bool,
    /// RMEDIA: the namespace is on rotating media.
    pub rotational: bool,
    /// VWCNP: the namespace has no volatile write cache.
    pub no_volatile_write_cache: bool,
    #[bits(2)]
    __: u8,
}

/// NMIC bit 0: the namespace may be attached to two or more controllers.
pub const NMIC_SHARED: u8 = 1;

/// NSTAT bit 0: the namespace is ready.
pub const NSTAT_READY: u8 = 1;

/// NSATTR bit 0: the namespace is write protected.
pub const NSATTR_WRITE_PROTECTED: u8 = 1;
