//! One reactor per core: pollers, messages, timers, published snapshots and sockets, free of any
//! async runtime. Knows nothing about storage.
//!
//! A [`group::Group`] has one management reactor and any number of I/O reactors, each on a thread
//! pinned to one core. A [`reactor::Reactor`] takes turns; a turn polls its [`poller::Poller`]s once,
//! in the order of their [`poller::Phase`]s. When no poller has anything to do, the
//! [`idle::IdlePolicy`] decides whether the core is given back to the kernel.
//!
//! State belongs to one reactor. Others send it a message ([`mailbox`]) or read a snapshot that it
//! published ([`published`]). There is no global state, so groups can share a process, and
//! [`reactor::Reactor::turn`] can be called from somebody else's loop.
//!
//! # First example
//!
//! One reactor that doubles numbers:
//!
//! ```
//! use std::sync::mpsc;
//!
//! use corelane_reactors::{
//!     clock::Clock,
//!     cpu,
//!     group::{Group, Layout},
//!     idle::IdlePolicy,
//!     poller::Phase,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let core = cpu::allowed()[0];
//! // Management and I/O on the same core: one reactor.
//! let layout = Layout { management: core, io: vec![core] };
//! let group = Group::new(&layout, IdlePolicy::default(), Clock::real())?;
//!
//! let (numbers, mailbox) = group.mailbox::<u64>(group.management(), 16);
//! let (answer, answers) = mpsc::channel();
//! group.spawn(group.management(), "reactor-0", move |reactor| {
//!     // Runs on the pinned thread, so pollers need not be `Send`.
//!     let poller = mailbox.into_poller("doubler", 8, move |_turn, number| {
//!         answer.send(2 * number).expect("somebody listens");
//!     });
//!     reactor.add_poller(Phase::Mailbox, poller)?;
//!     Ok(())
//! })?;
//!
//! numbers.send(21).expect("there is room");
//! assert_eq!(answers.recv()?, 42);
//!
//! group.stop();
//! group.join()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Testing what runs on reactors
//!
//! [`sim::Simulation`] runs the reactors of a group on one thread, in an order drawn from a seed, on
//! a clock that jumps when all of them are idle: no threads, no sleeps, and a failure can be repeated.
//!
//! The protocols of [`published`] and of sleeping are checked on the shipped types with loom, which
//! tries the interleavings and the reorderings that the memory model allows:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p corelane-reactors --release --lib loom
//! ```

pub mod buffer;
pub mod clock;
pub mod cpu;
pub mod group;
pub mod idle;
pub mod mailbox;
pub mod per_core;
pub mod poll_group;
pub mod poller;
pub mod published;
mod quiescence;
pub mod reactor;
pub mod ring;
mod seat;
pub mod sim;
mod sleep;
pub mod stats;
mod sync;
pub mod timer;
