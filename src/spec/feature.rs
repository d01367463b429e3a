//! Features: identifiers, and the dwords and data of Get and Set Features (NVMe base 2.1, sections 5.1.11 and
//! 5.1.25).

use std::mem::offset_of;

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::sqe::Sqe;

/// FID: a feature (section 5.1.25).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeatureId(pub u8);

impl FeatureId {
    /// Arbitration.
    pub const ARBITRATION: Self = Self(0x01);
    /// Power Management.
    pub const POWER_MANAGEMENT: Self = Self(0x02);
    /// Temperature Threshold.
    pub const TEMPERATURE_THRESHOLD: Self = Self(0x04);
    /// Error Recovery (NVM command set).
    pub const ERROR_RECOVERY: Self = Self(0x05);
    /// Volatile Write Cache.
    pub const VOLATILE_WRITE_CACHE: Self = Self(0x06);
    /// Number of Queues.
    pub const NUMBER_OF_QUEUES: Self = Self(0x07);
    /// Interrupt Coalescing; not for fabrics.
    pub const INTERRUPT_COALESCING: Self = Self(0x08);
    /// Interrupt Vector Configuration; not for fabrics.
    pub const INTERRUPT_VECTOR: Self = Self(0x09);
    /// Write Atomicity Normal (NVM command set).
    pub const WRITE_ATOMICITY: Self = Self(0x0a);
    /// Asynchronous Event Configuration.
    pub const ASYNC_EVENT_CONFIGURATION: Self = Self(0x0b);
    /// Autonomous Power State Transition.
    pub const AUTONOMOUS_POWER: Self = Self(0x0c);
    /// Timestamp.
    pub const TIMESTAMP: Self = Self(0x0e);
    /// Keep Alive Timer.
    pub const KEEP_ALIVE: Self = Self(0x0f);
    /// Host Behavior Support.
    pub const HOST_BEHAVIOR: Self = Self(0x16);
    /// I/O Command Set Profile.
    pub const COMMAND_SET_PROFILE: Self = Self(0x19);
    /// Host Identifier.
    pub const HOST_IDENTIFIER: Self = Self(0x81);
    /// Reservation Notification Mask.
    pub const RESERVATION_NOTIFICATION_MASK: Self = Self(0x82);
    /// Reservation Persistence.
    pub const RESERVATION_PERSISTENCE: Self = Self(0x83);
    /// Namespace Write Protection Config.
    pub const WRITE_PROTECTION: Self = Self(0x84);
}

/// SEL: which value Get Features asks for (section 5.1.11, CDW10 bits 10:8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Select(pub u8);

impl Select {
    /// The current value.
    pub const CURRENT: Self = Self(0);
    /// The default value.
    pub const DEFAULT: Self = Self(1);
    /// The saved value.
    pub const SAVED: Self = Self(2);
    /// [`Capabilities`], in DW0.
    pub const SUPPORTED: Self = Self(3);

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    const fn into_bits(self) -> u8 {
        self.0
    }
}

/// CDW10 of Get Features (section 5.1.11).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct GetFeatures {
    /// FID.
    pub fid: u8,
    /// SEL.
    #[bits(3)]
    pub sel: Select,
    #[bits(21)]
    __: u32,
}

/// CDW10 of Set Features (section 5.1.25).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SetFeatures {
    /// FID.
    pub fid: u8,
    #[bits(23)]
    __: u32,
    /// SV: save the value.
    pub sv: bool,
}

impl Sqe {
    /// CDW10 of Get Features.
    pub fn get_features(&self) -> GetFeatures {
        GetFeatures::from_bits(self.cdw10.get())
    }

    /// CDW10 of Set Features.
    pub fn set_features(&self) -> SetFeatures {
        SetFeatures::from_bits(self.cdw10.get())
    }
}

/// DW0 of Get Features with [`Select::SUPPORTED`] (section 5.1.11).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Capabilities {
    /// The value can be saved.
    pub saveable: bool,
    /// The feature belongs to a namespace.
    pub namespace_specific: bool,
    /// The value can be changed.
    pub changeable: bool,
    #[bits(29)]
    __: u32,
}

/// Arbitration (section 5.1.25.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Arbitration {
    /// AB: commands at a time, as a power of two; 7 is "no limit".
    #[bits(3)]
    pub ab: u8,
    #[bits(5)]
    __: u8,
    /// LPW: low priority weight, 0-based.
    pub lpw_z: u8,
    /// MPW: medium priority weight, 0-based.
    pub mpw_z: u8,
    /// HPW: high priority weight, 0-based.
    pub hpw_z: u8,
}

