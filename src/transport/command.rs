//! A command of an I/O queue that has a slot, and how far it is.

use corelane_reactors::buffer::Lease;
use corelane_reactors::poll_group::SocketId;

use crate::mem::Buffer;
use crate::nvmf::io::Request;
use crate::transport::tally::Mark;

#[derive(Debug)]
pub(super) enum Stage {
    /// No buffer is free.
    Waiting(Option<Lease>),
    /// The host was asked for the data.
    Receiving(Buffer),
    /// A fused operation of somebody has its blocks for itself. Its data is here.
    Barred { buffer: Option<Buffer>, lease: Option<Lease> },
    /// The bdev has it; what it touches is kept here.
    Executing { buffer: Option<Buffer>, _lease: Option<Lease> },
    /// The management reactor has it; a report goes into the buffer.
    Reserving(Option<Buffer>),
    /// Half of a fused operation: its data is here, the other half or its data is not.
    Fused { buffer: Option<Buffer>, lease: Option<Lease> },
    /// Half of a fused operation that waits for its blocks, or for the end of the other half.
    Claiming { buffer: Option<Buffer>, lease: Option<Lease> },
}

/// The other half of a fused operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) other: u16,
    /// This one is the Compare.
    pub(super) is_first: bool,
    /// Its buffer counts as one that waits for the host's data.
    pub(super) counted: bool,
    /// Its data came damaged.
    pub(super) damaged: bool,
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) mark: Mark,
    pub(super) request: Request,
    pub(super) stage: Stage,
    /// A preempting command waits for its end.
    pub(super) fenced: bool,
    /// Its host wants it aborted.
    pub(super) aborted: bool,
    /// The other half, if it is one of a fused operation.
    pub(super) pair: Option<Pair>,
}

impl Command {
    /// A command that just came.
    pub(super) fn new(mark: Mark, request: Request, stage: Stage) -> Self {
        Self { mark, request, stage, fenced: false, aborted: false, pair: None }
    }
}

pub(super) fn executing(buffer: Option<Buffer>, lease: Option<Lease>) -> Stage {
    Stage::Executing { buffer, _lease: lease }
}

/// The tag of a pending bdev command: the index of its socket and its slot.
pub(super) fn tag(socket: SocketId, slot: u16) -> u64 {
    (socket.index() as u64) << 16 | u64::from(slot)
}

/// Socket index and slot of a tag.
pub(super) fn untag(tag: u64) -> (usize, u16) {
    let [low, high, ..] = tag.to_le_bytes();
    let index = usize::try_from(tag >> 16).expect("made of a usize");
    (index, u16::from_le_bytes([low, high]))
}
