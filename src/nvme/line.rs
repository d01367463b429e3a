//! What a controller and one of its queue pairs tell each other across cores: a few atomic words, no lock.
//!
//! ```text
//!            controller (management reactor)                    queue pair (its I/O reactor)
//!   order  = Live(epoch)    queues exist                   ──▶  rings doorbells
//!   order  = Halted(epoch)  queues are being taken away    ──▶  rings no more; nothing completes by force yet
//!   order  = Ended(epoch)   the device holds nothing of it ──▶  reaps what was answered, ends or keeps the rest, makes
//!                                                               its rings as new
//!   create the queues anew                                 ◀──  followed = that order
//!   order  = Live(epoch+1)                                 ──▶  sends what it kept
//!   order  = Gone           the device can touch nothing   ──▶  ends everything, for good
//!   take, Abort, or reset                                  ◀──  aborts[slot], wanted
//! ```
//!
//! `order` is stored by the controller only, with Release, and loaded by the queue pair with Acquire: what the device and
//! the controller did before (RDY read as 0, the rings' entries written) is seen by whoever sees the order. `followed`
//! goes the other way in the same manner: the cleared rings are seen before queues are created over them. `wanted` and
//! `aborts` are requests that the controller looks at in each of its turns; they are swapped out, so none is followed
//! twice, and each names the epoch or the command identifier that it means, so a late one is harmless.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bitfield_struct::bitfield;

/// What a queue pair is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There are no queues on the device yet, and nothing to end.
    Closed,
    /// The queues are there.
    Live,
    /// The queues are being taken away.
    Halted,
    /// The device holds nothing of the queues any more.
    Ended,
    /// As [`Phase::Ended`], for good.
    Gone,
}

impl Phase {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Live,
            2 => Self::Halted,
            3 => Self::Ended,
            4 => Self::Gone,
            _ => Self::Closed,
        }
    }

    const fn into_bits(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Live => 1,
            Self::Halted => 2,
            Self::Ended => 3,
            Self::Gone => 4,
        }
    }
}

/// An order of the controller: one word.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub(super) struct Order {
    #[bits(3, default = Phase::Closed)]
    pub(super) phase: Phase,
    /// With [`Phase::Ended`]: commands that may be carried out twice are kept and sent again.
    pub(super) keep: bool,
    /// With [`Phase::Live`]: doorbells are shadowed.
    pub(super) shadow: bool,
    /// How many times the queues were created.
    #[bits(27)]
    pub(super) epoch: u32,
}

/// A queue pair's wish to have its queues taken down and made anew.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub(super) struct Wish {
    /// There is a wish.
    pub(super) reset: bool,
    /// Everything outstanding must end; nothing is to be sent again.
    pub(super) force: bool,
    __: bool,
    __: bool,
    __: bool,
    /// Of the queues of this epoch.
    #[bits(27)]
    pub(super) epoch: u32,
}

/// A command that is to be aborted.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
struct Victim {
    named: bool,
    #[bits(15)]
    __: u16,
    cid: u16,
}

/// The words between a controller and one queue pair.
pub(super) struct Line {
    order: Padded<AtomicU32>,
    followed: Padded<AtomicU32>,
    wanted: AtomicU32,
    /// Some of `aborts` may be set. Release and Acquire: whoever sees it sees the words that were stored before.
    aborting: AtomicBool,
    aborts: Box<[AtomicU32]>,
    /// The queue pair was dropped: nobody will follow any more.
    dropped: AtomicBool,
}

/// A value with a cache line of its own: the order is read in every poll, and must not share a line with what the other
/// side writes.
#[repr(align(128))]
struct Padded<T>(T);

impl Line {
    /// A line for a queue pair of so many command slots.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            order: Padded(AtomicU32::new(Order::new().into_bits())),
            followed: Padded(AtomicU32::new(Order::new().into_bits())),
            wanted: AtomicU32::new(0),
            aborting: AtomicBool::new(false),
            aborts: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            dropped: AtomicBool::new(false),
        }
    }

    /// The order in force.
    #[inline]
    pub(super) fn order(&self) -> Order {
        // Acquire: pairs with `give`.
        Order::from_bits(self.order.0.load(Ordering::Acquire))
    }

    /// Gives an order. The controller's side.
    pub(super) fn give(&self, order: Order) {
        // Release: pairs with `order`.
        self.order.0.store(order.into_bits(), Ordering::Release);
    }

    /// Says that `order` was followed. The queue pair's side.
    pub(super) fn follow(&self, order: Order) {
        // Release: pairs with `has_followed`; the rings were cleared before.
        self.followed.0.store(order.into_bits(), Ordering::Release);
    }

    /// Whether `order` was followed. The controller's side.
    pub(super) fn has_followed(&self, order: Order) -> bool {
        // Acquire: pairs with `follow`.
        Order::from_bits(self.followed.0.load(Ordering::Acquire)) == order
    }

    /// Wishes for a reset of the queues of `epoch`. The queue pair's side.
    pub(super) fn want(&self, wish: Wish) {
        // Release: pairs with `take_wish`. A wish with force is not replaced by one without, because the owner makes
        // both, one after the other.
        let forced = Wish::from_bits(self.wanted.load(Ordering::Relaxed));
        let force = wish.force() || (forced.force() && forced.epoch() == wish.epoch());
        self.wanted.store(wish.with_force(force).into_bits(), Ordering::Release);
    }

    /// Takes the wish, if there is one. The controller's side.
    pub(super) fn take_wish(&self) -> Option<Wish> {
        if self.wanted.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // Acquire: pairs with `want`.
        let wish = Wish::from_bits(self.wanted.swap(0, Ordering::Acquire));
        wish.reset().then_some(wish)
    }

    /// Asks that the command in `slot` be aborted. The queue pair's side.
    pub(super) fn abort(&self, slot: usize, cid: u16) {
        if let Some(word) = self.aborts.get(slot) {
            // Relaxed: published by the flag.
            word.store(Victim::new().with_named(true).with_cid(cid).into_bits(), Ordering::Relaxed);
            self.aborting.store(true, Ordering::Release);
        }
    }

    /// Takes commands that are to be aborted, as long as `each` takes them. The controller's side.
    pub(super) fn take_aborts(&self, mut each: impl FnMut(u16) -> bool) {
        if !self.aborting.load(Ordering::Relaxed) || !self.aborting.swap(false, Ordering::Acquire) {
            return;
        }
        for word in &self.aborts {
            // Relaxed: the flag has made them visible; one that is stored now sets the flag again.
            let victim = Victim::from_bits(word.swap(0, Ordering::Relaxed));
            if victim.named() && !each(victim.cid()) {
                // Put back, unless the owner has named another one meanwhile.
                let _ = word.compare_exchange(0, victim.into_bits(), Ordering::Relaxed, Ordering::Relaxed);
                self.aborting.store(true, Ordering::Release);
                return;
            }
        }
    }

    /// Says that the queue pair is no more.
    pub(super) fn hang_up(&self) {
        // Release: pairs with `is_dropped`; nothing is rung afterwards.
        self.dropped.store(true, Ordering::Release);
    }

    /// Whether the queue pair is no more.
    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }
}
