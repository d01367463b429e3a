//! Who may do what (NVMe base 2.1, section 8.1.22, "Command Behavior in the Presence of a Reservation").
//!
//! Two tables: the group of each command, and the rights that a host has under a reservation. Both are matches without
//! a default arm, so that a command or a type that is forgotten does not compile.

use crate::reservation::kind::Kind;
use crate::reservation::state::State;
use crate::spec::host::HostId;
use crate::spec::opcode::{AdminCommand, AdminOpcode, NvmCommand, NvmOpcode};
use crate::spec::status::Status;

/// What a command needs the right to do on the namespace that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// To read.
    Read,
    /// To write.
    Write,
    /// Copy: to write on the namespace that it names, the destination. Each source namespace has to be judged too, as
    /// [`Group::Read`].
    Copy,
    /// Nothing.
    Always,
    /// Reservation Acquire and Release: [`super::transition`] judges them, by the rules of reservations.
    Reservation,
}

/// What a host may do on a namespace. Whoever may write may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rights {
    /// Commands of [`Group::Read`].
    pub read: bool,
    /// Commands of [`Group::Write`] and [`Group::Copy`].
    pub write: bool,
}

/// What becomes of a fused Compare and Write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fused {
    /// The status that Compare is refused with; `None` lets it run, and it keeps the status that it then gets.
    pub compare: Option<Status>,
    /// The status that Write is refused with; `None` lets it run if Compare succeeds.
    pub write: Option<Status>,
}

/// The group of an I/O command; `None` where the opcode is unknown, which is Invalid Command Opcode before any right is
/// asked for. Vendor specific commands are taken to write.
pub const fn nvm_group(opcode: NvmOpcode) -> Option<Group> {
    match opcode.known() {
        Some(command) => Some(group_of_nvm(command)),
        None if opcode.is_vendor_specific() => Some(Group::Write),
        None => None,
    }
}

/// The group of an admin command, for the namespaces that it touches: NSID, where the command uses it (the Security
/// commands may not), all of them for FFFFFFFFh and for Sanitize. `None` where the opcode is unknown.
pub const fn admin_group(opcode: AdminOpcode) -> Option<Group> {
    match opcode.known() {
        Some(command) => Some(group_of_admin(command)),
        None if opcode.is_vendor_specific() => Some(Group::Write),
        None => None,
    }
}

const fn group_of_nvm(command: NvmCommand) -> Group {
    match command {
        NvmCommand::Flush
        | NvmCommand::Write
        | NvmCommand::WriteUncorrectable
        | NvmCommand::WriteZeroes
        | NvmCommand::DatasetManagement
        | NvmCommand::ZoneManagementSend
        | NvmCommand::ZoneAppend => Group::Write,
        NvmCommand::Read | NvmCommand::Compare | NvmCommand::Verify | NvmCommand::ZoneManagementReceive => {
            Group::Read
        }
        NvmCommand::Copy => Group::Copy,
        NvmCommand::ReservationRegister
        | NvmCommand::ReservationReport
        | NvmCommand::Cancel
        | NvmCommand::IoManagementReceive
        | NvmCommand::IoManagementSend
        | NvmCommand::Fabrics => Group::Always,
        NvmCommand::ReservationAcquire | NvmCommand::ReservationRelease => Group::Reservation,
    }
}

