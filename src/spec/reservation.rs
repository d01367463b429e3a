//! Reservation commands: their dwords and data, the report, the notification log page, and the two features
//! (NVMe base 2.1, sections 7.5 to 7.8, 5.1.12.1.32, 5.1.25.1.29 and 5.1.25.1.30).
//!
//! Bit 4 of CDW10, and bit 1 of CDW11 of Report, speak of dispersed namespaces, which do not exist here: they
//! stand among the reserved bits.

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::host::HostId;
use super::sqe::Sqe;

/// RTYPE: the type of a reservation (section 7.5, "Reservation Type Encoding").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct ReservationType(pub u8);

impl ReservationType {
    /// No reservation; in commands reserved.
    pub const NONE: Self = Self(0);
    /// Write Exclusive.
    pub const WRITE_EXCLUSIVE: Self = Self(1);
    /// Exclusive Access.
    pub const EXCLUSIVE_ACCESS: Self = Self(2);
    /// Write Exclusive, Registrants Only.
    pub const WRITE_EXCLUSIVE_REGISTRANTS_ONLY: Self = Self(3);
    /// Exclusive Access, Registrants Only.
    pub const EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: Self = Self(4);
    /// Write Exclusive, All Registrants.
    pub const WRITE_EXCLUSIVE_ALL_REGISTRANTS: Self = Self(5);
    /// Exclusive Access, All Registrants.
    pub const EXCLUSIVE_ACCESS_ALL_REGISTRANTS: Self = Self(6);

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    const fn into_bits(self) -> u8 {
        self.0
    }
}

/// Declares an open enumeration of a few bits.
macro_rules! actions {
    ($(#[$doc:meta])* $name:ident { $($(#[$text:meta])* $constant:ident = $value:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub u8);

        impl $name {
            $($(#[$text])* pub const $constant: Self = Self($value);)*

            const fn from_bits(bits: u8) -> Self {
                Self(bits)
            }

            const fn into_bits(self) -> u8 {
                self.0
            }
        }
    };
}

actions! {
    /// RREGA: what Reservation Register does (section 7.6).
    RegisterAction {
        /// Register NRKEY.
        REGISTER = 0b000;
        /// Unregister.
        UNREGISTER = 0b001;
        /// Replace the key by NRKEY.
        REPLACE = 0b010;
    }
}

actions! {
    /// CPTPL: what Reservation Register does to the Persist Through Power Loss state (section 7.6).
    PersistChange {
        /// No change.
        KEEP = 0b00;
        /// Registrations and reservations do not survive a power loss.
        CLEAR = 0b10;
        /// They do.
        SET = 0b11;
    }
}

actions! {
    /// RACQA: what Reservation Acquire does (section 7.5).
    AcquireAction {
        /// Acquire a reservation.
        ACQUIRE = 0b000;
        /// Preempt a reservation or registrations.
        PREEMPT = 0b001;
        /// Preempt, and abort the commands of those who are preempted.
        PREEMPT_AND_ABORT = 0b010;
    }
}

actions! {
    /// RRELA: what Reservation Release does (section 7.7).
    ReleaseAction {
        /// Release the reservation.
        RELEASE = 0b000;
        /// Release the reservation and unregister everybody.
        CLEAR = 0b001;
    }
}

/// CDW10 of Reservation Register (section 7.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RegisterDword {
    /// RREGA.
    #[bits(3)]
    pub rrega: RegisterAction,
    /// IEKEY: CRKEY is not looked at.
    pub iekey: bool,
    #[bits(26)]
    __: u32,
    /// CPTPL.
    #[bits(2)]
    pub cptpl: PersistChange,
}

/// CDW10 of Reservation Acquire (section 7.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AcquireDword {
    /// RACQA.
    #[bits(3)]
    pub racqa: AcquireAction,
    /// IEKEY: must be 0.
    pub iekey: bool,
    #[bits(4)]
    __: u8,
    /// RTYPE.
    #[bits(8)]
    pub rtype: ReservationType,
    __: u16,
}

/// CDW10 of Reservation Release (section 7.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReleaseDword {
    /// RRELA.
    #[bits(3)]
    pub rrela: ReleaseAction,
    /// IEKEY: must be 0.
    pub iekey: bool,
    #[bits(4)]
    __: u8,
    /// RTYPE.
    #[bits(8)]
    pub rtype: ReservationType,
    __: u16,
}

/// CDW11 of Reservation Report (section 7.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReportDword {
    /// EDS: the extended data structure is asked for.
    pub eds: bool,
    #[bits(31)]
    __: u32,
}

impl Sqe {
    /// CDW10 of Reservation Register.
    pub fn reservation_register(&self) -> RegisterDword {
        RegisterDword::from_bits(self.cdw10.get())
    }

    /// CDW10 of Reservation Acquire.
    pub fn reservation_acquire(&self) -> AcquireDword {
        AcquireDword::from_bits(self.cdw10.get())
    }

    /// CDW10 of Reservation Release.
    pub fn reservation_release(&self) -> ReleaseDword {
        ReleaseDword::from_bits(self.cdw10.get())
    }

    /// CDW11 of Reservation Report.
    pub fn reservation_report(&self) -> ReportDword {
        ReportDword::from_bits(self.cdw11.get())
    }

