//! One channel under test with its memory; checks what holds for every command.
//!
//! Invariant: `flying` holds the tags of exactly the commands that the channel has not completed.

use std::{collections::BTreeSet, sync::Arc};

use corelane_reactors::{
    buffer::{Segment, SegmentMut},
    poller::Wake,
};

use super::{Contents, Subject, Surroundings};
use crate::{
    bdev::{Bdev, BdevError, Blocks, Channel, Command, Features, Geometry, Memory, Submitted, Tag},
    mem::{self, Extent},
};

/// Polls without a completion after which a command counts as lost.
const POLLS_MAX: u32 = 10_000_000;

/// Bytes of memory for the data of commands, unused until they are written.
const MEMORY_BYTES: usize = 64 << 20;

/// Bytes between two buffers that nobody may touch.
const GUARD: usize = 4096;

const GUARD_FILL: u8 = 0xC7;

pub(super) type Completion = (Tag, Result<(), BdevError>);

pub(super) struct Rig<'a> {
    pub(super) geometry: Geometry,
    pub(super) contents: Contents,
    idle: &'a (dyn Fn(Wake) + Sync),
    channel: Box<dyn Channel>,
    memory: Arc<Extent>,
    used: usize,
    next_tag: u64,
    flying: BTreeSet<Tag>,
    completed: Vec<Completion>,
}

impl<'a> Rig<'a> {
    /// A channel of a new device.
    pub(super) fn new(subject: &Subject<'a>) -> Self {
        Self::on(&(subject.make)(), subject.surroundings())
    }

    /// A channel of this device.
    pub(super) fn on(bdev: &Arc<dyn Bdev>, surroundings: Surroundings<'a>) -> Self {
        let Surroundings { contents, idle, memory, home } = surroundings;
        let geometry = *bdev.geometry();
        assert!(geometry.blocks >= super::BLOCKS_MIN);
        let channel = bdev.open(&home()).unwrap();
        assert_eq!((channel.outstanding(), channel.wake()), (0, Wake::Never));
        Self {
            geometry,
            contents,
            idle,
            channel,
            memory: memory(MEMORY_BYTES),
            used: 0,
            // The first tag is all ones, the next one zero.
            next_tag: u64::MAX,
            flying: BTreeSet::new(),
            completed: Vec::new(),
        }
    }

    pub(super) fn features(&self) -> Features {
        self.geometry.features
    }

    /// Bytes of `count` blocks.
    pub(super) fn bytes_of(&self, count: u32) -> usize {
        count as usize * self.geometry.block_size as usize
    }

    /// What the device holds after `bytes` were written to it.
    pub(super) fn kept(&self, bytes: &[u8]) -> Vec<u8> {
        match self.contents {
            Contents::Kept => bytes.to_vec(),
            Contents::Forgotten => vec![0; bytes.len()],
        }
    }

    /// A buffer of `len` bytes with guards before and behind it; valid until [`Rig::reuse`].
    pub(super) fn buffer(&mut self, len: usize) -> SegmentMut {
        let start = self.used + GUARD;
        let end = start + len;
        self.used = end.next_multiple_of(GUARD);
        assert!(self.used + GUARD <= MEMORY_BYTES);
        mem::copy_in(&[GUARD_FILL; GUARD], self.memory.segment_mut(start - GUARD..start));
        mem::copy_in(&[GUARD_FILL; GUARD], self.memory.segment_mut(end..end + GUARD));
        self.memory.segment_mut(start..end)
    }

    /// A buffer that holds `bytes`.
    pub(super) fn filled(&mut self, bytes: &[u8]) -> Segment {
        let buffer = self.buffer(bytes.len());
        mem::copy_in(bytes, buffer);
        buffer.read_only()
    }

    /// Takes all buffers back.
    pub(super) fn reuse(&mut self) {
        assert!(self.flying.is_empty());
        self.used = 0;
    }

    /// Whether the bytes before and behind a buffer are untouched.
    pub(super) fn assert_guarded(&self, buffer: SegmentMut) {
        let start = buffer.pointer().addr() - self.memory.segment(0..0).pointer().addr();
        let end = start + buffer.len();
        for guard in [start - GUARD..start, end..end + GUARD] {
            assert_eq!(contents_of(self.memory.segment(guard)), [GUARD_FILL; GUARD]);
        }
    }

