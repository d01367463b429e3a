//! The flush that a shutdown waits for: of which namespaces, and what comes of it.
//!
//! Invariant: `unflushed` namespaces have not answered the shutdown of number `flushes`, while the state is
//! [`Lifecycle::Flushing`].

use std::collections::VecDeque;

use corelane_reactors::clock::Time;

use crate::nvmf::controller::{Controller, Event, Kind, Lifecycle};
use crate::nvmf::target::Action;

impl Controller {
    /// The namespaces of its host that have a volatile cache, ascending.
    pub(super) fn caches(&self) -> Vec<u32> {
        let Kind::Io { namespaces, .. } = &self.kind else { return Vec::new() };
        let cached = namespaces.iter().filter(|it| it.bdev.geometry().volatile_write_cache);
        cached.map(|namespace| namespace.nsid).collect()
    }

    /// What a namespace had cached is durable, or cannot be, as [`Action::Flush`] has asked under this number. True if the
    /// shutdown fails for it.
    pub(in crate::nvmf) fn flushed(
        &mut self,
        now: Time,
        number: u64,
        durable: bool,
        actions: &mut VecDeque<Action>,
    ) -> bool {
        if number != self.flushes || !matches!(self.lifecycle, Lifecycle::Flushing { .. }) {
            return false;
        }
        assert!(self.unflushed > 0);
        self.unflushed -= 1;
        if !durable {
            self.happen(now, Event::NotFlushed, actions);
        } else if self.unflushed == 0 {
            self.happen(now, Event::Flushed, actions);
        }
        !durable
    }
}
