//! The atomics, locks and counted pointers of the lock-free protocols: those of `std`, or loom's
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
//! - Queues of crates are made of `std` atomics, which loom takes for single steps: so the models replace the mailbox's
//!   queue by one that promises no more than the crate does.

#[cfg(not(loom))]
pub(crate) use crossbeam::queue::ArrayQueue;
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use queue::ArrayQueue;

#[cfg(loom)]
#[path = "sync/queue.rs"]
mod queue;
