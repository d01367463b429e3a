//! What is remembered of commands and of rare events: counters, latencies, a ring of events per reactor, and one of
//! failed commands per queue. Knows no
//! protocol; whoever uses it says what happened.
//!
//! What must hold: each of these has one writer, the reactor it belongs to, and any number of readers that never hold
//! it up. Writing takes no lock, allocates nothing and reads no clock.

mod commands;
mod events;
mod failures;
mod ring;

pub use commands::{Class, CommandCounts, CommandTrace, Fault, Kind};
pub use events::{EVENTS_KEPT, Event, EventRing, What};
pub use failures::{FAILURES_KEPT, Failure, FailureRing};
