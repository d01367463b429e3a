//! The data of a command: lists of segments, walked part by part, as the device sees them.

use corelane_reactors::buffer::{Segment, SegmentMut};

use crate::mem;
use crate::nvme::prp::{Run, Unnamed};
use crate::nvme::translation::Translations;

/// The data of a command, and which way it goes.
#[derive(Clone, Copy)]
pub(super) enum Data<'a> {
    /// From the device.
    Into(&'a [SegmentMut]),
    /// To the device.
    From(&'a [Segment]),
}

/// A place in a list.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    index: usize,
    offset: usize,
}

impl Data<'_> {
    /// Bytes of all segments. Saturates.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        match self {
            Data::Into(list) => mem::length_mut(list),
            Data::From(list) => mem::length(list),
        }
    }

    /// The only segment, as address and length; `None` where there are several.
    #[inline]
    pub(super) fn only(&self) -> Option<(usize, usize)> {
        match self {
            Data::Into([segment]) => Some((segment.pointer().addr(), segment.len())),
            Data::From([segment]) => Some((segment.pointer().addr(), segment.len())),
            Data::Into(_) | Data::From(_) => None,
        }
    }

    /// The next piece, of at most `bytes` bytes; the cursor moves behind it. `None` at the end, and where no bytes are
    /// asked for.
    pub(super) fn piece(&self, cursor: &mut Cursor, bytes: usize) -> Option<Piece> {
        if bytes == 0 {
            return None;
        }
        loop {
            let whole = match self {
                Data::Into(list) => Piece::Into(*list.get(cursor.index)?),
                Data::From(list) => Piece::From(*list.get(cursor.index)?),
            };
            let left = whole.bytes() - cursor.offset;
            let piece = whole.slice(cursor.offset, left.min(bytes));
            if left > bytes {
                cursor.offset += bytes;
            } else {
                *cursor = Cursor { index: cursor.index + 1, offset: 0 };
            }
            if left > 0 {
                return Some(piece);
            }
        }
    }
}

/// A part of one segment.
#[derive(Clone, Copy)]
pub(super) enum Piece {
    Into(SegmentMut),
    From(Segment),
}

impl Piece {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Into(segment) => segment.len(),
            Self::From(segment) => segment.len(),
        }
    }

    fn address(&self) -> usize {
        match self {
            Self::Into(segment) => segment.pointer().addr(),
            Self::From(segment) => segment.pointer().addr(),
        }
    }

    fn slice(&self, offset: usize, bytes: usize) -> Self {
        match self {
            Self::Into(segment) => Self::Into(segment.slice(offset..offset + bytes)),
            Self::From(segment) => Self::From(segment.slice(offset..offset + bytes)),
        }
    }
}

/// The next `left` bytes of a list, as runs that the device sees.
pub(super) struct Runs<'a> {
    pub(super) data: Data<'a>,
    pub(super) cursor: &'a mut Cursor,
    pub(super) left: usize,
    pub(super) translations: &'a Translations,
    pub(super) hint: &'a mut usize,
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, Unnamed>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.data.piece(self.cursor, self.left)?;
        let bytes = piece.bytes();
        self.left -= bytes;
        let found = self.translations.find(self.hint, piece.address(), bytes);
        Some(found.map(|iova| Run { iova, bytes }).ok_or(Unnamed::Unmapped))
    }
}
