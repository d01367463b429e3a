//! One connection to a controller, and the commands that are under way on it. Knows its socket only by what comes of it.
//!
//! ```text
//!   Opening --ICResp--> Connecting --Connect succeeds--> Ready
//!      +--------------------+------------------------------+--> Ended(why)
//! ```
//!
//! Invariants: a CID below `depth` is either in `free` or names a command that was submitted and not told completed;
//! the memory of a command is touched only while it is; after `Ended` nothing is taken and nothing is queued.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use corelane_reactors::buffer::{Gather, Segment, SegmentMut};
use zerocopy::IntoBytes;

use crate::connection::Payload;
use crate::connection::host::{Connection, Data, Event, Options};
use crate::initiator::identity::Identity;
use crate::initiator::{CommandError, End, Refusal, command};
use crate::mem;
use crate::pdu::digest;
use crate::spec::cqe::Cqe;
use crate::spec::fabrics::{CNTLID_DYNAMIC, ConnectAccepted, ConnectData};
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::tcp::ADMIN_IN_CAPSULE_BYTES;

/// SQHD of a Connect completion where the controller agrees to do without SQ flow control (base 2.1, section 6.3).
const NO_FLOW_CONTROL_SQHD: u16 = 0xffff;

/// MAXR2T that is announced: a controller whose buffers are short asks for the next one before the last has been filled.
const R2T_MAX: u16 = 4;

/// What a queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The admin queue of a new association.
    Admin {
        /// KATO: the controller ends the association after so long without a command; zero for never.
        keep_alive: Duration,
    },
    /// An I/O queue.
    Io {
        /// QID, from 1.
        qid: u16,
        /// The controller, as the admin queue learned it.
        cntlid: u16,
    },
}

impl Kind {
    /// QID; 0 for an admin queue.
    pub fn qid(self) -> u16 {
        match self {
            Self::Admin { .. } => 0,
            Self::Io { qid, .. } => qid,
        }
    }
}

/// How a queue is to be.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// What it is for.
    pub kind: Kind,
    /// Commands that may be under way, 1 to 65,534: one less than the queue has entries.
    pub depth: u16,
    /// Ask for header digests.
    pub header_digest: bool,
    /// Ask for data digests.
    pub data_digest: bool,
    /// Keep SQ flow control. Without it the controller may save the response of a read.
    pub flow_control: bool,
    /// The most data that goes with a command, in bytes: what IOCCSZ leaves. Admin queues take 8,192 whatever this says.
    pub in_capsule_bytes_max: u32,
    /// The most data of one command, in bytes: MDTS, or what the host limits itself to.
    pub transfer_bytes_max: u32,
}

/// The data of a command. The memory must be left alone until the command completes.
#[derive(Clone, Copy, Debug)]
pub enum Transfer {
    /// None.
    None,
    /// Goes to the controller: with the command if it takes so much, else when it asks.
    ToController(Segment),
    /// Comes from the controller.
    ToHost(SegmentMut),
}

/// A command that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What it was submitted with.
    pub tag: u64,
    /// Its completion. SQHD means nothing where SQ flow control is off.
    pub outcome: Result<Cqe, CommandError>,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSubmitted {
    /// Try again when something completed, or was sent.
    #[error("the queue is full")]
    Full,
    /// The queue is not connected yet, or not any more.
    #[error("the queue is not connected")]
    NotReady,
    /// The controller does not transfer so much at once.
    #[error("{bytes} bytes are more than the {max} that one command may transfer")]
    TooLong {
        /// The length of the data.
        bytes: usize,
        /// The most that can be transferred.
        max: u32,
    },
}

/// What the outbox holds.
#[derive(Clone, Debug)]
enum Outgoing {
    Memory(Segment),
    Connect(Rc<ConnectData>),
}

impl Payload for Outgoing {
    fn bytes(&self) -> usize {
        match self {
            Self::Memory(from) => from.len(),
            Self::Connect(data) => data.as_bytes().len(),
        }
    }

