//! What is registered and reserved on one namespace.
//!
//! Invariants, held by every method and judged again by [`State::restore`]: keys and host identifiers are not 0; a
//! reservation with one holder is held by a registrant; one that all registrants hold has at least one. A holder is
//! never a key: the key of a reservation is the one that its holder has now.

use std::collections::BTreeMap;
use std::fmt;

use crate::reservation::kind::Kind;
use crate::spec::host::{Host, HostId};
use crate::spec::nqn::Nqn;

/// How many registrants a namespace can have. As many controllers as there are CNTLIDs fit, and the report can count
/// them (REGSTRNT has 16 bits).
pub const REGISTRANTS_MAX: usize = 65_535;

/// A reservation key, as a host chose it. Not 0 in a [`State`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

impl Key {
    /// What is no key of a registrant, and has a meaning of its own in PRKEY.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Key {
    /// 16 hexadecimal digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}h", self.0)
    }
}

/// What is known of a registered host, beside its HOSTID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// The key that it registered last.
    pub key: Key,
    /// HOSTNQN, as the controller said it through which the key was registered; `None` where that is not known,
    /// because the registration was imported.
    pub nqn: Option<Nqn>,
}

/// A reservation: its type, and its holder where it has one and not all registrants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    kind: Kind,
    /// `Some` exactly where `kind` has one holder.
    holder: Option<HostId>,
}

impl Reservation {
    /// The reservation that `host` gets when it acquires one of this type.
    pub(super) fn acquired(kind: Kind, host: HostId) -> Self {
        Self { kind, holder: (!kind.is_all_registrants()).then_some(host) }
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its only holder; `None` where all registrants hold it.
    pub fn holder(&self) -> Option<HostId> {
        self.holder
    }
}

/// Registrants and reservation of one namespace, and what is counted and kept with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    generation: u32,
    ptpl: bool,
    registrants: BTreeMap<HostId, Registrant>,
    reservation: Option<Reservation>,
}

/// Why registrants and a reservation that were read somewhere are no [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// The registrant at this index has HOSTID 0, which identifies nobody.
    ZeroHost(usize),
    /// The registrant at this index has key 0.
    ZeroKey(usize),
    /// The registrant at this index has the HOSTID of an earlier one.
    Duplicate(usize, HostId),
    /// More than [`REGISTRANTS_MAX`].
    TooMany,
    /// A type with one holder, and none is named.
    HolderMissing,
    /// A holder is named, and there is no reservation or all registrants hold it.
    HolderUnexpected,
    /// The holder is not among the registrants.
    HolderNotRegistered(HostId),
    /// All registrants hold the reservation, and there is none.
    HeldByNobody,
}

impl State {
    /// A namespace that nobody registered with, as it is before anything happened: PTPL is 0, and so is the
    /// generation.
    pub fn new() -> Self {
        Self::default()
    }

    /// A state from its parts. `kind` is the type of the reservation, `None` where there is none; `holder` is its
    /// holder where the type has one.
    ///
    /// # Errors
    /// The first thing, in the order of the arguments, that no state can be.
    pub fn restore(
        generation: u32,
        ptpl: bool,
        registrants: impl IntoIterator<Item = (HostId, Registrant)>,
        kind: Option<Kind>,
        holder: Option<HostId>,
    ) -> Result<Self, Impossible> {
        let mut state = Self { generation, ptpl, ..Self::default() };
        for (index, (host, registrant)) in registrants.into_iter().enumerate() {
            if host.is_zero() {
                return Err(Impossible::ZeroHost(index));
            }
            if registrant.key == Key::ZERO {
                return Err(Impossible::ZeroKey(index));
            }
            if state.is_full() {
                return Err(Impossible::TooMany);
            }
            if state.registrants.insert(host, registrant).is_some() {
                return Err(Impossible::Duplicate(index, host));
            }
        }
        state.reservation = match (kind, holder) {
            (None, None) => None,
            (None, Some(_)) => return Err(Impossible::HolderUnexpected),
            (Some(kind), holder) if kind.is_all_registrants() => {
                if holder.is_some() {
                    return Err(Impossible::HolderUnexpected);
                }
                if state.registrants.is_empty() {
                    return Err(Impossible::HeldByNobody);
                }
                Some(Reservation { kind, holder: None })
            }
            (Some(_), None) => return Err(Impossible::HolderMissing),
            (Some(kind), Some(holder)) => {
                if !state.is_registrant(holder) {
                    return Err(Impossible::HolderNotRegistered(holder));
                }
                Some(Reservation { kind, holder: Some(holder) })
            }
        };
        Ok(state)
    }

