//! One reactor per core: pollers, messages, timers, published snapshots and sockets, free of any
//! async runtime. Knows nothing about storage.
//!
//! # The model
//!
//! A **[reactor]** is a loop on one core. It takes **turns**; a turn calls each of its **[pollers](poller)** once, in
//! the order of their phases: messages, completions, timers, new work from outside, what is handed to devices, what is
//! flushed to sockets. A poller does one batch, never blocks, and says whether it did anything, and if not, what it waits
//! for. When no poller did anything, the [idle policy](idle) decides whether the core goes on polling or is given back to
//! the kernel.
//!
//! State belongs to one reactor, so it needs no lock. There are three ways past that border, and no others:
//!
//! - a **[mailbox]** brings messages to one reactor from any thread: bounded, with room that can be reserved, so that
//!   an answer is never refused. A full one refuses the message and hands it back; nothing is lost or overwritten;
//! - a **[published value](published)** is written by one thread and read by all reactors with one load. Whoever replaces it
//!   can learn when nobody uses the old one any more;
//! - a **[per-core value](per_core)** is written by each reactor for itself and read by anybody: counters.
//!
//! A **[poll group](poll_group)** has the sockets of one reactor, a [ring] its files, and a [timer wheel](timer) its
//! deadlines. A
//! **[group]** is the reactors of one appliance, one of them for management. There is no global state: any number of
//! groups share a process, and [`reactor::Reactor::turn`] can be called from somebody else's loop.
//!
//! # First example
//!
//! One reactor that doubles numbers:
//!
//! ```
//! # use std::sync::mpsc;
//! # use corelane_reactors::{
//! #     clock::Clock, cpu, group::{Group, Layout}, idle::IdlePolicy, poller::Phase, reactor::Turn,
//! # };
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layout = Layout { management: cpu::allowed()[0], io: vec![cpu::allowed()[0]] };
//! let group = Group::new(&layout, IdlePolicy::default(), Clock::real())?;
//! let (numbers, mailbox) = group.mailbox::<u64>(group.management(), 16);
//! let (answer, answers) = mpsc::channel();
//! group.spawn(group.management(), "reactor-0", move |reactor| {
//!     let double = move |_: &Turn<'_>, number| answer.send(2 * number).expect("somebody listens");
//!     reactor.add_poller(Phase::Mailbox, mailbox.into_poller("doubler", 8, double)).map(drop)
//! })?;
//! numbers.send(21).expect("there is room");
//! assert_eq!(answers.recv()?, 42);
//! # group.stop();
//! # group.join()?;
//! # Ok(())
//! # }
//! ```
//!
//! # In which order to read
//!
//! 1. [`group`]: the reactors of an appliance; their cores, their start and their end. [`cpu`]: which cores there are.
//! 2. [`reactor`] and [`poller`]: turns, and the contract of what they call. [`idle`]: when a reactor sleeps.
//! 3. [`mailbox`], [`published`], [`per_core`]: the ways between cores.
//! 4. [`clock`] and [`timer`]: time.
//! 5. [`poll_group`] and [`buffer`]: sockets, and the bytes on their way. [`ring`]: files, through io_uring.
//! 6. [`stats`]: what is counted. [`sim`]: how to test what runs on reactors.
//!
//! Each of the first five has an example of at most a hundred lines in the folder `examples` of this crate.
//!
//! # What may block, what may panic, what may allocate
//!
//! Nothing that a poller calls in the course of a turn blocks: sending, receiving, reading a snapshot, timers, sockets. What
//! blocks says so: [`group::Group::spawn`] until the reactor is set up, [`group::Group::join`],
//! [`reactor::Reactor::park`] and [`reactor::Reactor::run`], and the first [`clock::Clock::real`]. Locks are taken where
//! something is made, and by whoever publishes; never by a turn.
//!
//! Panics mean a mistake in the program and are named at each item; what comes from a peer or from the kernel is a value or
//! an error. A poller that panics ends its reactor, and with it the group in order: [`group::Group::join`] says which
//! reactor and which poller it was.
//!
//! After the start, nothing allocates but what adds something: a poller, a socket, a snapshot, a timer beyond the wheel's
//! capacity. Every loop has a bound: a mailbox poller's batch, a wheel's budget, the sockets that one poll serves.
//!
//! # Testing what runs on reactors
//!
//! [`sim::Simulation`] runs the reactors of a group on one thread, in an order drawn from a seed, on
//! a clock that jumps when all of them are idle: no threads, no sleeps, and a failure can be repeated.
//!
//! The protocols of [`mailbox`], of [`published`] and of sleeping are checked on the shipped types with loom, which
//! tries the interleavings and the reorderings that the memory model allows:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p corelane-reactors --release --lib loom
//! ```
//!
//! That the models can see a mistake is shown by making each once: `.ci/mutations` takes every fence out and weakens every
//! ordering, one at a time, and demands that a model fails.

pub mod buffer;
#[cfg(test)]
#[cfg(not(loom))]
mod cases;
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
