//! What survives power loss: the state directory with its lock and its marker, and small records in it. Knows
//! nothing of what a record means: bytes in, bytes out.
//!
//! A [`Store`] replaces records so that a crash, whenever it comes, leaves the old one or the new one. It
//! blocks, so a [`Writer`] does its work on a thread of its own, one order after the other.

pub use directory::{Environment, Failure, Owner, StateDirectory, StateError, default_path};
pub use store::{
    Files, LoadError, NameError, OpenError, RECORD_BYTES_MAX, Reader, Reason, RecordName, SaveError, Stage,
    StateFiles, Step, Store,
};
pub use writer::{Answer, Order, Refused, Work, Worker, Writer};

mod directory;
#[cfg(test)]
pub(crate) mod power_cut;
mod store;
mod writer;
