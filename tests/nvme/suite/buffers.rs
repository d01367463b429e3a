//! Buffers for the data of commands, poisoned when they are nobody's: a device that still touches one is found out.

use std::ops::Range;
use std::sync::Arc;

use corelane::mem::{self, Extent, Segment, SegmentMut};

/// Bytes of a buffer.
pub(crate) const BUFFER_BYTES: usize = 512 << 10;

/// Buffers.
const COUNT: usize = 48;

/// Bytes around a command's own that are looked at when it completes; all others when [`Buffers::check`] does.
const GUARD: usize = 4096;

const POISON: u8 = 0xD7;

/// A buffer that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffer(usize);

pub(crate) struct Buffers {
    extent: Arc<Extent>,
    /// As many bytes of poison as a buffer has.
    poison: Extent,
    /// `Some`: taken, and these bytes of it are a command's.
    taken: Vec<Option<Range<usize>>>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        let extent = Arc::new(Extent::best(COUNT * BUFFER_BYTES).unwrap());
        mem::copy_in(&vec![POISON; extent.len()], extent.segment_mut(0..extent.len()));
        let poison = Extent::ordinary(BUFFER_BYTES).unwrap();
        mem::copy_in(&[POISON; BUFFER_BYTES], poison.segment_mut(0..BUFFER_BYTES));
        Self { extent, poison, taken: vec![None; COUNT] }
    }

    pub(crate) fn extent(&self) -> &Arc<Extent> {
        &self.extent
    }

    /// Takes a buffer, of which a command is to use these bytes.
    ///
    /// # Panics
    /// If somebody wrote to it since it was given back, or none is left.
    pub(crate) fn take(&mut self, range: Range<usize>) -> Buffer {
        assert!(range.end <= BUFFER_BYTES);
        let index = self.taken.iter().position(Option::is_none).expect("a buffer is left");
        self.assert_poisoned(index, range.clone());
        self.taken[index] = Some(range);
        Buffer(index)
    }

    /// Gives a buffer back: from now on nobody may write to it.
    ///
    /// # Panics
    /// If somebody wrote outside of the bytes that were the command's.
    pub(crate) fn give_back(&mut self, buffer: Buffer) {
        let range = self.taken[buffer.0].take().expect("a buffer that is taken");
        self.assert_poisoned(buffer.0, range.start.saturating_sub(GUARD)..range.start);
        self.assert_poisoned(buffer.0, range.end..BUFFER_BYTES.min(range.end + GUARD));
        mem::copy(self.poison.segment(range.clone()), self.segment(buffer, range));
    }

    /// Buffers that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.iter().flatten().count()
    }

    /// The command's bytes.
    pub(crate) fn own(&self, buffer: Buffer) -> SegmentMut {
        self.segment(buffer, self.taken[buffer.0].clone().expect("a buffer that is taken"))
    }

    /// A copy of the command's bytes.
    pub(crate) fn bytes(&self, buffer: Buffer) -> Vec<u8> {
        copied(self.own(buffer).read_only())
    }

    /// Looks at every buffer that is nobody's.
    ///
    /// # Panics
    /// If somebody wrote to one.
    pub(crate) fn check(&self) {
        for index in (0..COUNT).filter(|index| self.taken[*index].is_none()) {
            self.assert_poisoned(index, 0..BUFFER_BYTES);
        }
    }

    fn segment(&self, buffer: Buffer, range: Range<usize>) -> SegmentMut {
        let start = buffer.0 * BUFFER_BYTES;
        self.extent.segment_mut(start + range.start..start + range.end)
    }

    fn assert_poisoned(&self, index: usize, range: Range<usize>) {
        let bytes = self.segment(Buffer(index), range.clone()).read_only();
        if let Some(at) = mem::difference(bytes, self.poison.segment(range)) {
            panic!("byte {at} of buffer {index} was written when the buffer was nobody's");
        }
    }
}

fn copied(segment: Segment) -> Vec<u8> {
    let mut bytes = vec![0; segment.len()];
    mem::copy_out(segment, &mut bytes);
    bytes
}
