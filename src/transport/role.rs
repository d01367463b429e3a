//! What an endpoint is made for, and why it cannot be made.

use std::io;

use corelane_reactors::mailbox::Slot;
use corelane_reactors::poll_group::{Options, PollGroup, Probation, StartError};
use corelane_reactors::ring::Ring;

use crate::mem::PoolMemory;
use crate::nvmf::io::Channels;
use crate::transport::fencing::ReservationMail;
use crate::transport::management::Management;
use crate::transport::message::ManagementMail;

/// Bytes of a receive chunk: what one receive can bring.
pub(super) const CHUNK_BYTES: usize = 128 << 10;
/// Receive chunks that one socket may hold. Capsules are shown whole, up to half a chunk.
pub(super) const CHUNKS_PER_SOCKET: usize = 4;
/// What the kernel takes for a connection beyond what its peer has room for, and after how many bytes it takes as much as it
/// likes. The first is one transfer of the default size, less than a tenth of what it would take over loopback for a peer
/// that reads nothing; for good, so little would slow down those that read. The second is what it holds for a socket at most,
/// unless the machine is set up otherwise (`net.ipv4.tcp_wmem`): nobody has more copied for nothing than it has taken before.
const PROBATION: Probation = Probation { unsent_bytes: 128 << 10, ends_after_bytes: 4 << 20 };

/// Why an endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The poll group refused.
    #[error("cannot set up sockets: {0}")]
    Sockets(#[from] io::Error),
    /// The io_uring cannot serve sockets.
    #[error("cannot serve sockets through io_uring: {0}")]
    Ring(#[from] StartError),
}

/// The sockets of an endpoint, on the ring if there is one.
pub(super) fn poll_group(sockets_max: usize, ring: Option<&Ring>) -> Result<PollGroup, EndpointError> {
    let chunks = sockets_max * 2 + 2;
    let options =
        Options { chunk_bytes: CHUNK_BYTES, chunks, sockets_max, chunks_per_socket: CHUNKS_PER_SOCKET };
    let mut group = match ring {
        Some(ring) => PollGroup::on_ring(&options, ring)?,
        None => PollGroup::new(&options)?,
    };
    group.put_on_probation(PROBATION);
    Ok(group)
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
        /// The ring of its reactor, attached to it, if sockets are served through it; through epoll otherwise.
        ring: Option<Ring>,
    },
}