/// Power Management (section 5.1.25.1.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PowerManagement {
    /// PS: the power state.
    #[bits(5)]
    pub ps: u8,
    /// WH: the workload hint.
    #[bits(3)]
    pub wh: u8,
    #[bits(24)]
    __: u32,
}

/// Temperature Threshold (section 5.1.25.1.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TemperatureThreshold {
    /// TMPTH: the threshold in kelvins.
    pub tmpth: u16,
    /// TMPSEL: the sensor; 0 is the composite temperature, Fh all.
    #[bits(4)]
    pub tmpsel: u8,
    /// THSEL: 0 over, 1 under.
    #[bits(2)]
    pub thsel: u8,
    #[bits(10)]
    __: u16,
}

/// Error Recovery (NVM command set 1.0, section 4.1.3.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ErrorRecovery {
    /// TLER: time limited error recovery, in units of 100 ms.
    pub tler: u16,
    /// DULBE: deallocated or unwritten blocks are an error.
    pub dulbe: bool,
    #[bits(15)]
    __: u16,
}

/// Volatile Write Cache (section 5.1.25.1.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct VolatileWriteCache {
    /// WCE: the cache is enabled.
    pub wce: bool,
    #[bits(31)]
    __: u32,
}

/// Number of Queues (section 5.1.25.2.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NumberOfQueues {
    /// Submission queues requested or allocated, 0-based.
    pub submission_z: u16,
    /// Completion queues requested or allocated, 0-based.
    pub completion_z: u16,
}

/// Interrupt Vector Configuration (section 5.1.25.2.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct InterruptVector {
    /// IV: the vector.
    pub iv: u16,
    /// CD: coalescing is disabled.
    pub cd: bool,
    #[bits(15)]
    __: u16,
}

/// Write Atomicity Normal (NVM command set 1.0, section 4.1.3.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct WriteAtomicity {
    /// DN: the host does not need AWUN and NAWUN.
    pub dn: bool,
    #[bits(31)]
    __: u32,
}

/// Asynchronous Event Configuration (section 5.1.25.1.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEventConfiguration {
    /// SMART and health critical warnings.
    pub smart: u8,
    /// Attached namespace attribute notices.
    pub namespace_attributes: bool,
    /// Firmware activation notices.
    pub firmware: bool,
    /// Telemetry log notices.
    pub telemetry: bool,
    /// Asymmetric namespace access change notices.
    pub ana: bool,
    #[bits(19)]
    __: u32,
    /// Discovery log page change notices.
    pub discovery: bool,
}

/// CDW11 of Host Identifier (section 5.1.25.1.28).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct HostIdentifier {
    /// EXHID: the identifier has 128 bits; always so on fabrics.
    pub exhid: bool,
    #[bits(31)]
    __: u32,
}

/// WPS: a write protection state (section 8.1.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteProtectionState(pub u8);

impl WriteProtectionState {
    /// No Write Protect.
    pub const NONE: Self = Self(0);
    /// Write Protect.
    pub const PROTECTED: Self = Self(1);
    /// Write Protect Until Power Cycle.
    pub const UNTIL_POWER_CYCLE: Self = Self(2);
    /// Permanent Write Protect.
    pub const PERMANENT: Self = Self(3);

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    const fn into_bits(self) -> u8 {
        self.0
    }
}

/// Namespace Write Protection Config (section 5.1.25.1.31).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct WriteProtection {
    /// WPS.
    #[bits(3)]
    pub wps: WriteProtectionState,
    #[bits(29)]
    __: u32,
}

/// The data of Host Behavior Support, 512 bytes (section 5.1.25.1.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HostBehavior {
    /// ACRE: the host understands command retry delays.
    pub acre: u8,
    /// ETDAS: the host understands extended telemetry data area 4.
    pub etdas: u8,
    /// LBAFEE: the host understands more than 16 LBA formats.
    pub lbafee: u8,
    /// HDISNS: the host understands dispersed namespaces.
    pub hdisns: u8,
    /// CDFE: copy descriptor formats that the host enables.
    pub cdfe: [u8; 2],
    /// Reserved.
    pub reserved: [u8; 506],
}

const _: () = assert!(size_of::<HostBehavior>() == 512 && offset_of!(HostBehavior, cdfe) == 4);
