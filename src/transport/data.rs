//! Data on its way to a host, from where it lies.

use std::ops::Range;

use corelane_reactors::buffer::{Gather, Segment};

use crate::connection::Payload;
use crate::mem::{self, Buffer};

/// Data of one command, sent without another copy.
#[derive(Debug)]
pub(super) enum Data {
    /// Memory of a namespace, from the first byte of a block. It may change before all of it is sent, so it never goes where a
    /// digest must match it.
    Lent(Segment),
    /// A buffer of the queue, which goes back to it once it is sent.
    Buffer(Buffer, usize),
    /// A page that the management plane made.
    Page(Vec<u8>),
}

impl Data {
    /// A hint: it is about to be sent. What lies in a namespace may have to come from far away.
    #[inline]
    pub(super) fn expect(&self) {
        if let Self::Lent(segment) = self {
            mem::expect_read(*segment);
        }
    }

    /// Adds `range` of it to a send. Inlined into the loop of every send, also where that is there twice.
    #[inline(always)]
    pub(super) fn gather<'a>(&'a self, range: Range<usize>, gather: &mut Gather<'_, 'a>) {
        match self {
            Self::Lent(segment) => gather.segment(segment.slice(range)),
            Self::Buffer(buffer, _) => gather.segment(buffer.segment(range)),
            Self::Page(page) => gather.bytes(&page[range]),
        }
    }
}

impl Payload for Data {
    fn bytes(&self) -> usize {
        match self {
            Self::Lent(segment) => segment.len(),
            Self::Buffer(_, bytes) => *bytes,
            Self::Page(page) => page.len(),
        }
    }

    fn crc32c(&self, range: Range<usize>) -> u32 {
        match self {
            Self::Lent(segment) => mem::crc32c(segment.slice(range), 0),
            Self::Buffer(buffer, _) => mem::crc32c(buffer.segment(range), 0),
            Self::Page(page) => crc32c::crc32c(&page[range]),
        }
    }
}
