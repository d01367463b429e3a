//! Which hosts may use a subsystem.

use std::collections::BTreeSet;

pub use crate::spec::host::{Host, HostId};
use crate::spec::nqn::Nqn;

/// Which hosts may connect to a subsystem, and see it in the discovery log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Every host.
    Any,
    /// These names.
    Listed(BTreeSet<Nqn>),
}

impl Hosts {
    /// Whether the host of this name may connect.
    pub fn allow(&self, nqn: &Nqn) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(names) => names.contains(nqn),
        }
    }
}
