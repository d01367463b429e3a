//! The driver of NVMe controllers against one in the process, without faults and with every one of them, in virtual time;
//! nothing sleeps, and what is random has a seed that is printed.
//!
//! The suite itself knows nothing of the emulated controller, so that real ones go through it too.

#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is missing")]

mod emulated;
mod suite;
