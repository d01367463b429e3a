//! Corelane: an embedded poller framework and NVMe-oF/TCP target for storage appliances.

pub mod app;
pub mod bdev;
pub mod cli;
pub mod config;
pub mod connection;
pub mod initiator;
pub mod mem;
pub mod metrics;
pub mod nvme;
pub mod nvmf;
pub mod pdu;
pub mod perf;
pub mod persist;
pub mod reservation;
pub mod spec;
#[cfg(test)]
mod tidy;
pub mod trace;
pub mod transport;
pub mod tune;
pub mod vfio;
