//! The target's end of a connection: takes command capsules and data, sends R2Ts, data and responses.
//!
//! ```text
//!   AwaitingIcreq --ICReq--> Ready --H2CTermReq--> Ended
//!        |                     |
//!        +----- PduError ------+--> Ended (C2HTermReq queued)
//! ```
//!
//! Invariants: a transfer tag is below `entries` and belongs to one command at a time; a transfer has
//! `received <= expected`, and data arrives in order; after `Ended` nothing is taken and nothing is queued.

use crate::connection::Wanted;
use crate::connection::framing::{Frame, Framing};
use crate::connection::outbox::{Outbox, Payload, SPARE_BYTES, SPARE_ITEMS};
use crate::pdu::header::{self, Agreement, DATA_HEADER_BYTES_MAX, Role};
use crate::pdu::{PduError, capsule, data, digest, icreq, icresp, r2t, term_req};
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;
use crate::spec::tcp::{DIGEST_BYTES, PduType};

/// Most bytes that one command can queue besides its payload: R2T, data header with padding, data digest, response.
pub const ANSWER_BYTES_MAX: usize = 28 + DATA_HEADER_BYTES_MAX + DIGEST_BYTES + 28;

/// What this end is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Commands that may be outstanding: 1 and up. Transfer tags are below it.
    pub entries: u16,
    /// The largest in-capsule data, in bytes.
    pub capsule_bytes_max: u32,
    /// MAXH2CDATA in bytes: at least 4,096, a multiple of 4.
    pub h2c_data_bytes_max: u32,
    /// Agree to header digests when the host asks for them.
    pub header_digest: bool,
    /// Agree to data digests when the host asks for them.
    pub data_digest: bool,
    /// CPDA: alignment of the data that the host sends, in bytes: a multiple of 4 from 4 to 128. Linux takes 4 only.
    pub alignment: usize,
}

