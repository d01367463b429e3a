//! Whole processes of `corelane`, looked at from outside: what they print, what they serve over real sockets, how they
//! end, and what hostile peers can do to them.
//!
//! Ports are the kernel's choice, every wait has a deadline, and nothing sleeps but where time itself is measured.

mod acts;
mod alignment;
mod bounds;
mod budgets;
mod chained;
mod crowd;
mod depth;
mod descriptors;
mod engines;
mod files;
mod fused;
#[path = "../harness/mod.rs"]
mod harness;
mod history;
mod hostile;
mod idle;
mod liar;
mod lies;
mod limits;
mod load;
mod metrics;
mod mounts;
mod parts;
mod pattern;
mod peer;
mod picky;
mod program;
mod protection;
mod records;
mod reload;
mod residence;
mod scene;
mod serving;
mod session;
mod sigkill;
mod spread;
mod starting;
mod state;
mod stopping;
#[path = "../storm/mod.rs"]
mod storm;
mod tearing;
mod terminal;
mod tuning;