    fn crc32c(&self, range: Range<usize>) -> u32 {
        match self {
            Self::Memory(from) => mem::crc32c(from.slice(range), 0),
            Self::Connect(data) => digest::append(0, &data.as_bytes()[range]),
        }
    }
}

/// What is known of a command under way; of a free CID, what was last.
#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u64,
    /// Where the data goes that comes from the controller.
    into: SegmentMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Connecting,
    Ready { cntlid: u16 },
    Ended(End),
}

/// One queue pair.
#[derive(Debug)]
pub struct QueuePair {
    options: QueueOptions,
    state: State,
    connection: Connection<Outgoing>,
    /// Until it was sent.
    connect: Option<Rc<ConnectData>>,
    slots: Box<[Slot]>,
    free: Vec<u16>,
    /// The CID of a Connect command under way, whose end nobody is told of.
    connecting: Option<u16>,
}

impl QueuePair {
    /// Begins with an ICReq; connects when it is answered. Allocates all it will ever need.
    ///
    /// # Panics
    /// If the depth is 0 or 65,535.
    pub(super) fn new(identity: &Identity, options: &QueueOptions) -> Self {
        assert!(options.depth > 0);
        assert!(options.depth < u16::MAX);
        let connection = Connection::new(&Options {
            entries: options.depth,
            header_digest: options.header_digest,
            data_digest: options.data_digest,
            transfer_bytes_max: options.transfer_bytes_max,
            alignment: 4,
            r2t_max: R2T_MAX,
            flow_control: options.flow_control,
        });
        let cntlid = match options.kind {
            Kind::Admin { .. } => CNTLID_DYNAMIC,
            Kind::Io { cntlid, .. } => cntlid,
        };
        let empty = Slot { tag: 0, into: SegmentMut::empty() };
        Self {
            options: *options,
            state: State::Opening,
            connection,
            connect: Some(Rc::new(identity.connect_data(cntlid))),
            slots: vec![empty; usize::from(options.depth)].into_boxed_slice(),
            // The lowest CID is the first to be taken, and the last returned: its slot is warm.
            free: (0..options.depth).rev().collect(),
            connecting: None,
        }
    }

    /// QID; 0 for an admin queue.
    pub fn qid(&self) -> u16 {
        self.options.kind.qid()
    }

    /// Commands can be submitted.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// The controller that the queue is connected to, once it is ready.
    pub fn cntlid(&self) -> Option<u16> {
        match self.state {
            State::Ready { cntlid } => Some(cntlid),
            State::Opening | State::Connecting | State::Ended(_) => None,
        }
    }

    /// Why the queue is of no use any more; `None` while it is.
    pub fn end(&self) -> Option<End> {
        match self.state {
            State::Ended(end) => Some(end),
            State::Opening | State::Connecting | State::Ready { .. } => None,
        }
    }

    /// SQ flow control is in use; meaningful once the queue is ready.
    pub fn flow_control(&self) -> bool {
        self.options.flow_control
    }

    /// Commands that are under way.
    pub fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A command can be submitted now.
    pub fn has_room(&self) -> bool {
        self.is_ready() && !self.free.is_empty() && self.connection.has_room()
    }

