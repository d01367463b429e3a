//! Reservation commands as hosts send them, made into typed requests. Judges what can be judged without the state of
//! the namespace; nothing but a value comes of it.
//!
//! Order of the judgement: length of the data, action, IEKEY, CPTPL or RTYPE, new key. Reserved bits are never looked
//! at. Every refusal has Do Not Retry set.

use zerocopy::FromBytes;

use crate::reservation::kind::Kind;
use crate::reservation::state::Key;
use crate::spec::NSID_ALL;
use crate::spec::opcode::NvmOpcode;
use crate::spec::reservation::{
    AcquireAction, AcquireData, PersistChange, RegisterAction, RegisterData, ReleaseAction, ReleaseData,
    ReservationType,
};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// A command that may change registrations or the reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Reservation Register (NVMe base 2.1, section 7.6).
    Register {
        /// What is to be done.
        action: Register,
        /// CPTPL: what becomes of PTPL; `None` leaves it.
        ptpl: Option<bool>,
    },
    /// Reservation Acquire (section 7.5).
    Acquire {
        /// CRKEY: the host's own key.
        current: Key,
        /// What is to be done.
        action: Acquire,
    },
    /// Reservation Release (section 7.7).
    Release {
        /// CRKEY: the host's own key.
        current: Key,
        /// What is to be done.
        action: Release,
    },
}

/// RREGA, with the keys that it uses. A `current` of `None` is IEKEY: any key, or none, will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Register `new`, which may be 0 here: whether that is a mistake or a conflict, the state decides.
    Register {
        /// NRKEY.
        new: Key,
    },
    /// Unregister.
    Unregister {
        /// CRKEY.
        current: Option<Key>,
    },
    /// Replace the key.
    Replace {
        /// CRKEY.
        current: Option<Key>,
        /// NRKEY, not 0.
        new: Key,
    },
}

/// RACQA, with what it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquire {
    /// Acquire a reservation of this type.
    Acquire {
        /// RTYPE.
        kind: Kind,
    },
    /// Preempt those with key `victim`.
    Preempt {
        /// RTYPE as it came: it matters only where a new reservation is created.
        rtype: ReservationType,
        /// PRKEY.
        victim: Key,
        /// Whether the commands of those who are preempted are aborted: Preempt and Abort.
        abort: bool,
    },
}

/// RRELA, with what it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Release the reservation of this type.
    Release {
        /// RTYPE as it came: it matters only to a holder.
        rtype: ReservationType,
    },
    /// Release the reservation and unregister everybody.
    Clear,
}

impl Request {
    /// The request of a Reservation Register, Acquire or Release with this data.
    ///
    /// # Errors
    /// Data SGL Length Invalid where the data is shorter than the command's structure (16 bytes; 8 for Release);
    /// longer data is accepted. Invalid Field in Command for reserved actions, for IEKEY in Acquire and Release, for
    /// RTYPE 0 or above 6 in an Acquire, for CPTPL 01b, and for NRKEY 0 in a replacement. Invalid Command Opcode for
    /// other commands.
    pub fn decode(sqe: &Sqe, data: &[u8]) -> Result<Self, Status> {
        match sqe.nvm_opcode() {
            NvmOpcode::RESERVATION_REGISTER => register(sqe, data),
            NvmOpcode::RESERVATION_ACQUIRE => acquire(sqe, data),
            NvmOpcode::RESERVATION_RELEASE => release(sqe, data),
            _ => Err(Status::INVALID_OPCODE),
        }
        .map_err(Status::with_dnr)
    }
}

/// How many bytes of data a Reservation Register, Acquire or Release must bring at least; `None` for other commands.
pub const fn data_bytes(opcode: NvmOpcode) -> Option<usize> {
    match opcode {
        NvmOpcode::RESERVATION_REGISTER => Some(size_of::<RegisterData>()),
        NvmOpcode::RESERVATION_ACQUIRE => Some(size_of::<AcquireData>()),
        NvmOpcode::RESERVATION_RELEASE => Some(size_of::<ReleaseData>()),
        _ => None,
    }
}

/// Judges the NSID of a reservation command. `nsid_max` is NN; `active` says whether the controller has a namespace of
/// that NSID.
///
/// # Errors
/// Invalid Namespace or Format for 0 and what is above NN; Invalid Field in Command for FFFFFFFFh and for an NSID that
/// is inactive. Both with DNR.
pub fn judge_nsid(nsid: u32, nsid_max: u32, active: bool) -> Result<(), Status> {
    if nsid == NSID_ALL {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    if nsid == 0 || nsid > nsid_max {
        return Err(Status::INVALID_NAMESPACE.with_dnr());
    }
    if active { Ok(()) } else { Err(Status::INVALID_FIELD.with_dnr()) }
}

fn register(sqe: &Sqe, data: &[u8]) -> Result<Request, Status> {
    let (data, _) = RegisterData::read_from_prefix(data).map_err(|_| Status::DATA_SGL_LENGTH_INVALID)?;
    let dword = sqe.reservation_register();
    let current = (!dword.iekey()).then_some(Key(data.crkey.get()));
    let new = Key(data.nrkey.get());
    let action = match dword.rrega() {
        RegisterAction::REGISTER => Register::Register { new },
        RegisterAction::UNREGISTER => Register::Unregister { current },
        RegisterAction::REPLACE => Register::Replace { current, new },
        _ => return Err(Status::INVALID_FIELD),
    };
    let ptpl = match dword.cptpl() {
        PersistChange::KEEP => None,
        PersistChange::CLEAR => Some(false),
        PersistChange::SET => Some(true),
        _ => return Err(Status::INVALID_FIELD),
    };
    if matches!(action, Register::Replace { new: Key::ZERO, .. }) {
        return Err(Status::INVALID_FIELD);
    }
    Ok(Request::Register { action, ptpl })
}

fn acquire(sqe: &Sqe, data: &[u8]) -> Result<Request, Status> {
    let (data, _) = AcquireData::read_from_prefix(data).map_err(|_| Status::DATA_SGL_LENGTH_INVALID)?;
    let dword = sqe.reservation_acquire();
    let (rtype, victim) = (dword.rtype(), Key(data.prkey.get()));
    let abort = match dword.racqa() {
        AcquireAction::ACQUIRE => None,
        AcquireAction::PREEMPT => Some(false),
        AcquireAction::PREEMPT_AND_ABORT => Some(true),
        _ => return Err(Status::INVALID_FIELD),
    };
    if dword.iekey() {
        return Err(Status::INVALID_FIELD);
    }
    let action = match abort {
        None => Acquire::Acquire { kind: Kind::from_wire(rtype).ok_or(Status::INVALID_FIELD)? },
        Some(abort) => Acquire::Preempt { rtype, victim, abort },
    };
    Ok(Request::Acquire { current: Key(data.crkey.get()), action })
}

fn release(sqe: &Sqe, data: &[u8]) -> Result<Request, Status> {
    let (data, _) = ReleaseData::read_from_prefix(data).map_err(|_| Status::DATA_SGL_LENGTH_INVALID)?;
    let dword = sqe.reservation_release();
    let action = match dword.rrela() {
        ReleaseAction::RELEASE => Release::Release { rtype: dword.rtype() },
        ReleaseAction::CLEAR => Release::Clear,
        _ => return Err(Status::INVALID_FIELD),
    };
    if dword.iekey() {
        return Err(Status::INVALID_FIELD);
    }
    Ok(Request::Release { current: Key(data.crkey.get()), action })
}
