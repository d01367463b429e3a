//! Where the counters of a reactor's pollers and mailboxes are found by those who read them.
//!
//! The locks are taken when a poller or a mailbox is made or goes, and by readers; never in a turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::stats::{MailboxStats, PollerCounters, PollerStats};

/// Something with a depth that can be looked at from outside.
pub(crate) trait Watched: Send + Sync {
    fn stats(&self) -> MailboxStats;
}

/// Of one reactor.
#[derive(Default)]
pub(crate) struct Registry {
    pollers: Mutex<Vec<Arc<PollerCounters>>>,
    mailboxes: Mutex<Vec<Weak<dyn Watched>>>,
}

impl Registry {
    pub(crate) fn add_poller(&self, poller: &Arc<PollerCounters>) {
        lock(&self.pollers).push(Arc::clone(poller));
    }

    pub(crate) fn remove_poller(&self, poller: &Arc<PollerCounters>) {
        lock(&self.pollers).retain(|known| !Arc::ptr_eq(known, poller));
    }

    pub(crate) fn add_mailbox(&self, mailbox: Weak<dyn Watched>) {
        let mut mailboxes = lock(&self.mailboxes);
        mailboxes.retain(|known| known.strong_count() > 0);
        mailboxes.push(mailbox);
    }

    pub(crate) fn pollers(&self, turns: u64) -> Vec<PollerStats> {
        lock(&self.pollers).iter().map(|poller| poller.snapshot(turns)).collect()
    }

    pub(crate) fn mailboxes(&self) -> Vec<MailboxStats> {
        lock(&self.mailboxes).iter().filter_map(Weak::upgrade).map(|mailbox| mailbox.stats()).collect()
    }
}

/// What is in there is right after every single step, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
