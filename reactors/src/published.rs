//! Snapshots that one thread replaces and every reactor reads with one load: no lock, no reference
//! count, nobody woken.
//!
//! A snapshot is borrowed from the turn it was read in. A replaced one is freed when each reactor of
//! the group has ended the turn it was in, or was parked or stopped, at the time of the
//! replacement: see [`Grace`].

#![expect(unsafe_code, reason = "the current snapshot is an atomic pointer to an owned value")]

use std::{fmt, ptr, sync::Arc as Owned};

use crate::{
    quiescence::{Sample, SharedQuiescence},
    reactor::Turn,
    sync::{Arc, AtomicPtr, Ordering},
};

/// The writing end: there is one, and it owns the right to replace.
///
/// Dropping it leaves the last snapshot to the subscribers.
pub struct Publisher<T: Send + Sync + 'static> {
    cell: Arc<Cell<T>>,
}

/// A reading end, for reactors of the same group.
pub struct Subscriber<T: Send + Sync + 'static> {
    cell: Arc<Cell<T>>,
}

struct Cell<T: Send + Sync + 'static> {
    /// Made by `Owned::into_raw`, never null; owned by the cell while it is current, then by `quiescence`, which keeps it
    /// until no turn that could have loaded it is left. Not a `Box`: moving one promises that nobody else refers to its
    /// value, and turns still do when it is handed on.
    ///
    /// Partner: the swap in `publish` (Release) and the load in `read` (Acquire) hand over the
    /// value's contents. When an old value is freed is decided by `quiescence`.
    current: AtomicPtr<T>,
    quiescence: SharedQuiescence,
}

pub(crate) fn published<T: Send + Sync + 'static>(
    quiescence: &SharedQuiescence,
    value: T,
) -> (Publisher<T>, Subscriber<T>) {
    let current = AtomicPtr::new(Owned::into_raw(Owned::new(value)).cast_mut());
    let cell = Arc::new(Cell { current, quiescence: Arc::clone(quiescence) });
    (Publisher { cell: Arc::clone(&cell) }, Subscriber { cell })
}

impl<T: Send + Sync + 'static> Publisher<T> {
    /// Replaces the snapshot. Reads that begin later see `value`; the returned [`Grace`] tells when
    /// no reactor uses the previous one any more. The previous one is freed by a later call of this
    /// or of [`Publisher::reclaim`], on any publisher of the group.
    ///
    /// Allocates, and takes a lock that the publishers of the group share, for as long as a list is looked through; no
    /// reader takes it. Values that are due are dropped by the calling thread.
    pub fn publish(&mut self, value: T) -> Grace {
        let quiescence = &self.cell.quiescence;
        let new = Owned::into_raw(Owned::new(value)).cast_mut();
        // Partner: the load in `Subscriber::read`. Acquire, because the old value is dropped here.
        let old = self.cell.current.swap(new, Ordering::AcqRel);
        let sample = quiescence.sample();
        // SAFETY: `current` held a pointer of `Owned::into_raw`, whose ownership the swap has handed to us alone.
        let old = unsafe { Owned::from_raw(old) };
        quiescence.defer(sample.clone(), old);
        quiescence.reclaim();
        Grace { quiescence: Arc::clone(quiescence), sample }
    }

    /// Frees the replaced values of the whole group that no reactor can be reading. Returns their
    /// number. Takes the lock of [`Publisher::publish`], and drops the values on the calling thread.
    pub fn reclaim(&mut self) -> usize {
        self.cell.quiescence.reclaim()
    }

    /// What was published last.
    pub fn current(&self) -> &T {
        let current = self.cell.current.load(Ordering::Relaxed);
        // SAFETY: never null and valid while current (field invariant). Only this publisher replaces
        // it, by `&mut self`, and the cell lives as long as the publisher: so not within this borrow.
        unsafe { &*current }
    }
}

impl<T: Send + Sync + 'static> Subscriber<T> {
    /// The current snapshot, for this turn: one load. Reads within one turn may see different
    /// snapshots, never older ones than before.
    ///
    /// # Panics
    ///
    /// When `turn` is a turn of another group, whose reactors the publisher does not wait for.
    pub fn read<'turn>(&self, turn: &'turn Turn<'_>) -> &'turn T {
        assert!(ptr::eq(turn.quiescence(), &*self.cell.quiescence), "a turn of another group");
        let current = self.cell.current.load(Ordering::Acquire);
        // SAFETY: never null and valid while current (field invariant). Once replaced, or when the
        // cell is dropped, it is kept by the group's `quiescence` until the counter of the reactor in
        // `turn` has stepped; a `Turn` exists only between two steps and is borrowed for `'turn`.
        unsafe { &*current }
    }
}

impl<T: Send + Sync + 'static> Clone for Subscriber<T> {
    fn clone(&self) -> Self {
        Subscriber { cell: Arc::clone(&self.cell) }
    }
}

impl<T: Send + Sync + 'static> Drop for Cell<T> {
    fn drop(&mut self) {
        // Acquire through the reference count of the cell: nobody can load from it any more, but a
        // turn that did may still be running.
        let current = self.current.load(Ordering::Relaxed);
        // SAFETY: a pointer of `Owned::into_raw` that the cell owns (field invariant) and gives up here.
        let current = unsafe { Owned::from_raw(current) };
        self.quiescence.defer(self.quiescence.sample(), current);
    }
}

impl<T: Send + Sync + fmt::Debug + 'static> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(self.current()).finish()
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

/// The time that has to pass until no reactor uses what a [`Publisher::publish`] replaced. Polled,
/// from any thread, for instance once per turn; never blocks. A parked or stopped reactor does not
/// hold it up; a reactor that runs ends it with its next turn's end.
#[derive(Clone, Debug)]
pub struct Grace {
    quiescence: SharedQuiescence,
    sample: Sample,
}

impl Grace {
    /// Whether every reactor of the group has observed the publication.
    pub fn passed(&self) -> bool {
        self.sample.passed(&self.quiescence)
    }
}

#[cfg(test)]
#[cfg(loom)]
#[path = "published/loom.rs"]
mod loom_tests;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
