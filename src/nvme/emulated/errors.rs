//! The error log (NVMe base 2.1, section 5.1.12.1.2): the commands that failed last, newest first.

use std::collections::VecDeque;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use crate::spec::log_page::ErrorEntry;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// Entries that are kept: ELPE + 1.
pub(super) const ERRORS_MAX: usize = 8;

#[derive(Default)]
pub(super) struct Errors {
    entries: VecDeque<ErrorEntry>,
    count: u64,
}

impl Errors {
    /// A command of a submission queue failed.
    pub(super) fn note(&mut self, sqid: u16, sqe: &Sqe, status: Status) {
        self.count += 1;
        let mut entry = ErrorEntry::new_zeroed();
        entry.error_count = U64::new(self.count);
        (entry.sqid, entry.cid) = (U16::new(sqid), sqe.cid);
        entry.status = U16::new(status.to_wire());
        // Whichever parameter it was: it is not told.
        entry.parameter_location = U16::new(u16::MAX);
        (entry.nsid, entry.opcode) = (U32::new(sqe.nsid.get()), sqe.opcode);
        if sqid > 0 {
            entry.lba = U64::new(sqe.starting_lba());
        }
        self.entries.truncate(ERRORS_MAX - 1);
        self.entries.push_front(entry);
    }

    /// The log page.
    pub(super) fn page(&self) -> Vec<u8> {
        self.entries.iter().flat_map(|entry| entry.as_bytes()).copied().collect()
    }
}
