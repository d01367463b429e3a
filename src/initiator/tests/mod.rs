//! The host against a target that does what a script says, over a loopback connection.

mod association;
mod commands;
mod enabling;
mod failures;
mod queues;
mod target;
