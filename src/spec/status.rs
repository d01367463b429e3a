//! The status field of a completion (NVMe base 2.1, section 4.2.3).

use std::fmt;

/// Status code, type, retry delay, "more" and "do not retry": bits 15:1 of the last dword's upper half,
/// shifted down by the phase bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(u16);

/// SCT: the namespace of a status code (section 4.2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusType(pub u8);

impl StatusType {
    /// Generic command status.
    pub const GENERIC: Self = Self(0);
    /// Command specific status.
    pub const COMMAND: Self = Self(1);
    /// Media and data integrity errors.
    pub const MEDIA: Self = Self(2);
    /// Path related status.
    pub const PATH: Self = Self(3);
    /// Vendor specific.
    pub const VENDOR: Self = Self(7);
}

const DNR: u16 = 1 << 14;
const MORE: u16 = 1 << 13;

/// Declares the named statuses, so that each name exists once, with its text.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = ($kind:ident, $code:literal), $text:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Self = Self::new(StatusType::$kind, $code);)*

            /// The name of the status code, without the DNR and More bits; `None` when it has none here.
            pub const fn name(self) -> Option<&'static str> {
                match Self(self.0 & 0x7ff) {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// The command completed without error.
    SUCCESS = (GENERIC, 0x00), "Success";
    /// The opcode is not supported.
    INVALID_OPCODE = (GENERIC, 0x01), "Invalid Command Opcode";
    /// A field has a value that is not supported or reserved.
    INVALID_FIELD = (GENERIC, 0x02), "Invalid Field in Command";
    /// The command identifier is in use.
    CID_CONFLICT = (GENERIC, 0x03), "Command ID Conflict";
    /// Data or metadata could not be transferred.
    DATA_TRANSFER_ERROR = (GENERIC, 0x04), "Data Transfer Error";
    /// An error inside the controller.
    INTERNAL_ERROR = (GENERIC, 0x06), "Internal Error";
    /// An Abort command, or the end of the controller, aborted the command.
    ABORT_REQUESTED = (GENERIC, 0x07), "Command Abort Requested";
    /// The submission queue was deleted.
    ABORTED_SQ_DELETION = (GENERIC, 0x08), "Command Aborted due to SQ Deletion";
    /// The other command of a fused operation failed.
    FAILED_FUSED = (GENERIC, 0x09), "Command Aborted due to Failed Fused Command";
    /// The other command of a fused operation is missing.
    MISSING_FUSED = (GENERIC, 0x0a), "Command Aborted due to Missing Fused Command";
    /// The namespace or its format is invalid.
    INVALID_NAMESPACE = (GENERIC, 0x0b), "Invalid Namespace or Format";
    /// The command is not allowed at this point of a sequence.
    COMMAND_SEQUENCE_ERROR = (GENERIC, 0x0c), "Command Sequence Error";
    /// An SGL segment descriptor is invalid.
    INVALID_SGL_SEGMENT = (GENERIC, 0x0d), "Invalid SGL Segment Descriptor";
    /// Too many SGL descriptors, or the wrong number.
    INVALID_SGL_COUNT = (GENERIC, 0x0e), "Invalid Number of SGL Descriptors";
    /// The data SGL is too short or too long.
    DATA_SGL_LENGTH_INVALID = (GENERIC, 0x0f), "Data SGL Length Invalid";
    /// The type or sub-type of an SGL descriptor is not supported here.
    SGL_TYPE_INVALID = (GENERIC, 0x11), "SGL Descriptor Type Invalid";
    /// A PRP entry has an offset that it may not have.
    PRP_OFFSET_INVALID = (GENERIC, 0x13), "PRP Offset Invalid";
    /// The command is not allowed now.
    OPERATION_DENIED = (GENERIC, 0x15), "Operation Denied";
    /// The offset of an in-capsule SGL is invalid.
    SGL_OFFSET_INVALID = (GENERIC, 0x16), "SGL Offset Invalid";
    /// 64-bit and 128-bit host identifiers were mixed.
    HOST_ID_INCONSISTENT = (GENERIC, 0x18), "Host Identifier Inconsistent Format";
    /// The keep alive timer expired.
    KEEP_ALIVE_EXPIRED = (GENERIC, 0x19), "Keep Alive Timer Expired";
    /// The keep alive time-out is not acceptable.
    KEEP_ALIVE_INVALID = (GENERIC, 0x1a), "Keep Alive Timeout Invalid";
    /// A Reservation Acquire command pre-empted the host and aborted the command.
    ABORTED_PREEMPT = (GENERIC, 0x1b), "Command Aborted due to Preempt and Abort";
    /// The namespace is write protected.
    WRITE_PROTECTED = (GENERIC, 0x20), "Namespace is Write Protected";
    /// The command was interrupted and may be tried again.
    INTERRUPTED = (GENERIC, 0x21), "Command Interrupted";
    /// The transport failed for a moment.
    TRANSIENT_TRANSPORT_ERROR = (GENERIC, 0x22), "Transient Transport Error";
    /// Blocks beyond the end of the namespace (NVM command set 1.0, section 3.1).
    LBA_OUT_OF_RANGE = (GENERIC, 0x80), "LBA Out of Range";
    /// The namespace has no room left.
    CAPACITY_EXCEEDED = (GENERIC, 0x81), "Capacity Exceeded";
    /// The namespace is not ready.
    NAMESPACE_NOT_READY = (GENERIC, 0x82), "Namespace Not Ready";
    /// A reservation of another host forbids the command.
    RESERVATION_CONFLICT = (GENERIC, 0x83), "Reservation Conflict";

    /// The completion queue does not exist.
    INVALID_COMPLETION_QUEUE = (COMMAND, 0x00), "Completion Queue Invalid";
    /// The queue identifier is invalid.
    INVALID_QUEUE = (COMMAND, 0x01), "Invalid Queue Identifier";
    /// The queue size is invalid.
    INVALID_QUEUE_SIZE = (COMMAND, 0x02), "Invalid Queue Size";
    /// Too many Abort commands are outstanding.
    ABORT_LIMIT_EXCEEDED = (COMMAND, 0x03), "Abort Command Limit Exceeded";
    /// Too many Asynchronous Event Request commands are outstanding.
    ASYNC_EVENT_LIMIT_EXCEEDED = (COMMAND, 0x05), "Asynchronous Event Request Limit Exceeded";
    /// The firmware slot is invalid.
    INVALID_FIRMWARE_SLOT = (COMMAND, 0x06), "Invalid Firmware Slot";
    /// The log page is not supported.
    INVALID_LOG_PAGE = (COMMAND, 0x09), "Invalid Log Page";
    /// The LBA format is not supported.
    INVALID_FORMAT = (COMMAND, 0x0a), "Invalid Format";
    /// A completion queue cannot be deleted while submission queues use it.
    INVALID_QUEUE_DELETION = (COMMAND, 0x0c), "Invalid Queue Deletion";
    /// The feature cannot be saved.
    FEATURE_NOT_SAVEABLE = (COMMAND, 0x0d), "Feature Identifier Not Saveable";
    /// The feature cannot be changed.
    FEATURE_NOT_CHANGEABLE = (COMMAND, 0x0e), "Feature Not Changeable";
    /// The feature does not belong to a namespace.
    FEATURE_NOT_NAMESPACE_SPECIFIC = (COMMAND, 0x0f), "Feature Not Namespace Specific";
    /// A command is larger than the limits that Identify announces (NVM command set 1.0, section 3.2.3).
    COMMAND_SIZE_LIMIT_EXCEEDED = (COMMAND, 0x83), "Command Size Limit Exceeded";
    /// The command set is not supported.
    COMMAND_SET_NOT_SUPPORTED = (COMMAND, 0x29), "I/O Command Set Not Supported";

    /// Data could not be written.
    WRITE_FAULT = (MEDIA, 0x80), "Write Fault";
    /// Data could not be read.
    UNRECOVERED_READ_ERROR = (MEDIA, 0x81), "Unrecovered Read Error";
    /// A Compare command found a difference.
    COMPARE_FAILURE = (MEDIA, 0x85), "Compare Failure";
    /// The host may not access the blocks.
    ACCESS_DENIED = (MEDIA, 0x86), "Access Denied";

    /// The controller failed on the way to the namespace.
    INTERNAL_PATH_ERROR = (PATH, 0x00), "Internal Path Error";
    /// The controller does not reach the namespace any more, for good.
    ANA_PERSISTENT_LOSS = (PATH, 0x01), "Asymmetric Access Persistent Loss";
    /// The controller does not reach the namespace now.
    ANA_INACCESSIBLE = (PATH, 0x02), "Asymmetric Access Inaccessible";
    /// The controller's way to the namespace is changing.
    ANA_TRANSITION = (PATH, 0x03), "Asymmetric Access Transition";
}

