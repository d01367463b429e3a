//! Shutdowns that wait until what devices have cached is durable, on the management reactor.
//!
//! A namespace is flushed for shutdowns once at a time ([`settling`](super::settling)); who comes meanwhile waits for the next
//! time, since writes may have completed after the flush began.
//!
//! Invariant: a controller waits at most once for the flush of a namespace that is under way, and once for the next, so that
//! hosts who shut down again and again while a device does not answer cost nothing more.

use corelane_reactors::clock::Time;

use crate::nvmf::controller::ControllerId;
use crate::nvmf::fence::NamespaceKey;
use crate::transport::Management;
use crate::transport::settling::SettleCause;

/// A controller, and the number of its shutdown.
type Waiting = (ControllerId, u64);

/// Who waits for the flush of a namespace.
#[derive(Debug, Default)]
pub(super) struct Shutting {
    /// For the one that is under way.
    now: Vec<Waiting>,
    /// For the next one.
    next: Vec<Waiting>,
}

impl Management {
    /// Has every I/O reactor make durable what the devices of these namespaces have cached.
    pub(super) fn flush(&mut self, controller: ControllerId, number: u64, nsids: &[u32]) {
        let Some(subsystem) = self.target.subsystem_of(controller) else { return };
        for nsid in nsids {
            let key = NamespaceKey { subsystem, nsid: *nsid };
            match self.settling.shutting.get_mut(&key) {
                Some(shutting) => {
                    let target = &self.target;
                    shutting
                        .next
                        .retain(|(other, _)| *other != controller && target.association(*other).is_some());
                    shutting.next.push((controller, number));
                }
                None => {
                    let shutting = Shutting { now: vec![(controller, number)], next: Vec::new() };
                    self.settling.shutting.insert(key, shutting);
                    self.settle(key, SettleCause::Shutdown);
                }
            }
        }
    }

    /// Every I/O reactor has flushed a namespace, or could not.
    pub(super) fn flushed(&mut self, now: Time, key: NamespaceKey, durable: bool) {
        let Some(Shutting { now: waited, next }) = self.settling.shutting.remove(&key) else { return };
        if !next.is_empty() {
            self.settling.shutting.insert(key, Shutting { now: next, next: Vec::new() });
            self.settle(key, SettleCause::Shutdown);
        }
        for (controller, number) in waited {
            self.target().flushed(now, controller, number, key.nsid, durable);
        }
    }
}
