//! How a reactor falls asleep without losing a wake-up. Does not wait and does not wake: both are
//! the caller's.
//!
//! Sleeper: `parked = true; fence(SeqCst)`; look again; wait in the kernel.
//! Sender: publish; `fence(SeqCst)`; if `parked`, take it back and write the eventfd.
//!
//! Either the sleeper's second look sees what was published, or the sender sees `parked`: both
//! fences are in one total order, and what precedes the first is visible to what follows the
//! second. Taking `parked` back makes the system call once per sleep, however many messages follow.

use crate::sync::{AtomicBool, Ordering, fence};

/// Whether one reactor sleeps, or is about to. Set by that reactor only, taken back by anybody.
pub(crate) struct ParkFlag {
    /// Partner of every store by a `publish` given to [`ParkFlag::announce`]. Relaxed throughout:
    /// the two fences order it. Written by read-modify-writes only, which sleeping can afford: so the
    /// writes of all threads follow each other, in the model too.
    parked: AtomicBool,
}

impl ParkFlag {
    pub(crate) fn new() -> Self {
        ParkFlag { parked: AtomicBool::new(false) }
    }

    /// The sleeper's half. True: nothing to do was found, and whoever publishes from now on wakes.
    /// False: the flag is down again and the reactor stays awake.
    pub(crate) fn settle(&self, look_again: impl FnOnce() -> bool) -> bool {
        self.parked.swap(true, Ordering::Relaxed);
        // Partner: the fence in `announce`.
        fence(Ordering::SeqCst);
        if look_again() {
            self.rise();
            return false;
        }
        true
    }

    /// The sleeper is awake again.
    pub(crate) fn rise(&self) {
        self.parked.swap(false, Ordering::Relaxed);
    }

    /// The sender's half: `publish` makes work visible, `wake` ends the kernel's wait and runs at
    /// most once for each time the reactor settled.
    pub(crate) fn announce(&self, publish: impl FnOnce(), wake: impl FnOnce()) {
        publish();
        // Partner: the fence in `settle`.
        fence(Ordering::SeqCst);
        // The load keeps the line shared while the reactor is awake.
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Relaxed) {
            wake();
        }
    }

    /// Whether the reactor sleeps and nobody has woken it yet.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[cfg(loom)]
#[path = "sleep/loom.rs"]
mod loom_tests;
