//! What the ends of a mailbox share: a ring of places, one message each, and the count of what was claimed of it.
//!
//! Messages are numbered from 0 in the order in which their places were claimed. Invariants, with `pushed` and `received`
//! the numbers of the next message to be claimed and to be received, and `reserved` the slots that wait for theirs:
//!
//! - `received <= pushed`, and `pushed - received + reserved <= capacity <= places`;
//! - so whoever claims number `n` finds its place free: message `n - places` was received, and that has happened before;
//! - a place holds message `n` from the store of `n + 1` in its `stamp` until `received` is `n + 1`.
//!
//! A message costs the two cores the least that it can: its place is a cache line, written by the sender and read by the
//! receiver, who tells what it took on a line of its own. A sender looks at that one only when, as far as is known, there
//! is no room: once in a capacity. What is claimed is a third line, which the receiver does not touch.

#![expect(unsafe_code, reason = "a place has either a message or none, and the stamp beside it says so")]

use std::{mem::MaybeUninit, sync::Arc};

use crossbeam::utils::CachePadded;

use crate::{
    seat::Seat,
    stats::{MailboxCounters, MailboxStats, Watched},
    sync::{AtomicBool, AtomicU64, Mutex, Ordering, UnsafeCell, fence},
};

/// The most messages and reserved slots of one mailbox.
pub const CAPACITY_MAX: usize = (1 << RESERVED_BITS) - 1;

/// Of the word that senders share, those that count reserved slots; the others count messages.
const RESERVED_BITS: u32 = 20;

/// One message more, in that word.
const PUSHED: u64 = 1 << RESERVED_BITS;

/// Numbers of messages start again here. Nobody can be held up for as many messages between two instructions.
pub(super) const NUMBERS: u64 = 1 << (u64::BITS - RESERVED_BITS);

pub(super) struct Shared<M> {
    /// Written by senders only.
    claims: CachePadded<Claims>,
    /// The number of the next message to be received. Written by the receiver only, or by who empties a closed mailbox.
    ///
    /// Partner: `pop` (Release) after the message was read, `room_beyond` (Acquire) before a place is claimed: who claims
    /// it finds it free.
    received: CachePadded<AtomicU64>,
    pub(super) counters: CachePadded<MailboxCounters>,
    /// A power of two of them.
    places: Box<[Place<M>]>,
    capacity: u64,
    /// Partner: set before the receiver empties the mailbox for the last time, read after each message, with a fence
    /// between on both sides: one of the two finds the message. Release with Acquire: what the receiver took before, and
    /// `received`, is known to a sender that empties the mailbox.
    closed: AtomicBool,
    /// Held for each message that is taken out of a closed mailbox, by whomever.
    emptying: Mutex<()>,
    pub(super) seat: Arc<Seat>,
}

struct Claims {
    /// `pushed` above, `reserved` below.
    ///
    /// Partner: each message's step releases, a slot's acquires: a slot was reserved before others claimed places and saw
    /// them free, and its message may come to lie in one of those.
    word: AtomicU64,
    /// What some sender last saw of `received`: never more than that. Partner: the store and the load of it (Release,
    /// Acquire) hand on what that sender had acquired.
    seen: AtomicU64,
}

/// A cache line of its own, for messages of up to 56 bytes.
#[repr(C, align(64))]
struct Place<M> {
    /// One more than the number of the last message that was put here; 0 before the first.
    ///
    /// Partner: `Claim::fill` (Release) and `is_empty` (Acquire) hand over the message.
    stamp: AtomicU64,
    message: UnsafeCell<MaybeUninit<M>>,
}

// SAFETY: a message is written by the one thread that claimed its place and read by the one that receives it (see `pop`), so
// it is sent, never shared. All else is atomics, a lock, and what is `Sync` by itself.
unsafe impl<M: Send> Sync for Shared<M> {}

