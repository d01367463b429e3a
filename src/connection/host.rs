//! The initiator's end of a connection: sends command capsules and data, takes R2Ts, data and responses.
//!
//! ```text
//!   AwaitingIcresp --ICResp--> Ready --C2HTermReq--> Ended
//!        |                       |
//!        +------ PduError -------+--> Ended (H2CTermReq queued)
//! ```
//!
//! Invariants: an outstanding command owns its CID, which is below `entries`; data of a read arrives in order and
//! never beyond what was asked for; an R2T is answered from the command's own data and never beyond it, and those of one
//! command in the order in which they came; `requests` holds at most `r2t_max` of each command. A command is told
//! completed only when none of its data is left in the outbox: it succeeds when all of it was asked for and sent, and may
//! fail at any time (TCP transport 1.0, section 3.5). Then what is not in the outbox yet is not sent, and the CID stays
//! taken until the rest is.

use std::collections::VecDeque;
use std::ops::Range;

use crate::connection::Wanted;
use crate::connection::framing::{Frame, Framing};
use crate::connection::outbox::{Outbox, Payload, SPARE_BYTES, SPARE_ITEMS};
use crate::pdu::header::{self, Agreement, DATA_HEADER_BYTES_MAX, HEADER_BYTES_MAX, Role};
use crate::pdu::{PduError, capsule, data, digest, icreq, icresp, r2t, term_req};
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;
use crate::spec::tcp::{DIGEST_BYTES, PduType, digest as dgst};

use slot::Slot;

mod slot;

const CAPSULE_BYTES_MAX: usize = HEADER_BYTES_MAX + DIGEST_BYTES;
const DGST_OFFSET: u8 = 11;

/// What this end asks for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Commands that may be outstanding: 1 and up. CIDs are below it.
    pub entries: u16,
    /// Ask for header digests.
    pub header_digest: bool,
    /// Ask for data digests.
    pub data_digest: bool,
    /// The largest transfer of one command, in bytes.
    pub transfer_bytes_max: u32,
    /// HPDA: alignment of the data that the controller sends, in bytes: a multiple of 4 from 4 to 128.
    pub alignment: usize,
    /// MAXR2T: R2Ts that the controller may have outstanding for one command, 1 and up.
    pub r2t_max: u16,
    /// Keep SQ flow control: then every command has a response of its own, which carries the SQHD.
    pub flow_control: bool,
}

impl Default for Options {
    /// One command without digests, padding or SQ flow control, one R2T at a time.
    fn default() -> Self {
        Self {
            entries: 1,
            header_digest: false,
            data_digest: false,
            transfer_bytes_max: 128 << 10,
            alignment: 4,
            r2t_max: 1,
            flow_control: false,
        }
    }
}

/// The data of a command.
#[derive(Debug)]
pub enum Data<D> {
    /// None.
    None,
    /// Goes with the capsule; the owner has checked that the controller takes so much.
    InCapsule(D),
    /// Goes when the controller asks for it.
    OnRequest(D),
    /// Comes from the controller: how many bytes, not 0.
    Read(u32),
}

/// What happened.
#[derive(Debug)]
pub enum Event<'b> {
    /// Show more bytes: nothing can be taken from these.
    Incomplete,
    /// Bytes were taken that concern the connection alone; go on.
    Taken,
    /// The controller agreed; commands may be submitted.
    Opened(icresp::Response),
    /// Data of command `cid`, to be put at `offset` of its buffer.
    Data {
        /// The command.
        cid: u16,
        /// Offset in the command's data, in bytes.
        offset: u32,
        /// The data.
        bytes: &'b [u8],
    },
    /// A command is complete; its CID is free again. Asynchronous events arrive like this, too.
    Completed {
        /// The completion, or one made up for a C2HData PDU with SUCCESS: its SQHD is 0 and means nothing.
        cqe: Cqe,
        /// All data came, and all data digests matched.
        intact: bool,
    },
    /// The controller ends the connection; close it.
    Terminated(term_req::Termination),
}

/// Part of a write that the controller is ready for.
#[derive(Debug)]
struct Request {
    cid: u16,
    ttag: u16,
    remaining: Range<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AwaitingIcresp,
    Ready,
    Ended,
}

/// The initiator's end of one NVMe/TCP queue pair.
#[derive(Debug)]
pub struct Connection<D> {
    options: Options,
    state: State,
    framing: Framing,
    sending: Agreement,
    outbox: Outbox<D>,
    slots: Box<[Slot<D>]>,
    requests: VecDeque<Request>,
    completed: Option<(Cqe, bool)>,
    /// Commands that failed and have data in the outbox, with where that ends.
    late: Vec<(u64, Cqe)>,
    /// The last C2HData PDU of this command is under way and carried SUCCESS.
    success: Option<u16>,
}

