//! Log pages: the Get Log Page dwords and the pages' layouts (NVMe base 2.1, section 5.1.12).

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::sqe::Sqe;

/// LID: a log page (section 5.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogPageId(pub u8);

impl LogPageId {
    /// Supported Log Pages.
    pub const SUPPORTED: Self = Self(0x00);
    /// Error Information.
    pub const ERROR: Self = Self(0x01);
    /// SMART / Health Information.
    pub const SMART: Self = Self(0x02);
    /// Firmware Slot Information.
    pub const FIRMWARE_SLOT: Self = Self(0x03);
    /// Changed Attached Namespace List.
    pub const CHANGED_NAMESPACES: Self = Self(0x04);
    /// Commands Supported and Effects.
    pub const COMMAND_EFFECTS: Self = Self(0x05);
    /// Asymmetric Namespace Access.
    pub const ANA: Self = Self(0x0c);
    /// Feature Identifiers Supported and Effects.
    pub const FEATURE_EFFECTS: Self = Self(0x12);
    /// NVMe-MI Commands Supported and Effects.
    pub const MANAGEMENT_EFFECTS: Self = Self(0x13);
    /// Discovery.
    pub const DISCOVERY: Self = Self(0x70);
    /// Reservation Notification.
    pub const RESERVATION: Self = Self(0x80);
}

/// CDW10 of Get Log Page (section 5.1.12).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LogPage {
    /// LID.
    pub lid: u8,
    /// LSP: log specific parameter.
    #[bits(7)]
    pub lsp: u8,
    /// RAE: the read does not clear the event.
    pub rae: bool,
    /// NUMDL: the lower half of the number of dwords, 0-based; see [`Sqe::log_page_bytes`].
    pub numdl: u16,
}

/// CDW11 of Get Log Page.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LogPageUpper {
    /// NUMDU: the upper half of the number of dwords.
    pub numdu: u16,
    /// LSI: log specific identifier.
    pub lsi: u16,
}

/// CDW14 of Get Log Page.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LogPageOptions {
    /// UUID index.
    #[bits(7)]
    pub uuid_index: u8,
    #[bits(16)]
    __: u32,
    /// OT: the offset is an index, not a number of bytes.
    pub ot: bool,
    /// CSI: command set.
    pub csi: u8,
}

impl Sqe {
    /// CDW10 of Get Log Page.
    pub fn log_page(&self) -> LogPage {
        LogPage::from_bits(self.cdw10.get())
    }

    /// CDW11 of Get Log Page.
    pub fn log_page_upper(&self) -> LogPageUpper {
        LogPageUpper::from_bits(self.cdw11.get())
    }

    /// CDW14 of Get Log Page.
    pub fn log_page_options(&self) -> LogPageOptions {
        LogPageOptions::from_bits(self.cdw14.get())
    }

    /// NUMDU and NUMDL widened: how many bytes Get Log Page asks for, 4 to 16 GiB.
    pub fn log_page_bytes(&self) -> u64 {
        let dwords_z = u64::from(self.log_page().numdl()) | u64::from(self.log_page_upper().numdu()) << 16;
        (dwords_z + 1) * 4
    }

    /// LPOL and LPOU: the offset that Get Log Page asks for.
    pub fn log_page_offset(&self) -> u64 {
        u64::from(self.cdw12.get()) | u64::from(self.cdw13.get()) << 32
    }
}

/// One entry of Supported Log Pages; the page has 256 (section 5.1.12.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SupportedLogPage {
    /// LSUPP: the page is supported.
    pub lsupp: bool,
    /// IOS: index offsets are supported.
    pub ios: bool,
    #[bits(14)]
    __: u16,
    /// LIDSP: what the page supports of its parameter.
    pub lidsp: u16,
}

/// One entry of the error log, 64 bytes (section 5.1.12.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ErrorEntry {
    /// Error count: unique, from 1; 0 is an unused entry.
    pub error_count: U64,
    /// SQID.
    pub sqid: U16,
    /// CID.
    pub cid: U16,
    /// Status, shifted by the phase bit, as in a completion.
    pub status: U16,
    /// Where the parameter error is: byte (7:0), bit (10:8).
    pub parameter_location: U16,
    /// The first block with an error.
    pub lba: U64,
    /// NSID.
    pub nsid: U32,
    /// Vendor specific information available.
    pub vendor_available: u8,
    /// TRTYPE.
    pub trtype: u8,
    /// CSI.
    pub csi: u8,
    /// Opcode.
    pub opcode: u8,
    /// Command specific information.
    pub command_specific: U64,
    /// Transport type specific information.
    pub transport_specific: U16,
    /// Reserved.
    pub reserved: [u8; 21],
    /// LPVER: version of the entry.
    pub version: u8,
}

const _: () = {
    assert!(size_of::<ErrorEntry>() == 64);
    assert!(offset_of!(ErrorEntry, lba) == 16 && offset_of!(ErrorEntry, command_specific) == 32);
};

/// Critical warning bit 2, also of Feature 0Bh: the reliability of the NVM subsystem is degraded.
pub const WARNING_RELIABILITY: u8 = 1 << 2;

