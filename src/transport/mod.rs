//! Joins connections to the sockets of a poll group and to the NVM subsystem: one [`Endpoint`] per reactor.
//!
//! A connection begins on the management reactor: a [`Listener`] accepts it, ICReq and Connect are answered there, and
//! admin queues stay there. An accepted I/O queue moves to its I/O reactor by message, with its socket, what was
//! agreed on, and its unread bytes. A silent or hostile peer never reaches an I/O reactor.
//!
//! What must hold: the socket index of a queue is not reused before every command of the queue has come back from its
//! bdev; a queue that ends tells the management reactor, which closes what depends on it.

mod aborting;
mod access;
mod admin_queue;
mod answers;
mod balance;
mod barring;
mod claims;
mod command;
mod connections;
mod counters;
mod data;
mod departure;
mod endpoint;
mod escalation;
mod execution;
mod fencing;
mod foresight;
mod frozen;
mod fusing;
mod io_queue;
mod link;
mod listener;
mod luggage;
mod management;
mod message;
mod orders;
mod placement;
mod pollers;
mod queues;
mod relocation;
mod role;
mod settling;
mod share;
mod shutting;
mod slots;
mod submission;
mod tally;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::mem::{Arena, Class, PoolMemory};
use crate::transport::pollers::SHARED_MANAGEMENT_PACE;

pub use connections::ConnectionView;
pub use counters::Counters;
pub use endpoint::Endpoint;
pub use fencing::ReservationMail;
pub use listener::{ListenError, Listener, listen};
pub use management::Management;
pub use message::{IoMail, ManagementMail};
pub use placement::{Nearest, Placement};
pub use pollers::{Mail, attach};
pub use relocation::MoveError;
pub use role::{EndpointError, EndpointRole};
pub use share::QueueBuffers;

/// What a connection may hold of bytes that were received, besides its `data_bytes_max`.
pub const RECEIVE_BYTES: usize = role::CHUNK_BYTES * role::CHUNKS_PER_SOCKET;

/// Sizes and time limits of the transport.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections at a time, over all reactors: 1 and up.
    pub connections_max: usize,
    /// The largest data transfer of one command in bytes (MDTS): a power of two from 4096.
    pub transfer_bytes_max: u32,
    /// The largest in-capsule data of an I/O queue, in bytes; Identify announces it as IOCCSZ. A multiple of 16, up to 32
    /// KiB.
    pub in_capsule_bytes: u32,
    /// Bytes of data that one connection may hold: two of `transfer_bytes_max` and up. An admin queue that holds so many
    /// takes no more commands until its host has read; an I/O queue has buffers of not more.
    pub data_bytes_max: usize,
    /// Buffers that each I/O queue takes at Connect; it is refused where the reactor has too few left.
    pub buffers: QueueBuffers,
    /// How long a connection may take to send its ICReq.
    pub icreq_timeout: Duration,
    /// How long it may then take to send its Connect command.
    pub connect_timeout: Duration,
    /// How long a connection that was told to end is kept for the peer to read why.
    pub linger: Duration,
    /// How long a preempting command waits for the commands of its victims, which bdevs were asked to abort, before it
    /// asks once more.
    pub abort_after: Duration,
    /// How long until it resets the channels that still have some; counted from the beginning, as the others are.
    pub reset_after: Duration,
    /// How long until it retires the bdevs that still have some.
    pub retire_after: Duration,
    /// Agree to header digests.
    pub header_digest: bool,
    /// Agree to data digests.
    pub data_digest: bool,
    /// Messages of other reactors that one turn takes: 1 and up.
    pub messages_per_turn: usize,
    /// Sockets that one turn receives from: 1 and up.
    pub sockets_per_turn: usize,
    /// Connections that one turn accepts at each address: 1 and up.
    pub accepts_per_turn: usize,
    /// How often the management reactor looks for new connections and at its sockets while it takes turns. Looking costs
    /// system calls, which a core that serves I/O, too, is not to pay in every turn; one that does not had better look at once,
    /// for a turn that does not look is of no use to anybody.
    pub management_pace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            transfer_bytes_max: 128 << 10,
            in_capsule_bytes: 8 << 10,
            data_bytes_max: (8 << 20) - RECEIVE_BYTES,
            buffers: QueueBuffers::for_entries(128),
            icreq_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            abort_after: Duration::from_secs(1),
            reset_after: Duration::from_secs(5),
            retire_after: Duration::from_secs(15),
            header_digest: true,
            data_digest: true,
            messages_per_turn: 32,
            sockets_per_turn: 64,
            accepts_per_turn: 16,
            management_pace: SHARED_MANAGEMENT_PACE,
        }
    }
}

impl Settings {
    /// Bytes of memory that the buffers of an I/O queue take, unless it is short.
    #[must_use]
    pub fn queue_bytes(&self) -> usize {
        self.queue_classes().filter_map(|class| class.total_bytes()).fold(0, usize::saturating_add)
    }

    /// The buffers for as many I/O queues as `arena` has room for, at most for `connections_max`; `None` if that is not
    /// even one.
    #[must_use]
    pub fn carve(&self, arena: &mut Arena) -> Option<PoolMemory> {
        let queues = (arena.bytes() / self.queue_bytes()).min(self.connections_max);
        if queues == 0 {
            return None;
        }
        let queues = u32::try_from(queues).ok()?;
        let all = self
            .queue_classes()
            .map(|class| Some(Class { count: class.count.checked_mul(queues)?, ..class }));
        arena.carve(&all.collect::<Option<Vec<_>>>()?)
    }

    fn queue_classes(&self) -> impl Iterator<Item = Class> {
        self.buffers.classes(u16::MAX, self.transfer_bytes_max)
    }
}
