//! The atomics, cells, locks and counted pointers of the lock-free protocols: those of `std`, or loom's
//! when a model is checked. Nothing else may depend on `cfg(loom)`.
//!
//! Only what is modelled comes from here. Statistics and the virtual clock use `std` directly:
//! nothing is decided by them.
//!
//! What loom cannot model, and what follows from it here:
//!
//! - An access with `SeqCst` counts as acquire and release only, so a protocol that relied on one would fail in the model
//!   without being wrong. All total orders of this crate are made by `fence(SeqCst)`, which loom does model; no access is
//!   `SeqCst`.
//! - A load never returns a value that is stored later (load buffering). Whoever reads relaxed here decides nothing by it
//!   that a fence or an acquire has not ordered before.
//! - The kernel is no thread of the model: an eventfd, an epoll and the rings of io_uring, which the kernel shares, are
//!   outside. What is modelled is whether the system call that wakes is made.

#[cfg(not(loom))]
pub(crate) use cell::UnsafeCell;
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
    },
};

/// The cell of `std` with the methods of loom's, which sees what touches it at the same time.
#[cfg(not(loom))]
mod cell {
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        /// For a read.
        #[inline]
        pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        /// For a write.
        #[inline]
        pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}
