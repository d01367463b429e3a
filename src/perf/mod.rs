//! The load generator behind `corelane perf`: reactors of ours keep a target busy, and measure it.
//!
//! ```text
//!   Survey (what is there?) -> Plan (what to ask for?) -> run -> Report -> plot
//!
//!   on each core:  Generator (a poller) -> Lane (one queue: places, slots, latencies) -> Port -> initiator or bdev
//! ```
//!
//! A [`Target`] gives each core a [`Port`] with some lanes; everything else is the same for all targets. What must hold:
//! a command has a slot of its lane from its choice to its end, and the slot's memory is left alone meanwhile; a command
//! that a lost connection took along is sent again, and is measured from its first sending; nothing ends without being
//! counted, as done or under its error.

mod generator;
mod lane;
mod ledger;
mod local;
mod places;
mod plan;
pub mod plot;
mod port;
mod report;
mod run;
mod share;
mod stamp;
mod survey;
mod tcp;
#[cfg(test)]
mod tests;

pub use local::{BdevTarget, Lent, Upkeep};
pub use plan::{Pattern, Plan, PlanError, Space};
pub use port::{Failure, Io, Outage, Port, Sink, Submission, Target};
pub use report::{Report, Verified};
pub use run::{Progress, RunError, Watch, run};
pub use stamp::{Meaning, Mismatch};
pub use survey::{Survey, SurveyError, find_data, survey};
pub use tcp::TcpTarget;
