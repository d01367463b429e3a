//! Opcodes of the admin, NVM and fabrics commands. Unknown values are representable.
//!
//! Each known opcode of the admin and I/O queues is also a variant of a closed enumeration, made from the same line:
//! a table with a `match` over it does not compile while an opcode has no row.

/// Declares an open opcode and the closed enumeration of those that have a name.
macro_rules! opcodes {
    (
        $(#[$doc:meta])* $opcode:ident,
        $(#[$known_doc:meta])* $known:ident {
            $($(#[$text:meta])* $constant:ident = $variant:ident = $value:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $opcode(pub u8);

        impl $opcode {
            $($(#[$text])* pub const $constant: Self = Self($value);)*

            /// The command of this opcode; `None` where it has no name here, as vendor specific ones.
            pub const fn known(self) -> Option<$known> {
                match self {
                    $(Self::$constant => Some($known::$variant),)*
                    _ => None,
                }
            }
        }

        $(#[$known_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $known {
            $($(#[$text])* $variant,)*
        }

        impl $known {
            /// Every known command.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The opcode.
            pub const fn opcode(self) -> $opcode {
                match self {
                    $(Self::$variant => $opcode::$constant,)*
                }
            }
        }
    };
}

opcodes! {
    /// An opcode on the admin queue (NVMe base 2.1, section 5, and NVM command set, section 4).
    AdminOpcode,
    /// The admin commands whose opcodes have a name.
    AdminCommand {
        /// Delete I/O Submission Queue; not for fabrics.
        DELETE_SQ = DeleteSq = 0x00;
        /// Create I/O Submission Queue; not for fabrics.
        CREATE_SQ = CreateSq = 0x01;
        /// Get Log Page.
        GET_LOG_PAGE = GetLogPage = 0x02;
        /// Delete I/O Completion Queue; not for fabrics.
        DELETE_CQ = DeleteCq = 0x04;
        /// Create I/O Completion Queue; not for fabrics.
        CREATE_CQ = CreateCq = 0x05;
        /// Identify.
        IDENTIFY = Identify = 0x06;
        /// Abort.
        ABORT = Abort = 0x08;
        /// Set Features.
        SET_FEATURES = SetFeatures = 0x09;
        /// Get Features.
        GET_FEATURES = GetFeatures = 0x0a;
        /// Asynchronous Event Request.
        ASYNC_EVENT_REQUEST = AsyncEventRequest = 0x0c;
        /// Namespace Management.
        NAMESPACE_MANAGEMENT = NamespaceManagement = 0x0d;
        /// Firmware Commit.
        FIRMWARE_COMMIT = FirmwareCommit = 0x10;
        /// Firmware Image Download.
        FIRMWARE_DOWNLOAD = FirmwareDownload = 0x11;
        /// Device Self-test.
        DEVICE_SELF_TEST = DeviceSelfTest = 0x14;
        /// Namespace Attachment.
        NAMESPACE_ATTACHMENT = NamespaceAttachment = 0x15;
        /// Keep Alive.
        KEEP_ALIVE = KeepAlive = 0x18;
        /// Directive Send.
        DIRECTIVE_SEND = DirectiveSend = 0x19;
        /// Directive Receive.
        DIRECTIVE_RECEIVE = DirectiveReceive = 0x1a;
        /// Virtualization Management; not for fabrics.
        VIRTUALIZATION_MANAGEMENT = VirtualizationManagement = 0x1c;
        /// NVMe-MI Send.
        NVME_MI_SEND = NvmeMiSend = 0x1d;
        /// NVMe-MI Receive.
        NVME_MI_RECEIVE = NvmeMiReceive = 0x1e;
        /// Capacity Management.
        CAPACITY_MANAGEMENT = CapacityManagement = 0x20;
        /// Lockdown.
        LOCKDOWN = Lockdown = 0x24;
        /// Doorbell Buffer Config; not for fabrics.
        DOORBELL_BUFFER_CONFIG = DoorbellBufferConfig = 0x7c;
        /// Fabrics commands; FCTYPE says which.
        FABRICS = Fabrics = 0x7f;
        /// Format NVM.
        FORMAT_NVM = FormatNvm = 0x80;
        /// Security Send.
        SECURITY_SEND = SecuritySend = 0x81;
        /// Security Receive.
        SECURITY_RECEIVE = SecurityReceive = 0x82;
        /// Sanitize.
        SANITIZE = Sanitize = 0x84;
        /// Get LBA Status.
        GET_LBA_STATUS = GetLbaStatus = 0x86;
    }
}

impl AdminOpcode {
    /// Whether the opcode is vendor specific: C0h to FFh.
    pub const fn is_vendor_specific(self) -> bool {
        self.0 >= 0xc0
    }
}

opcodes! {
    /// An opcode on an I/O queue of the NVM command set (NVM command set 1.0, section 3.2; reservations: base
    /// 2.1, section 7), or of the zoned namespace command set.
    NvmOpcode,
    /// The I/O commands whose opcodes have a name.
    NvmCommand {
        /// Flush.
        FLUSH = Flush = 0x00;
        /// Write.
        WRITE = Write = 0x01;
        /// Read.
        READ = Read = 0x02;
        /// Write Uncorrectable.
        WRITE_UNCORRECTABLE = WriteUncorrectable = 0x04;
        /// Compare.
        COMPARE = Compare = 0x05;
        /// Write Zeroes.
        WRITE_ZEROES = WriteZeroes = 0x08;
        /// Dataset Management.
        DATASET_MANAGEMENT = DatasetManagement = 0x09;
        /// Verify.
        VERIFY = Verify = 0x0c;
        /// Reservation Register.
        RESERVATION_REGISTER = ReservationRegister = 0x0d;
        /// Reservation Report.
        RESERVATION_REPORT = ReservationReport = 0x0e;
        /// Reservation Acquire.
        RESERVATION_ACQUIRE = ReservationAcquire = 0x11;
        /// I/O Management Receive.
        IO_MANAGEMENT_RECEIVE = IoManagementReceive = 0x12;
        /// Reservation Release.
        RESERVATION_RELEASE = ReservationRelease = 0x15;
        /// Cancel.
        CANCEL = Cancel = 0x18;
        /// Copy.
        COPY = Copy = 0x19;
        /// I/O Management Send.
        IO_MANAGEMENT_SEND = IoManagementSend = 0x1d;
        /// Zone Management Send, of zoned namespaces.
        ZONE_MANAGEMENT_SEND = ZoneManagementSend = 0x79;
        /// Zone Management Receive, of zoned namespaces.
        ZONE_MANAGEMENT_RECEIVE = ZoneManagementReceive = 0x7a;
        /// Zone Append, of zoned namespaces.
        ZONE_APPEND = ZoneAppend = 0x7d;
        /// Fabrics commands; FCTYPE says which.
        FABRICS = Fabrics = 0x7f;
    }
}

impl NvmOpcode {
    /// Whether the opcode is vendor specific: 80h to FFh.
    pub const fn is_vendor_specific(self) -> bool {
        self.0 >= 0x80
    }
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
