//! Who a host is: the identifier that reservations know it by, and the name that access is granted by.

use std::fmt;

use uuid::Uuid;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::nqn::Nqn;

/// HOSTID: the 128-bit host identifier (NVMe base 2.1, section 5.1.25.1.28). Reservations know hosts by it
/// alone.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct HostId(pub [u8; 16]);

impl HostId {
    /// Whether all bytes are zero, which identifies nobody.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 16]
    }
}

impl fmt::Display for HostId {
    /// As the UUID that hosts make it from.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(formatter)
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A host, as its admin queue's Connect named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// HOSTNQN: what access is granted by.
    pub nqn: Nqn,
    /// HOSTID: what reservations are kept by.
    pub id: HostId,
}
