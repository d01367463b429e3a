//! Buffers for data that the device cannot be told of where it lies: outside the memory that it was given, in pieces that
//! pages cannot name, at odd addresses. What is written is copied when it is submitted, what is read when it has come.

use corelane_reactors::buffer::SegmentMut;

use super::data::{Cursor, Data, Piece};
use crate::mem::{self, Shared};
use crate::nvme::memory::Part;
use crate::nvme::prp::Run;

/// Segments of one part of a read that goes through a buffer.
pub(super) const SEGMENTS_MAX: usize = 128;

/// The buffers of a queue pair, all of one size.
pub(super) struct Bounces {
    buffers: Box<[Bounce]>,
    free: Vec<u16>,
    bytes: usize,
}

struct Bounce {
    words: Shared,
    iova: u64,
    /// Where to copy what is read; empty for what is written.
    into: Vec<SegmentMut>,
}

impl Bounces {
    /// As many buffers of `bytes` bytes as the part has room for.
    pub(super) fn new(part: &Part, bytes: usize) -> Self {
        let count = u16::try_from(part.words.len() / bytes).expect("64 at most");
        let buffer = |index: u16| {
            let start = usize::from(index) * bytes;
            let words = part.words.slice(start..start + bytes);
            Bounce { words, iova: part.iova.plus(start).0, into: Vec::with_capacity(SEGMENTS_MAX) }
        };
        Self { buffers: (0..count).map(buffer).collect(), free: (0..count).rev().collect(), bytes }
    }

    /// Bytes of a buffer.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there are buffers at all.
    pub(super) fn exist(&self) -> bool {
        !self.buffers.is_empty()
    }

    /// Takes a buffer for the next `bytes` bytes of `data`; `None` when none is free or the list is too long.
    pub(super) fn start(&mut self, data: Data<'_>, cursor: &mut Cursor, bytes: usize) -> Option<(u16, Run)> {
        assert!(bytes <= self.bytes);
        let index = *self.free.last()?;
        let bounce = &mut self.buffers[usize::from(index)];
        let room = bounce.words.segment_mut();
        let mut at = 0;
        while let Some(piece) = data.piece(cursor, bytes - at) {
            match piece {
                Piece::From(segment) => mem::copy(segment, room.slice(at..at + segment.len())),
                Piece::Into(_) if bounce.into.len() == SEGMENTS_MAX => {
                    bounce.into.clear();
                    return None;
                }
                Piece::Into(segment) => bounce.into.push(segment),
            }
            at += piece.bytes();
        }
        self.free.pop();
        Some((index, Run { iova: bounce.iova, bytes }))
    }

    /// Gives a buffer back, after copying what was read if it `was_read`.
    #[cold]
    pub(super) fn finish(&mut self, index: u16, was_read: bool) {
        let bounce = &mut self.buffers[usize::from(index)];
        if was_read && !bounce.into.is_empty() {
            let bytes = mem::length_mut(&bounce.into);
            mem::scatter(bounce.words.segment().slice(0..bytes), &bounce.into);
        }
        bounce.into.clear();
        self.free.push(index);
    }
}
