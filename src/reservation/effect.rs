//! What has to happen between a transition and the completion of its request.

use crate::reservation::access::{self, Rights};
use crate::reservation::request::{Acquire, Register, Release, Request};
use crate::reservation::state::State;
use crate::spec::host::HostId;
use crate::spec::reservation::NotificationType;

/// The effects of one request, in the order in which they must be carried out: the record first, then the snapshot for
/// the reactors, then the commands of `drain`, then the notices, and the completion last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What becomes of the record, durably.
    pub persist: Persist,
    /// Whether any host may read or write what it could not, or the other way round. Where it is false, reactors can go
    /// on with the snapshot that they have (but see `drain`).
    pub rights_changed: bool,
    /// Hosts whose commands on this namespace must have ended before the request completes. Not empty for a Preempt and
    /// Abort only. The issuer is among them where it unregistered itself: its preempting command is then the one that
    /// is not waited for. Their rights need not have changed.
    pub drain: Vec<HostId>,
    /// Hosts that were registrants and are not any more, the issuer included.
    pub unregistered: Vec<HostId>,
    /// Who is told what. At most one notice a host.
    pub notices: Vec<Notice>,
}

/// What becomes of the record of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persist {
    /// It stays as it is: the state did not change, or it is not to survive a power loss.
    #[default]
    Keep,
    /// The new state is written.
    Write,
    /// It is removed, or replaced by one that says that PTPL is 0.
    Remove,
}

/// One notice, for every controller of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose controllers.
    pub host: HostId,
    /// What happened.
    pub kind: NoticeKind,
}

/// What a notice tells (NVMe base 2.1, section 8.1.22.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// Somebody preempted the host's registration.
    RegistrationPreempted,
    /// The reservation was released, or its type changed.
    ReservationReleased,
    /// Somebody cleared reservation and registrations.
    ReservationPreempted,
}

impl NoticeKind {
    /// RNLPT of this notice.
    pub const fn to_wire(self) -> NotificationType {
        match self {
            Self::RegistrationPreempted => NotificationType::REGISTRATION_PREEMPTED,
            Self::ReservationReleased => NotificationType::RESERVATION_RELEASED,
            Self::ReservationPreempted => NotificationType::RESERVATION_PREEMPTED,
        }
    }
}

impl Effects {
    /// The effects of a `request` of `issuer` that made `after` of `before`.
    pub(super) fn of(before: &State, after: &State, issuer: HostId, request: &Request) -> Self {
        let unregistered: Vec<HostId> =
            before.registrants().map(|(host, _)| host).filter(|host| !after.is_registrant(*host)).collect();
        let aborts = matches!(request, Request::Acquire { action: Acquire::Preempt { abort: true, .. }, .. });
        Self {
            persist: Self::persist(before, after),
            rights_changed: rights_changed(before, after),
            drain: if aborts { unregistered.clone() } else { Vec::new() },
            notices: notices(before, after, issuer, request, &unregistered),
            unregistered,
        }
    }

    /// What becomes of the record when `after` follows on `before`.
    pub(super) fn persist(before: &State, after: &State) -> Persist {
        match (before.ptpl(), after.ptpl()) {
            (true, false) => Persist::Remove,
            (_, true) if before != after => Persist::Write,
            (false, false) | (_, true) => Persist::Keep,
        }
    }
}

fn notices(
    before: &State,
    after: &State,
    issuer: HostId,
    request: &Request,
    unregistered: &[HostId],
) -> Vec<Notice> {
    let removed = |kind| unregistered.iter().map(move |&host| Notice { host, kind });
    let remaining =
        || after.registrants().map(|(host, _)| Notice { host, kind: NoticeKind::ReservationReleased });
    let held = before.kind();
    let released = held.is_some() && after.kind().is_none();
    let mut notices: Vec<Notice> = Vec::new();
    match request {
        Request::Register { action: Register::Unregister { .. }, .. } => {
            if released && held.is_some_and(|kind| kind.is_registrants_only()) {
                notices.extend(remaining());
            }
        }
        Request::Register { action: Register::Register { .. } | Register::Replace { .. }, .. }
        | Request::Acquire { action: Acquire::Acquire { .. }, .. } => {}
        Request::Acquire { action: Acquire::Preempt { .. }, .. } => {
            notices.extend(removed(NoticeKind::RegistrationPreempted));
            if held.is_some() && held != after.kind() {
                notices.extend(remaining());
            }
        }
        Request::Release { action: Release::Release { .. }, .. } => {
            let shared = held.is_some_and(|kind| kind.is_registrants_only() || kind.is_all_registrants());
            if released && shared {
                notices.extend(remaining());
            }
        }
        Request::Release { action: Release::Clear, .. } => {
            notices.extend(removed(NoticeKind::ReservationPreempted));
        }
    }
    notices.retain(|notice| notice.host != issuer);
    notices
}

/// Whether any host, registered or not, has other rights in `after` than in `before`.
fn rights_changed(before: &State, after: &State) -> bool {
    if before.kind().is_none() && after.kind().is_none() {
        return false;
    }
    let differ = |host: HostId| access::rights(before, host) != access::rights(after, host);
    Rights::of_others(before) != Rights::of_others(after)
        || before.registrants().any(|(host, _)| differ(host))
        || after.registrants().any(|(host, _)| differ(host))
}
