//! What a request makes of a state (NVMe base 2.1, section 8.1.22). Pure: the state that is given is not changed, so a
//! refused request cannot change anything, PTPL included.
//!
//! The effects of a transition are worked out by comparing the states before and after it, not along the way: see
//! [`Effects`].

use crate::reservation::effect::Effects;
use crate::reservation::kind::Kind;
use crate::reservation::request::{Acquire, Register, Release, Request};
use crate::reservation::state::{Key, State};
use crate::spec::host::{Host, HostId};
use crate::spec::reservation::ReservationType;
use crate::spec::status::Status;

/// What a namespace supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether registrations and reservations can be made to survive a power loss.
    pub ptpl: bool,
}

/// The state after a request, and what has to happen before the request completes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a state that is not made durable and seen protects nothing"]
pub struct Outcome {
    /// The new state.
    pub next: State,
    /// What has to happen, in the order of its fields.
    pub effects: Effects,
}

/// Carries out `request`, which `host` sent, on `state`.
///
/// # Errors
/// Reservation Conflict where the rules or the keys forbid it, Invalid Field in Command where a field asks for what
/// cannot be, Capacity Exceeded for a registrant too many ([`super::REGISTRANTS_MAX`]). All have DNR set.
///
/// # Panics
/// When the host identifier is 0: no such host can connect.
pub fn transition(
    state: &State,
    host: &Host,
    request: &Request,
    options: Options,
) -> Result<Outcome, Status> {
    assert!(!host.id.is_zero(), "a host with identifier 0 cannot connect");
    let next = match *request {
        Request::Register { action, ptpl } => register(state, host, action, ptpl, options),
        Request::Acquire { current, action } => acquire(state, host.id, current, action),
        Request::Release { current, action } => release(state, host.id, current, action),
    };
    let next = next.map_err(Status::with_dnr)?;
    let effects = Effects::of(state, &next, host.id, request);
    Ok(Outcome { next, effects })
}

/// Sets PTPL as feature 83h does (section 5.1.25.1.30). The generation is not counted.
///
/// # Errors
/// Invalid Field in Command, with DNR, where it is to be set and the namespace does not support it.
pub fn set_persistence(state: &State, ptpl: bool, options: Options) -> Result<Outcome, Status> {
    if ptpl && !options.ptpl {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let mut next = state.clone();
    next.set_ptpl(ptpl);
    let effects = Effects { persist: Effects::persist(state, &next), ..Effects::default() };
    Ok(Outcome { next, effects })
}

fn register(
    state: &State,
    host: &Host,
    action: Register,
    ptpl: Option<bool>,
    options: Options,
) -> Result<State, Status> {
    if ptpl == Some(true) && !options.ptpl {
        return Err(Status::INVALID_FIELD);
    }
    let registered = state.registrant(host.id).map(|registrant| registrant.key);
    let fits = |current: Option<Key>| current.is_none_or(|current| Some(current) == registered);
    let mut next = state.clone();
    match action {
        Register::Register { new } => match registered {
            Some(key) if key != new => return Err(Status::RESERVATION_CONFLICT),
            None if new == Key::ZERO => return Err(Status::INVALID_FIELD),
            None if state.is_full() => return Err(Status::CAPACITY_EXCEEDED),
            Some(_) | None => next.register(host, new),
        },
        Register::Unregister { current } => {
            if registered.is_none() || !fits(current) {
                return Err(Status::RESERVATION_CONFLICT);
            }
            next.retain(|id, _| id != host.id);
        }
        Register::Replace { current, new } => {
            if !fits(current) {
                return Err(Status::RESERVATION_CONFLICT);
            }
            if registered.is_none() && state.is_full() {
                return Err(Status::CAPACITY_EXCEEDED);
            }
            next.register(host, new);
        }
    }
    next.set_ptpl(ptpl.unwrap_or(state.ptpl()));
    next.count();
    Ok(next)
}

fn acquire(state: &State, host: HostId, current: Key, action: Acquire) -> Result<State, Status> {
    must_be_registrant(state, host, current)?;
    let mut next = state.clone();
    match action {
        Acquire::Acquire { kind } => match state.kind() {
            None => next.reserve(kind, host),
            Some(held) if held == kind && state.is_holder(host) => {}
            Some(_) => return Err(Status::RESERVATION_CONFLICT),
        },
        Acquire::Preempt { rtype, victim, abort: _ } => {
            preempt(&mut next, host, rtype, victim)?;
            next.count();
        }
    }
    Ok(next)
}

/// Section 8.1.22.7. `next` is what it is before, and becomes what it is after.
fn preempt(next: &mut State, host: HostId, rtype: ReservationType, victim: Key) -> Result<(), Status> {
    let one_holder = next.kind().map(|kind| !kind.is_all_registrants());
    match one_holder {
        None => next.retain(|_, key| key != victim),
        Some(true) if next.holder_key() == Some(victim) => {
            take_over(next, host, rtype, |key| key == victim)?;
        }
        Some(true) if victim == Key::ZERO => return Err(Status::INVALID_FIELD),
        Some(true) => next.retain(|_, key| key != victim),
        Some(false) if victim == Key::ZERO => take_over(next, host, rtype, |_| true)?,
        Some(false) => {
            if next.registrants().all(|(_, registrant)| registrant.key != victim) {
                return Err(Status::RESERVATION_CONFLICT);
            }
            next.retain(|_, key| key != victim);
        }
    }
    Ok(())
}

/// Unregisters those but the issuer whose key `goes`, and makes the issuer the holder of a new reservation.
fn take_over(
    next: &mut State,
    host: HostId,
    rtype: ReservationType,
    goes: impl Fn(Key) -> bool,
) -> Result<(), Status> {
    let kind = Kind::from_wire(rtype).ok_or(Status::INVALID_FIELD)?;
    next.retain(|id, key| id == host || !goes(key));
    next.reserve(kind, host);
    Ok(())
}

fn release(state: &State, host: HostId, current: Key, action: Release) -> Result<State, Status> {
    must_be_registrant(state, host, current)?;
    let mut next = state.clone();
    match action {
        Release::Release { rtype } => {
            if let Some(kind) = state.kind().filter(|_| state.is_holder(host)) {
                if kind.to_wire() != rtype {
                    return Err(Status::INVALID_FIELD);
                }
                next.release();
            }
        }
        Release::Clear => {
            next.retain(|_, _| false);
            next.count();
        }
    }
    Ok(next)
}

/// A registrant with this key, else Reservation Conflict.
fn must_be_registrant(state: &State, host: HostId, current: Key) -> Result<(), Status> {
    match state.registrant(host) {
        Some(registrant) if registrant.key == current => Ok(()),
        Some(_) | None => Err(Status::RESERVATION_CONFLICT),
    }
}
