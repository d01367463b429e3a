//! How bytes get in and out of a device in memory: at once, where one reactor has it for itself, or stripe by stripe under
//! its guards.
//!
//! Invariant: with guards, a stripe is read as it was at one moment, when nobody wrote there; no block is ever torn.

use std::ops::Range;

use corelane_reactors::buffer::{Segment, SegmentMut};

use super::MallocChannel;
use super::guards::{Guards, STRIPE_BYTES};
use crate::mem::{self, Extent};

impl MallocChannel {
    /// Copies these bytes of the device into a list as long as they are.
    pub(super) fn copy_out(&self, bytes: Range<usize>, into: &[SegmentMut]) {
        let Some(guards) = &self.guards else { return mem::scatter(self.memory.segment(bytes), into) };
        each_stripe(bytes, |at, part| {
            guards.look(at, || {
                pieces(into, part.clone(), SegmentMut::len, |piece, range, skip| {
                    mem::copy(self.memory.segment(at + skip..at + skip + range.len()), piece.slice(range));
                });
            });
            true
        });
    }

    /// Copies a list over as many bytes of the device.
    pub(super) fn copy_in(&self, from: &[Segment], bytes: Range<usize>) {
        let Some(guards) = &self.guards else {
            return mem::gather_far(from, self.memory.segment_mut(bytes));
        };
        each_stripe(bytes, |at, part| {
            guards.alone(at, || {
                pieces(from, part, Segment::len, |piece, range, skip| {
                    let into = self.memory.segment_mut(at + skip..at + skip + range.len());
                    mem::copy_far(piece.slice(range), into);
                });
            });
            true
        });
    }

    /// Whether a list holds what these bytes of the device do.
    pub(super) fn is_equal(&self, with: &[Segment], bytes: Range<usize>) -> bool {
        let Some(guards) = &self.guards else {
            return mem::difference_list(with, self.memory.segment(bytes)).is_none();
        };
        each_stripe(bytes, |at, part| {
            guards.look(at, || {
                let mut equal = true;
                pieces(with, part.clone(), Segment::len, |piece, range, skip| {
                    let held = self.memory.segment(at + skip..at + skip + range.len());
                    equal &= mem::difference(piece.slice(range), held).is_none();
                });
                equal
            })
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
}

/// Makes these bytes zeros.
pub(super) fn clear(memory: &Extent, guards: Option<&Guards>, bytes: Range<usize>) {
    let Some(guards) = guards else { return memory.clear(bytes) };
    each_stripe(bytes, |at, part| {
        guards.alone(at, || memory.clear(at..at + part.len()));
        true
    });
}

/// Has `visit` look at one stripe's part of these bytes after the other, told where it begins on the device and which of
/// the bytes it is, until it says no. Whether it never did.
fn each_stripe(bytes: Range<usize>, mut visit: impl FnMut(usize, Range<usize>) -> bool) -> bool {
    let (first, mut at) = (bytes.start, bytes.start);
    while at < bytes.end {
        let end = bytes.end.min((at / STRIPE_BYTES + 1) * STRIPE_BYTES);
        if !visit(at, at - first..end - first) {
            return false;
        }
        at = end;
    }
    true
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
