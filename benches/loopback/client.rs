//! Our initiator, one or more I/O queues, spinning.

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use corelane::initiator::blocking::{Exchange, Host, HostOptions};
use corelane::initiator::{Kind as Queue, QueueOptions, Queues, Transfer, command};
use corelane::mem::{self, Buffer, Pool};
use corelane::spec::nqn::Nqn;
use corelane_reactors::clock::Clock;
use corelane_reactors::poll_group::{Options, PollGroup, SocketId};

use crate::workload::{BLOCK_BYTES, Figure, Kind, Latencies, Places, REGION_BYTES, Workload};

const SUBSYSTEM: &str = "nqn.2026-11.io.corelane:disk0";
const NSID: u32 = 1;
const TRANSFER_BYTES: usize = 128 << 10;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connected initiator.
pub(crate) struct Client {
    clock: Clock,
    group: PollGroup,
    queues: Queues,
    queued: Vec<SocketId>,
    buffers: Vec<Buffer>,
    /// Its admin queue; the I/O queue ends with it.
    _host: Host,
}

impl Client {
    /// Connects the I/O queues that `workload` asks for.
    pub(crate) fn connect(address: SocketAddr, workload: &Workload) -> Result<Self, Box<dyn Error>> {
        let connections = workload.connections;
        let options = HostOptions { io_queues: 0, ..HostOptions::new(Nqn::parse(SUBSYSTEM)?) };
        let mut host = Host::connect(address, &options)?;
        host.admin(&command::number_of_queues(u16::try_from(connections)?), Exchange::None)?;
        let cntlid = host.cntlid().ok_or("the admin queue has ended")?;
        let in_capsule_bytes_max = host.controller().in_capsule_bytes_max();
        let transfer_bytes_max = u32::try_from(TRANSFER_BYTES)?;
        let mut group = PollGroup::new(&Options {
            chunk_bytes: 256 << 10,
            chunks: connections * 2 + 2,
            sockets_max: connections,
            chunks_per_socket: 2,
        })?;
        let mut queues = Queues::new(connections);
        let options_of = |qid| QueueOptions {
            kind: Queue::Io { qid, cntlid },
            depth: u16::try_from(workload.depth / connections).expect("at most 128"),
            header_digest: workload.digests,
            data_digest: workload.digests,
            flow_control: false,
            in_capsule_bytes_max,
            transfer_bytes_max,
        };
        let mut queued = Vec::new();
        for qid in 1..=u16::try_from(connections)? {
            let stream = TcpStream::connect(address)?;
            queued.push(queues.open(&mut group, stream, &options.identity, &options_of(qid))?);
        }
        let pool = Pool::new(u32::try_from(workload.depth)?, workload.bytes)?;
        let buffers = std::iter::from_fn(|| pool.take(workload.bytes)).collect();
        let clock = Clock::real();
        let deadline = clock.now() + TIMEOUT;
        while !queued.iter().all(|&queue| queues.pair(queue).is_some_and(|pair| pair.is_ready())) {
            queues.poll(&mut group, |_, _| {});
            queues.flush(&mut group);
            if clock.now() > deadline {
                return Err("an I/O queue does not connect".into());
            }
        }
        Ok(Self { clock, group, queues, queued, buffers, _host: host })
    }

    /// Writes every block once, so that there is memory behind it.
    pub(crate) fn fill(address: SocketAddr) -> Result<(), Box<dyn Error>> {
        let fill = Workload {
            name: "fill",
            kind: Kind::WriteOnRequest,
            bytes: TRANSFER_BYTES,
            depth: 16,
            connections: 1,
            random: false,
            digests: false,
        };
        let mut client = Self::connect(address, &fill)?;
        for buffer in &client.buffers {
            mem::copy_in(&[0xa5; TRANSFER_BYTES], buffer.segment_mut(0..TRANSFER_BYTES));
        }
        let mut left = REGION_BYTES / TRANSFER_BYTES as u64 + 1;
        client.drive(&fill, |_| {
            left -= 1;
            left > 0
        })?;
        Ok(())
    }

    /// Asks for as much as it gets, for `time`.
    pub(crate) fn run(&mut self, workload: &Workload, time: Duration) -> Result<Figure, Box<dyn Error>> {
        let start = self.clock.now();
        let (answered, latencies) = self.drive(workload, |now| now.since(start) < time)?;
        let seconds = self.clock.now().since(start).as_secs_f64();
        let operations_per_second = answered as f64 / seconds;
        Ok(Figure { operations_per_second, median_us: latencies.median_us() })
    }

    /// Keeps `depth` commands under way for as long as `go_on`, which is asked after each that is answered or turn;
    /// then waits for the last.
    fn drive(
        &mut self,
        workload: &Workload,
        mut go_on: impl FnMut(corelane_reactors::clock::Time) -> bool,
    ) -> Result<(u64, Latencies), Box<dyn Error>> {
        let Self { clock, group, queues, queued, buffers, .. } = self;
        let mut places = Places::new(workload);
        let blocks = u32::try_from(workload.bytes / BLOCK_BYTES)?;
        let mut free: Vec<u64> = (0..workload.depth as u64).collect();
        let (mut answered, mut failed) = (0, None);
        let mut latencies = Latencies::default();
        let mut submitted = clock.now();
        let mut going = true;
        while going || free.len() < workload.depth {
            let now = clock.now();
            while going {
                let Some(tag) = free.pop() else { break };
                let lba = places.next();
                let buffer = &buffers[usize::try_from(tag)?];
                let (sqe, transfer) = match workload.kind {
                    Kind::Read => {
                        let into = buffer.segment_mut(0..workload.bytes);
                        (command::read(NSID, lba, blocks), Transfer::ToHost(into))
                    }
                    Kind::Write | Kind::WriteOnRequest => {
                        let from = buffer.segment(0..workload.bytes);
                        (command::write(NSID, lba, blocks, false), Transfer::ToController(from))
                    }
                };
                let queue = queued[usize::try_from(tag)? % workload.connections];
                let pair = queues.pair_mut(queue).ok_or("the queue is closed")?;
                pair.submit(&sqe, transfer, tag)?;
                submitted = now;
                going = go_on(now);
            }
            queues.flush(group);
            queues.poll(group, |_, completion| {
                answered += 1;
                free.push(completion.tag);
                if workload.depth == 1 {
                    latencies.add(clock.now().since(submitted));
                }
                failed = failed.or(completion.outcome.err());
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        Ok((answered, latencies))
    }
}