/// Statuses of fabrics commands (base 2.1, section 4.2.3.2): command specific codes that have another
/// meaning on other commands, and are therefore not in the table of names.
impl Status {
    /// Connect: the record format is not supported (80h).
    pub const CONNECT_INCOMPATIBLE_FORMAT: Self = Self::new(StatusType::COMMAND, 0x80);
    /// Connect: the controller has an association, or no controller is free (81h).
    pub const CONNECT_CONTROLLER_BUSY: Self = Self::new(StatusType::COMMAND, 0x81);
    /// Connect: a parameter is invalid; DW0 says which (82h).
    pub const CONNECT_INVALID_PARAMETERS: Self = Self::new(StatusType::COMMAND, 0x82);
    /// Connect: the subsystem moved; discover it again (83h).
    pub const CONNECT_RESTART_DISCOVERY: Self = Self::new(StatusType::COMMAND, 0x83);
    /// Connect: the host may not use the subsystem here (84h).
    pub const CONNECT_INVALID_HOST: Self = Self::new(StatusType::COMMAND, 0x84);
    /// Disconnect: the queue is of the wrong type (85h).
    pub const DISCONNECT_INVALID_QUEUE_TYPE: Self = Self::new(StatusType::COMMAND, 0x85);
    /// Discovery log: it changed while it was read (90h).
    pub const DISCOVER_RESTART: Self = Self::new(StatusType::COMMAND, 0x90);
    /// The queue must be authenticated first (91h).
    pub const AUTHENTICATION_REQUIRED: Self = Self::new(StatusType::COMMAND, 0x91);

