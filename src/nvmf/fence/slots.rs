//! Small indexes for the hosts of a subsystem, so that what a host may do is found without a search.
//!
//! Invariants: a slot belongs to one host for as long as that has a queue, and to nobody else before every queue of it is
//! closed; there are as many slots as hosts had queues at a time, whoever comes and goes.

use std::collections::HashMap;

use crate::spec::host::HostId;

/// Whom a slot belongs to that is free: nobody connects or registers with it.
const NOBODY: HostId = HostId([0; 16]);

/// The hosts that have queues of a subsystem.
#[derive(Debug, Default)]
pub struct HostSlots {
    slots: HashMap<HostId, Held>,
    hosts: Vec<HostId>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Held {
    slot: u32,
    /// At least 1.
    queues: usize,
}

impl HostSlots {
    /// A queue of `host` opens: its slot, and whether it was not the host's before. Then the snapshot has to be published
    /// anew before the queue is served.
    pub fn take(&mut self, host: HostId) -> (u32, bool) {
        if let Some(held) = self.slots.get_mut(&host) {
            held.queues += 1;
            return (held.slot, false);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.hosts.push(NOBODY);
            u32::try_from(self.hosts.len() - 1).expect("fewer hosts than 2^32 have queues at a time")
        });
        self.hosts[slot as usize] = host;
        self.slots.insert(host, Held { slot, queues: 1 });
        (slot, true)
    }

    /// A queue of `host` is closed, and none of its commands is left; its slot is free after the last one.
    pub fn give_back(&mut self, host: HostId) {
        let Some(held) = self.slots.get_mut(&host) else { return };
        held.queues -= 1;
        if held.queues == 0 {
            self.hosts[held.slot as usize] = NOBODY;
            self.free.push(held.slot);
            self.slots.remove(&host);
        }
    }

    /// The hosts, by slot; an identifier of zeros where a slot is free.
    pub fn hosts(&self) -> &[HostId] {
        &self.hosts
    }
}
