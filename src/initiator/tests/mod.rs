//! The host against a target that does what a script says, over a loopback connection.

mod association;
mod commands;
mod enabling;
mod failures;
pub(crate) mod multipath;
mod queues;
pub(crate) mod target;
mod waiting;