    /// A status of this type and code.
    pub const fn new(kind: StatusType, code: u8) -> Self {
        assert!(kind.0 < 8);
        Self((kind.0 as u16) << 8 | code as u16)
    }

    /// The same status, with Do Not Retry set (bit 14).
    pub const fn with_dnr(self) -> Self {
        Self(self.0 | DNR)
    }

    /// The same status, with More set (bit 13): the error log has an entry.
    pub const fn with_more(self) -> Self {
        Self(self.0 | MORE)
    }

    /// The same status, with a Command Retry Delay index, 0 to 3 (bits 12:11).
    pub const fn with_retry_delay(self, crd: u8) -> Self {
        assert!(crd < 4);
        Self(self.0 & !(3 << 11) | (crd as u16) << 11)
    }

    /// SC, bits 7:0.
    pub const fn code(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// SCT, bits 10:8.
    pub const fn kind(self) -> StatusType {
        StatusType(self.0.to_le_bytes()[1] & 7)
    }

    /// Whether the host should not retry.
    pub const fn dnr(self) -> bool {
        self.0 & DNR != 0
    }

    /// Whether the error log has more to say.
    pub const fn more(self) -> bool {
        self.0 & MORE != 0
    }

    /// Whether code and type are zero.
    pub const fn is_success(self) -> bool {
        self.0 & 0x7ff == 0
    }

    /// Whether code and type are those of `other`, whatever the other bits say.
    pub const fn is(self, other: Self) -> bool {
        self.0 & 0x7ff == other.0 & 0x7ff
    }

    /// The status of a completion's upper half-word; the phase bit is dropped.
    pub const fn from_wire(wire: u16) -> Self {
        Self(wire >> 1)
    }

    /// Status code type in bits 10:8 and status code in bits 7:0, without DNR and whatever else.
    pub const fn kind_and_code(self) -> u16 {
        self.0 & 0x7ff
    }

    /// The completion's upper half-word, with phase 0.
    pub const fn to_wire(self) -> u16 {
        self.0 << 1
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dnr = if self.dnr() { " DNR" } else { "" };
        match self.name() {
            Some(name) => write!(out, "{name} ({:x}h/{:02x}h{dnr})", self.kind().0, self.code()),
            None => write!(out, "Status ({:x}h/{:02x}h{dnr})", self.kind().0, self.code()),
        }
    }
}

impl fmt::Display for Status {
    /// The name of the status, or its type and code in hexadecimal.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.write_str(name),
            None => write!(formatter, "status {:x}h/{:02x}h", self.kind().0, self.code()),
        }
    }
}