const fn group_of_admin(command: AdminCommand) -> Group {
    match command {
        AdminCommand::FormatNvm
        | AdminCommand::Sanitize
        | AdminCommand::NamespaceManagement
        | AdminCommand::NamespaceAttachment
        | AdminCommand::CapacityManagement
        | AdminCommand::SecuritySend => Group::Write,
        AdminCommand::SecurityReceive => Group::Read,
        AdminCommand::DeleteSq
        | AdminCommand::CreateSq
        | AdminCommand::GetLogPage
        | AdminCommand::DeleteCq
        | AdminCommand::CreateCq
        | AdminCommand::Identify
        | AdminCommand::Abort
        | AdminCommand::SetFeatures
        | AdminCommand::GetFeatures
        | AdminCommand::AsyncEventRequest
        | AdminCommand::FirmwareCommit
        | AdminCommand::FirmwareDownload
        | AdminCommand::DeviceSelfTest
        | AdminCommand::KeepAlive
        | AdminCommand::DirectiveSend
        | AdminCommand::DirectiveReceive
        | AdminCommand::VirtualizationManagement
        | AdminCommand::NvmeMiSend
        | AdminCommand::NvmeMiReceive
        | AdminCommand::Lockdown
        | AdminCommand::DoorbellBufferConfig
        | AdminCommand::Fabrics
        | AdminCommand::GetLbaStatus => Group::Always,
    }
}

/// What `host` may do. Costs one look-up among the registrants, and none where no reservation is held.
pub fn rights(state: &State, host: HostId) -> Rights {
    let Some(reservation) = state.reservation() else { return Rights::ALL };
    match reservation.holder() {
        Some(holder) if holder == host => Rights::ALL,
        Some(_) | None if state.is_registrant(host) => Rights::of_registrant(reservation.kind()),
        Some(_) | None => Rights::of_other(reservation.kind()),
    }
}

/// Judges a command that touches several namespaces, by the rights that its host has on each of them: Flush and Format
/// of FFFFFFFFh, Sanitize.
///
/// # Errors
/// Reservation Conflict, with DNR, where one of them forbids it.
pub fn judge(group: Group, touched: impl IntoIterator<Item = Rights>) -> Result<(), Status> {
    if touched.into_iter().all(|rights| rights.allow(group)) {
        Ok(())
    } else {
        Err(Status::RESERVATION_CONFLICT.with_dnr())
    }
}

impl Rights {
    /// To read and to write: of holders, and of everybody where no reservation is held.
    pub const ALL: Self = Self { read: true, write: true };
    /// To read only.
    pub const READ: Self = Self { read: true, write: false };
    /// None.
    pub const NONE: Self = Self { read: false, write: false };

    /// Rights of a host that is no registrant.
    pub fn of_others(state: &State) -> Self {
        state.kind().map_or(Self::ALL, Self::of_other)
    }

    /// Whether they suffice for a command of this group, on the namespace that it names.
    pub const fn allow(self, group: Group) -> bool {
        match group {
            Group::Read => self.read,
            Group::Write | Group::Copy => self.write,
            Group::Always | Group::Reservation => true,
        }
    }

    /// Judges the halves of a fused Compare and Write, each by itself.
    pub const fn fused(self) -> Fused {
        const CONFLICT: Status = Status::RESERVATION_CONFLICT.with_dnr();
        if !self.read {
            return Fused { compare: Some(CONFLICT), write: Some(Status::FAILED_FUSED.with_dnr()) };
        }
        Fused { compare: None, write: if self.write { None } else { Some(CONFLICT) } }
    }

    /// Rights of a registrant that is not the only holder.
    const fn of_registrant(kind: Kind) -> Self {
        match kind {
            Kind::WriteExclusive => Self::READ,
            Kind::ExclusiveAccess => Self::NONE,
            Kind::WriteExclusiveRegistrantsOnly
            | Kind::ExclusiveAccessRegistrantsOnly
            | Kind::WriteExclusiveAllRegistrants
            | Kind::ExclusiveAccessAllRegistrants => Self::ALL,
        }
    }

    /// Rights of a host that is no registrant.
    const fn of_other(kind: Kind) -> Self {
        match kind {
            Kind::WriteExclusive
            | Kind::WriteExclusiveRegistrantsOnly
            | Kind::WriteExclusiveAllRegistrants => Self::READ,
            Kind::ExclusiveAccess
            | Kind::ExclusiveAccessRegistrantsOnly
            | Kind::ExclusiveAccessAllRegistrants => Self::NONE,
        }
    }
}
