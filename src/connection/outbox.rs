//! What waits to be sent: header bytes in a ring of fixed size, and payloads of the owner's type between them.
//!
//! Invariants: queued header bytes never move (the kernel may be reading them); `used` is the sum of the spans of all
//! queued byte items; items leave in the order in which they came. Header bytes that are sent are free at once, though
//! more were joined to them since: an outbox that never runs empty does not run full of what is gone.

use std::collections::VecDeque;
use std::ops::Range;

use crate::pdu::term_req;

/// What [`Outbox::fits`] keeps free of answers in the ring, in bytes: a terminate request, and what the first header
/// that does not fit behind the last leaves unused at the end of the ring. A queue's worth of headers wraps once.
pub const SPARE_BYTES: usize = 2 * term_req::BYTES_MAX;
/// What [`Outbox::fits`] keeps free of answers, in items. Bytes join the bytes before them, so there is one item of
/// them before each payload, one behind the last, and one more where the ring wraps.
pub const SPARE_ITEMS: usize = 2;

/// Data of the owner's that is sent from where it lies.
pub trait Payload {
    /// Length in bytes, not 0.
    fn bytes(&self) -> usize;
    /// CRC32C over `range` of it; asked for only where data digests are in use, and then the bytes must not change
    /// until they are sent.
    fn crc32c(&self, range: Range<usize>) -> u32;
}

/// A stretch of the stream to send.
#[derive(Debug)]
pub enum Piece<'a, D> {
    /// Header bytes.
    Bytes(&'a [u8]),
    /// A range of a payload, in bytes.
    Data(&'a D, Range<usize>),
}

impl<D> Piece<'_, D> {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Data(_, range) => range.len(),
        }
    }

    /// True for a piece without bytes, which [`Outbox::pieces`] never shows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
enum Item<D> {
    /// `span` is `length` plus what was left free before it at the end of the ring.
    Bytes {
        start: usize,
        length: usize,
        span: usize,
    },
    Data {
        data: D,
        range: Range<usize>,
    },
}

impl<D> Item<D> {
    fn length(&self) -> usize {
        match self {
            Self::Bytes { length, .. } => *length,
            Self::Data { range, .. } => range.len(),
        }
    }
}

/// The sending half of a connection.
#[derive(Debug)]
pub struct Outbox<D> {
    ring: Box<[u8]>,
    tail: usize,
    used: usize,
    items: VecDeque<Item<D>>,
    items_max: usize,
    /// Bytes of the first item that are sent already, if it is a payload; header bytes leave their item.
    first_sent: usize,
    /// All bytes that were ever queued, and sent or given up.
    queued: u64,
    sent: u64,
}

impl<D> Outbox<D> {
    /// Room for `ring_bytes` of headers and for `items_max` stretches.
    pub fn new(ring_bytes: usize, items_max: usize) -> Self {
        Self {
            ring: vec![0; ring_bytes].into_boxed_slice(),
            tail: 0,
            used: 0,
            items: VecDeque::with_capacity(items_max),
            items_max,
            first_sent: 0,
            queued: 0,
            sent: 0,
        }
    }

    /// All bytes that were ever queued.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// All bytes that have left it, sent or given up: when this reaches what [`Outbox::queued`] was, what waited then is
    /// gone.
    pub fn gone(&self) -> u64 {
        self.sent
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// `answers` more answers of at most `bytes` header bytes each, every one with at most one payload, find room,
    /// and a terminate request after them.
    #[inline]
    pub fn fits(&self, answers: usize, bytes: usize) -> bool {
        self.ring.len() - self.used >= answers * bytes + SPARE_BYTES
            && self.items_max - self.items.len() >= answers * 2 + SPARE_ITEMS
    }

    /// Queues at most `max` header bytes that `write` puts into the slice it is given; it returns how many.
    ///
    /// # Panics
    /// Where there is no room: the owner asks [`Outbox::fits`] before it takes on the duty to answer.
    #[inline]
    pub fn push(&mut self, max: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        if self.items.is_empty() {
            self.tail = 0;
        }
        let mut skipped = 0;
        if self.tail + max > self.ring.len() {
            skipped = self.ring.len() - self.tail;
            self.tail = 0;
        }
        assert!(self.used + skipped + max <= self.ring.len(), "no room for a header");
        let start = self.tail;
        let length = write(&mut self.ring[start..start + max]);
        assert!(length <= max);
        self.tail += length;
        self.used += skipped + length;
        self.queued += length as u64;
        match self.items.back_mut() {
            Some(Item::Bytes { start: first, length: before, span })
                if *first + *before == start && skipped == 0 =>
            {
                *before += length;
                *span += length;
            }
            _ => {
                assert!(self.items.len() < self.items_max, "no room for an item");
                self.items.push_back(Item::Bytes { start, length, span: skipped + length });
            }
        }
    }

    /// Queues `range` of a payload.
    ///
    /// # Panics
    /// Where there is no room, as [`Outbox::push`].
    #[inline]
    pub fn push_data(&mut self, data: D, range: Range<usize>) {
        assert!(!range.is_empty());
        assert!(self.items.len() < self.items_max, "no room for an item");
        self.queued += range.len() as u64;
        self.items.push_back(Item::Data { data, range });
    }

    /// What is to be sent next, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_, D>> {
        let mut skip = self.first_sent;
        self.items.iter().map(move |item| {
            let from = std::mem::take(&mut skip);
            match item {
                Item::Bytes { start, length, .. } => Piece::Bytes(&self.ring[start + from..start + length]),
                Item::Data { data, range } => Piece::Data(data, range.start + from..range.end),
            }
        })
    }

    /// The first `bytes` of the pieces are sent; payloads that are through are handed to `done`.
    pub fn sent(&mut self, bytes: usize, mut done: impl FnMut(D)) {
        self.sent += bytes as u64;
        let mut left = bytes + self.first_sent;
        while let Some(first) = self.items.front() {
            if left < first.length() {
                break;
            }
            left -= first.length();
            match self.items.pop_front() {
                Some(Item::Bytes { span, .. }) => self.used -= span,
                Some(Item::Data { data, .. }) => done(data),
                None => unreachable!("there was a first item"),
            }
        }
        assert!(left == 0 || !self.items.is_empty(), "more was sent than was queued");
        if let Some(Item::Bytes { start, length, span }) = self.items.front_mut()
            && left > 0
        {
            // What was skipped before them is free as well.
            self.used -= *span - *length + left;
            *start += left;
            *length -= left;
            *span = *length;
            left = 0;
        }
        self.first_sent = left;
    }

    /// Takes back every payload that was not sent; the stream is over.
    pub fn clear(&mut self, mut done: impl FnMut(D)) {
        self.sent = self.queued;
        for item in self.items.drain(..) {
            if let Item::Data { data, .. } = item {
                done(data);
            }
        }
        (self.used, self.tail, self.first_sent) = (0, 0, 0);
    }
}
