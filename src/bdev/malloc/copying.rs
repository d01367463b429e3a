//! How bytes get in and out of a device in memory: at once, or, where writes are atomic, stripe by stripe with nobody else
//! in it.

use std::ops::Range;

use corelane_reactors::buffer::{Segment, SegmentMut};

use super::MallocChannel;
use super::guards::{Guards, STRIPE_BYTES};
use crate::mem::{self, Extent};

impl MallocChannel {
    /// Copies these bytes of the device into a list as long as they are.
    pub(super) fn copy_out(&self, bytes: Range<usize>, into: &[SegmentMut]) {
        if self.guards.is_none() {
            return mem::scatter(self.memory.segment(bytes), into);
        }
        self.in_stripes(bytes, |at, part| {
            pieces(into, part, SegmentMut::len, |piece, range, skip| {
                mem::copy(self.memory.segment(at + skip..at + skip + range.len()), piece.slice(range));
            });
            true
        });
    }

    /// Copies a list over as many bytes of the device.
    pub(super) fn copy_in(&self, from: &[Segment], bytes: Range<usize>) {
        if self.guards.is_none() {
            return mem::gather_far(from, self.memory.segment_mut(bytes));
        }
        self.in_stripes(bytes, |at, part| {
            pieces(from, part, Segment::len, |piece, range, skip| {
                let into = self.memory.segment_mut(at + skip..at + skip + range.len());
                mem::copy(piece.slice(range), into);
            });
            true
        });
    }

    /// Whether a list holds what these bytes of the device do.
    pub(super) fn is_equal(&self, with: &[Segment], bytes: Range<usize>) -> bool {
        if self.guards.is_none() {
            return mem::difference_list(with, self.memory.segment(bytes)).is_none();
        }
        self.in_stripes(bytes, |at, part| {
            let mut equal = true;
            pieces(with, part, Segment::len, |piece, range, skip| {
                let held = self.memory.segment(at + skip..at + skip + range.len());
                equal &= mem::difference(piece.slice(range), held).is_none();
            });
            equal
        })
    }

    /// Makes these bytes zeros.
    pub(super) fn zero(&self, bytes: Range<usize>) {
        clear(&self.memory, self.guards.as_deref(), bytes);
    }

    /// Copies bytes within the device.
    pub(super) fn move_within(&self, mut from: Range<usize>, mut to: usize) {
        let Some(guards) = &self.guards else {
            let into = to..to + from.len();
            return mem::copy(self.memory.segment(from), self.memory.segment_mut(into));
        };
        let left = |at: usize| STRIPE_BYTES - at % STRIPE_BYTES;
        while !from.is_empty() {
            let count = from.len().min(left(from.start)).min(left(to));
            let (part, into) = (from.start..from.start + count, to..to + count);
            let copy = || mem::copy(self.memory.segment(part), self.memory.segment_mut(into));
            guards.alone_in_both(from.start, to, copy);
            (from.start, to) = (from.start + count, to + count);
        }
    }

    /// Has `copy` do a stripe's part of these bytes at a time, told where it begins on the device and which of the bytes
    /// it is, until it says no. Whether it never did.
    fn in_stripes(&self, bytes: Range<usize>, mut copy: impl FnMut(usize, Range<usize>) -> bool) -> bool {
        let first = bytes.start;
        let Some(guards) = &self.guards else { return copy(first, 0..bytes.len()) };
        let mut at = first;
        while at < bytes.end {
            let end = bytes.end.min((at / STRIPE_BYTES + 1) * STRIPE_BYTES);
            if !guards.alone(at, || copy(at, at - first..end - first)) {
                return false;
            }
            at = end;
        }
        true
    }
}

/// Makes these bytes zeros.
pub(super) fn clear(memory: &Extent, guards: Option<&Guards>, mut bytes: Range<usize>) {
    let Some(guards) = guards else { return memory.clear(bytes) };
    while !bytes.is_empty() {
        let end = bytes.end.min((bytes.start / STRIPE_BYTES + 1) * STRIPE_BYTES);
        guards.alone(bytes.start, || memory.clear(bytes.start..end));
        bytes.start = end;
    }
}

/// Tells `each` the pieces of a list that hold these bytes of it: the piece, which of its bytes, and how many bytes of
/// `part` come before.
fn pieces<T>(
    list: &[T],
    part: Range<usize>,
    len: impl Fn(&T) -> usize,
    mut each: impl FnMut(&T, Range<usize>, usize),
) {
    let mut start = 0;
    for piece in list {
        let end = start + len(piece);
        let (from, to) = (start.max(part.start), end.min(part.end));
        if from < to {
            each(piece, from - start..to - start, from - part.start);
        }
        start = end;
    }
}
