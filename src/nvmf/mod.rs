//! The NVM subsystem of the target, as the management reactor owns it: no sockets, no PDUs, no clock.
//!
//! A [`target::Target`] is one plain value with one owner. The transport hands it Connect commands and the
//! commands of admin queues, tells it which queues ended, and carries out the [`target::Action`]s that it
//! asks for. I/O queues are accepted here ([`target::IoTicket`]) and served elsewhere.
//!
//! What must hold: every admin command is answered exactly once, at once by its [`admin::Reply`], or later by
//! [`target::Action::Complete`] (Asynchronous Event Request; Abort of a command on another queue; Set Features of
//! Reservation Persistence; the last two are handed out by an action, and end with [`target::Target::complete_deferred`]); a controller says that it is disabled or
//! shut down only when the transport has reported all its I/O queues as closed; a CNTLID is free again only
//! when its admin queue and all its I/O queues are closed.

pub mod access;
pub mod admin;
mod connect;
pub mod controller;
pub mod discovery;
pub mod errors;
pub mod fence;
#[doc(hidden)]
pub mod fuzz;
pub mod host;
pub mod io;
pub mod namespace;
pub mod options;
mod persistence;
pub mod policy;
mod protection;
pub mod subsystem;
pub mod target;

#[cfg(test)]
mod tests;
