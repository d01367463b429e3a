//! What the I/O reactors have done for a subsystem, by namespace: one writer a lane, summed by whoever asks.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use crate::nvmf::io::Operation;
use crate::nvmf::subsystem::{Counting, IoCounts, NSID_MAX_LEAST};
use crate::spec::opcode::NvmOpcode;
use crate::spec::status::{Status, StatusType};
use crate::trace::{CommandCounts, CommandTrace, Fault, Kind};

/// SMART Host Read Commands (NVM command set 1.2, section 1.4.2.8).
const HOST_READS: [Kind; 3] = [Kind::Read, Kind::Compare, Kind::Copy];

/// SMART Data Units Read Commands (NVM command set 1.2, section 1.4.2.7).
const DATA_UNITS_READS: [Kind; 3] = [Kind::Read, Kind::Compare, Kind::Verify];

/// User Data Out Commands (NVM command set 1.0, section 1.4.2.4).
const USER_DATA_OUT: [Kind; 2] = [Kind::Write, Kind::Copy];

/// Where one I/O reactor counts for the namespaces of a subsystem.
#[derive(Debug, Default)]
pub struct LaneCounts {
    /// By NSID - 1. Made when a queue first has the namespace on this lane.
    namespaces: Box<[OnceLock<Arc<CommandTrace>>]>,
}

impl LaneCounts {
    /// With room for the namespaces up to `nsid_max`.
    fn new(nsid_max: u32) -> Self {
        Self { namespaces: (0..nsid_max).map(|_| OnceLock::new()).collect() }
    }

    /// Where the commands of a namespace are counted on this lane; one that nobody reads for a namespace that it does not
    /// know. May allocate: belongs to Connect.
    pub fn namespace(&self, nsid: u32) -> Arc<CommandTrace> {
        let place = self.namespaces.get((nsid as usize).wrapping_sub(1));
        place.map_or_else(Arc::default, |place| Arc::clone(place.get_or_init(Arc::default)))
    }
}

/// The lanes of a subsystem, one for each I/O reactor.
#[derive(Debug)]
pub struct Counts {
    lanes: Box<[Arc<LaneCounts>]>,
    /// Those that are there from the start.
    nsids: BTreeSet<u32>,
    /// As far as NSIDs may go.
    nsid_max: u32,
}

impl Counts {
    /// Zero, for `lanes` I/O reactors, the namespaces `nsids`, and those that come to them.
    pub fn new(lanes: usize, nsids: impl IntoIterator<Item = u32>) -> Self {
        let nsids: BTreeSet<u32> = nsids.into_iter().collect();
        let nsid_max = nsids.last().copied().unwrap_or_default().max(NSID_MAX_LEAST);
        Self { lanes: (0..lanes).map(|_| Arc::new(LaneCounts::new(nsid_max))).collect(), nsids, nsid_max }
    }

    /// What all lanes have counted of each namespace, by ascending NSID; one that was added later is among them once a queue
    /// has it.
    pub fn namespaces(&self) -> impl Iterator<Item = (u32, CommandCounts)> {
        (1..=self.nsid_max).filter_map(|nsid| {
            let traces = self.lanes.iter().filter_map(|lane| lane.namespaces[nsid as usize - 1].get());
            let mut traces = traces.peekable();
            if traces.peek().is_none() && !self.nsids.contains(&nsid) {
                return None;
            }
            let mut sum = CommandCounts::default();
            traces.for_each(|trace| sum.merge(&trace.counts()));
            Some((nsid, sum))
        })
    }
}

impl Counting for Counts {
    fn counts(&self) -> IoCounts {
        let mut sum = IoCounts::default();
        for (_, counts) in self.namespaces() {
            let completed = |kind| counts.succeeded(kind) + counts.failed(kind);
            sum.read_commands += HOST_READS.map(completed).iter().sum::<u64>();
            sum.write_commands += USER_DATA_OUT.map(completed).iter().sum::<u64>();
            sum.read_bytes += DATA_UNITS_READS.map(|kind| counts.bytes(kind)).iter().sum::<u64>();
            sum.written_bytes += USER_DATA_OUT.map(|kind| counts.bytes(kind)).iter().sum::<u64>();
            sum.media_errors += counts.media_errors;
        }
        sum
    }

    fn lane(&self, index: usize) -> Arc<LaneCounts> {
        Arc::clone(&self.lanes[index])
    }
}

/// As what an operation is counted.
pub fn kind_of(operation: Operation) -> Kind {
    match operation {
        Operation::Read(_) => Kind::Read,
        Operation::Write { .. } => Kind::Write,
        Operation::Compare(_) => Kind::Compare,
        Operation::WriteZeroes { .. } => Kind::WriteZeroes,
        Operation::Deallocate(_) | Operation::Hint => Kind::Dataset,
        Operation::Flush => Kind::Flush,
        Operation::Verify(_) => Kind::Verify,
        Operation::WriteUncorrectable(_) => Kind::WriteUncorrectable,
        Operation::Copy { .. } => Kind::Copy,
        Operation::Reservation { .. } => Kind::Reservation,
    }
}

/// As what a command is counted that never became an operation.
pub fn kind_of_refused(opcode: NvmOpcode) -> Kind {
    match opcode {
        NvmOpcode::READ => Kind::Read,
        NvmOpcode::WRITE => Kind::Write,
        NvmOpcode::COMPARE => Kind::Compare,
        NvmOpcode::WRITE_ZEROES => Kind::WriteZeroes,
        NvmOpcode::DATASET_MANAGEMENT => Kind::Dataset,
        NvmOpcode::FLUSH => Kind::Flush,
        NvmOpcode::VERIFY => Kind::Verify,
        NvmOpcode::WRITE_UNCORRECTABLE => Kind::WriteUncorrectable,
        NvmOpcode::COPY => Kind::Copy,
        NvmOpcode::RESERVATION_REGISTER
        | NvmOpcode::RESERVATION_ACQUIRE
        | NvmOpcode::RESERVATION_RELEASE
        | NvmOpcode::RESERVATION_REPORT => Kind::Reservation,
        _ => Kind::Other,
    }
}

/// Whose fault a status names, as far as that is counted; none for success. Data that differs from the host's is as it was
/// stored: no error of the medium.
pub fn fault_of(status: Status) -> Option<Fault> {
    let media = status.kind() == StatusType::MEDIA && !status.is(Status::COMPARE_FAILURE);
    let fault = if media { Fault::Media } else { Fault::Other };
    (!status.is_success()).then_some(fault)
}
