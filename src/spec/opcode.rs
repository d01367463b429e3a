//! Opcodes of the admin, NVM and fabrics commands. Unknown values are representable.

/// An opcode on the admin queue (NVMe base 2.1, section 5, and NVM command set, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdminOpcode(pub u8);

impl AdminOpcode {
    /// Delete I/O Submission Queue; not for fabrics.
    pub const DELETE_SQ: Self = Self(0x00);
    /// Create I/O Submission Queue; not for fabrics.
    pub const CREATE_SQ: Self = Self(0x01);
    /// Get Log Page.
    pub const GET_LOG_PAGE: Self = Self(0x02);
    /// Delete I/O Completion Queue; not for fabrics.
    pub const DELETE_CQ: Self = Self(0x04);
    /// Create I/O Completion Queue; not for fabrics.
    pub const CREATE_CQ: Self = Self(0x05);
    /// Identify.
    pub const IDENTIFY: Self = Self(0x06);
    /// Abort.
    pub const ABORT: Self = Self(0x08);
    /// Set Features.
    pub const SET_FEATURES: Self = Self(0x09);
    /// Get Features.
    pub const GET_FEATURES: Self = Self(0x0a);
    /// Asynchronous Event Request.
    pub const ASYNC_EVENT_REQUEST: Self = Self(0x0c);
    /// Keep Alive.
    pub const KEEP_ALIVE: Self = Self(0x18);
    /// Fabrics commands; FCTYPE says which.
    pub const FABRICS: Self = Self(0x7f);
    /// Format NVM.
    pub const FORMAT_NVM: Self = Self(0x80);
}

/// An opcode on an I/O queue of the NVM command set (NVM command set 1.0, section 3.2; reservations: base
/// 2.1, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NvmOpcode(pub u8);

impl NvmOpcode {
    /// Flush.
    pub const FLUSH: Self = Self(0x00);
    /// Write.
    pub const WRITE: Self = Self(0x01);
    /// Read.
    pub const READ: Self = Self(0x02);
    /// Write Uncorrectable.
    pub const WRITE_UNCORRECTABLE: Self = Self(0x04);
    /// Compare.
    pub const COMPARE: Self = Self(0x05);
    /// Write Zeroes.
    pub const WRITE_ZEROES: Self = Self(0x08);
    /// Dataset Management.
    pub const DATASET_MANAGEMENT: Self = Self(0x09);
    /// Verify.
    pub const VERIFY: Self = Self(0x0c);
    /// Reservation Register.
    pub const RESERVATION_REGISTER: Self = Self(0x0d);
    /// Reservation Report.
    pub const RESERVATION_REPORT: Self = Self(0x0e);
    /// Reservation Acquire.
    pub const RESERVATION_ACQUIRE: Self = Self(0x11);
    /// I/O Management Receive.
    pub const IO_MANAGEMENT_RECEIVE: Self = Self(0x12);
    /// Reservation Release.
    pub const RESERVATION_RELEASE: Self = Self(0x15);
    /// Cancel.
    pub const CANCEL: Self = Self(0x18);
    /// Copy.
    pub const COPY: Self = Self(0x19);
    /// I/O Management Send.
    pub const IO_MANAGEMENT_SEND: Self = Self(0x1d);
    /// Fabrics commands; FCTYPE says which.
    pub const FABRICS: Self = Self(0x7f);
}

/// FCTYPE: which fabrics command (base 2.1, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FabricsType(pub u8);

impl FabricsType {
    /// Property Set.
    pub const PROPERTY_SET: Self = Self(0x00);
    /// Connect.
    pub const CONNECT: Self = Self(0x01);
    /// Property Get.
    pub const PROPERTY_GET: Self = Self(0x04);
    /// Authentication Send.
    pub const AUTHENTICATION_SEND: Self = Self(0x05);
    /// Authentication Receive.
    pub const AUTHENTICATION_RECEIVE: Self = Self(0x06);
    /// Disconnect.
    pub const DISCONNECT: Self = Self(0x08);
}

/// Which way a command's data goes, as bits 1:0 of its opcode (or FCTYPE) say (base 2.1, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// No data.
    None,
    /// From host to controller.
    ToController,
    /// From controller to host.
    ToHost,
    /// Both ways.
    Both,
}

impl Direction {
    /// The direction that bits 1:0 of an opcode or an FCTYPE give.
    pub const fn of(opcode: u8) -> Self {
        match opcode & 0b11 {
            0b00 => Self::None,
            0b01 => Self::ToController,
            0b10 => Self::ToHost,
            _ => Self::Both,
        }
    }
}
