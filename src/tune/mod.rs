//! Inspection and set-up of the machine, and what to try on it: what an operator does once before an appliance runs on it.
//!
//! Nothing here runs on a reactor, and nothing here is on the I/O path: it reads files of the kernel, and writes a
//! few of them when it is told to.

pub mod inspect;
pub mod measure;
pub mod setup;
