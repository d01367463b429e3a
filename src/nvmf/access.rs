//! What one controller may do with the namespaces of its subsystem, as its I/O queues see it.
//!
//! The management reactor makes it of the subsystem's [`Policy`](super::policy::Policy), the host, and the listener that
//! the host came by, and makes a new one whenever one of these changes. An I/O queue judges by the one that it was given
//! last.

use crate::spec::ana::AnaState;
use crate::spec::status::Status;

/// How a controller reaches one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The namespace is there, and its group is in this state on this path.
    Attached(AnaState),
    /// For this host there is no such namespace.
    Hidden,
}

/// What one controller may do: by namespace, and what its host understands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// By NSID - 1, up to NN.
    ways: Box<[Way]>,
    /// The host has set ACRE: it understands Command Interrupted, and waits before it tries again.
    advanced_retry: bool,
}

impl Way {
    /// Everything is allowed.
    pub const OPEN: Self = Self::Attached(AnaState::OPTIMIZED);
}

impl Access {
    /// Everything is allowed on the namespaces 1 to `nsid_max`.
    pub fn open(nsid_max: u32) -> Self {
        Self::new((0..nsid_max).map(|_| Way::OPEN), false)
    }

    /// The ways to the namespaces 1 and up, in order.
    pub(super) fn new(ways: impl IntoIterator<Item = Way>, advanced_retry: bool) -> Self {
        Self { ways: ways.into_iter().collect(), advanced_retry }
    }

    /// The host understands Command Interrupted (NVMe base 2.1, section 4.2.3.1).
    pub fn has_advanced_retry(&self) -> bool {
        self.advanced_retry
    }

    /// How the namespace `nsid` is reached; as if hidden above NN, and for 0.
    #[inline]
    pub fn way(&self, nsid: u32) -> Way {
        self.ways.get((nsid as usize).wrapping_sub(1)).copied().unwrap_or(Way::Hidden)
    }

    /// Judges a command of the I/O queue.
    ///
    /// # Errors
    /// Invalid Field with DNR where the host has no such namespace; a path related status without DNR where it is not
    /// reached by this controller.
    #[inline]
    pub fn judge(&self, nsid: u32) -> Result<(), Status> {
        match self.way(nsid) {
            Way::Attached(AnaState::OPTIMIZED) => Ok(()),
            Way::Attached(state) => state.check(),
            Way::Hidden => Err(Status::INVALID_FIELD.with_dnr()),
        }
    }
}