impl Default for Options {
    /// One command, digests where the host wants them, and no padding.
    fn default() -> Self {
        Self {
            entries: 1,
            capsule_bytes_max: 8192,
            h2c_data_bytes_max: 4096,
            header_digest: true,
            data_digest: true,
            alignment: 4,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event<'b> {
    /// Show more bytes: nothing can be taken from these.
    Incomplete,
    /// Bytes were taken that concern the connection alone; go on.
    Taken,
    /// The connection is open; the ICResp is queued.
    Opened,
    /// A command capsule.
    Command {
        /// The submission queue entry.
        sqe: &'b Sqe,
        /// Its in-capsule data; empty if there is none.
        data: &'b [u8],
        /// The data digest, if there was one, matches; if not, the command fails with Transient Transport Error.
        intact: bool,
    },
    /// Data of the transfer `ttag`, to be put at `offset` of the command's buffer.
    Data {
        /// Transfer tag.
        ttag: u16,
        /// Offset in the command's data, in bytes.
        offset: u32,
        /// The data.
        bytes: &'b [u8],
    },
    /// All that the R2T asked for has arrived; comes after the last [`Event::Data`].
    Transferred {
        /// Transfer tag, free again.
        ttag: u16,
        /// All data digests matched; if not, the command fails with Transient Transport Error.
        intact: bool,
    },
    /// The host ends the connection; close it.
    Terminated(term_req::Termination),
}

#[derive(Clone, Copy, Debug)]
enum Transfer {
    Idle,
    Awaiting { cid: u16, expected: u32, received: u32, intact: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AwaitingIcreq,
    Ready,
    Ended,
}

/// What was agreed on, and what the host was asked for, for a connection that moves to another thread.
#[derive(Clone, Debug)]
pub struct Moved {
    receiving: Agreement,
    sending: Agreement,
    awaited: Vec<Awaited>,
}

/// A transfer of which nothing has arrived.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    ttag: u16,
    cid: u16,
    expected: u32,
}

/// The target's end of one NVMe/TCP queue pair.
#[derive(Debug)]
pub struct Connection<D> {
    options: Options,
    state: State,
    framing: Framing,
    sending: Agreement,
    outbox: Outbox<D>,
    transfers: Box<[Transfer]>,
    /// The transfer that the last payload bytes completed.
    completed: Option<(u16, bool)>,
}

impl<D: Payload> Connection<D> {
    /// Waits for an ICReq. Allocates all that it will ever need.
    pub fn new(options: &Options) -> Self {
        assert!(options.entries > 0);
        let answers = usize::from(options.entries) + 1;
        Self {
            options: *options,
            state: State::AwaitingIcreq,
            framing: Framing::new(Role::Host),
            sending: Agreement::NONE,
            outbox: Outbox::new(answers * ANSWER_BYTES_MAX + SPARE_BYTES, answers * 2 + SPARE_ITEMS),
            transfers: vec![Transfer::Idle; usize::from(options.entries)].into_boxed_slice(),
            completed: None,
        }
    }

    /// Takes a connection that moved from another thread over, with room for its own number of commands.
    pub fn resume(moved: Moved, options: &Options) -> Self {
        let mut connection = Self::new(options);
        connection.go_on(moved);
        connection
    }

    /// As [`Connection::resume`], for one that was made in good time and has not begun: allocates nothing.
    ///
    /// # Panics
    /// When it has begun, or has fewer entries than the connection that moved.
    pub fn go_on(&mut self, moved: Moved) {
        assert!(self.state == State::AwaitingIcreq);
        let Moved { receiving, sending, awaited } = moved;
        self.state = State::Ready;
        self.framing.agree(Agreement { capsule_bytes_max: self.options.capsule_bytes_max, ..receiving });
        self.sending = sending;
        for Awaited { ttag, cid, expected } in awaited {
            self.transfers[usize::from(ttag)] =
                Transfer::Awaiting { cid, expected, received: 0, intact: true };
        }
    }

    /// What another thread needs to go on; `None` unless the connection is open, between two PDUs and between two
    /// transfers, and all that was queued is sent.
    pub fn moved(&self) -> Option<Moved> {
        let quiet = self.outbox.is_empty() && self.framing.is_between() && self.completed.is_none();
        if self.state != State::Ready || !quiet {
            return None;
        }
        let mut awaited = Vec::new();
        for (ttag, transfer) in (0u16..).zip(&self.transfers) {
            match *transfer {
                Transfer::Idle => {}
                Transfer::Awaiting { cid, expected, received: 0, .. } => {
                    awaited.push(Awaited { ttag, cid, expected });
                }
                Transfer::Awaiting { .. } => return None,
            }
        }
        Some(Moved { receiving: *self.framing.agreement(), sending: self.sending, awaited })
    }

    /// A command more can be taken on, with `outstanding` unanswered: its answer will find room.
    #[inline]
    pub fn has_room(&self, outstanding: usize) -> bool {
        self.outbox.fits(outstanding + 1, ANSWER_BYTES_MAX)
    }

    /// The next PDU is a command capsule, of which `bytes` show the header: the owner may let it wait for room. Data of
    /// commands that are under way must not wait, because what it completes is what makes room.
    #[inline]
    pub fn begins_command(&self, bytes: &[u8]) -> bool {
        let between = self.framing.is_between() && self.completed.is_none();
        let common = header::common(bytes).filter(|_| between);
        common.is_some_and(|header| header.pdu_type == PduType::CAPSULE_CMD)
    }

    /// What looks like a command capsule at the start of `bytes`: its command, how much data it has, and how long the whole
    /// capsule is; all in bytes. Takes nothing, checks no digest, and need not be what [`Connection::next`] will find: for
    /// hints only.
    pub fn foresee<'b>(&self, bytes: &'b [u8]) -> Option<(&'b Sqe, usize, usize)> {
        if let Some((start, total)) = header::plain_capsule(bytes, self.framing.agreement()) {
            return Some((capsule::decode_command(bytes).ok()?, total - start, total));
        }
        let layout = header::layout(header::common(bytes)?, Role::Host, self.framing.agreement()).ok()?;
        if layout.pdu_type != PduType::CAPSULE_CMD {
            return None;
        }
        Some((capsule::decode_command(bytes).ok()?, layout.data_bytes, layout.total))
    }

    /// The connection is over, by either side; flush the outbox and close.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The host has sent its ICReq and got its answer.
    pub fn is_open(&self) -> bool {
        self.state == State::Ready
    }

    /// Data digests are in use: what is sent must not change until it is.
    pub fn has_data_digest(&self) -> bool {
        self.sending.data_digest
    }

    /// What waits to be sent.
    pub fn outbox(&self) -> &Outbox<D> {
        &self.outbox
    }

    /// The first `bytes` of the outbox were sent; payloads that are through go to `done`.
    pub fn sent(&mut self, bytes: usize, done: impl FnMut(D)) {
        self.outbox.sent(bytes, done);
    }

    /// Gives back every payload that was not sent.
    pub fn abandon(&mut self, done: impl FnMut(D)) {
        self.state = State::Ended;
        self.completed = None;
        self.outbox.clear(done);
    }

    /// Looks at the unconsumed `bytes`; returns how many it took, and what happened.
    ///
    /// # Errors
    /// The peer's mistake; the C2HTermReq is queued (unless it was a malformed H2CTermReq) and
    /// [`Connection::is_ended`].
    #[inline]
    pub fn next<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), PduError> {
        if let Some((ttag, intact)) = self.completed.take() {
            return Ok((0, Event::Transferred { ttag, intact }));
        }
        if self.state == State::Ended {
            return Ok((0, Event::Incomplete));
        }
        if let Some(step) = self.plain_command(bytes) {
            return Ok(step);
        }
        self.step(bytes).inspect_err(|&error| self.terminate(error, bytes))
    }

