//! Small indexes for the hosts of a subsystem, so that what a host may do is found without a search.
//!
//! Invariant: a slot belongs to one host for as long as the subsystem lives; slots are dense from 0.

use std::collections::HashMap;

use crate::spec::host::HostId;

/// The hosts that have connected to a subsystem.
#[derive(Debug, Default)]
pub struct HostSlots {
    slots: HashMap<HostId, u32>,
    hosts: Vec<HostId>,
}

impl HostSlots {
    /// The slot of `host`, and whether it is a new one: then the snapshot has to be published anew before the host's
    /// queue is served.
    pub fn of(&mut self, host: HostId) -> (u32, bool) {
        if let Some(slot) = self.slots.get(&host) {
            return (*slot, false);
        }
        let slot =
            u32::try_from(self.hosts.len()).expect("fewer hosts than 2^32 connect in the life of a process");
        self.slots.insert(host, slot);
        self.hosts.push(host);
        (slot, true)
    }

    /// The hosts, by slot.
    pub fn hosts(&self) -> &[HostId] {
        &self.hosts
    }
}
