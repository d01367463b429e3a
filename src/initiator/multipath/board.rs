//! What keeper and lanes tell each other: a few words of memory for each path, each with one kind of writer.
//!
//! Invariant: the other words of a path are stored before its standing (`Release`), and loaded after it (`Acquire`); they
//! change only while the access is `Down`.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a path is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Access {
    /// Nothing: its controller is not connected, or not looked at yet.
    Down,
    /// Commands.
    Optimized,
    /// Commands, where no other path is better.
    NonOptimized,
    /// Nothing now: inaccessible, or changing.
    Blocked,
    /// Nothing any more: persistent loss; the namespace is gone, or another one.
    Lost,
}

impl Access {
    /// Commands go there.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Optimized | Self::NonOptimized)
    }
}

const ACCESSES: [Access; 5] =
    [Access::Down, Access::Optimized, Access::NonOptimized, Access::Blocked, Access::Lost];

/// Where a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Counts associations; queues of another one are of no use.
    pub(super) generation: u32,
    pub(super) cntlid: u16,
    pub(super) access: Access,
}

/// What I/O queues of a controller can be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) depth_max: u16,
    pub(super) in_capsule_bytes_max: u32,
    pub(super) transfer_bytes_max: u32,
}

/// One path.
#[derive(Debug)]
pub(super) struct Path {
    /// Generation, CNTLID and access. Stored by the keeper.
    standing: AtomicU64,
    /// Of the limits: depth and in-capsule bytes. Stored by the keeper.
    queue: AtomicU64,
    /// Of the limits: transfer. Stored by the keeper.
    transfer: AtomicU32,
    /// The last generation of which a lane lost a queue. Stored by lanes, looked at by the keeper. Relaxed: it is a hint,
    /// and says nothing about other memory.
    complaint: AtomicU32,
    /// Counts how often it became one that commands go to. Stored by the keeper. Relaxed, as `complaint`.
    openings: AtomicU32,
    /// A command came back because of the state of the path: it is to be looked at. As `complaint`.
    suspected: AtomicBool,
}

impl Path {
    fn new() -> Self {
        Self {
            standing: AtomicU64::new(0),
            queue: AtomicU64::new(0),
            transfer: AtomicU32::new(0),
            complaint: AtomicU32::new(0),
            openings: AtomicU32::new(0),
            suspected: AtomicBool::new(false),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let word = self.standing.load(Ordering::Acquire).to_le_bytes();
        let [a, b, c, d, e, f, access, _] = word;
        Standing {
            generation: u32::from_le_bytes([a, b, c, d]),
            cntlid: u16::from_le_bytes([e, f]),
            access: ACCESSES[usize::from(access)],
        }
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        if standing.access.is_open() && !self.standing().access.is_open() {
            self.openings.fetch_add(1, Ordering::Relaxed);
        }
        let [a, b, c, d] = standing.generation.to_le_bytes();
        let [e, f] = standing.cntlid.to_le_bytes();
        let word = u64::from_le_bytes([a, b, c, d, e, f, standing.access as u8, 0]);
        self.standing.store(word, Ordering::Release);
    }

    /// To be called before the standing that it belongs to is set.
    pub(super) fn set_limits(&self, limits: Limits) {
        let queue = u64::from(limits.depth_max) << 32 | u64::from(limits.in_capsule_bytes_max);
        self.queue.store(queue, Ordering::Relaxed);
        self.transfer.store(limits.transfer_bytes_max, Ordering::Relaxed);
    }

    /// To be called after its standing was loaded.
    pub(super) fn limits(&self) -> Limits {
        let [a, b, c, d, e, f, ..] = self.queue.load(Ordering::Relaxed).to_le_bytes();
        Limits {
            depth_max: u16::from_le_bytes([e, f]),
            in_capsule_bytes_max: u32::from_le_bytes([a, b, c, d]),
            transfer_bytes_max: self.transfer.load(Ordering::Relaxed),
        }
    }

    /// A queue to the controller of `generation` was lost.
    pub(super) fn complain(&self, generation: u32) {
        self.complaint.store(generation, Ordering::Relaxed);
    }

    pub(super) fn is_complained_of(&self, generation: u32) -> bool {
        self.complaint.load(Ordering::Relaxed) == generation
    }

    /// The controller answered that its path does not work.
    pub(super) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_suspicion(&self) -> bool {
        self.suspected.load(Ordering::Relaxed) && self.suspected.swap(false, Ordering::Relaxed)
    }
}

/// All paths, and the QIDs that no lane has.
#[derive(Debug)]
pub(super) struct Board {
    paths: Box<[Path]>,
    /// Taken when a lane is opened and given back when it is closed; never on the way of a command.
    qids: Mutex<Vec<u16>>,
}

impl Board {
    pub(super) fn new(paths: usize, lanes: u16) -> Self {
        Self {
            paths: (0..paths).map(|_| Path::new()).collect(),
            qids: Mutex::new((1..=lanes).rev().collect()),
        }
    }

    pub(super) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// How often paths became ones that commands go to, of all paths together; wraps around.
    pub(super) fn openings(&self) -> u32 {
        self.paths.iter().map(|path| path.openings.load(Ordering::Relaxed)).fold(0, u32::wrapping_add)
    }

    /// A QID for a lane, the lowest that is free.
    pub(super) fn take_qid(&self) -> Option<u16> {
        self.lock().pop()
    }

    pub(super) fn return_qid(&self, qid: u16) {
        self.lock().push(qid);
    }

    /// Nothing panics while it holds the lock; the list is whole in any case.
    fn lock(&self) -> MutexGuard<'_, Vec<u16>> {
        self.qids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