    /// Where the next bytes of the stream belong, while an H2CData PDU is under way.
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

    /// Sends the response of a command.
    pub fn respond(&mut self, cqe: &Cqe) {
        if self.state == State::Ready {
            let agreement = &self.sending;
            self.outbox.push(28, |out| capsule::encode_response(out, cqe, agreement));
        }
    }

    /// Sends all data of command `cid` in one C2HData PDU. With `success` it is also the response; otherwise
    /// [`Connection::respond`] must follow.
    #[inline]
    pub fn send_data(&mut self, cid: u16, data: D, success: bool) -> Option<D> {
        if self.state != State::Ready {
            return Some(data);
        }
        let length = data.bytes();
        let bytes = u32::try_from(length).expect("MDTS is below 4 GiB");
        let chunk = data::Chunk { cid, ttag: 0, offset: 0, bytes, last: true, success };
        let agreement = &self.sending;
        self.outbox.push(DATA_HEADER_BYTES_MAX, |out| data::encode(out, Role::Controller, &chunk, agreement));
        let digest = agreement.data_digest.then(|| digest::data(data.crc32c(0..length)));
        self.outbox.push_data(data, 0..length);
        if let Some(digest) = digest {
            self.outbox.push(DIGEST_BYTES, |out| {
                out.copy_from_slice(&digest);
                DIGEST_BYTES
            });
        }
        None
    }

    /// Asks for the first `bytes` of the data of command `cid`, under `ttag`, which must be idle.
    pub fn request_data(&mut self, cid: u16, ttag: u16, bytes: u32) {
        if self.state != State::Ready {
            return;
        }
        let transfer = &mut self.transfers[usize::from(ttag)];
        assert!(matches!(transfer, Transfer::Idle), "a transfer tag is used twice");
        *transfer = Transfer::Awaiting { cid, expected: bytes, received: 0, intact: true };
        let request = r2t::Request { cid, ttag, offset: 0, bytes };
        let agreement = &self.sending;
        self.outbox.push(28, |out| r2t::encode(out, &request, agreement));
    }