    /// What is left of it after a power loss: everything where PTPL is 1, nothing where it is 0.
    #[must_use]
    pub fn after_power_loss(self) -> Self {
        if self.ptpl { self } else { Self::new() }
    }

    /// GEN: how often the state was changed, wrapping.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// PTPL: whether registrations and reservation survive a power loss.
    pub fn ptpl(&self) -> bool {
        self.ptpl
    }

    /// The reservation, if one is held.
    pub fn reservation(&self) -> Option<&Reservation> {
        self.reservation.as_ref()
    }

    /// The type of the reservation, if one is held.
    pub fn kind(&self) -> Option<Kind> {
        self.reservation.map(|reservation| reservation.kind)
    }

    /// The registrants, in the order of their identifiers.
    pub fn registrants(&self) -> impl ExactSizeIterator<Item = (HostId, &Registrant)> {
        self.registrants.iter().map(|(host, registrant)| (*host, registrant))
    }

    /// The registration of a host.
    pub fn registrant(&self, host: HostId) -> Option<&Registrant> {
        self.registrants.get(&host)
    }

    /// Whether a host is registered.
    pub fn is_registrant(&self, host: HostId) -> bool {
        self.registrants.contains_key(&host)
    }

    /// Whether a host holds the reservation: its holder, or any registrant where all of them do.
    pub fn is_holder(&self, host: HostId) -> bool {
        self.reservation.is_some_and(|reservation| match reservation.holder {
            Some(holder) => holder == host,
            None => self.is_registrant(host),
        })
    }

    /// The key of the reservation: the one that its only holder has now.
    pub fn holder_key(&self) -> Option<Key> {
        let holder = self.reservation?.holder?;
        self.registrant(holder).map(|registrant| registrant.key)
    }

    /// Whether no further registrant fits.
    pub(super) fn is_full(&self) -> bool {
        self.registrants.len() >= REGISTRANTS_MAX
    }

    /// Registers a host, or gives a registrant another key.
    pub(super) fn register(&mut self, host: &Host, key: Key) {
        assert!(key != Key::ZERO, "a registrant has a key");
        assert!(!host.id.is_zero(), "a registrant is somebody");
        self.registrants.insert(host.id, Registrant { key, nqn: Some(host.nqn.clone()) });
    }

    /// Unregisters all but those that `keep` chooses. The reservation goes with its holder, and with the last
    /// registrant.
    pub(super) fn retain(&mut self, keep: impl Fn(HostId, Key) -> bool) {
        self.registrants.retain(|host, registrant| keep(*host, registrant.key));
        let released = self.reservation.is_some_and(|reservation| match reservation.holder {
            Some(holder) => !self.is_registrant(holder),
            None => self.registrants.is_empty(),
        });
        if released {
            self.reservation = None;
        }
    }

    /// Makes a registrant the holder of a new reservation, whatever was held before.
    pub(super) fn reserve(&mut self, kind: Kind, host: HostId) {
        assert!(self.is_registrant(host), "a holder is a registrant");
        self.reservation = Some(Reservation::acquired(kind, host));
    }

    /// Releases the reservation.
    pub(super) fn release(&mut self) {
        self.reservation = None;
    }

    /// Counts one change.
    pub(super) fn count(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// Sets PTPL.
    pub(super) fn set_ptpl(&mut self, ptpl: bool) {
        self.ptpl = ptpl;
    }
}
