//! What one I/O controller has told, and has still to tell, of the namespaces that it reaches: the groups with their
//! states, and the namespaces whose attributes changed (NVMe base 2.1, sections 5.1.12.1.5 and 5.1.12.1.13).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::nvmf::access::{Access, Way};
use crate::spec::ana::AnaState;

/// A group with namespaces that the controller has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::nvmf) struct Group {
    pub(in crate::nvmf) state: AnaState,
    /// Ascending.
    pub(in crate::nvmf) nsids: Vec<u32>,
    /// The count of changes at the last change of this group.
    pub(in crate::nvmf) changed_at: u64,
}

/// The ways of one controller to its namespaces.
#[derive(Debug)]
pub(in crate::nvmf) struct Paths {
    /// The listener that the host came by, by its place in the subsystem's list.
    pub(in crate::nvmf) listener: Option<usize>,
    /// By identifier; empty where the subsystem has no ANA.
    pub(in crate::nvmf) groups: BTreeMap<u32, Group>,
    /// CHNGC: changes of `groups` since the last reset.
    pub(in crate::nvmf) changes: u64,
    /// What its I/O queues have, or will have.
    pub(in crate::nvmf) access: Arc<Access>,
    /// Namespaces whose attributes changed since the host asked last.
    changed: BTreeSet<u32>,
    /// Namespaces that are write protected.
    protected: BTreeSet<u32>,
    /// Counts what was given to the I/O queues.
    given: u64,
    untold: Untold,
}

/// What the host is told when the I/O queues have what was given to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::nvmf) struct Untold {
    pub(in crate::nvmf) namespaces: bool,
    pub(in crate::nvmf) ana: bool,
}

impl Paths {
    /// Of a controller that has told nothing.
    pub(in crate::nvmf) fn new(
        listener: Option<usize>,
        groups: BTreeMap<u32, Group>,
        access: Arc<Access>,
        protected: BTreeSet<u32>,
    ) -> Self {
        let (changed, untold) = (BTreeSet::new(), Untold::default());
        Self { listener, groups, changes: 0, access, changed, protected, given: 0, untold }
    }

    /// Takes what is so now. The number under which the I/O queues are to be given the access, if that is another one.
    pub(super) fn update(
        &mut self,
        groups: BTreeMap<u32, Group>,
        access: Arc<Access>,
        protected: BTreeSet<u32>,
        nsid_max: u32,
    ) -> Option<u64> {
        self.compare_groups(groups);
        for nsid in protected.symmetric_difference(&self.protected) {
            if access.way(*nsid) != Way::Hidden {
                self.changed.insert(*nsid);
                self.untold.namespaces = true;
            }
        }
        self.protected = protected;
        if access == self.access {
            return None;
        }
        let before = std::mem::replace(&mut self.access, access);
        for nsid in 1..=nsid_max {
            // Of a group's state the other notice tells.
            if (before.way(nsid) == Way::Hidden) != (self.access.way(nsid) == Way::Hidden) {
                self.changed.insert(nsid);
                self.untold.namespaces = true;
            }
        }
        self.given += 1;
        Some(self.given)
    }

    fn compare_groups(&mut self, mut groups: BTreeMap<u32, Group>) {
        let same = |group: &Group, before: Option<&Group>| {
            before.is_some_and(|before| before.state == group.state && before.nsids == group.nsids)
        };
        let count = self.changes + 1;
        let mut any = groups.len() != self.groups.len();
        for (agid, group) in &mut groups {
            let before = self.groups.get(agid);
            let unchanged = same(group, before);
            group.changed_at = before.filter(|_| unchanged).map_or(count, |before| before.changed_at);
            any |= !unchanged;
        }
        if any {
            self.changes = count;
            self.untold.ana = true;
        }
        self.groups = groups;
    }

    /// The I/O queues have what was given to them under this number. What the host is to be told now.
    pub(super) fn taken(&mut self, number: u64) -> Untold {
        if number == self.given { std::mem::take(&mut self.untold) } else { Untold::default() }
    }

    /// What the host is to be told although the I/O queues need nothing new.
    pub(super) fn untold(&mut self) -> Untold {
        std::mem::take(&mut self.untold)
    }

    /// Namespaces whose attributes changed, ascending.
    pub(in crate::nvmf) fn changed(&self) -> impl Iterator<Item = u32> {
        self.changed.iter().copied()
    }

    /// The host has read which namespaces changed.
    pub(super) fn changed_read(&mut self) {
        self.changed.clear();
    }

    /// The controller was reset: it counts from 0, and has told everything.
    pub(super) fn reset(&mut self) {
        self.changes = 0;
        self.groups.values_mut().for_each(|group| group.changed_at = 0);
        self.changed.clear();
        self.untold = Untold::default();
    }
}