    /// A command capsule that is whole and as most are; everything else takes the long way to the same end.
    #[inline]
    fn plain_command<'b>(&self, bytes: &'b [u8]) -> Option<(usize, Event<'b>)> {
        if self.state != State::Ready || !self.framing.is_between() {
            return None;
        }
        let (start, total) = header::plain_capsule(bytes, self.framing.agreement())?;
        let data = bytes.get(start..total)?;
        let sqe = capsule::decode_command(bytes).ok()?;
        Some((total, Event::Command { sqe, data, intact: true }))
    }

    /// Not inlined: most calls need none of it.
    #[inline(never)]
    fn step<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), PduError> {
        match self.framing.next(bytes)? {
            Frame::Incomplete => Ok((0, Event::Incomplete)),
            Frame::Header(layout) => self.header(bytes, &layout),
            Frame::Payload { tag, offset, taken, end } => {
                self.received(tag, u32::try_from(taken).expect("a PDU has 32 bits"), end.then_some(true));
                Ok((taken, Event::Data { ttag: tag, offset, bytes: &bytes[..taken] }))
            }
            Frame::Digest { tag, intact } => {
                self.received(tag, 0, Some(intact));
                let event = match self.completed.take() {
                    Some((ttag, intact)) => Event::Transferred { ttag, intact },
                    None => Event::Taken,
                };
                Ok((DIGEST_BYTES, event))
            }
        }
    }

    fn header<'b>(
        &mut self,
        bytes: &'b [u8],
        layout: &header::Layout,
    ) -> Result<(usize, Event<'b>), PduError> {
        match (self.state, layout.pdu_type) {
            (_, PduType::H2C_TERM_REQ) => {
                let termination = term_req::decode(bytes)?;
                self.state = State::Ended;
                Ok((bytes.len().min(layout.total), Event::Terminated(termination)))
            }
            (State::AwaitingIcreq, PduType::ICREQ) => {
                self.open(&icreq::decode(bytes)?);
                Ok((layout.total, Event::Opened))
            }
            (State::Ready, PduType::CAPSULE_CMD) => {
                if bytes.len() < layout.total {
                    return Ok((0, Event::Incomplete));
                }
                let sqe = capsule::decode_command(bytes)?;
                let end = layout.data_start + layout.data_bytes;
                let data = &bytes[layout.data_start..end];
                let intact =
                    !layout.data_digest || bytes[end..layout.total] == digest::data(digest::append(0, data));
                Ok((layout.total, Event::Command { sqe, data, intact }))
            }
            (State::Ready, PduType::H2C_DATA) => {
                if bytes.len() < layout.data_start {
                    return Ok((0, Event::Incomplete));
                }
                let chunk = data::decode(bytes, layout)?;
                self.check_transfer(&chunk)?;
                self.framing.payload_follows(layout, chunk.ttag, chunk.offset);
                Ok((layout.data_start, Event::Taken))
            }
            _ => Err(PduError::Sequence),
        }
    }

    fn open(&mut self, request: &icreq::Request) {
        let header_digest = request.header_digest && self.options.header_digest;
        let data_digest = request.data_digest && self.options.data_digest;
        let response = icresp::Response {
            header_digest,
            data_digest,
            alignment: self.options.alignment,
            h2c_data_bytes_max: self.options.h2c_data_bytes_max,
        };
        self.outbox.push(128, |out| icresp::encode(out, &response));
        self.framing.agree(Agreement {
            header_digest,
            data_digest,
            alignment: response.alignment,
            capsule_bytes_max: self.options.capsule_bytes_max,
            data_bytes_max: self.options.h2c_data_bytes_max,
        });
        let alignment = request.alignment;
        self.sending =
            Agreement { header_digest, data_digest, alignment, capsule_bytes_max: 0, data_bytes_max: 0 };
        self.state = State::Ready;
    }

    fn check_transfer(&self, chunk: &data::Chunk) -> Result<(), PduError> {
        let field = |offset| PduError::HeaderField { offset };
        let transfer = self.transfers.get(usize::from(chunk.ttag));
        let Some(&Transfer::Awaiting { cid, expected, received, .. }) = transfer else {
            return Err(field(data::TTAG_OFFSET));
        };
        if cid != chunk.cid {
            return Err(field(data::CCCID_OFFSET));
        }
        let end = chunk.offset + chunk.bytes;
        if end > expected {
            return Err(PduError::OutOfRange);
        }
        if chunk.offset != received {
            return Err(PduError::Sequence);
        }
        if chunk.last != (end == expected) {
            return Err(field(data::FLAGS_OFFSET));
        }
        Ok(())
    }

    /// `bytes` more of a transfer are here; `end` is set when a PDU ended, to whether its digest matched.
    fn received(&mut self, ttag: u16, bytes: u32, end: Option<bool>) {
        let transfer = &mut self.transfers[usize::from(ttag)];
        let Transfer::Awaiting { expected, received, intact, .. } = transfer else {
            unreachable!("the header of this PDU was checked against its transfer");
        };
        *received += bytes;
        assert!(*received <= *expected);
        *intact &= end.unwrap_or(true);
        if end.is_some() && *received == *expected {
            self.completed = Some((ttag, *intact));
            *transfer = Transfer::Idle;
        }
    }

    /// Queues the terminate request for `error`, quoting the header at the start of `bytes`.
    fn terminate(&mut self, error: PduError, bytes: &[u8]) {
        self.state = State::Ended;
        if let Some(offending) = term_req::quotation(bytes, Role::Host) {
            self.outbox
                .push(term_req::BYTES_MAX, |out| term_req::encode(out, Role::Controller, error, offending));
        }
    }
}
