//! The atomics, locks and counted pointers of the lock-free protocols: those of `std`, or loom's
//! when a model is checked. Nothing else may depend on `cfg(loom)`.
//!
//! Only what is modelled comes from here. Statistics and the virtual clock use `std` directly:
//! nothing is decided by them.

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
