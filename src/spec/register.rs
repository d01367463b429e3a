//! Controller properties, called registers on PCIe (NVMe base 2.1, section 3.1.4).

use bitfield_struct::bitfield;

/// The offset of a property (section 3.1.4, figure 36).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Property(pub u32);

impl Property {
    /// Controller Capabilities, 8 bytes.
    pub const CAP: Self = Self(0x00);
    /// Version, 4 bytes.
    pub const VS: Self = Self(0x08);
    /// Interrupt Mask Set, 4 bytes; not for fabrics.
    pub const INTMS: Self = Self(0x0c);
    /// Interrupt Mask Clear, 4 bytes; not for fabrics.
    pub const INTMC: Self = Self(0x10);
    /// Controller Configuration, 4 bytes.
    pub const CC: Self = Self(0x14);
    /// Controller Status, 4 bytes.
    pub const CSTS: Self = Self(0x1c);
    /// NVM Subsystem Reset, 4 bytes.
    pub const NSSR: Self = Self(0x20);
    /// Admin Queue Attributes, 4 bytes; not for fabrics.
    pub const AQA: Self = Self(0x24);
    /// Admin Submission Queue Base Address, 8 bytes; not for fabrics.
    pub const ASQ: Self = Self(0x28);
    /// Admin Completion Queue Base Address, 8 bytes; not for fabrics.
    pub const ACQ: Self = Self(0x30);
    /// NVM Subsystem Shutdown, 4 bytes.
    pub const NSSD: Self = Self(0x64);
    /// Controller Ready Timeouts, 4 bytes.
    pub const CRTO: Self = Self(0x68);
}

/// CAP: what the controller can do (section 3.1.4.1).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cap {
    /// MQES: the largest I/O queue, 0-based; see [`Cap::queue_entries_max`].
    pub mqes_z: u16,
    /// CQR: queues must be physically contiguous; 1 on fabrics.
    pub cqr: bool,
    /// AMS: arbitration mechanisms beside round robin.
    #[bits(2)]
    pub ams: u8,
    #[bits(5)]
    __: u8,
    /// TO: the worst case time of enabling and disabling, in units of 500 ms.
    pub to: u8,
    /// DSTRD: doorbell stride; 0 on fabrics.
    #[bits(4)]
    pub dstrd: u8,
    /// NSSRS: NVM subsystem reset is supported.
    pub nssrs: bool,
    /// CSS bit 0: the NVM command set is supported.
    pub css_nvm: bool,
    #[bits(5)]
    __: u8,
    /// CSS bit 6: I/O command sets are selected through Identify CNS 1Ch.
    pub css_iocs: bool,
    /// CSS bit 7: there are no I/O command sets, only admin commands.
    pub css_admin_only: bool,
    /// BPS: boot partitions.
    pub bps: bool,
    /// CPS: controller power scope.
    #[bits(2)]
    pub cps: u8,
    /// MPSMIN: the smallest memory page, 2^(12 + MPSMIN) bytes.
    #[bits(4)]
    pub mpsmin: u8,
    /// MPSMAX: the largest memory page, 2^(12 + MPSMAX) bytes.
    #[bits(4)]
    pub mpsmax: u8,
    /// PMRS: persistent memory region.
    pub pmrs: bool,
    /// CMBS: controller memory buffer.
    pub cmbs: bool,
    /// NSSS: NVM subsystem shutdown.
    pub nsss: bool,
    /// CRWMS: "controller ready with media" mode.
    pub crwms: bool,
    /// CRIMS: "controller ready independent of media" mode.
    pub crims: bool,
    #[bits(3)]
    __: u8,
}

impl Cap {
    /// MQES widened: the largest number of entries of an I/O queue, 1 to 65,536.
    pub const fn queue_entries_max(&self) -> u32 {
        self.mqes_z() as u32 + 1
    }
}

/// VS: the version that the controller complies with (section 3.1.4.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Vs {
    /// TER: tertiary version number.
    pub ter: u8,
    /// MNR: minor version number.
    pub mnr: u8,
    /// MJR: major version number.
    pub mjr: u16,
}

