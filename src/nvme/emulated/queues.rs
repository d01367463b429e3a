//! Submission and completion queues, as the controller sees them.
//!
//! Invariants: `head` and `tail` are less than `entries`; `outstanding` holds the identifiers of the commands that were
//! fetched and not answered.

use zerocopy::{FromBytes, IntoBytes};

use super::memory::Memory;
use crate::mem::{self, Shared};
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;

const SQE_BYTES: usize = size_of::<Sqe>();
const CQE_BYTES: usize = size_of::<Cqe>();

/// Words of a set of identifiers.
const CID_WORDS: usize = (1 << 16) / 64;

/// A submission queue.
pub(super) struct Submission {
    pub(super) qid: u16,
    pub(super) cqid: u16,
    pub(super) entries: u32,
    iova: u64,
    head: u32,
    outstanding: Box<[u64; CID_WORDS]>,
    /// The identifier that was answered last.
    pub(super) answered: Option<u16>,
}

impl Submission {
    /// A queue in memory that is mapped; `None`, and a violation, where it is not.
    pub(super) fn new(memory: &mut Memory, qid: u16, cqid: u16, iova: u64, entries: u32) -> Option<Self> {
        memory.share(iova, entries as usize * SQE_BYTES)?;
        let outstanding = Box::new([0; CID_WORDS]);
        Some(Self { qid, cqid, entries, iova, head: 0, outstanding, answered: None })
    }

    pub(super) fn head(&self) -> u16 {
        u16::try_from(self.head).expect("less than the entries, at most 65,536")
    }

    /// Fetches the next command, if the tail says that there is one.
    pub(super) fn fetch(&mut self, memory: &mut Memory, tail: u32) -> Option<Sqe> {
        if tail == self.head {
            return None;
        }
        let at = self.iova + u64::from(self.head) * 64;
        let mut bytes = [0; SQE_BYTES];
        mem::copy_out(memory.reach(at, SQE_BYTES)?.read_only(), &mut bytes);
        self.head = if self.head + 1 == self.entries { 0 } else { self.head + 1 };
        Some(Sqe::read_from_bytes(&bytes).expect("64 bytes are a command"))
    }

    /// Notes that a command is outstanding; false if one of its identifier already is.
    pub(super) fn begin(&mut self, cid: u16) -> bool {
        let (word, bit) = (usize::from(cid / 64), 1 << (cid % 64));
        let fresh = self.outstanding[word] & bit == 0;
        self.outstanding[word] |= bit;
        fresh
    }

    /// Notes that a command was answered.
    pub(super) fn end(&mut self, cid: u16) {
        self.outstanding[usize::from(cid / 64)] &= !(1 << (cid % 64));
        self.answered = Some(cid);
    }

    /// An identifier that no command has.
    pub(super) fn free_cid(&self) -> u16 {
        let free = (0..=u16::MAX).rev();
        let mut free = free.filter(|cid| self.outstanding[usize::from(cid / 64)] & (1 << (cid % 64)) == 0);
        free.next().expect("fewer commands than identifiers")
    }
}

/// A completion queue.
pub(super) struct Completion {
    pub(super) qid: u16,
    entries: u32,
    iova: u64,
    ring: Shared,
    tail: u32,
    phase: bool,
}

impl Completion {
    /// A queue in memory that is mapped; `None`, and a violation, where it is not.
    pub(super) fn new(memory: &mut Memory, qid: u16, iova: u64, entries: u32) -> Option<Self> {
        let ring = memory.share(iova, entries as usize * CQE_BYTES)?;
        Some(Self { qid, entries, iova, ring, tail: 0, phase: true })
    }

    /// Entries that are free, for the head that the driver announced.
    pub(super) fn room(&self, head: u32) -> u32 {
        (head + self.entries - self.tail - 1) % self.entries
    }

    /// Puts an answer into the queue, its phase last, so that whoever sees the phase sees the rest. `stuck`: the phase
    /// is the old one.
    pub(super) fn post(&mut self, memory: &mut Memory, mut cqe: Cqe, stuck: bool) {
        if !memory.holds(self.iova, self.entries as usize * CQE_BYTES) {
            return;
        }
        let phase = self.phase != stuck;
        cqe.status_wire = (cqe.status().to_wire() | u16::from(phase)).into();
        let at = self.tail as usize * CQE_BYTES;
        for (index, word) in cqe.as_bytes().chunks_exact(4).enumerate() {
            let word = word.try_into().expect("four bytes");
            self.ring.store_u32(at + index * 4, u32::from_le_bytes(word));
        }
        self.tail += 1;
        if self.tail == self.entries {
            self.tail = 0;
            self.phase = !self.phase;
        }
    }
}
