//! A polled driver of NVMe controllers, from user space: admin queue, I/O queue pairs, namespaces. Makes no system call
//! and takes no lock on the I/O path; knows nothing of PCI, of VFIO or of block devices above it.
//!
//! What it drives is a [`Device`]: registers, memory that the device may reach, an interrupt. A [`Controller`] belongs to
//! the management thread; each of its [`QueuePair`]s moves to the reactor that uses it.

mod admin;
mod commands;
mod controller;
mod counts;
mod device;
pub mod emulated;
mod enable;
mod error;
mod events;
mod fuzz;
mod identity;
mod layout;
mod line;
mod memory;
mod namespace;
mod options;
mod poller;
mod prp;
mod queue_pair;
mod registers;
mod request;
mod reservation;
mod reset;
mod rings;
mod seat;
mod setup;
mod translation;

#[cfg(test)]
mod tests;

pub use crate::spec::cause::Cause;
use admin::AdminData;
pub use commands::{AdminCommand, AdminError, AdminReply, AdminTag};
pub use controller::{Condition, Controller};
pub use counts::Counts;
pub use device::{Device, Iova, MapError, ResetError};
pub use error::StartError;
pub use events::{EVENTS_MAX, Event};
pub use fuzz::fuzz;
pub use identity::{CommandLimits, Identity};
pub use namespace::{CopyLimits, FormatError, NAMESPACES_MAX, NamespaceInfo};
pub use options::{ADMIN_ENTRIES_MIN, ENTRIES_MAX, ENTRIES_MIN, Options, QUEUE_PAIRS_MAX};
pub use poller::{ControllerPoller, SharedController};
pub use queue_pair::{COMPLETIONS_MAX, QueuePair};
pub use request::{BlockRange, Failure, IoCommand, Outcome, SubmitError};
pub use reservation::{Registrant, ReservationReport};
