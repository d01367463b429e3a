//! Which I/O reactor gets a new I/O queue. Where it is later is no business of it: see [`balance`](super::balance).
//!
//! Invariant: `choose` names one of the lanes that there are, whatever the kernel says.

/// How the I/O reactor of a new I/O queue is chosen. I/O reactors are called by their lanes: 0 and up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Placement {
    /// One after the other, whatever they have.
    RoundRobin {
        /// The next one.
        next: usize,
    },
    /// The one with the fewest queues; the first of several.
    LeastLoaded,
    /// Of those nearest to the core on which the kernel receives the connection's packets, the one with the fewest
    /// queues.
    IncomingCpu(Nearest),
}

/// The I/O reactors that are nearest to each core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nearest {
    lanes: usize,
    /// By core; empty where all are as near.
    near: Vec<Vec<usize>>,
}

impl Placement {
    /// Starts with the first I/O reactor.
    #[must_use]
    pub fn round_robin() -> Self {
        Self::RoundRobin { next: 0 }
    }

    /// Whether it is made for so many I/O reactors.
    pub(super) fn fits(&self, lanes: usize) -> bool {
        match self {
            Self::RoundRobin { .. } | Self::LeastLoaded => true,
            Self::IncomingCpu(nearest) => nearest.lanes == lanes,
        }
    }

    /// The lane of the next queue. `lanes` is at least 1; `queues` is how many queues a lane has, and `cpu` the core on
    /// which its packets come in, if the kernel knows.
    pub(super) fn choose(
        &mut self,
        lanes: usize,
        queues: impl Fn(usize) -> usize,
        cpu: impl FnOnce() -> Option<usize>,
    ) -> usize {
        assert!(lanes > 0);
        let everywhere = || (0..lanes).min_by_key(|&lane| queues(lane)).expect("there is a lane");
        match self {
            Self::RoundRobin { next } => {
                let lane = *next % lanes;
                *next = (lane + 1) % lanes;
                lane
            }
            Self::LeastLoaded => everywhere(),
            Self::IncomingCpu(Nearest { near, .. }) => {
                let near = cpu().and_then(|cpu| near.get(cpu)).into_iter().flatten().copied();
                near.min_by_key(|&lane| queues(lane)).unwrap_or_else(everywhere)
            }
        }
    }
}

impl Nearest {
    /// For so many I/O reactors, which are as near to one core as to another.
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        Self { lanes, near: Vec::new() }
    }

    /// Says which of them are nearest to the core `cpu`.
    ///
    /// # Panics
    /// When one of `lanes` does not exist.
    pub fn set(&mut self, cpu: usize, lanes: Vec<usize>) {
        assert!(lanes.iter().all(|&lane| lane < self.lanes));
        if self.near.len() <= cpu {
            self.near.resize(cpu + 1, Vec::new());
        }
        self.near[cpu] = lanes;
    }
}