    /// Queues a command; [`super::Queues::flush`] sends it. Its CID and data pointer are filled in. Returns its CID.
    ///
    /// # Errors
    /// [`NotSubmitted`]; nothing has changed then.
    ///
    /// # Panics
    /// If the data is empty.
    pub fn submit(&mut self, sqe: &Sqe, transfer: Transfer, tag: u64) -> Result<u16, NotSubmitted> {
        if !self.is_ready() {
            return Err(NotSubmitted::NotReady);
        }
        let bytes = match transfer {
            Transfer::None => 0,
            Transfer::ToController(from) => from.len(),
            Transfer::ToHost(into) => into.len(),
        };
        let max = self.options.transfer_bytes_max;
        let length = u32::try_from(bytes).ok().filter(|&length| length <= max);
        let Some(length) = length else { return Err(NotSubmitted::TooLong { bytes, max }) };
        if !self.connection.has_room() {
            return Err(NotSubmitted::Full);
        }
        let Some(cid) = self.free.pop() else { return Err(NotSubmitted::Full) };
        let slot = &mut self.slots[usize::from(cid)];
        *slot = Slot { tag, into: SegmentMut::empty() };
        let mut sqe = *sqe;
        sqe.cid = cid.into();
        let data = match transfer {
            Transfer::None => Data::None,
            Transfer::ToController(from) => {
                assert!(length > 0);
                let data = Outgoing::Memory(from);
                if length <= self.in_capsule_bytes_max() {
                    sqe.dptr = SglDescriptor::in_capsule(0, length);
                    Data::InCapsule(data)
                } else {
                    sqe.dptr = SglDescriptor::transport(length);
                    Data::OnRequest(data)
                }
            }
            Transfer::ToHost(into) => {
                assert!(length > 0);
                slot.into = into;
                sqe.dptr = SglDescriptor::transport(length);
                Data::Read(length)
            }
        };
        self.connection.submit(&sqe, data);
        Ok(cid)
    }

