//! fio's way to Corelane's initiator and to its polled PCIe driver: an external ioengine, opened by a fio that comes with
//! the system.
//!
//! ```text
//! fio --ioengine=external:.../libcorelane_fio.so --subnqn=... ...
//!
//!   fio -- struct ioengine_ops -- shim.c -- ffi -- Job -+- tcp:  one association, one I/O queue
//!                                                       +- pcie: one queue pair of a controller that all jobs share
//! ```
//!
//! `shim.c` alone knows fio's structures, and is compiled against the headers of one version of fio; another fio is told so
//! and loads nothing. Everything else is here, and is built and tested without fio. A job belongs to one thread of fio.

mod failure;
mod ffi;
mod job;
mod pcie;
mod survey;
mod target;
mod tcp;

/// Tells the user something, as fio does.
fn say(message: &dyn std::fmt::Display) {
    eprintln!("fio: corelane: {message}");
}