    /// Submits a command under a new tag.
    pub(super) fn submit(&mut self, command: &Command<'_>) -> Tag {
        let tag = Tag(self.next_tag);
        self.next_tag = self.next_tag.wrapping_add(1);
        let before = self.channel.outstanding();
        match self.channel.submit(tag, command) {
            Submitted::Done(result) => {
                assert_eq!(self.channel.outstanding(), before);
                self.completed.push((tag, result));
            }
            Submitted::Pending => {
                assert_eq!(self.channel.outstanding(), before + 1);
                assert!(self.flying.insert(tag));
            }
        }
        tag
    }

    /// Polls until nothing is outstanding; returns every completion since the last call.
    pub(super) fn settle(&mut self) -> Vec<Completion> {
        let mut polls = 0;
        while !self.flying.is_empty() {
            assert_eq!(self.channel.outstanding(), self.flying.len());
            let before = self.completed.len();
            let (flying, completed) = (&mut self.flying, &mut self.completed);
            let count = self.channel.poll(&mut |tag, result| {
                assert!(flying.remove(&tag), "{tag:?} completed twice or was never submitted");
                completed.push((tag, result));
            });
            assert_eq!(count, self.completed.len() - before);
            polls = if count == 0 { polls + 1 } else { 0 };
            assert!(polls < POLLS_MAX, "lost: {:?}", self.flying);
            if count == 0 {
                self.channel.commit();
                (self.idle)(self.channel.wake());
            }
        }
        assert_eq!((self.channel.outstanding(), self.channel.wake()), (0, Wake::Never));
        let late = self.channel.poll(&mut |tag, _| panic!("{tag:?} completed once more"));
        assert_eq!(late, 0);
        std::mem::take(&mut self.completed)
    }

    /// Carries out one command.
    pub(super) fn run(&mut self, command: &Command<'_>) -> Result<(), BdevError> {
        let tag = self.submit(command);
        let completions = self.settle();
        assert_eq!(completions.len(), 1);
        assert_eq!(completions[0].0, tag);
        completions[0].1
    }

    /// Writes `bytes`, which are whole blocks, from `first` on.
    pub(super) fn write(&mut self, first: u64, bytes: &[u8]) {
        let blocks = self.blocks_of(first, bytes.len());
        let from = [self.filled(bytes)];
        self.run(&Command::Write { blocks, from: &from, force_unit_access: false }).unwrap();
        self.reuse();
    }

    /// Reads `count` blocks from `first` on.
    pub(super) fn read(&mut self, first: u64, count: u32) -> Vec<u8> {
        let into = self.buffer(self.bytes_of(count));
        mem::copy_in(&vec![0xEE; into.len()], into);
        self.run(&Command::Read { blocks: Blocks { first, count }, into: &[into] }).unwrap();
        self.assert_guarded(into);
        self.reuse();
        contents_of(into.read_only())
    }

    /// The bytes that the device lends, if it lends.
    pub(super) fn lend(&self, blocks: Blocks) -> Option<Vec<u8>> {
        self.channel.lend(blocks).map(contents_of)
    }

    /// Asks the channel to end a command early.
    pub(super) fn abort(&mut self, tag: Tag) -> bool {
        self.channel.abort(tag)
    }

    pub(super) fn blocks_of(&self, first: u64, bytes: usize) -> Blocks {
        assert!(bytes.is_multiple_of(self.bytes_of(1)));
        Blocks { first, count: u32::try_from(bytes / self.bytes_of(1)).unwrap() }
    }

    /// Cuts a buffer at these offsets, moved down to where the device wants them; equal offsets make empty
    /// segments.
    pub(super) fn cut(&self, whole: SegmentMut, offsets: &[usize]) -> Vec<SegmentMut> {
        let alignment = match self.geometry.memory {
            Memory::Own => 1,
            Memory::Callers { alignment } => alignment,
        };
        let mut offsets: Vec<_> = offsets.iter().map(|offset| offset - offset % alignment).collect();
        offsets.extend([0, whole.len()]);
        offsets.sort_unstable();
        offsets.windows(2).map(|pair| whole.slice(pair[0]..pair[1])).collect()
    }
}

/// A private copy of raw memory.
pub(super) fn contents_of(segment: Segment) -> Vec<u8> {
    let mut bytes = vec![0; segment.len()];
    mem::copy_out(segment, &mut bytes);
    bytes
}

/// The same segments to be read.
pub(super) fn read_only(segments: &[SegmentMut]) -> Vec<Segment> {
    segments.iter().map(SegmentMut::read_only).collect()
}

/// Bytes in which every place can be told from its neighbours; no 512 bytes are all zero.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = crate::bdev::random::Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&(random.next() | 1).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
