//! What an endpoint is made for, and why it cannot be made.

use std::io;

use corelane_reactors::mailbox::Slot;

use crate::mem::PoolMemory;
use crate::nvmf::io::Channels;
use crate::transport::fencing::ReservationMail;
use crate::transport::management::Management;
use crate::transport::message::ManagementMail;

/// Why an endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The poll group refused.
    #[error("cannot set up sockets: {0}")]
    Sockets(#[from] io::Error),
}

/// What an endpoint is for.
pub enum EndpointRole {
    /// Listeners, new connections and admin queues.
    Management(Box<Management>),
    /// I/O queues.
    Io {
        /// Which of the I/O reactors this is, from 0.
        lane: usize,
        /// Its ways to block devices; none is open yet.
        channels: Channels,
        /// The buffers that its queues take at Connect.
        memory: PoolMemory,
        /// Room for its last message.
        drained: Slot<ManagementMail>,
        /// The way of reservation commands.
        mail: ReservationMail,
    },
}
