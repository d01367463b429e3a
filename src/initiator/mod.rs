//! The NVMe/TCP host: connects to subsystems, and sends commands over queue pairs.
//!
//! A [`QueuePair`] is one connection with its commands; [`Queues`] serves those of one poll group. Neither blocks, reads
//! a clock, or allocates once it is connected: a poller calls [`Queues::poll`] in its ingress phase and
//! [`Queues::flush`] in its flush phase, and learns of each command's end under the tag that it was submitted with.
//! [`Enabling`] says which commands make a connected controller ready. [`blocking::Host`] puts them together for tests
//! and tools that may wait, [`Association`] for pollers: it connects without waiting, keeps the association alive, and
//! makes it anew when it ends. [`multipath`] has several associations with the same namespace, and commands that go on
//! when some of them end.
//!
//! ```text
//!   admin:  TcpStream -> Queues::open -> Opening -> Connecting -> Ready -> Enabling -> Controller
//!   I/O:    TcpStream -> Queues::open -> Opening -> Connecting -> Ready -> submit, poll, flush
//! ```
//!
//! What must hold: the memory of a command's data is left alone from `submit` until its completion was told; every
//! command that was submitted is told completed exactly once, also where the connection ends, unless its queue is closed
//! before.

mod association;
pub mod blocking;
pub mod command;
mod dial;
mod enable;
mod end;
mod fuzz;
mod identity;
pub mod multipath;
mod queue_pair;
mod queues;
#[cfg(test)]
pub(crate) mod tests;

pub use association::{Association, AssociationOptions, Backoff, Change, Fault};
pub use dial::Dial;
pub use enable::{Controller, EnableError, Enabling, Step, Task};
pub use end::{CommandError, End, QueueName, Refusal};
pub use fuzz::fuzz;
pub use identity::Identity;
pub use queue_pair::{Completion, Kind, NotSubmitted, QueueOptions, QueuePair, Transfer};
pub use queues::Queues;
