//! Persistent reservations of one namespace, as pure functions (NVMe base 2.1, section 8.1.22). No I/O, no clock, no
//! thread, and no knowledge of controllers: a host is its 128-bit identifier.
//!
//! ```text
//! command -> Request::decode -> transition(&State, host, request) -> Err(status): nothing changed
//!                                                                 -> Ok(Outcome { next, effects })
//! ```
//!
//! The owner of the state carries out the [`Effects`] in their order, takes `next` for its state, and completes the
//! command. [`rights`] says what a host may do then, [`report::encode`] tells hosts, [`Record`] keeps it on disk, and a
//! [`Notices`] per controller keeps what the others have to be told.

mod access;
mod effect;
mod fault;
mod fuzz;
mod import;
mod kind;
mod notice;
mod record;
pub mod report;
mod request;
mod state;
mod transition;

#[cfg(test)]
mod tests;

pub use access::{Fused, Group, Rights, admin_group, judge, nvm_group, rights};
pub use effect::{Effects, Notice, NoticeKind, Persist};
pub use fault::{Fault, Reason};
pub use fuzz::{fuzz_import, fuzz_record, fuzz_request};
pub use import::from_spdk;
pub use kind::Kind;
pub use notice::{Notices, PAGES_MAX, Posted};
pub use record::{FORMAT, FORMAT_PROTECTED, Identity, RECORD_BYTES_MAX, Record};
pub use request::{Acquire, Register, Release, Request, data_bytes, judge_nsid};
pub use state::{Impossible, Key, REGISTRANTS_MAX, Registrant, Reservation, State};
pub use transition::{Options, Outcome, set_persistence, transition};
