//! What waits to be sent: header bytes in a ring of fixed size, and payloads of the owner's type between them.
//!
//! Invariants: queued header bytes never move (the kernel may be reading them); `used` is the sum of the spans of all
//! items; items leave in the order in which they came, and none is without bytes. Header bytes that are sent are free at
//! once, though more were joined to them since: an outbox that never runs empty does not run full of what is gone.

use std::collections::VecDeque;
use std::ops::Range;

use crate::pdu::term_req;

/// What [`Outbox::fits`] keeps free of answers in the ring, in bytes: a terminate request, and what the first header
/// that does not fit behind the last leaves unused at the end of the ring. A queue's worth of headers wraps once.
pub const SPARE_BYTES: usize = 2 * term_req::BYTES_MAX;
/// What [`Outbox::fits`] keeps free of answers, in items. Bytes join the bytes before them and payloads are items with
/// the bytes before them, so there is one item for each payload, one behind the last, and one more where the ring wraps.
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

/// Header bytes of the ring, and the payload behind them.
#[derive(Debug)]
struct Item<D> {
    start: usize,
    /// Header bytes that are not sent; 0 where they are, or where the payload has none.
    length: usize,
    /// `length` plus what was left free before it at the end of the ring.
    span: usize,
    /// The payload, and the range of it that is not sent, which is not empty.
    data: Option<(D, Range<usize>)>,
}

impl<D> Item<D> {
    #[inline]
    fn total(&self) -> usize {
        self.length + self.data.as_ref().map_or(0, |(_, range)| range.len())
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
            && self.items_max - self.items.len() >= answers + SPARE_ITEMS
    }

    /// Queues at most `max` header bytes that `write` puts into the slice it is given; it returns how many.
    ///
    /// # Panics
    /// Where there is no room: the owner asks [`Outbox::fits`] before it takes on the duty to answer.
    #[inline]
    pub fn push(&mut self, max: usize, write: impl FnOnce(&mut [u8]) -> usize) {
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
            Some(Item { start: first, length: before, span, data: None })
                if *first + *before == start && skipped == 0 =>
            {
                *before += length;
                *span += length;
            }
            _ => self.push_item(Item { start, length, span: skipped + length, data: None }),
        }
    }

    /// Queues `range` of a payload.
    ///
    /// # Panics
    /// Where there is no room, as [`Outbox::push`].
    #[inline]
    pub fn push_data(&mut self, data: D, range: Range<usize>) {
        assert!(!range.is_empty());
        self.queued += range.len() as u64;
        match self.items.back_mut() {
            Some(Item { data: place @ None, .. }) => *place = Some((data, range)),
            _ => self.push_item(Item { start: self.tail, length: 0, span: 0, data: Some((data, range)) }),
        }
    }

    #[inline]
    fn push_item(&mut self, item: Item<D>) {
        assert!(self.items.len() < self.items_max, "no room for an item");
        self.items.push_back(item);
    }

    /// What is to be sent next, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_, D>> {
        self.parts().flat_map(|(bytes, data)| {
            let bytes = Some(Piece::Bytes(bytes)).filter(|piece| !piece.is_empty());
            bytes.into_iter().chain(data.map(|(data, range)| Piece::Data(data, range)))
        })
    }

    /// The same two by two: header bytes, of which there may be none, and the payload behind them.
    #[inline]
    pub fn parts(&self) -> impl Iterator<Item = (&[u8], Option<(&D, Range<usize>)>)> {
        self.items.iter().map(|Item { start, length, data, .. }| {
            (&self.ring[*start..start + length], data.as_ref().map(|(data, range)| (data, range.clone())))
        })
    }

    /// The first `bytes` of the pieces are sent; payloads that are through are handed to `done`.
    pub fn sent(&mut self, bytes: usize, mut done: impl FnMut(D)) {
        self.sent += bytes as u64;
        let mut left = bytes;
        while let Some(first) = self.items.front()
            && left >= first.total()
        {
            left -= first.total();
            let Some(Item { span, data, .. }) = self.items.pop_front() else { break };
            self.used -= span;
            if let Some((data, _)) = data {
                done(data);
            }
        }
        if self.items.is_empty() {
            // From the start again, in memory that is near.
            self.items.clear();
            self.tail = 0;
        }
        if left == 0 {
            return;
        }
        let first = self.items.front_mut().expect("more was sent than was queued");
        let header = left.min(first.length);
        // What was skipped before them is free as well.
        self.used -= first.span - first.length + header;
        first.start += header;
        first.length -= header;
        first.span = first.length;
        if let Some((_, range)) = &mut first.data {
            range.start += left - header;
        }
    }

    /// Takes back every payload that was not sent; the stream is over.
    pub fn clear(&mut self, mut done: impl FnMut(D)) {
        self.sent = self.queued;
        for (data, _) in self.items.drain(..).filter_map(|item| item.data) {
            done(data);
        }
        (self.used, self.tail) = (0, 0);
    }
}
