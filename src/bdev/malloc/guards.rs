//! One writer at a time in each stripe of a device in memory that several reactors use; who reads takes nothing, and looks
//! again where somebody wrote meanwhile.
//!
//! A reactor that finds another one in a stripe spins until that one has copied its part, at most [`STRIPE_BYTES`]: the
//! price of a memory that is shared. A reader changes nothing that others see, unless it met writers so often that it takes
//! the stripe like one of them. Invariants: who holds a guard calls nobody but the kernels that copy, and takes a second one
//! only in the order of their indexes, so nobody waits for ever; the number of a guard never goes back.

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

/// Bytes in which a write is atomic; a multiple of every block size.
pub(super) const STRIPE_BYTES: usize = 128 << 10;
/// Guards of one device, each on a cache line of its own; stripes of larger devices share them.
const GUARDS_MAX: usize = 4096;
/// Looks of a reader at one stripe that may come to nothing before it has the writers wait.
const LOOKS_MAX: usize = 16;

/// The guards of a device.
#[derive(Debug)]
pub(super) struct Guards(Box<[Guard]>);

/// Odd while somebody writes in one of its stripes; 2 more each time.
///
/// A writer takes it with `Acquire` and gives it back with `Release`: whoever takes it next sees what was written under it.
/// Readers are told of a write by the number. The writer's `fence(Release)` puts the odd number before every byte that it
/// writes, and is the partner of the reader's `fence(Acquire)`, which puts every byte that it reads before its second look: one
/// new byte, and the second look finds another number than the first. The writer's `Release` at the end is the partner of
/// the reader's first look, with `Acquire`, which then sees all of the write. The bytes themselves are moved as if by
/// relaxed atomics: see [`crate::mem`].
#[derive(Debug, Default)]
#[repr(align(64))]
struct Guard(AtomicUsize);

impl Guards {
    /// Those of a device of so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let count = bytes.div_ceil(STRIPE_BYTES).clamp(1, GUARDS_MAX);
        Self((0..count).map(|_| Guard::default()).collect())
    }

    /// Writes with nobody else in the stripe of this byte.
    pub(super) fn alone<R>(&self, byte: usize, write: impl FnOnce() -> R) -> R {
        self.0[self.index(byte)].alone(write)
    }

    /// Writes with nobody else in the stripes of these two bytes.
    pub(super) fn alone_in_both(&self, one: usize, other: usize, write: impl FnOnce()) {
        let (one, other) = (self.index(one), self.index(other));
        if one == other {
            return self.0[one].alone(write);
        }
        self.0[one.min(other)].alone(|| self.0[one.max(other)].alone(write));
    }

    /// Reads from the stripe of this byte, again where somebody wrote there meanwhile: what the last reading brings, and
    /// leaves behind, is of one moment.
    pub(super) fn look<R>(&self, byte: usize, read: impl FnMut() -> R) -> R {
        self.0[self.index(byte)].look(read)
    }

    fn index(&self, byte: usize) -> usize {
        byte / STRIPE_BYTES % self.0.len()
    }
}

impl Guard {
    fn alone<R>(&self, write: impl FnOnce() -> R) -> R {
        let before = loop {
            let free = self.0.load(Ordering::Relaxed) & !1;
            let taken = free.wrapping_add(1);
            if self.0.compare_exchange_weak(free, taken, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                break free;
            }
            hint::spin_loop();
        };
        fence(Ordering::Release);
        let written = write();
        self.0.store(before.wrapping_add(2), Ordering::Release);
        written
    }

    fn look<R>(&self, mut read: impl FnMut() -> R) -> R {
        for _ in 0..LOOKS_MAX {
            let before = self.0.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let read = read();
                fence(Ordering::Acquire);
                if self.0.load(Ordering::Relaxed) == before {
                    return read;
                }
            }
            hint::spin_loop();
        }
        self.alone(read)
    }
}
