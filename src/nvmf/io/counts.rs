//! What the I/O reactors have done for a subsystem, by namespace: one writer a lane, summed by whoever asks.

use std::sync::{Arc, OnceLock};

use crate::nvmf::io::Operation;
use crate::nvmf::subsystem::{Counting, IoCounts};
use crate::spec::opcode::NvmOpcode;
use crate::spec::status::{Status, StatusType};
use crate::trace::{CommandCounts, CommandTrace, Fault, Kind};

/// Where one I/O reactor counts for the namespaces of a subsystem.
#[derive(Debug, Default)]
pub struct LaneCounts {
    /// By ascending NSID. Made when a queue first has the namespace on this lane.
    namespaces: Box<[(u32, OnceLock<Arc<CommandTrace>>)]>,
}

impl LaneCounts {
    fn new(nsids: &[u32]) -> Self {
        Self { namespaces: nsids.iter().map(|nsid| (*nsid, OnceLock::new())).collect() }
    }

    /// Where the commands of a namespace are counted on this lane; one that nobody reads for a namespace that it does not
    /// know. May allocate: belongs to Connect.
    pub fn namespace(&self, nsid: u32) -> Arc<CommandTrace> {
        let found = self.namespaces.binary_search_by_key(&nsid, |(nsid, _)| *nsid);
        found.map_or_else(
            |_| Arc::default(),
            |index| Arc::clone(self.namespaces[index].1.get_or_init(Arc::default)),
        )
    }
}

/// The lanes of a subsystem, one for each I/O reactor.
#[derive(Debug)]
pub struct Counts {
    lanes: Box<[Arc<LaneCounts>]>,
    /// Ascending.
    nsids: Box<[u32]>,
}

impl Counts {
    /// Zero, for `lanes` I/O reactors and the namespaces `nsids`.
    pub fn new(lanes: usize, nsids: impl IntoIterator<Item = u32>) -> Self {
        let mut nsids: Box<[u32]> = nsids.into_iter().collect();
        nsids.sort_unstable();
        Self { lanes: (0..lanes).map(|_| Arc::new(LaneCounts::new(&nsids))).collect(), nsids }
    }

    /// What all lanes have counted of each namespace, by ascending NSID.
    pub fn namespaces(&self) -> impl Iterator<Item = (u32, CommandCounts)> {
        self.nsids.iter().enumerate().map(|(index, nsid)| {
            let mut sum = CommandCounts::default();
            for trace in self.lanes.iter().filter_map(|lane| lane.namespaces[index].1.get()) {
                sum.merge(&trace.counts());
            }
            (*nsid, sum)
        })
    }
}

impl Counting for Counts {
    fn counts(&self) -> IoCounts {
        let mut sum = IoCounts::default();
        for (_, counts) in self.namespaces() {
            sum.read_commands += counts.succeeded(Kind::Read) + counts.succeeded(Kind::Compare);
            sum.write_commands += counts.succeeded(Kind::Write);
            sum.read_bytes += counts.bytes(Kind::Read) + counts.bytes(Kind::Compare);
            sum.written_bytes += counts.bytes(Kind::Write);
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

/// Whose fault a status names, as far as that is counted; none for success.
pub fn fault_of(status: Status) -> Option<Fault> {
    let fault = if status.kind() == StatusType::MEDIA { Fault::Media } else { Fault::Other };
    (!status.is_success()).then_some(fault)
}
