//! How commands fail, and why connections end. All of it is small: the text is made where somebody asks for it.

use std::fmt;
use std::mem::offset_of;

use corelane_reactors::poll_group::{Closed, Errno};

use crate::pdu::PduError;
use crate::pdu::term_req::Termination;
use crate::spec::fabrics::{Connect, ConnectData, ConnectRefused};
use crate::spec::status::Status;

/// A queue in a message, by its QID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueName(pub u16);

impl fmt::Display for QueueName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => out.write_str("admin queue"),
            qid => write!(out, "I/O queue {qid}"),
        }
    }
}

/// Why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The controller says so.
    #[error("{status:?}")]
    Status {
        /// The status of the completion.
        status: Status,
        /// DW0 of the completion.
        dw0: u32,
    },
    /// The controller says that the command succeeded, but its data came damaged (a data digest did not match) or short.
    #[error("the data came damaged or short")]
    Damaged,
    /// The connection ended first; [`super::QueuePair::end`] says why. The command may have been executed.
    #[error("the connection ended before the command")]
    Disconnected,
}

/// Why a queue pair is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The controller closed the connection.
    #[error("the controller closed the connection")]
    ClosedByPeer,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(Errno),
    /// The controller refused the Connect command.
    #[error("Connect refused: {0}")]
    Refused(Refusal),
    /// The controller sent a terminate request: it says that we broke the protocol.
    #[error("the controller ended the connection (FES {:#x}, FEI {:#x})", .0.status.0, .0.information)]
    Terminated(Termination),
    /// The controller broke the protocol.
    #[error("the controller broke the protocol: {0}")]
    Protocol(PduError),
}

impl From<Closed> for End {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::ByPeer => Self::ClosedByPeer,
            Closed::Failed(errno) => Self::Broken(errno),
        }
    }
}

/// A Connect command that was refused (NVMe base 2.1, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the completion.
    pub status: Status,
    /// DW0 of the completion; with Connect Invalid Parameters it points at the parameter.
    pub dw0: u32,
}

impl Refusal {
    /// The name of the invalid parameter, if the controller named one.
    pub fn field(&self) -> Option<&'static str> {
        if !self.status.is(Status::CONNECT_INVALID_PARAMETERS) {
            return None;
        }
        let refused = ConnectRefused::from_bits(self.dw0);
        let fields = if refused.in_data() { &DATA_FIELDS[..] } else { &COMMAND_FIELDS[..] };
        fields.iter().find(|(offset, _)| *offset == usize::from(refused.ipo())).map(|&(_, name)| name)
    }
}

const COMMAND_FIELDS: [(usize, &str); 5] = [
    (offset_of!(Connect, recfmt), "RECFMT"),
    (offset_of!(Connect, qid), "QID (queue identifier)"),
    (offset_of!(Connect, sqsize_z), "SQSIZE (queue size)"),
    (offset_of!(Connect, cattr), "CATTR (attributes)"),
    (offset_of!(Connect, kato), "KATO (keep alive time-out)"),
];

const DATA_FIELDS: [(usize, &str); 4] = [
    (offset_of!(ConnectData, hostid), "HOSTID (host identifier)"),
    (offset_of!(ConnectData, cntlid), "CNTLID (controller)"),
    (offset_of!(ConnectData, subnqn), "SUBNQN (subsystem name)"),
    (offset_of!(ConnectData, hostnqn), "HOSTNQN (host name)"),
];

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match connect_status_name(self.status) {
            Some(name) => write!(out, "{name} ({:x}h/{:02x}h)", self.status.kind().0, self.status.code())?,
            None => write!(out, "{:?}", self.status)?,
        }
        if !self.status.is(Status::CONNECT_INVALID_PARAMETERS) {
            return Ok(());
        }
        let refused = ConnectRefused::from_bits(self.dw0);
        let place = if refused.in_data() { "data" } else { "command" };
        match self.field() {
            Some(field) => write!(out, ": {field}"),
            None => write!(out, ": byte {} of the {place}", refused.ipo()),
        }
    }
}

/// Command specific codes mean something else on other commands, so they have no name of their own.
fn connect_status_name(status: Status) -> Option<&'static str> {
    let names = [
        (Status::CONNECT_INCOMPATIBLE_FORMAT, "Connect Incompatible Format"),
        (Status::CONNECT_CONTROLLER_BUSY, "Connect Controller Busy"),
        (Status::CONNECT_INVALID_PARAMETERS, "Connect Invalid Parameters"),
        (Status::CONNECT_RESTART_DISCOVERY, "Connect Restart Discovery"),
        (Status::CONNECT_INVALID_HOST, "Connect Invalid Host"),
        (Status::AUTHENTICATION_REQUIRED, "Authentication Required"),
    ];
    names.iter().find(|(named, _)| named.is(status)).map(|&(_, name)| name)
}