/// SMART / Health Information, 512 bytes (section 5.1.12.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Smart {
    /// Critical warnings.
    pub critical_warning: u8,
    /// CTEMP: composite temperature in kelvins.
    pub composite_temperature: U16,
    /// AVSP: available spare in percent.
    pub available_spare: u8,
    /// AVSPT: available spare threshold in percent.
    pub available_spare_threshold: u8,
    /// PUSED: percentage used.
    pub percentage_used: u8,
    /// Endurance group critical warning summary.
    pub endurance_group_warning: u8,
    /// Reserved.
    pub reserved: [u8; 25],
    /// DUR: data units read, in thousands of 512 bytes, rounded up.
    pub data_units_read: U128,
    /// DUW: data units written, in thousands of 512 bytes, rounded up.
    pub data_units_written: U128,
    /// HRC: host read commands.
    pub host_read_commands: U128,
    /// HWC: host write commands.
    pub host_write_commands: U128,
    /// CBT: controller busy time in minutes.
    pub controller_busy_minutes: U128,
    /// PWRC: power cycles.
    pub power_cycles: U128,
    /// POH: power on hours.
    pub power_on_hours: U128,
    /// UPL: unexpected power losses.
    pub unsafe_shutdowns: U128,
    /// MDIE: media and data integrity errors.
    pub media_errors: U128,
    /// NEILE: number of error log entries over the life of the controller.
    pub error_log_entries: U128,
    /// WCTT: warning composite temperature time in minutes.
    pub warning_temperature_minutes: U32,
    /// CCTT: critical composite temperature time in minutes.
    pub critical_temperature_minutes: U32,
    /// TSEN1 to TSEN8: temperature sensors in kelvins.
    pub temperature_sensors: [U16; 8],
    /// Thermal management temperature transition counts and times.
    pub thermal_management: [U32; 4],
    /// Reserved.
    pub reserved_end: [u8; 280],
}

const _: () = {
    assert!(size_of::<Smart>() == 512 && offset_of!(Smart, data_units_read) == 32);
    assert!(offset_of!(Smart, error_log_entries) == 176 && offset_of!(Smart, temperature_sensors) == 200);
};

/// Firmware Slot Information, 512 bytes (section 5.1.12.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FirmwareSlots {
    /// AFI: active slot in bits 2:0, slot of the next reset in bits 6:4.
    pub afi: u8,
    /// Reserved.
    pub reserved: [u8; 7],
    /// FRS1 to FRS7: the revisions, ASCII; zeros where a slot is empty.
    pub revisions: [[u8; 8]; 7],
    /// Reserved.
    pub reserved_end: [u8; 448],
}

const _: () = assert!(size_of::<FirmwareSlots>() == 512 && offset_of!(FirmwareSlots, revisions) == 8);

/// One entry of Commands Supported and Effects (section 5.1.12.1.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CommandEffect {
    /// CSUPP: the command is supported.
    pub csupp: bool,
    /// LBCC: it may change the contents of blocks.
    pub lbcc: bool,
    /// NCC: it may change the capabilities of one namespace.
    pub ncc: bool,
    /// NIC: it may change the inventory of namespaces.
    pub nic: bool,
    /// CCC: it may change the capabilities of the controller.
    pub ccc: bool,
    #[bits(9)]
    __: u16,
    /// CSER: submission and execution relaxations.
    #[bits(2)]
    pub cser: u8,
    /// CSE: submission and execution requirements.
    #[bits(3)]
    pub cse: u8,
    /// USS: UUID selection is supported.
    pub uss: bool,
    /// CSP: the scope.
    #[bits(12)]
    pub csp: u16,
}

/// Commands Supported and Effects, 4,096 bytes (section 5.1.12.1.6). Entries hold [`CommandEffect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommandEffects {
    /// Admin commands by opcode.
    pub admin: [U32; 256],
    /// I/O commands by opcode.
    pub io: [U32; 256],
    /// Reserved.
    pub reserved: [u8; 2048],
}

const _: () = assert!(size_of::<CommandEffects>() == 4096 && offset_of!(CommandEffects, io) == 1024);

/// One entry of Feature Identifiers Supported and Effects; the page has 256 (section 5.1.12.1.18).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FeatureEffect {
    /// FSUPP: the feature is supported.
    pub fsupp: bool,
    /// UDCC: it may change the contents of blocks.
    pub udcc: bool,
    /// NCC: it may change the capabilities of one namespace.
    pub ncc: bool,
    /// NIC: it may change the inventory of namespaces.
    pub nic: bool,
    /// CCC: it may change the capabilities of the controller.
    pub ccc: bool,
    #[bits(14)]
    __: u16,
    /// USS: UUID selection is supported.
    pub uss: bool,
    /// FSP: the scope, as in [`Scope`].
    #[bits(12)]
    pub fsp: u16,
}

/// What a command or a feature acts on: CSP of [`CommandEffect`] and FSP of [`FeatureEffect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope;

impl Scope {
    /// One namespace.
    pub const NAMESPACE: u16 = 1 << 0;
    /// One controller.
    pub const CONTROLLER: u16 = 1 << 1;
    /// The NVM subsystem.
    pub const SUBSYSTEM: u16 = 1 << 5;
}

/// Bytes of the 256 entries of [`LogPageId::FEATURE_EFFECTS`]; of [`LogPageId::MANAGEMENT_EFFECTS`], too.
pub const EFFECTS_BYTES: usize = 1024;

/// Entries of Changed Attached Namespace List (section 5.1.12.1.5); the first FFFFFFFFh means "too many".
pub const CHANGED_NAMESPACES_MAX: usize = 1024;
