//! What the management reactor and the I/O reactors tell each other. Only when queues begin, move and end,
//! never on the I/O path.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Slot;

use crate::connection::controller::Moved;
use crate::nvmf::access::Access;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::fence::NamespaceKey;
use crate::nvmf::io::Place;
use crate::nvmf::namespace::NamespaceTable;
use crate::nvmf::subsystem::Counting;
use crate::nvmf::target::IoTicket;
use crate::spec::host::HostId;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::trace::CommandTrace;
use crate::transport::luggage::Luggage;
use crate::transport::settling::{SettleCause, SettleOrder};

/// To an I/O reactor.
#[derive(Debug)]
pub enum IoMail {
    /// Take a queue over and answer its Connect command. Boxed: it happens once in the life of a queue.
    Adopt(Box<Handover>),
    /// Close a queue, wherever it stands; [`ManagementMail::Closed`] follows.
    Close {
        /// The controller.
        controller: ControllerId,
        /// The queue.
        qid: u16,
    },
    /// A reservation command is done.
    Reserved {
        /// The command, as it was named on its way there.
        tag: u64,
        /// Its status.
        status: Status,
        /// Data for the host.
        data: Vec<u8>,
    },
    /// Bring the commands of these hosts on a namespace to their end; [`ManagementMail::Fenced`] follows.
    Fence(Box<FenceOrder>),
    /// Wait for the end of the writes to a namespace, or only make durable what its device has cached;
    /// [`ManagementMail::Settled`] follows. Boxed: it is rare.
    Settle(Box<SettleOrder>),
    /// Make room for a queue of another I/O reactor; [`ManagementMail::Prepared`] follows.
    Expect(Box<Expected>),
    /// The queue that was expected does not come.
    Dismiss,
    /// Take the queue over that was expected.
    Arrive(Box<Departure>),
    /// Let a queue go to another I/O reactor; [`ManagementMail::Departed`] or [`ManagementMail::Stayed`] follows.
    Release {
        /// The controller.
        controller: ControllerId,
        /// The queue.
        qid: u16,
        /// Room for the answer.
        reply: Slot<ManagementMail>,
    },
    /// What a controller may do has changed; [`ManagementMail::AccessTaken`] follows. Boxed: it is rare.
    Access(Box<AccessOrder>),
    /// Abort a command; [`ManagementMail::Aborted`] follows. Boxed: it is rare.
    Abort(Box<AbortOrder>),
    /// Hand over nothing more that touches a place; [`ManagementMail::Barred`] follows when nothing of it is left. Boxed:
    /// it is rare.
    Bar(Box<BarOrder>),
    /// A fused operation has its place for itself; [`ManagementMail::Released`] follows.
    Granted {
        /// The operation, as it was named in [`ManagementMail::Claim`].
        tag: u64,
        /// What to release.
        number: u64,
    },
    /// A place is everybody's again.
    Unbar(u64),
    /// Finish what is in flight and close every queue; [`ManagementMail::Drained`] follows.
    Drain,
}

/// To the management reactor.
#[derive(Debug)]
pub enum ManagementMail {
    /// A queue has ended and all its commands are back.
    Closed {
        /// The controller.
        controller: ControllerId,
        /// The queue.
        qid: u16,
    },
    /// A reservation command arrived. Boxed: they are rare.
    Reserve(Box<Reserve>),
    /// No command of the victims of this order is left on this I/O reactor.
    Fenced(NamespaceKey),
    /// No write to the namespace is left on this I/O reactor, where those were to end.
    Settled {
        /// The namespace.
        key: NamespaceKey,
        /// What it was ordered for.
        cause: SettleCause,
        /// What its device had cached is durable.
        durable: bool,
    },
    /// An I/O reactor was to make room for a queue.
    Prepared {
        /// It did.
        ready: bool,
    },
    /// A queue that was to leave has left.
    Departed(Box<Departure>),
    /// A queue that was to leave did not.
    Stayed,
    /// The queues of a controller on this I/O reactor have what they were given under this number.
    AccessTaken {
        /// The controller.
        controller: ControllerId,
        /// The number.
        number: u64,
    },
    /// An Abort command is done.
    Aborted {
        /// The controller.
        controller: ControllerId,
        /// CID of the Abort command.
        cid: u16,
        /// The other command was aborted: its answer is on the way, and nothing more happens for it.
        aborted: bool,
    },
    /// A fused operation needs a place for itself; [`IoMail::Granted`] follows. Boxed: it is rare.
    Claim(Box<Claim>),
    /// An I/O reactor has nothing left that touches the place of this number, and hands over nothing more.
    Barred(u64),
    /// The fused operation that had the place of this number is over.
    Released(u64),
    /// An I/O reactor has no queue left and takes none any more.
    Drained,
}

