//! What the I/O reactors have done for a subsystem: one writer a lane, summed by whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::nvmf::io::Operation;
use crate::nvmf::subsystem::{Counting, IoCounts};
use crate::spec::status::{Status, StatusType};

/// What one I/O reactor has done for a subsystem. Aligned so that no two reactors write one pair of cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LaneCounts {
    read_commands: AtomicU64,
    write_commands: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    media_errors: AtomicU64,
}

impl LaneCounts {
    /// Counts a command that moved `bytes` and completed with `status`. Only the lane's reactor may call it.
    pub fn count(&self, operation: Operation, bytes: u64, status: Status) {
        if !status.is_success() {
            if status.kind() == StatusType::MEDIA {
                add(&self.media_errors, 1);
            }
            return;
        }
        match operation {
            Operation::Read(_) | Operation::Compare(_) => {
                add(&self.read_commands, 1);
                add(&self.read_bytes, bytes);
            }
            Operation::Write { .. } => {
                add(&self.write_commands, 1);
                add(&self.written_bytes, bytes);
            }
            Operation::WriteZeroes { .. }
            | Operation::Deallocate(_)
            | Operation::Hint
            | Operation::Flush
            | Operation::Reservation { .. } => {}
        }
    }
}

/// One writer, so a load and a store lose nothing and cost less than a read-modify-write.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// The lanes of a subsystem, one for each I/O reactor.
#[derive(Debug)]
pub struct Counts {
    lanes: Box<[Arc<LaneCounts>]>,
}

impl Counts {
    /// Zero, for `lanes` I/O reactors.
    pub fn new(lanes: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| Arc::default()).collect() }
    }
}

impl Counting for Counts {
    fn counts(&self) -> IoCounts {
        let mut sum = IoCounts::default();
        for lane in &self.lanes {
            sum.read_commands += lane.read_commands.load(Ordering::Relaxed);
            sum.write_commands += lane.write_commands.load(Ordering::Relaxed);
            sum.read_bytes += lane.read_bytes.load(Ordering::Relaxed);
            sum.written_bytes += lane.written_bytes.load(Ordering::Relaxed);
            sum.media_errors += lane.media_errors.load(Ordering::Relaxed);
        }
        sum
    }

    fn lane(&self, index: usize) -> Arc<LaneCounts> {
        Arc::clone(&self.lanes[index])
    }
}
