//! A list of what one send takes: borrowed header bytes and segments, mixed, in order.
//!
//! Invariant: what a [`GatherList`] holds is only reached through the [`Gather`] that put it there, which cannot
//! outlive the borrowed bytes; a new `Gather` starts by forgetting what the last one left.
#![expect(unsafe_code, reason = "borrowed bytes become segments for the length of their borrow")]

use std::{marker::PhantomData, slice};

use super::segment::Segment;

/// The memory of gathers, so that none of them allocates.
#[derive(Debug)]
pub struct GatherList {
    list: Vec<Segment>,
    /// Which of them are borrowed.
    borrowed: Vec<bool>,
    max: usize,
}

impl GatherList {
    /// Room for `max` stretches.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { list: Vec::with_capacity(max), borrowed: Vec::with_capacity(max), max }
    }
}

/// What one send takes.
#[derive(Debug)]
pub struct Gather<'list, 'bytes> {
    list: &'list mut GatherList,
    bytes: usize,
    borrowed: PhantomData<&'bytes [u8]>,
}

impl<'list, 'bytes> Gather<'list, 'bytes> {
    /// Nothing yet.
    pub fn new(list: &'list mut GatherList) -> Self {
        list.list.clear();
        list.borrowed.clear();
        Self { list, bytes: 0, borrowed: PhantomData }
    }

    /// There is no room for another stretch.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// How many stretches more it takes.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        self.list.max - self.list.list.len()
    }

    /// Nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.list.is_empty()
    }

    /// Length of all stretches in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Adds borrowed bytes.
    ///
    /// # Panics
    /// If the list is full.
    #[inline]
    pub fn bytes(&mut self, bytes: &'bytes [u8]) {
        // SAFETY: the bytes are borrowed for 'bytes, and the segment is only used through this value, which does not
        // outlive that borrow; nobody writes them meanwhile.
        let segment = unsafe { Segment::from_raw(bytes.as_ptr(), bytes.len()) };
        self.push(segment, true);
    }

    /// Adds a segment.
    ///
    /// # Panics
    /// If the list is full.
    #[inline]
    pub fn segment(&mut self, segment: Segment) {
        self.push(segment, false);
    }

    #[inline]
    fn push(&mut self, segment: Segment, borrowed: bool) {
        assert!(!self.is_full());
        self.bytes += segment.len();
        self.list.list.push(segment);
        self.list.borrowed.push(borrowed);
    }

    /// All stretches in order: the bytes of those that are borrowed, and the segments of all.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = (Option<&[u8]>, Segment)> {
        self.list.list.iter().zip(&self.list.borrowed).map(|(segment, &borrowed)| {
            // SAFETY: the bytes are borrowed for 'bytes, which outlives this value, and nobody writes them meanwhile.
            let bytes = borrowed.then(|| unsafe { slice::from_raw_parts(segment.pointer(), segment.len()) });
            (bytes, *segment)
        })
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.list.list
    }
}
