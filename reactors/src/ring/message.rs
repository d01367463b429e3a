//! What one send takes from many places: segments, and copies of bytes that were only lent for the call.
//!
//! Invariants: the list and the copied bytes are written only while nothing but this value names them; `header` names
//! the list, and segments in it name the copied bytes, neither of which ever moves.
#![expect(unsafe_code, reason = "copied bytes become segments that last as long as the message")]

use std::{fmt, mem::MaybeUninit, rc::Rc};

use crate::buffer::{Gather, Segment};

/// Most segments of a message.
const LIST_MAX: usize = 256;

/// Most bytes that are copied into a message.
const COPY_MAX: usize = 12 << 10;

/// What [`super::Operation::Send`] sends. Kept by the ring while it is in flight; it can be written again afterwards.
pub struct Message(Rc<Body>);

struct Body {
    header: libc::msghdr,
    list: Vec<Segment>,
    copied: Vec<u8>,
}

impl Message {
    /// An empty message. Allocates its room: 256 segments and 12 KiB.
    #[must_use]
    pub fn new() -> Self {
        let zeroed = MaybeUninit::<libc::msghdr>::zeroed();
        // SAFETY: zero is a valid value of each field of `msghdr`: integers and raw pointers.
        let header = unsafe { zeroed.assume_init() };
        let (list, copied) = (Vec::with_capacity(LIST_MAX), Vec::with_capacity(COPY_MAX));
        Self(Rc::new(Body { header, list, copied }))
    }

    /// Writes as much of `segments`, from the front, as there is room for. Returns the number of bytes.
    ///
    /// # Panics
    /// While the message is in flight.
    pub fn write(&mut self, segments: &[Segment]) -> usize {
        let body = self.body();
        body.list.extend(segments.iter().filter(|segment| !segment.is_empty()).take(LIST_MAX));
        body.seal()
    }

    /// As [`Message::write`]; copies what is borrowed.
    ///
    /// # Panics
    /// While the message is in flight.
    pub fn write_gathered(&mut self, gather: &Gather<'_, '_>) -> usize {
        let body = self.body();
        for (bytes, segment) in gather.stretches() {
            if body.list.len() == LIST_MAX {
                break;
            }
            let Some(bytes) = bytes else {
                body.list.push(segment);
                continue;
            };
            let count = bytes.len().min(COPY_MAX - body.copied.len());
            let start = body.copied.len();
            body.copied.extend_from_slice(&bytes[..count]);
            if count > 0 {
                // SAFETY: the copied bytes never move, for they never exceed the capacity; they live as long as the
                // body, which everybody who uses its list holds.
                let copy = unsafe { Segment::from_raw(body.copied.as_ptr().wrapping_add(start), count) };
                body.list.push(copy);
            }
            if count < bytes.len() {
                break;
            }
        }
        body.seal()
    }

    /// The same message for the ring: as long as it has it, nobody writes it.
    pub(super) fn share(&self) -> Self {
        Self(Rc::clone(&self.0))
    }

    pub(super) fn header(&self) -> *const libc::msghdr {
        &raw const self.0.header
    }

    /// The body, empty.
    fn body(&mut self) -> &mut Body {
        let body = Rc::get_mut(&mut self.0).expect("the message is not in flight");
        body.list.clear();
        body.copied.clear();
        body
    }
}

impl Body {
    /// Names the list, and returns the bytes in it.
    fn seal(&mut self) -> usize {
        assert!(self.list.len() <= LIST_MAX);
        assert!(self.copied.len() <= COPY_MAX);
        self.header.msg_iov = self.list.as_mut_ptr().cast();
        self.header.msg_iovlen = self.list.len();
        self.list.iter().map(Segment::len).sum()
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} segments)", self.0.list.len())
    }
}
