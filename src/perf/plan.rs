//! What a run asks for, and whether a namespace can give it.

use std::time::Duration;

/// What the memory of a command is a multiple of.
const STRIDE: usize = 4096;

/// Which blocks are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Anywhere, evenly.
    Random,
    /// One after the other; each connection begins at a place of its own.
    Sequential,
}

/// The namespace, or block device, that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// NSID; 0 for a block device.
    pub nsid: u32,
    /// Bytes of a logical block, not 0.
    pub block_size: u32,
    /// Number of logical blocks.
    pub blocks: u64,
    /// The most data of one command in bytes.
    pub transfer_bytes_max: u32,
}

/// What a run asks for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bytes of each command, 512 and up: a multiple of the logical block.
    pub block_bytes: u32,
    /// Commands under way on each connection, 1 to [`Plan::DEPTH_MAX`].
    pub depth: u16,
    /// Queues, 1 to [`Plan::CONNECTIONS_MAX`], spread over the cores.
    pub connections: u16,
    /// The cores, each with a reactor; at least 1, at most as many as there are connections.
    pub cores: Vec<usize>,
    /// How many of 100 commands read; the others write.
    pub reads_percent: u8,
    /// Where they go.
    pub pattern: Pattern,
    /// How long is measured.
    pub duration: Duration,
    /// How long the load runs before that.
    pub warm_up: Duration,
    /// Commands in a second, of all connections together; none: as many as there can be.
    pub rate: Option<u64>,
    /// Write blocks that can be told apart, and check what is read.
    pub verify: bool,
    /// What places are made from: the same seed, the same places in the same order.
    pub seed: u64,
    /// Time limit of each command, on a port that does not mind the time itself.
    pub timeout: Duration,
}

/// Why a plan and a namespace do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The commands are no whole number of logical blocks.
    #[error("a block size of {asked} bytes is not a multiple of the {block_size} bytes of a logical block")]
    BlockBytes {
        /// What was asked for.
        asked: u32,
        /// Bytes of a logical block.
        block_size: u32,
    },
    /// The commands are longer than one may be.
    #[error("a block size of {asked} bytes is more than the {max} that one command may transfer")]
    TooLong {
        /// What was asked for.
        asked: u32,
        /// The most that one command transfers.
        max: u32,
    },
    /// There are not enough blocks.
    #[error("{bytes} bytes are too few: {connections} connections want a block of {block_bytes} bytes each")]
    TooSmall {
        /// Size of the namespace.
        bytes: u64,
        /// Connections.
        connections: u16,
        /// Bytes of each command.
        block_bytes: u32,
    },
    /// A core would have nothing to do.
    #[error("{cores} cores want at least as many connections, and there shall be {connections}")]
    IdleCore {
        /// Cores.
        cores: usize,
        /// Connections.
        connections: u16,
    },
}

impl Plan {
    /// The greatest depth of a connection.
    pub const DEPTH_MAX: u16 = 4096;
    /// The most connections.
    pub const CONNECTIONS_MAX: u16 = 4096;
    /// Blocks (of `block_bytes`) that a run with `verify` keeps account of: 8 bytes of memory each.
    pub const VERIFIED_MAX: u64 = 16 << 20;

    /// Whether `space` can give what the plan asks for.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn check(&self, space: &Space) -> Result<(), PlanError> {
        let Self { block_bytes, connections, .. } = *self;
        let (asked, block_size) = (block_bytes, space.block_size);
        if asked == 0 || !asked.is_multiple_of(block_size) {
            return Err(PlanError::BlockBytes { asked, block_size });
        }
        if asked > space.transfer_bytes_max {
            return Err(PlanError::TooLong { asked, max: space.transfer_bytes_max });
        }
        let cores = self.cores.len();
        if cores > usize::from(connections) {
            return Err(PlanError::IdleCore { cores, connections });
        }
        if self.units(space) < u64::from(connections) {
            let bytes = space.blocks.saturating_mul(block_size.into());
            return Err(PlanError::TooSmall { bytes, connections, block_bytes });
        }
        Ok(())
    }

    /// Writes are among the commands.
    pub fn writes(&self) -> bool {
        self.verify || self.reads_percent < 100
    }

    /// Bytes of memory for the data of the commands of one core, by its place in `cores`.
    pub fn memory_bytes(&self, core: usize) -> usize {
        self.lane_bytes() * self.lanes(core).count()
    }

    /// The connections of one core.
    pub(super) fn lanes(&self, core: usize) -> impl Iterator<Item = usize> {
        (core..self.connections.into()).step_by(self.cores.len())
    }

    /// Bytes of memory for the data of the commands of one connection.
    pub(super) fn lane_bytes(&self) -> usize {
        self.stride() * usize::from(self.depth)
    }

    /// From the data of one command to that of the next.
    pub(super) fn stride(&self) -> usize {
        (self.block_bytes as usize).next_multiple_of(STRIDE)
    }

    /// Logical blocks of one command.
    pub(super) fn blocks(&self, space: &Space) -> u32 {
        self.block_bytes / space.block_size
    }

    /// How many commands cover the space, or as much of it as is used.
    pub(super) fn units(&self, space: &Space) -> u64 {
        let units = space.blocks / u64::from(self.blocks(space).max(1));
        if self.verify { units.min(Self::VERIFIED_MAX) } else { units }
    }

    /// First unit and number of units of connection `lane`; with `verify` no two connections share one.
    pub(super) fn region(&self, space: &Space, lane: usize) -> (u64, u64) {
        let units = self.units(space);
        if !self.verify {
            return (0, units);
        }
        let (lane, lanes) = (lane as u64, u64::from(self.connections));
        let first = units * lane / lanes;
        (first, units * (lane + 1) / lanes - first)
    }
}
