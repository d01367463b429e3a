//! What of a subsystem can change while it is in service: who may use it, who sees which namespace, and how well each of
//! its listeners reaches them.

use std::collections::{BTreeMap, BTreeSet};

use crate::nvmf::host::Hosts;
use crate::spec::ana::AnaState;

/// The group of a namespace that is in no other, and the least of all.
pub const ANA_GROUP_DEFAULT: u32 = 1;
/// ANAGRPMAX: the largest group.
pub const ANA_GROUP_MAX: u32 = 128;
/// ANATT: how many seconds hosts wait for the end of a transition.
pub const ANA_TRANSITION_SECONDS: u8 = 10;

/// What is done with a host that has a controller already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// It gets another one; two names with one host identifier are reported to the operator.
    #[default]
    Allow,
    /// Two names with one host identifier are cloned machines: the second is refused.
    RefuseClones,
    /// As `RefuseClones`; and a host gets one controller on each listener.
    OnePerListener,
}

/// Groups of namespaces, and how each listener reaches them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ana {
    /// By NSID, 1 to [`ANA_GROUP_MAX`]; the others are in [`ANA_GROUP_DEFAULT`].
    pub groups: BTreeMap<u32, u32>,
    /// By the listener's place in the subsystem's list, and group; the others are optimized.
    pub states: BTreeMap<(usize, u32), AnaState>,
}

/// Everything of a subsystem that can change while it is in service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who may connect.
    pub hosts: Hosts,
    /// What is done with a host that has a controller already.
    pub duplicates: Duplicates,
    /// By NSID, who has the namespace; the others are for everybody who may connect.
    pub masks: BTreeMap<u32, Hosts>,
    /// NSIDs of the namespaces that an operator protects from writes, whatever hosts say. Needs the fences of the subsystem.
    pub protected: BTreeSet<u32>,
    /// `None`: hosts are told of no asymmetry, and every path is as good as another. Whether there is one cannot change.
    pub ana: Option<Ana>,
}

impl Policy {
    /// For these hosts, all of whom have every namespace on every path.
    pub fn of(hosts: Hosts) -> Self {
        let (duplicates, masks) = (Duplicates::default(), BTreeMap::new());
        Self { hosts, duplicates, masks, protected: BTreeSet::new(), ana: None }
    }
}

impl Ana {
    /// The group of a namespace.
    pub fn group(&self, nsid: u32) -> u32 {
        self.groups.get(&nsid).copied().unwrap_or(ANA_GROUP_DEFAULT)
    }

    /// How a listener reaches a group.
    pub fn state(&self, listener: usize, group: u32) -> AnaState {
        self.states.get(&(listener, group)).copied().unwrap_or(AnaState::OPTIMIZED)
    }
}