/// A place that is free and waits for its message: the receiver waits, too, so nothing may come between.
#[must_use = "a place that is not filled stops the mailbox"]
pub(super) struct Claim<'a, M> {
    shared: &'a Shared<M>,
    number: u64,
}

/// The one receiver.
pub(super) struct Receiver<M: Send> {
    shared: Arc<Shared<M>>,
}

/// `first` is the number of the first message, 0 but in tests.
pub(super) fn shared<M: Send>(seat: &Arc<Seat>, capacity: usize, first: u64) -> Receiver<M> {
    assert!(capacity > 0, "a mailbox without room");
    assert!(capacity <= CAPACITY_MAX, "a mailbox with room for more than {CAPACITY_MAX} messages");
    let place = |_| Place { stamp: AtomicU64::new(0), message: UnsafeCell::new(MaybeUninit::uninit()) };
    Receiver {
        shared: Arc::new(Shared {
            claims: CachePadded::new(Claims {
                word: AtomicU64::new(first * PUSHED),
                seen: AtomicU64::new(first),
            }),
            received: CachePadded::new(AtomicU64::new(first)),
            counters: CachePadded::default(),
            places: (0..capacity.next_power_of_two()).map(place).collect(),
            capacity: capacity as u64,
            closed: AtomicBool::new(false),
            emptying: Mutex::new(()),
            seat: Arc::clone(seat),
        }),
    }
}

impl<M> Shared<M> {
    /// Claims the next place, if there is room.
    pub(super) fn claim(&self) -> Option<Claim<'_, M>> {
        // Release: for slots that are used after this. What this thread has to know it knows from `room_beyond`.
        let word = self.take(PUSHED, Ordering::Release)?;
        Some(Claim { shared: self, number: pushed(word) })
    }

    /// Reserves room; whether there was any.
    pub(super) fn reserve(&self) -> bool {
        // Relaxed: what this thread knows is handed on by `redeem`.
        self.take(1, Ordering::Relaxed).is_some()
    }

    /// Makes reserved room the next place.
    pub(super) fn redeem(&self) -> Claim<'_, M> {
        let before = self.claims.word.fetch_add(PUSHED - 1, Ordering::AcqRel);
        assert!(reserved(before) > 0, "a slot that nobody reserved");
        Claim { shared: self, number: pushed(before) }
    }

    /// Gives reserved room back.
    pub(super) fn release(&self) {
        // Relaxed: no place was touched.
        let before = self.claims.word.fetch_sub(1, Ordering::Relaxed);
        assert!(reserved(before) > 0, "a slot that nobody reserved");
    }

    /// Adds to the word of claims, if there is room; what it was before.
    fn take(&self, step: u64, success: Ordering) -> Option<u64> {
        // Before the word: what was received was claimed before, so the word that follows is no older.
        let mut seen = self.claims.seen.load(Ordering::Acquire);
        let mut word = self.claims.word.load(Ordering::Relaxed);
        // Each round but the last means that another sender or the receiver has got on.
        loop {
            if self.in_use(word, seen) < self.capacity {
                match self.claims.word.compare_exchange_weak(
                    word,
                    word.wrapping_add(step),
                    success,
                    Ordering::Relaxed,
                ) {
                    Ok(before) => return Some(before),
                    Err(newer) => word = newer,
                }
            } else {
                seen = self.room_beyond(seen)?;
                word = self.claims.word.load(Ordering::Relaxed);
            }
        }
    }

    /// What was received by now; `None` when it is no more than `seen`.
    fn room_beyond(&self, seen: u64) -> Option<u64> {
        let received = self.received.load(Ordering::Acquire);
        (received != seen).then(|| {
            // A slower sender may put back what it saw before: then the next one looks again.
            self.claims.seen.store(received, Ordering::Release);
            received
        })
    }

    fn in_use(&self, word: u64, received: u64) -> u64 {
        pushed(word).wrapping_sub(received) % NUMBERS + reserved(word)
    }

    /// Room that nobody has claimed.
    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        let received = self.received.load(Ordering::Relaxed);
        let in_use = self.in_use(self.claims.word.load(Ordering::Relaxed), received);
        usize::try_from(self.capacity - in_use).unwrap()
    }

    /// Messages whose places were claimed and that were not received; while others send and receive, a guess.
    pub(super) fn len(&self) -> usize {
        let received = self.received.load(Ordering::Relaxed);
        let pushed = pushed(self.claims.word.load(Ordering::Relaxed));
        usize::try_from((pushed.wrapping_sub(received) % NUMBERS).min(self.capacity)).unwrap_or(usize::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        let number = self.received.load(Ordering::Relaxed);
        self.place(number).stamp.load(Ordering::Acquire) != number + 1
    }

    /// Whether there is no receiver any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Drops what is in a mailbox that has no receiver any more.
    pub(super) fn empty(&self) {
        assert!(self.is_closed());
        // Ends: who sends to a closed mailbox had claimed before, at most the capacity.
        loop {
            let emptying = self.emptying.lock().expect("nothing panics while it holds this lock");
            // SAFETY: closed, so the receiver is gone and its last `pop` has happened before; the lock is held.
            let message = unsafe { self.pop() };
            // First: a message may carry slots of this very mailbox, or whatever else sends to it when it goes.
            drop(emptying);
            if message.is_none() {
                break;
            }
        }
    }

    /// # Safety
    ///
    /// Other calls happen before or after this one: by the receiver while there is one, and under the lock `emptying` from
    /// then on.
    unsafe fn pop(&self) -> Option<M> {
        if self.is_empty() {
            return None;
        }
        let number = self.received.load(Ordering::Relaxed);
        let message = self.place(number).message.with(|place| {
            // SAFETY: nobody else reads it (contract of `pop`), and nobody writes here before `received` is past it.
            unsafe { place.read() }
        });
        // SAFETY: the stamp says that message `number` was written, which has happened before (`is_empty` acquires), and it is
        // taken once, since `received` moves on.
        let message = unsafe { message.assume_init() };
        self.received.store((number + 1) % NUMBERS, Ordering::Release);
        Some(message)
    }

    fn place(&self, number: u64) -> &Place<M> {
        let mask = self.places.len() - 1;
        // The mask is far below the limits of either type.
        &self.places[usize::try_from(number & mask as u64).unwrap_or(0)]
    }
}