impl<D: Payload + Clone> Connection<D> {
    /// Queues an ICReq. Allocates all that it will ever need.
    pub fn new(options: &Options) -> Self {
        assert!(options.entries > 0);
        assert!(options.r2t_max > 0);
        let entries = usize::from(options.entries);
        let mut outbox =
            Outbox::new((entries + 2) * CAPSULE_BYTES_MAX * 2 + SPARE_BYTES, (entries + 2) * 2 + SPARE_ITEMS);
        let request = icreq::Request {
            header_digest: options.header_digest,
            data_digest: options.data_digest,
            alignment: options.alignment,
            r2t_max: options.r2t_max.into(),
        };
        outbox.push(128, |out| icreq::encode(out, &request));
        Self {
            options: *options,
            state: State::AwaitingIcresp,
            framing: Framing::new(Role::Controller),
            sending: Agreement::NONE,
            outbox,
            slots: (0..entries).map(|_| Slot::Idle).collect(),
            requests: VecDeque::with_capacity(entries * usize::from(options.r2t_max)),
            completed: None,
            late: Vec::with_capacity(entries),
            success: None,
        }
    }

    /// The controller has answered; commands may be submitted.
    pub fn is_open(&self) -> bool {
        self.state == State::Ready
    }

    /// The connection is over, by either side; flush the outbox and close.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// A command can be submitted now, its CID being free.
    pub fn has_room(&self) -> bool {
        self.state == State::Ready && self.outbox.fits(2, CAPSULE_BYTES_MAX)
    }

    /// What waits to be sent.
    pub fn outbox(&self) -> &Outbox<D> {
        &self.outbox
    }

