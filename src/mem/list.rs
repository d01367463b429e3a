//! Lists of segments taken as one run of bytes. Nothing is allocated.

use corelane_reactors::buffer::{Segment, SegmentMut};

use super::kernels;

/// Bytes that a list names. Saturates, so that a list that is too long never matches a length.
pub fn length(list: &[Segment]) -> usize {
    list.iter().fold(0, |sum, segment| sum.saturating_add(segment.len()))
}

/// Bytes that a list names. Saturates, so that a list that is too long never matches a length.
pub fn length_mut(list: &[SegmentMut]) -> usize {
    list.iter().fold(0, |sum, segment| sum.saturating_add(segment.len()))
}

/// Copies one segment into a list, in order.
///
/// # Panics
///
/// If the list does not have the length of `from`.
pub fn scatter(from: Segment, into: &[SegmentMut]) {
    assert!(from.len() == length_mut(into));
    let mut at = 0;
    for &segment in into {
        kernels::copy(from.slice(at..at + segment.len()), segment);
        at += segment.len();
    }
}

/// Copies a list, in order, into one segment.
///
/// # Panics
///
/// If the list does not have the length of `into`.
pub fn gather(from: &[Segment], into: SegmentMut) {
    gather_by(kernels::copy, from, into);
}

/// As [`gather`], into memory that is probably in no cache.
///
/// # Panics
///
/// If the list does not have the length of `into`.
pub fn gather_far(from: &[Segment], into: SegmentMut) {
    gather_by(kernels::copy_far, from, into);
}

fn gather_by(copy: impl Fn(Segment, SegmentMut), from: &[Segment], into: SegmentMut) {
    assert!(into.len() == length(from));
    let mut at = 0;
    for &segment in from {
        copy(segment, into.slice(at..at + segment.len()));
        at += segment.len();
    }
}

/// Index of the first byte in which a list, in order, differs from one segment; `None` when equal.
///
/// # Panics
///
/// If the list does not have the length of `with`.
pub fn difference_list(list: &[Segment], with: Segment) -> Option<usize> {
    assert!(with.len() == length(list));
    let mut at = 0;
    for &segment in list {
        if let Some(offset) = kernels::difference(segment, with.slice(at..at + segment.len())) {
            return Some(at + offset);
        }
        at += segment.len();
    }
    None
}