/// A reservation command on its way to the management reactor.
#[derive(Debug)]
pub struct Reserve {
    pub(super) controller: ControllerId,
    /// Where its queue comes from.
    pub(super) peer: SocketAddr,
    pub(super) sqe: Sqe,
    pub(super) data: Vec<u8>,
    /// The command, for the queue that waits.
    pub(super) tag: u64,
    /// Room for the answer: a duty that cannot be refused.
    pub(super) reply: Slot<IoMail>,
}

/// Whose commands have to end.
#[derive(Debug)]
pub struct FenceOrder {
    pub(super) key: NamespaceKey,
    pub(super) hosts: Vec<HostId>,
    /// Room for the answer.
    pub(super) reply: Slot<ManagementMail>,
}

/// What an operator's change gives to the I/O queues of a controller.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) access: Arc<Access>,
    /// Every namespace of the subsystem: those that it has already, and perhaps others.
    pub(super) namespaces: Arc<NamespaceTable>,
    pub(super) counting: Arc<dyn Counting>,
}

/// What the I/O queues of a controller judge by from now on.
#[derive(Debug)]
pub struct AccessOrder {
    pub(super) controller: ControllerId,
    pub(super) number: u64,
    pub(super) grant: Grant,
    /// Room for the answer.
    pub(super) reply: Slot<ManagementMail>,
}

/// Which command is to be aborted, and whose Abort command waits.
#[derive(Debug)]
pub struct AbortOrder {
    pub(super) controller: ControllerId,
    /// CID of the Abort command.
    pub(super) cid: u16,
    /// QID of the command's queue.
    pub(super) qid: u16,
    /// CID of the command.
    pub(super) victim: u16,
    /// Room for the answer.
    pub(super) reply: Slot<ManagementMail>,
}

/// A place that a fused operation needs for itself.
#[derive(Debug)]
pub struct Claim {
    pub(super) place: Place,
    /// The operation, for the queue that waits.
    pub(super) tag: u64,
    /// Room for the answer.
    pub(super) reply: Slot<IoMail>,
}

/// A place that is to be left alone.
#[derive(Debug)]
pub struct BarOrder {
    pub(super) number: u64,
    pub(super) place: Place,
    /// Room for the answer.
    pub(super) reply: Slot<ManagementMail>,
}

/// A queue on its way to its I/O reactor.
#[derive(Debug)]
pub struct Handover {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) unread: Vec<u8>,
    pub(super) moved: Moved,
    /// CID and DW0 for the completion of its Connect command.
    pub(super) connect: (u16, u32),
    pub(super) ticket: IoTicket,
    pub(super) counted: Counted,
    /// Where its commands are counted.
    pub(super) trace: Arc<CommandTrace>,
    /// Room for the message that the queue has ended: a duty that cannot be refused.
    pub(super) closed: Slot<ManagementMail>,
}

/// A queue that is to come from another I/O reactor.
#[derive(Debug)]
pub struct Expected {
    pub(super) ticket: IoTicket,
    pub(super) trace: Arc<CommandTrace>,
    /// Room for the answer.
    pub(super) reply: Slot<ManagementMail>,
}

/// A queue on its way from one I/O reactor to another.
#[derive(Debug)]
pub struct Departure {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) unread: Vec<u8>,
    pub(super) moved: Moved,
    pub(super) counted: Counted,
    /// Room for the message that the queue has ended.
    pub(super) closed: Slot<ManagementMail>,
    pub(super) luggage: Luggage,
    /// Since when it takes no commands.
    pub(super) left: Time,
}

/// One of the connections that the limit counts, for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Counts one more, unless there are `max` already.
    pub(super) fn new(live: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        // Relaxed: a count, it orders nothing else.
        let counted =
            live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < max).then_some(now + 1));
        counted.ok().map(|_| Self(Arc::clone(live)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