/// CC: what the host asked for (section 3.1.4.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cc {
    /// EN: enable.
    pub en: bool,
    #[bits(3)]
    __: u8,
    /// CSS: I/O command set selected; see [`Cc::CSS_NVM`], [`Cc::CSS_ALL`], [`Cc::CSS_ADMIN_ONLY`].
    #[bits(3)]
    pub css: u8,
    /// MPS: memory page size, 2^(12 + MPS) bytes.
    #[bits(4)]
    pub mps: u8,
    /// AMS: arbitration mechanism selected; 0 is round robin.
    #[bits(3)]
    pub ams: u8,
    /// SHN: shutdown notification; see [`Shutdown`].
    #[bits(2)]
    pub shn: Shutdown,
    /// IOSQES: size of an I/O submission queue entry, as a power of two; 6.
    #[bits(4)]
    pub iosqes: u8,
    /// IOCQES: size of an I/O completion queue entry, as a power of two; 4.
    #[bits(4)]
    pub iocqes: u8,
    /// CRIME: "controller ready independent of media" enable.
    pub crime: bool,
    #[bits(7)]
    __: u8,
}

impl Cc {
    /// CSS 000b: the NVM command set.
    pub const CSS_NVM: u8 = 0b000;
    /// CSS 110b: all supported I/O command sets.
    pub const CSS_ALL: u8 = 0b110;
    /// CSS 111b: admin commands only.
    pub const CSS_ADMIN_ONLY: u8 = 0b111;
}

/// SHN: what kind of shutdown the host announced (section 3.1.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown(pub u8);

impl Shutdown {
    /// No notification.
    pub const NONE: Self = Self(0b00);
    /// A normal shutdown.
    pub const NORMAL: Self = Self(0b01);
    /// An abrupt shutdown.
    pub const ABRUPT: Self = Self(0b10);

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    const fn into_bits(self) -> u8 {
        self.0
    }
}

/// SHST: how far a shutdown is (section 3.1.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownStatus(pub u8);

impl ShutdownStatus {
    /// Normal operation.
    pub const NORMAL: Self = Self(0b00);
    /// The shutdown is going on.
    pub const OCCURRING: Self = Self(0b01);
    /// The shutdown is complete.
    pub const COMPLETE: Self = Self(0b10);

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    const fn into_bits(self) -> u8 {
        self.0
    }
}

/// CSTS: the state of the controller (section 3.1.4.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Csts {
    /// RDY: the controller is ready for commands.
    pub rdy: bool,
    /// CFS: a fatal error.
    pub cfs: bool,
    /// SHST: shutdown status.
    #[bits(2)]
    pub shst: ShutdownStatus,
    /// NSSRO: an NVM subsystem reset occurred.
    pub nssro: bool,
    /// PP: processing is paused.
    pub pp: bool,
    /// ST: the shutdown is one of the NVM subsystem.
    pub st: bool,
    #[bits(25)]
    __: u32,
}

/// AQA: sizes of the admin queues (section 3.1.4.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Aqa {
    /// ASQS: entries of the admin submission queue, 0-based.
    #[bits(12)]
    pub asqs_z: u16,
    #[bits(4)]
    __: u8,
    /// ACQS: entries of the admin completion queue, 0-based.
    #[bits(12)]
    pub acqs_z: u16,
    #[bits(4)]
    __: u8,
}

/// Entries of the largest admin queue (section 3.1.4.8).
pub const ADMIN_ENTRIES_MAX: u16 = 4096;

/// Offset of the first doorbell (NVMe over PCIe transport 1.1, section 3.1.2).
pub const DOORBELLS: usize = 0x1000;

/// Bytes from one doorbell to the next: 4 << CAP.DSTRD (section 3.1.4.1).
pub const fn doorbell_stride(dstrd: u8) -> usize {
    4 << dstrd
}

/// Offset of the tail doorbell of submission queue `qid` from the first doorbell; the same in a shadow doorbell buffer
/// (section 5.2.5).
pub const fn submission_doorbell(qid: u16, dstrd: u8) -> usize {
    2 * qid as usize * doorbell_stride(dstrd)
}

/// Offset of the head doorbell of completion queue `qid` from the first doorbell; the same in a shadow doorbell buffer
/// (section 5.2.5).
pub const fn completion_doorbell(qid: u16, dstrd: u8) -> usize {
    (2 * qid as usize + 1) * doorbell_stride(dstrd)
}

/// CRTO: time-outs of becoming ready, in units of 500 ms (section 3.1.4.19).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Crto {
    /// CRWMT: ready with media.
    pub crwmt: u16,
    /// CRIMT: ready independent of media.
    pub crimt: u16,
}
