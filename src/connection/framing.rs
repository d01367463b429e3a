//! Finds PDUs in a byte stream and follows the payload of data PDUs through it. Owns no bytes.
//!
//! ```text
//!   Between --(header of a data PDU)--> Payload { remaining } --(0 remaining)--> [Digest] --> Between
//! ```
//!
//! Invariant: in `Payload`, `0 < remaining <= whole`; the checksum covers exactly the payload bytes already passed on.

use crate::connection::Wanted;
use crate::pdu::header::{self, Agreement, Role};
use crate::pdu::{Layout, PduError, digest};
use crate::spec::tcp::DIGEST_BYTES;

/// Where the stream is.
#[derive(Clone, Copy, Debug)]
enum State {
    Between,
    Payload { tag: u16, offset: u32, remaining: u32, whole: u32, crc: u32, digest: bool },
    Digest { tag: u16, crc: u32 },
}

/// What the bytes hold.
#[derive(Debug)]
pub enum Frame {
    /// Nothing whole yet: show more.
    Incomplete,
    /// A PDU whose header has arrived and was checked; its data may not have.
    Header(Layout),
    /// `taken` bytes of payload for `tag` at `offset`.
    Payload {
        /// Transfer tag or CID.
        tag: u16,
        /// Offset in the command's data, in bytes.
        offset: u32,
        /// How many of the bytes shown it is.
        taken: usize,
        /// Set with the last bytes of the PDU if no digest follows.
        end: bool,
    },
    /// The data digest that ended a PDU: `DIGEST_BYTES` of the bytes shown.
    Digest {
        /// Transfer tag or CID.
        tag: u16,
        /// The digest matches the payload.
        intact: bool,
    },
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct Framing {
    from: Role,
    agreement: Agreement,
    state: State,
}

impl Framing {
    /// Expects PDUs of `from`, with nothing agreed on yet.
    pub fn new(from: Role) -> Self {
        Self { from, agreement: Agreement::NONE, state: State::Between }
    }

    /// From the next PDU on, `agreement` holds.
    pub fn agree(&mut self, agreement: Agreement) {
        self.agreement = agreement;
    }

    /// What is agreed on for PDUs that arrive.
    #[inline]
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Looks at the unconsumed bytes of the stream. Takes nothing by itself, except payload and digests: after
    /// [`Frame::Header`] call [`Framing::payload_follows`] for data PDUs, or consume the whole PDU.
    ///
    /// # Errors
    /// What [`header::layout`] and [`header::check_digest`] say.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Frame, PduError> {
        match self.state {
            State::Between => self.header(bytes),
            State::Payload { tag, offset, remaining, crc, digest, .. } => {
                let taken = bytes.len().min(remaining as usize);
                if taken == 0 {
                    return Ok(Frame::Incomplete);
                }
                let crc = if digest { digest::append(crc, &bytes[..taken]) } else { crc };
                self.advance(taken, crc);
                let end = matches!(self.state, State::Between);
                Ok(Frame::Payload { tag, offset, taken, end })
            }
            State::Digest { tag, crc } => {
                let Some(received) = bytes.get(..DIGEST_BYTES) else { return Ok(Frame::Incomplete) };
                self.state = State::Between;
                Ok(Frame::Digest { tag, intact: received == digest::data(crc) })
            }
        }
    }

    fn header(&self, bytes: &[u8]) -> Result<Frame, PduError> {
        let Some(common) = header::common(bytes) else { return Ok(Frame::Incomplete) };
        let layout = header::layout(common, self.from, &self.agreement)?;
        if bytes.len() < layout.header_end {
            return Ok(Frame::Incomplete);
        }
        header::check_digest(bytes, &layout)?;
        Ok(Frame::Header(layout))
    }

    /// The payload of the data PDU `layout` comes next and belongs to `tag` at `offset`.
    pub fn payload_follows(&mut self, layout: &Layout, tag: u16, offset: u32) {
        assert!(matches!(self.state, State::Between));
        assert!(layout.data_bytes > 0);
        let remaining = u32::try_from(layout.data_bytes).expect("PLEN has 32 bits");
        self.state =
            State::Payload { tag, offset, remaining, whole: remaining, crc: 0, digest: layout.data_digest };
    }

    /// Where the next bytes of the stream belong, while a data PDU is under way.
    pub fn wanted(&self) -> Option<Wanted> {
        match self.state {
            State::Payload { tag, offset, remaining, whole, .. } => {
                Some(Wanted { tag, offset, bytes: remaining, whole })
            }
            State::Between | State::Digest { .. } => None,
        }
    }

    /// The next byte of the stream is the first of a PDU, or belongs to a header that was shown and not taken.
    #[inline]
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// `bytes` of what was [`Framing::wanted`] were received in place; `append` continues a CRC32C over them.
    /// True if they end the PDU and no digest follows.
    pub fn direct(&mut self, bytes: u32, append: impl FnOnce(u32) -> u32) -> bool {
        let State::Payload { remaining, crc, digest, .. } = self.state else {
            panic!("bytes were received in place that nobody wanted");
        };
        assert!(bytes <= remaining);
        let crc = if digest { append(crc) } else { crc };
        self.advance(bytes as usize, crc);
        matches!(self.state, State::Between)
    }

    fn advance(&mut self, bytes: usize, new_crc: u32) {
        let State::Payload { tag, offset, remaining, crc, digest, .. } = &mut self.state else {
            unreachable!("only payload advances");
        };
        let bytes = u32::try_from(bytes).expect("checked against remaining");
        *crc = new_crc;
        *offset += bytes;
        *remaining -= bytes;
        if *remaining == 0 {
            self.state = if *digest { State::Digest { tag: *tag, crc: new_crc } } else { State::Between };
        }
    }
}
