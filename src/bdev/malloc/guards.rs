//! One reactor at a time in each stripe of a device in memory, for devices whose writes are atomic.
//!
//! A reactor that finds another one in a stripe spins until that one has copied its part, at most [`STRIPE_BYTES`]. That is
//! a lock, which such a device pays for its promise; others have none. Invariant: who holds a guard calls nobody but the
//! kernels that copy, and takes a second one only in the order of their indexes, so nobody waits for ever.

use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes in which a write is atomic; a multiple of every block size.
pub(super) const STRIPE_BYTES: usize = 128 << 10;
/// Guards of one device, each on a cache line of its own; stripes of larger devices share them.
const GUARDS_MAX: usize = 4096;

/// The guards of a device.
#[derive(Debug)]
pub(super) struct Guards(Box<[Guard]>);

/// Whether somebody is in one of its stripes. `Acquire` where it is taken and `Release` where it is given back: whoever
/// takes it sees what was copied under it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Guard(AtomicBool);

impl Guards {
    /// Those of a device of so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let count = bytes.div_ceil(STRIPE_BYTES).clamp(1, GUARDS_MAX);
        Self((0..count).map(|_| Guard::default()).collect())
    }

    /// Copies with nobody else in the stripe of this byte.
    pub(super) fn alone<R>(&self, byte: usize, copy: impl FnOnce() -> R) -> R {
        self.0[self.index(byte)].alone(copy)
    }

    /// Copies with nobody else in the stripes of these two bytes.
    pub(super) fn alone_in_both(&self, one: usize, other: usize, copy: impl FnOnce()) {
        let (one, other) = (self.index(one), self.index(other));
        if one == other {
            return self.0[one].alone(copy);
        }
        self.0[one.min(other)].alone(|| self.0[one.max(other)].alone(copy));
    }

    fn index(&self, byte: usize) -> usize {
        byte / STRIPE_BYTES % self.0.len()
    }
}

impl Guard {
    fn alone<R>(&self, copy: impl FnOnce() -> R) -> R {
        while self.0.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            hint::spin_loop();
        }
        let copied = copy();
        self.0.store(false, Ordering::Release);
        copied
    }
}
