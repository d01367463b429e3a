//! What is asked of both servers.

use std::time::Duration;

/// Bytes of the region that both serve: more than caches hold.
pub(crate) const REGION_BYTES: u64 = 512 << 20;

/// Blocks of the target's namespace, and the unit of places everywhere.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To the client.
    Read,
    /// To the server, with the request.
    Write,
    /// To the server, when it asks.
    WriteOnRequest,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    /// For people.
    pub(crate) name: &'static str,
    /// Which way the data goes.
    pub(crate) kind: Kind,
    /// Bytes of each request, a multiple of the block size.
    pub(crate) bytes: usize,
    /// Requests under way, over all connections.
    pub(crate) depth: usize,
    /// Connections, of which each has its share of the requests.
    pub(crate) connections: usize,
    /// At random places, or one after the other.
    pub(crate) random: bool,
    /// With header and data digests.
    pub(crate) digests: bool,
}

/// A load of 4 KiB at random places: connections, and requests under way over all of them.
const fn small(name: &'static str, kind: Kind, connections: usize, depth: usize) -> Workload {
    Workload { name, kind, bytes: BLOCK_BYTES, depth, connections, random: true, digests: false }
}

/// A load of 128 KiB, in order, 32 at a time.
const fn large(name: &'static str, kind: Kind) -> Workload {
    Workload { name, kind, bytes: 128 << 10, depth: 32, connections: 1, random: false, digests: false }
}

const fn with_digests(workload: Workload) -> Workload {
    Workload { digests: true, ..workload }
}

/// All rows.
pub(crate) const WORKLOADS: [Workload; 10] = [
    small("4k-random-read-qd128", Kind::Read, 1, 128),
    small("4k-random-write-qd128", Kind::Write, 1, 128),
    small("4k-random-read-4x128", Kind::Read, 4, 512),
    large("128k-sequential-read-qd32", Kind::Read),
    large("128k-sequential-write-qd32", Kind::WriteOnRequest),
    with_digests(small("4k-random-read-qd128-digests", Kind::Read, 1, 128)),
    with_digests(small("4k-random-write-qd128-digests", Kind::Write, 1, 128)),
    small("4k-random-read-qd1-p50", Kind::Read, 1, 1),
    small("4k-random-read-64x1", Kind::Read, 64, 64),
    small("4k-random-read-1024x1", Kind::Read, 1024, 1024),
];

/// What one run came to.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// Requests answered in a second.
    pub(crate) operations_per_second: f64,
    /// Median time from request to answer in microseconds; measured at depth 1 only, else 0.
    pub(crate) median_us: f64,
}

/// Which blocks are asked for next.
pub(crate) struct Places {
    random: bool,
    step: u64,
    count: u64,
    state: u64,
}

impl Places {
    /// The places of `workload`, the same in every run.
    pub(crate) fn new(workload: &Workload) -> Self {
        let step = (workload.bytes / BLOCK_BYTES) as u64;
        Self { random: workload.random, step, count: REGION_BYTES / workload.bytes as u64, state: 1 }
    }

    /// The first block of the next request.
    pub(crate) fn next(&mut self) -> u64 {
        if !self.random {
            self.state += 1;
            return self.state % self.count * self.step;
        }
        // xorshift64*: a few instructions.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % self.count * self.step
    }
}

/// Latencies of a run at depth 1.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    /// The median in microseconds, 0 of none.
    pub(crate) fn median_us(mut self) -> f64 {
        self.0.sort_unstable();
        self.0.get(self.0.len() / 2).map_or(0.0, |&nanoseconds| f64::from(nanoseconds) / 1e3)
    }
}