fn pushed(word: u64) -> u64 {
    word >> RESERVED_BITS
}

fn reserved(word: u64) -> u64 {
    word % PUSHED
}

impl<M> Claim<'_, M> {
    /// The receiver finds the message from here on.
    pub(super) fn fill(self, message: M) {
        let place = self.shared.place(self.number);
        place.message.with_mut(|free| {
            // SAFETY: this claim is the only one of its number, and the message that was here was received, which has
            // happened before (invariants of the module): nobody else touches the place before the stamp below.
            unsafe { (*free).write(message) };
        });
        place.stamp.store(self.number + 1, Ordering::Release);
    }
}

impl<M: Send> Receiver<M> {
    pub(super) fn shared(&self) -> &Arc<Shared<M>> {
        &self.shared
    }

    pub(super) fn pop(&mut self) -> Option<M> {
        // SAFETY: there is one receiver, it is borrowed for the call, and not closed before it is dropped.
        unsafe { self.shared.pop() }
    }
}

impl<M: Send> Drop for Receiver<M> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Partner: the fence inside of `ParkFlag::announce`, between a message and the look at `closed`.
        fence(Ordering::SeqCst);
        self.shared.empty();
    }
}

impl<M: Send> Watched for Shared<M> {
    fn stats(&self) -> MailboxStats {
        self.counters.snapshot(self.len(), usize::try_from(self.capacity).unwrap_or(usize::MAX))
    }
}
