//! The error log of a controller: the newest of its commands that failed, on its admin queue and on its I/O queues (NVMe
//! base 2.1, section 5.1.12.1.2).
//!
//! An I/O queue writes what fails into a ring of its own on its reactor, and nobody else does; the management reactor reads
//! the rings when somebody asks, and when a queue ends. Nothing is locked, sent or allocated for a command that fails.
//!
//! Invariants: `entries` are at most 64, the newest first, with falling counts; `count` is that of the newest
//! failure that is known; of each ring, the failures below `seen` are counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use corelane_reactors::clock::Time;
use zerocopy::{FromZeros, IntoBytes};

use crate::spec::log_page::ErrorEntry;
use crate::spec::status::Status;
use crate::trace::{Failure, FailureRing};

/// Entries of the log: ELPE + 1.
pub(super) const ENTRIES_MAX: usize = 64;

/// Parameter Error Location of an error that is not tied to one parameter that is known.
const NO_LOCATION: u16 = 0xffff;

/// LPVER: opcode and command set are told.
const VERSION: u8 = 1;

/// A command that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// CID.
    pub cid: u16,
    /// The status that it was completed with.
    pub status: Status,
    /// NSID.
    pub nsid: u32,
    /// The first block that it was about; 0 where it was about none.
    pub lba: u64,
    /// The opcode.
    pub opcode: u8,
}

/// Where the failures of one I/O queue are written, by its reactor.
#[derive(Debug, Default)]
pub struct Failures(FailureRing);

impl Failures {
    /// Notes a failure. Only the reactor that has the queue may call it.
    pub fn note(&self, now: Time, failed: &Failed) {
        let status = u64::from(failed.status.to_wire());
        let names = u64::from(failed.cid) << 32 | u64::from(failed.opcode) << 16 | status;
        self.0.write(now, [names, failed.nsid.into(), failed.lba]);
    }

    fn read(failure: &Failure) -> Failed {
        let [names, nsid, lba] = failure.values;
        let [status_low, status_high, opcode, _, cid_low, cid_high, ..] = names.to_le_bytes();
        Failed {
            cid: u16::from_le_bytes([cid_low, cid_high]),
            status: Status::from_wire(u16::from_le_bytes([status_low, status_high])),
            nsid: u32::try_from(nsid).unwrap_or(u32::MAX),
            lba,
            opcode,
        }
    }
}

#[derive(Debug)]
struct Queue {
    ring: Arc<Failures>,
    seen: u64,
}

/// The error log of one controller.
#[derive(Debug, Default)]
pub(super) struct ErrorLog {
    entries: VecDeque<ErrorEntry>,
    count: u64,
    queues: BTreeMap<u16, Queue>,
}

impl ErrorLog {
    /// Where an I/O queue that was just opened writes.
    pub(super) fn open_queue(&mut self, qid: u16) -> Arc<Failures> {
        let ring = Arc::<Failures>::default();
        self.queues.insert(qid, Queue { ring: Arc::clone(&ring), seen: 0 });
        ring
    }

    /// An I/O queue is gone; what it wrote stays.
    pub(super) fn close_queue(&mut self, qid: u16) {
        self.collect();
        self.queues.remove(&qid);
    }

    /// A command of the admin queue failed.
    pub(super) fn add(&mut self, failed: &Failed) {
        self.collect();
        self.enter(0, failed);
    }

    /// How many commands have failed so far.
    pub(super) fn count(&mut self) -> u64 {
        self.collect();
        self.count
    }

    /// The log page, with all its entries; those that were never used are zeros.
    pub(super) fn page(&mut self) -> Vec<u8> {
        self.collect();
        let unused = std::iter::repeat_n(ErrorEntry::new_zeroed(), ENTRIES_MAX - self.entries.len());
        self.entries.iter().copied().chain(unused).flat_map(|entry| entry.as_bytes().to_vec()).collect()
    }

    /// Takes what the I/O queues have written since it last looked, in the order of time.
    fn collect(&mut self) {
        let mut new = Vec::new();
        for (qid, Queue { ring, seen }) in &mut self.queues {
            let written = ring.0.written();
            let first = std::mem::replace(seen, written);
            let failures = ring.0.since(first).filter(|failure| failure.number < written);
            let told = new.len();
            new.extend(failures.map(|failure| (failure.time, *qid, Failures::read(&failure))));
            // What was overwritten before anybody looked is counted all the same.
            self.count += (written - first).saturating_sub((new.len() - told) as u64);
        }
        new.sort_by_key(|(time, ..)| *time);
        for (_, qid, failed) in new {
            self.enter(qid, &failed);
        }
    }

    fn enter(&mut self, sqid: u16, failed: &Failed) {
        self.count += 1;
        let mut entry = ErrorEntry::new_zeroed();
        entry.error_count.set(self.count);
        entry.sqid.set(sqid);
        entry.cid.set(failed.cid);
        entry.status.set(failed.status.to_wire());
        entry.parameter_location.set(NO_LOCATION);
        entry.lba.set(failed.lba);
        entry.nsid.set(failed.nsid);
        entry.opcode = failed.opcode;
        entry.version = VERSION;
        self.entries.truncate(ENTRIES_MAX - 1);
        self.entries.push_front(entry);
        assert!(self.entries.len() <= ENTRIES_MAX);
    }
}

#[cfg(test)]
mod tests;
