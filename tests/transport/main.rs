//! The transport of a whole target, turn by turn on one thread: simulated reactors, virtual time, sockets of the loopback
//! device, and hosts that are a `connection::host` each. Nothing sleeps: where bytes are on their way, turns are taken
//! until they are there.

mod aborts;
mod access;
mod commands;
mod copies;
mod counting;
mod drain;
mod durable;
mod endings;
mod engines;
mod escalation;
mod fence_rig;
mod fused;
mod grace;
mod handover;
mod host;
mod lifetime;
mod log;
mod manual;
mod moves;
mod paths;
mod pending;
mod protection;
mod random;
mod reservations;
mod rig;
mod shutdown;
mod stall;
mod tearing;
mod whole;