    /// Something waits to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.connection.outbox().is_empty()
    }

    /// Puts what waits to be sent into `gather`, as far as it has room.
    pub(super) fn gather<'a>(&'a self, gather: &mut Gather<'_, 'a>) {
        for (bytes, data) in self.connection.outbox().parts() {
            if gather.room() < 2 {
                break;
            }
            if !bytes.is_empty() {
                gather.bytes(bytes);
            }
            match data {
                Some((Outgoing::Memory(from), range)) => gather.segment(from.slice(range)),
                Some((Outgoing::Connect(data), range)) => gather.bytes(&data.as_bytes()[range]),
                None => {}
            }
        }
    }

    /// The first `bytes` of what was gathered were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.connection.sent(bytes);
    }

    /// A command that failed can be told, since the rest of its data was sent: [`QueuePair::received`] does, without bytes.
    pub(super) fn is_late(&self) -> bool {
        self.connection.is_late()
    }

    /// Takes what it can of the unconsumed bytes of the stream; returns how many that are.
    pub(super) fn received(&mut self, stream: &[u8], mut done: impl FnMut(Completion)) -> usize {
        let mut taken = 0;
        while let Some(used) = self.step(&stream[taken..], &mut done) {
            taken += used;
        }
        if self.end().is_some() { stream.len() } else { taken }
    }

    /// Where the next bytes of the stream belong.
    pub(super) fn wanted(&self) -> Option<SegmentMut> {
        let wanted = self.connection.wanted().filter(|_| self.is_ready())?;
        let start = wanted.offset as usize;
        Some(self.slots[usize::from(wanted.tag)].into.slice(start..start + wanted.bytes as usize))
    }

    /// Bytes of the PDU that the wanted ones end.
    pub(super) fn wanted_whole(&self) -> usize {
        self.connection.wanted().map_or(0, |wanted| wanted.whole as usize)
    }

    /// `bytes` came where they were wanted.
    pub(super) fn received_direct(&mut self, bytes: usize, mut done: impl FnMut(Completion)) {
        let Some(wanted) = self.wanted() else {
            unreachable!("bytes were received in place that nobody wanted")
        };
        let here = wanted.read_only().slice(0..bytes);
        let bytes = u32::try_from(bytes).expect("not more than was wanted");
        self.connection.direct(bytes, |crc| mem::crc32c(here, crc));
        // The end of a read that needs no response is told without more bytes.
        self.received(&[], &mut done);
    }

    /// The queue pair is of no use any more; the first reason stays.
    pub(super) fn ended(&mut self, end: End) {
        if self.end().is_none() {
            self.state = State::Ended(end);
        }
    }

    /// Tells every command that is under way that its connection is gone.
    pub(super) fn abandon(&mut self, mut done: impl FnMut(Completion)) {
        assert!(self.end().is_some());
        let mut under_way = vec![true; self.slots.len()];
        for &cid in &self.free {
            under_way[usize::from(cid)] = false;
        }
        for cid in (0..self.options.depth).filter(|&cid| under_way[usize::from(cid)]) {
            self.free.push(cid);
            let tag = self.slots[usize::from(cid)].tag;
            if self.connecting == Some(cid) {
                continue;
            }
            done(Completion { tag, outcome: Err(CommandError::Disconnected) });
        }
    }

    fn in_capsule_bytes_max(&self) -> u32 {
        match self.options.kind {
            Kind::Admin { .. } => ADMIN_IN_CAPSULE_BYTES,
            Kind::Io { .. } => self.options.in_capsule_bytes_max,
        }
    }

    /// One event; returns the bytes it took, `None` if there is none in `bytes`.
    fn step(&mut self, bytes: &[u8], done: &mut impl FnMut(Completion)) -> Option<usize> {
        if self.end().is_some() {
            return None;
        }
        let (used, event) = match self.connection.next(bytes) {
            Ok(step) => step,
            Err(error) => {
                self.ended(End::Protocol(error));
                return None;
            }
        };
        match event {
            Event::Incomplete => return None,
            Event::Taken => {}
            Event::Opened(_) => self.connect(),
            Event::Data { cid, offset, bytes } => {
                let start = offset as usize;
                let into = self.slots[usize::from(cid)].into;
                mem::copy_in(bytes, into.slice(start..start + bytes.len()));
            }
            Event::Completed { cqe, intact } => self.completed(cqe, intact, done),
            Event::Terminated(termination) => self.ended(End::Terminated(termination)),
        }
        Some(used)
    }

    fn connect(&mut self) {
        assert_eq!(self.state, State::Opening);
        let Some(data) = self.connect.take() else { unreachable!("a connection opens once") };
        let keep_alive_ms = match self.options.kind {
            Kind::Admin { keep_alive } => u32::try_from(keep_alive.as_millis()).unwrap_or(u32::MAX),
            Kind::Io { .. } => 0,
        };
        let qid = self.options.kind.qid();
        let mut sqe = command::connect(qid, self.options.depth, self.options.flow_control, keep_alive_ms);
        let Some(cid) = self.free.pop() else { unreachable!("no command is under way") };
        sqe.cid = cid.into();
        self.connecting = Some(cid);
        let length = u32::try_from(size_of::<ConnectData>()).expect("1,024 bytes");
        sqe.dptr = SglDescriptor::in_capsule(0, length);
        self.connection.submit(&sqe, Data::InCapsule(Outgoing::Connect(data)));
        self.state = State::Connecting;
    }

    fn completed(&mut self, cqe: Cqe, intact: bool, done: &mut impl FnMut(Completion)) {
        let cid = cqe.cid.get();
        let slot = self.slots[usize::from(cid)];
        self.free.push(cid);
        let status = cqe.status();
        if self.state == State::Connecting {
            self.connecting = None;
            return self.connected(&cqe);
        }
        let outcome = if !status.is_success() {
            Err(CommandError::Status { status, dw0: cqe.dw0.get() })
        } else if intact {
            Ok(cqe)
        } else {
            Err(CommandError::Damaged)
        };
        done(Completion { tag: slot.tag, outcome });
    }

    fn connected(&mut self, cqe: &Cqe) {
        let (status, dw0) = (cqe.status(), cqe.dw0.get());
        if !status.is_success() {
            return self.ended(End::Refused(Refusal { status, dw0 }));
        }
        let cntlid = match self.options.kind {
            Kind::Admin { .. } => ConnectAccepted::from_bits(dw0).cntlid(),
            Kind::Io { cntlid, .. } => cntlid,
        };
        self.options.flow_control = cqe.sqhd.get() != NO_FLOW_CONTROL_SQHD;
        self.state = State::Ready { cntlid };
    }
}