    /// The first `bytes` of the outbox were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.outbox.sent(bytes, drop);
        self.serve_requests();
    }

    /// Sends a command under the CID that its SQE carries. The owner has asked [`Connection::has_room`].
    ///
    /// # Panics
    /// If the CID is outstanding or not below `entries`, or the connection is not open.
    pub fn submit(&mut self, sqe: &Sqe, data: Data<D>) {
        assert_eq!(self.state, State::Ready, "a command before the connection is open");
        let slot = &mut self.slots[usize::from(sqe.cid.get())];
        assert!(matches!(slot, Slot::Idle), "a CID is used twice");
        let agreement = &self.sending;
        let capsule = |outbox: &mut Outbox<D>, bytes: usize| {
            outbox.push(HEADER_BYTES_MAX, |out| capsule::encode_command(out, sqe, bytes, agreement));
        };
        *slot = match data {
            Data::None => {
                capsule(&mut self.outbox, 0);
                Slot::Plain { end: 0 }
            }
            Data::InCapsule(data) => {
                let length = data.bytes();
                capsule(&mut self.outbox, length);
                push_data(&mut self.outbox, agreement, data, 0..length);
                Slot::Plain { end: self.outbox.queued() }
            }
            Data::OnRequest(data) => {
                capsule(&mut self.outbox, 0);
                Slot::Write { data, next: 0, asked: 0, end: 0 }
            }
            Data::Read(expected) => {
                assert!(expected > 0);
                capsule(&mut self.outbox, 0);
                Slot::Read { expected, received: 0, intact: true }
            }
        };
    }

    /// Looks at the unconsumed `bytes`; returns how many it took, and what happened.
    ///
    /// # Errors
    /// The peer's mistake; the H2CTermReq is queued (unless it was a malformed C2HTermReq) and
    /// [`Connection::is_ended`].
    pub fn next<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), PduError> {
        if let Some((cqe, intact)) = self.completed.take() {
            return Ok((0, Event::Completed { cqe, intact }));
        }
        if self.state == State::Ended {
            return Ok((0, Event::Incomplete));
        }
        if let Some(place) = self.late_place() {
            let (_, cqe) = self.late.swap_remove(place);
            self.slots[usize::from(cqe.cid.get())] = Slot::Idle;
            return Ok((0, Event::Completed { cqe, intact: true }));
        }
        self.step(bytes).inspect_err(|&error| self.terminate(error, bytes))
    }

    /// [`Connection::next`] has something to tell without more bytes, since something was sent: that a command failed.
    pub fn is_late(&self) -> bool {
        self.state != State::Ended && self.late_place().is_some()
    }

    fn late_place(&self) -> Option<usize> {
        self.late.iter().position(|&(end, _)| end <= self.outbox.gone())
    }

    /// Where the next bytes of the stream belong, while a C2HData PDU is under way.
    pub fn wanted(&self) -> Option<Wanted> {
        if self.state == State::Ready { self.framing.wanted() } else { None }
    }

    /// `bytes` of what was wanted were received in place; `append` continues a CRC32C over them (called only where
    /// data digests are in use). Call [`Connection::next`] afterwards, even without more bytes.
    pub fn direct(&mut self, bytes: u32, append: impl FnOnce(u32) -> u32) {
        let Some(wanted) = self.framing.wanted() else { return };
        let end = self.framing.direct(bytes, append);
        self.received(wanted.tag, bytes, end.then_some(true));
    }

    fn step<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), PduError> {
        match self.framing.next(bytes)? {
            Frame::Incomplete => Ok((0, Event::Incomplete)),
            Frame::Header(layout) => self.header(bytes, &layout),
            Frame::Payload { tag, offset, taken, end } => {
                self.received(tag, u32::try_from(taken).expect("a PDU has 32 bits"), end.then_some(true));
                Ok((taken, Event::Data { cid: tag, offset, bytes: &bytes[..taken] }))
            }
            Frame::Digest { tag, intact } => {
                self.received(tag, 0, Some(intact));
                Ok((DIGEST_BYTES, Event::Taken))
            }
        }
    }

    fn header<'b>(
        &mut self,
        bytes: &'b [u8],
        layout: &header::Layout,
    ) -> Result<(usize, Event<'b>), PduError> {
        match (self.state, layout.pdu_type) {
            (_, PduType::C2H_TERM_REQ) => {
                let termination = term_req::decode(bytes)?;
                self.state = State::Ended;
                Ok((bytes.len().min(layout.total), Event::Terminated(termination)))
            }
            (State::AwaitingIcresp, PduType::ICRESP) => {
                let response = icresp::decode(bytes)?;
                self.open(&response)?;
                Ok((layout.total, Event::Opened(response)))
            }
            (State::Ready, PduType::CAPSULE_RESP) => {
                let cqe = *capsule::decode_response(bytes)?;
                Ok(match self.complete(&cqe)? {
                    Some(intact) => (layout.total, Event::Completed { cqe, intact }),
                    None => (layout.total, Event::Taken),
                })
            }
            (State::Ready, PduType::C2H_DATA) => {
                if bytes.len() < layout.data_start {
                    return Ok((0, Event::Incomplete));
                }
                let chunk = data::decode(bytes, layout)?;
                self.check_data(&chunk)?;
                self.success = chunk.success.then_some(chunk.cid);
                self.framing.payload_follows(layout, chunk.cid, chunk.offset);
                Ok((layout.data_start, Event::Taken))
            }
            (State::Ready, PduType::R2T) => {
                self.take_request(&r2t::decode(bytes)?)?;
                self.serve_requests();
                Ok((layout.total, Event::Taken))
            }
            _ => Err(PduError::Sequence),
        }
    }

    fn open(&mut self, response: &icresp::Response) -> Result<(), PduError> {
        let asked = if self.options.header_digest { dgst::HEADER } else { 0 }
            | if self.options.data_digest { dgst::DATA } else { 0 };
        let given = if response.header_digest { dgst::HEADER } else { 0 }
            | if response.data_digest { dgst::DATA } else { 0 };
        if given & !asked != 0 {
            return Err(PduError::HeaderField { offset: DGST_OFFSET });
        }
        let (header_digest, data_digest) = (response.header_digest, response.data_digest);
        self.framing.agree(Agreement {
            header_digest,
            data_digest,
            alignment: self.options.alignment,
            capsule_bytes_max: 0,
            data_bytes_max: self.options.transfer_bytes_max,
        });
        self.sending = Agreement {
            header_digest,
            data_digest,
            alignment: response.alignment,
            capsule_bytes_max: 0,
            data_bytes_max: response.h2c_data_bytes_max,
        };
        self.state = State::Ready;
        Ok(())
    }

    /// Frees the CID of a command that got its response: true if its data came whole and intact. `None` if it failed, and
    /// data of it is still to be sent: then that is told later.
    fn complete(&mut self, cqe: &Cqe) -> Result<Option<bool>, PduError> {
        let field = PduError::HeaderField { offset: data::CCCID_OFFSET };
        let cid = cqe.cid.get();
        let slot = self.slots.get_mut(usize::from(cid)).ok_or(field)?;
        let (all_queued, end, intact) = match slot {
            Slot::Idle | Slot::Failed => return Err(field),
            Slot::Plain { end } => (true, *end, true),
            Slot::Write { data, next, asked, end } => {
                (*next as usize == data.bytes() && *asked == 0, *end, true)
            }
            Slot::Read { expected, received, intact } => (true, 0, *intact && expected == received),
        };
        let queued_is_sent = end <= self.outbox.gone();
        if cqe.status().is_success() && !(all_queued && queued_is_sent) {
            return Err(PduError::EarlySuccess);
        }
        if !all_queued {
            self.requests.retain(|request| request.cid != cid);
        }
        if queued_is_sent {
            *slot = Slot::Idle;
            Ok(Some(intact))
        } else {
            *slot = Slot::Failed;
            self.late.push((end, *cqe));
            Ok(None)
        }
    }

    fn check_data(&self, chunk: &data::Chunk) -> Result<(), PduError> {
        let slot = self.slots.get(usize::from(chunk.cid));
        slot.unwrap_or(&Slot::Idle).check_data(chunk, self.options.flow_control)
    }

    fn received(&mut self, cid: u16, bytes: u32, end: Option<bool>) {
        let Slot::Read { expected, received, intact } = &mut self.slots[usize::from(cid)] else {
            unreachable!("the header of this PDU was checked against its command");
        };
        *received += bytes;
        assert!(*received <= *expected);
        *intact &= end.unwrap_or(true);
        if end.is_some() && self.success == Some(cid) {
            let intact = *intact;
            self.success = None;
            self.slots[usize::from(cid)] = Slot::Idle;
            self.completed = Some((Cqe { cid: cid.into(), ..Cqe::default() }, intact));
        }
    }

    fn take_request(&mut self, request: &r2t::Request) -> Result<(), PduError> {
        let field = PduError::HeaderField { offset: r2t::CCCID_OFFSET };
        let slot = self.slots.get_mut(usize::from(request.cid)).ok_or(field)?;
        let Slot::Write { data, next, asked, .. } = slot else {
            return Err(if matches!(slot, Slot::Idle | Slot::Failed) { field } else { PduError::Sequence });
        };
        if *asked == self.options.r2t_max {
            return Err(PduError::LimitExceeded);
        }
        let end = request.offset + request.bytes;
        if end as usize > data.bytes() {
            return Err(PduError::OutOfRange);
        }
        if request.offset != *next {
            return Err(PduError::Sequence);
        }
        (*next, *asked) = (end, *asked + 1);
        self.requests.push_back(Request {
            cid: request.cid,
            ttag: request.ttag,
            remaining: request.offset..end,
        });
        Ok(())
    }

    /// Queues H2CData PDUs for as long as there is room; the rest follows when something was sent.
    fn serve_requests(&mut self) {
        while self.state == State::Ready && self.outbox.fits(2, CAPSULE_BYTES_MAX) {
            let Some(request) = self.requests.front_mut() else { return };
            let Slot::Write { data, asked, end: queued, .. } = &mut self.slots[usize::from(request.cid)]
            else {
                unreachable!("requests of completed commands are removed");
            };
            let (offset, end) = (request.remaining.start, request.remaining.end);
            let bytes = (end - offset).min(self.sending.data_bytes_max);
            let last = offset + bytes == end;
            let chunk =
                data::Chunk { cid: request.cid, ttag: request.ttag, offset, bytes, last, success: false };
            let agreement = &self.sending;
            self.outbox.push(DATA_HEADER_BYTES_MAX, |out| data::encode(out, Role::Host, &chunk, agreement));
            let range = offset as usize..(offset + bytes) as usize;
            push_data(&mut self.outbox, agreement, data.clone(), range);
            *queued = self.outbox.queued();
            request.remaining.start += bytes;
            if last {
                *asked -= 1;
                self.requests.pop_front();
            }
        }
    }

    fn terminate(&mut self, error: PduError, bytes: &[u8]) {
        self.state = State::Ended;
        if let Some(offending) = term_req::quotation(bytes, Role::Controller) {
            self.outbox.push(term_req::BYTES_MAX, |out| term_req::encode(out, Role::Host, error, offending));
        }
    }
}

fn push_data<D: Payload>(outbox: &mut Outbox<D>, agreement: &Agreement, data: D, range: Range<usize>) {
    let digest = agreement.data_digest.then(|| digest::data(data.crc32c(range.clone())));
    outbox.push_data(data, range);
    if let Some(digest) = digest {
        outbox.push(DIGEST_BYTES, |out| {
            out.copy_from_slice(&digest);
            DIGEST_BYTES
        });
    }
}