    /// NUMD widened: how many bytes Reservation Report asks for, 4 to 16 GiB (CDW10, section 7.8).
    pub fn reservation_report_bytes(&self) -> u64 {
        (u64::from(self.cdw10.get()) + 1) * 4
    }
}

/// The data of Reservation Register, 16 bytes (section 7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RegisterData {
    /// CRKEY: the host's current key.
    pub crkey: U64,
    /// NRKEY: the host's new key.
    pub nrkey: U64,
}

const _: () = assert!(size_of::<RegisterData>() == 16 && offset_of!(RegisterData, nrkey) == 8);

/// The data of Reservation Acquire, 16 bytes (section 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AcquireData {
    /// CRKEY: the host's current key.
    pub crkey: U64,
    /// PRKEY: the key whose registrants are preempted.
    pub prkey: U64,
}

const _: () = assert!(size_of::<AcquireData>() == 16 && offset_of!(AcquireData, prkey) == 8);

/// The data of Reservation Release, 8 bytes (section 7.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReleaseData {
    /// CRKEY: the host's current key.
    pub crkey: U64,
}

const _: () = assert!(size_of::<ReleaseData>() == 8);

/// What the extended data structure of Reservation Report begins with, 64 bytes (section 7.8, "Reservation
/// Status Extended Data Structure"). [`ReportEntry`]s follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReportHeader {
    /// GEN: a wrapping count of changes.
    pub generation: U32,
    /// RTYPE: the type of the reservation; 0 for none.
    pub rtype: ReservationType,
    /// REGSTRNT (REGCTL before 2.1): the number of registrants.
    pub regstrnt: U16,
    /// Reserved.
    pub reserved: [u8; 2],
    /// PTPLS: 1 where registrations and reservations persist through power loss.
    pub ptpls: u8,
    /// Reserved.
    pub reserved_end: [u8; 54],
}

const _: () = {
    assert!(size_of::<ReportHeader>() == 64 && offset_of!(ReportHeader, rtype) == 4);
    assert!(offset_of!(ReportHeader, regstrnt) == 5 && offset_of!(ReportHeader, ptpls) == 9);
};

/// RCSTS: what a registrant is to the reservation (section 7.8).
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
pub struct RegistrantStatus {
    /// AHHR: the registrant holds the reservation.
    pub holder: bool,
    #[bits(7)]
    __: u8,
}

/// One registrant in the extended data structure of Reservation Report, 64 bytes (section 7.8, "Registered
/// Controller Extended Data Structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReportEntry {
    /// CNTLID: a controller of the registrant, or [`ReportEntry::NO_CONTROLLER`].
    pub cntlid: U16,
    /// RCSTS.
    pub rcsts: RegistrantStatus,
    /// Reserved.
    pub reserved: [u8; 5],
    /// RKEY: the registrant's key.
    pub rkey: U64,
    /// HOSTID.
    pub hostid: HostId,
    /// Reserved.
    pub reserved_end: [u8; 32],
}

const _: () = {
    assert!(size_of::<ReportEntry>() == 64 && offset_of!(ReportEntry, rcsts) == 2);
    assert!(offset_of!(ReportEntry, rkey) == 8 && offset_of!(ReportEntry, hostid) == 16);
};

impl ReportEntry {
    /// CNTLID of a registrant without a controller.
    pub const NO_CONTROLLER: u16 = 0xffff;
}

/// RNLPT: what a notification page tells (section 5.1.12.1.32).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct NotificationType(pub u8);

impl NotificationType {
    /// Nothing: the page is empty.
    pub const EMPTY: Self = Self(0);
    /// Registration Preempted.
    pub const REGISTRATION_PREEMPTED: Self = Self(1);
    /// Reservation Released.
    pub const RESERVATION_RELEASED: Self = Self(2);
    /// Reservation Preempted.
    pub const RESERVATION_PREEMPTED: Self = Self(3);
}

/// Reservation Notification, log page 80h, 64 bytes (section 5.1.12.1.32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NotificationPage {
    /// LPC: identifies the notice; 0 for an empty page.
    pub count: U64,
    /// RNLPT.
    pub kind: NotificationType,
    /// NALP: how many more pages can be read.
    pub available: u8,
    /// Reserved.
    pub reserved: [u8; 2],
    /// NSID.
    pub nsid: U32,
    /// Reserved.
    pub reserved_end: [u8; 48],
}

const _: () = {
    assert!(size_of::<NotificationPage>() == 64 && offset_of!(NotificationPage, kind) == 8);
    assert!(offset_of!(NotificationPage, available) == 9 && offset_of!(NotificationPage, nsid) == 12);
};

/// CDW11 and DW0 of feature 82h, Reservation Notification Mask (section 5.1.25.1.29): a set bit keeps a notice
/// from being logged.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NotificationMask {
    __: bool,
    /// REGPRE: Registration Preempted.
    pub registration_preempted: bool,
    /// RESREL: Reservation Released.
    pub reservation_released: bool,
    /// RESPRE: Reservation Preempted.
    pub reservation_preempted: bool,
    #[bits(28)]
    __: u32,
}

/// CDW11 and DW0 of feature 83h, Reservation Persistence (section 5.1.25.1.30).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Persistence {
    /// PTPL: registrations and reservations persist through power loss.
    pub ptpl: bool,
    #[bits(31)]
    __: u32,
}
