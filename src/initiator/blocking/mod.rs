//! A host that waits for each of its commands: for tests, tools and examples. It sleeps in the kernel while it waits,
//! never longer than its time limit.
//!
//! One command at a time, on its own poll group, through one buffer. A command that is not answered in time ends the
//! host, since the controller may still write to the buffer; so does every end of a queue.
//!
//! ```no_run
//! use corelane::initiator::blocking::{Host, HostOptions};
//! use corelane::spec::nqn::Nqn;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = HostOptions::new(Nqn::parse("nqn.2026-11.io.corelane:disk0")?);
//! let mut host = Host::connect("127.0.0.1:4420".parse()?, &options)?;
//! let blocks = host.read(1, 0, 8)?;
//! host.write(1, 8, &blocks)?;
//! host.disconnect()?;
//! # Ok(())
//! # }
//! ```

mod connect;
mod discovery;
mod drive;
mod error;
mod io;

use std::collections::BTreeMap;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poll_group::SocketId;
use uuid::Uuid;

pub use crate::initiator::QueueName;
pub use discovery::Discovered;
pub use drive::{Answer, Exchange};
pub use error::HostError;
pub use io::Geometry;

use drive::Drive;

use crate::initiator::{Controller, Identity};
use crate::spec::nqn::Nqn;

/// What to connect as, and how.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Who, and to what.
    pub identity: Identity,
    /// I/O queues to connect; none for a discovery controller. The controller may give fewer, at least 1.
    pub io_queues: u16,
    /// Commands that may be under way on an I/O queue; the controller may allow fewer.
    pub depth: u16,
    /// Ask for header digests.
    pub header_digest: bool,
    /// Ask for data digests.
    pub data_digest: bool,
    /// Keep SQ flow control.
    pub flow_control: bool,
    /// KATO; zero for none. A Keep Alive command goes with the first call after half of it; between two calls nothing
    /// is sent, so they must not be further apart.
    pub keep_alive: Duration,
    /// Time limit of connecting, and of each command.
    pub timeout: Duration,
    /// The most data of one command, in bytes; MDTS may be less.
    pub transfer_bytes_max: u32,
}

impl HostOptions {
    /// One I/O queue of 128 commands to `subsystem`, as a host with a name of its own that was made up: no digests, no
    /// SQ flow control, no keep alive, 10 seconds, 1 MiB.
    pub fn new(subsystem: Nqn) -> Self {
        let uuid = Uuid::new_v4();
        let Ok(host) = Nqn::parse(&format!("nqn.2014-08.org.nvmexpress:uuid:{uuid}")) else {
            unreachable!("this is the UUID form")
        };
        Self {
            identity: Identity { host, host_id: uuid.into_bytes(), subsystem },
            io_queues: 1,
            depth: 128,
            header_digest: false,
            data_digest: false,
            flow_control: false,
            keep_alive: Duration::ZERO,
            timeout: Duration::from_secs(10),
            transfer_bytes_max: 1 << 20,
        }
    }

    /// As [`HostOptions::new`], to the discovery subsystem, without I/O queues.
    pub fn discovery() -> Self {
        Self { io_queues: 0, ..Self::new(Nqn::discovery()) }
    }
}

/// A host with one association.
pub struct Host {
    options: HostOptions,
    drive: Drive,
    admin: SocketId,
    io: Vec<SocketId>,
    /// The I/O queue that the next command takes.
    next: usize,
    controller: Controller,
    geometries: BTreeMap<u32, Geometry>,
    kept_alive: Time,
}
