//! The target and the initiator on one thread, which gives each its turns.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use corelane::app::{Appliance, Builder, Options as ApplianceOptions};
use corelane::config::{ByteSize, Embedded, EngineName, Topology};
use corelane::initiator::blocking::{Exchange, Host, HostOptions};
use corelane::initiator::{Identity, Kind as Queue, QueueOptions, Queues, Transfer, command};
use corelane::mem::{Buffer, Pool};
use corelane::spec::nqn::Nqn;
use corelane_reactors::cpu;
use corelane_reactors::poll_group::{Options, PollGroup, SocketId};
use corelane_reactors::reactor::Reactor;
use tempfile::TempDir;

const SUBSYSTEM: &str = "nqn.2026-11.io.corelane:disk0";
const NSID: u32 = 1;
const BLOCK_BYTES: usize = 4096;
const REGION_BLOCKS: u64 = 4096;
/// From one place to the next, in transfers: a prime, so that each place comes once before any comes again.
const STRIDE: u64 = 1_597;
/// Entries of a queue for 128 commands, one of which stays empty.
const QUEUE_ENTRIES: u16 = 129;
/// Turns that something which must happen gets for it.
const TURNS_MAX: usize = 1_000_000;

/// How long is waited between two turns for something that another thread does.
const PAUSE: Duration = Duration::from_micros(100);
/// So often: some 10 seconds and the turns.
const PAUSES_MAX: usize = 100_000;

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// What is asked for.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Of each command: a multiple of 4,096.
    pub(crate) bytes: usize,
    /// Commands that are sent together.
    pub(crate) depth: u16,
    /// Of headers and of data.
    pub(crate) digests: bool,
}

/// What the admin queue told.
type Told = (Identity, u16, u32);

/// Both ends of one I/O queue.
pub(crate) struct Ends {
    /// The I/O reactor, and the management reactor, which only has turns while something connects or ends: it looks at its
    /// sockets from time to time, and time is not to be counted.
    io: Reactor,
    management: Reactor,
    appliance: Appliance,
    group: PollGroup,
    queues: Queues,
    queue: SocketId,
    buffers: Vec<Buffer>,
    kind: Kind,
    bytes: usize,
    free: Vec<u64>,
    next: u64,
    /// The admin queue: it ends when this is dropped.
    admin: (mpsc::Sender<()>, JoinHandle<()>),
    _state: TempDir,
}

impl Ends {
    /// Starts a target, and connects a queue for what `load` says.
    pub(crate) fn connect(load: &Load) -> Result<Self, Box<dyn Error>> {
        let state = TempDir::new()?;
        let (appliance, [mut io, mut management]) = target(state.path())?;
        let address = *appliance.addresses().first().ok_or("the target listens nowhere")?;

        let (told, tells) = mpsc::channel();
        let (going, goes) = mpsc::channel();
        let thread = thread::spawn(move || admin(address, &told, &goes));
        let (identity, cntlid, in_capsule_bytes_max) =
            turn_until(&mut [&mut io, &mut management], || tells.try_recv().ok())?;
        let mut group = PollGroup::new(&Options {
            chunk_bytes: 256 << 10,
            chunks: 4,
            sockets_max: 1,
            chunks_per_socket: 2,
        })?;
        let mut queues = Queues::new(1);
        let options = QueueOptions {
            kind: Queue::Io { qid: 1, cntlid },
            depth: load.depth,
            header_digest: load.digests,
            data_digest: load.digests,
            flow_control: false,
            in_capsule_bytes_max,
            transfer_bytes_max: 128 << 10,
        };
        let queue = queues.open(&mut group, TcpStream::connect(address)?, &identity, &options)?;
        turn_until(&mut [&mut io, &mut management], || {
            queues.flush(&mut group);
            queues.poll(&mut group, |_, _| {});
            // Closed: refused.
            let Some(pair) = queues.pair(queue) else { return Some(false) };
            pair.is_ready().then_some(true)
        })?
        .then_some(())
        .ok_or("the target refuses the queue")?;
        let pool = Pool::new(load.depth.into(), load.bytes)?;
        let buffers = std::iter::from_fn(|| pool.take(load.bytes)).collect();
        Ok(Self {
            io,
            management,
            appliance,
            group,
            queues,
            queue,
            buffers,
            kind: load.kind,
            bytes: load.bytes,
            free: (0..load.depth.into()).collect(),
            next: 0,
            admin: (going, thread),
            _state: state,
        })
    }

    /// As many commands as go, sent together; and their completions.
    pub(crate) fn round(&mut self) -> Result<(), Box<dyn Error>> {
        self.drive_initiator(true)?;
        for _ in 0..TURNS_MAX {
            self.serve_target();
            self.drive_initiator(false)?;
            if self.free.len() == self.buffers.len() {
                return Ok(());
            }
        }
        Err("a command does not end".into())
    }

    /// The same, by functions that are not counted: what happens once has happened then.
    pub(crate) fn warm_up(&mut self) -> Result<(), Box<dyn Error>> {
        self.submit()?;
        for _ in 0..TURNS_MAX {
            let _ = self.io.turn();
            self.reap()?;
            if self.free.len() == self.buffers.len() {
                return Ok(());
            }
        }
        Err("a command does not end".into())
    }

    /// What the target has a core for. Counted, by this name.
    #[inline(never)]
    fn serve_target(&mut self) {
        let _ = self.io.turn();
    }

    /// What the user of the initiator calls: to send, or to receive. Counted, by this name.
    #[inline(never)]
    fn drive_initiator(&mut self, send: bool) -> Result<(), Box<dyn Error>> {
        if send { self.submit() } else { self.reap() }
    }

    fn submit(&mut self) -> Result<(), Box<dyn Error>> {
        let Self { group, queues, queue, buffers, free, next, .. } = self;
        let pair = queues.pair_mut(*queue).ok_or("the queue is closed")?;
        let blocks = u32::try_from(self.bytes / BLOCK_BYTES)?;
        while let Some(tag) = free.pop() {
            let buffer = &buffers[usize::try_from(tag)?];
            *next = (*next + STRIDE) % (REGION_BLOCKS / u64::from(blocks));
            let lba = *next * u64::from(blocks);
            let (sqe, transfer) = match self.kind {
                Kind::Read => {
                    let into = buffer.segment_mut(0..self.bytes);
                    (command::read(NSID, lba, blocks), Transfer::ToHost(into))
                }
                Kind::Write => {
                    let from = buffer.segment(0..self.bytes);
                    (command::write(NSID, lba, blocks, false), Transfer::ToController(from))
                }
            };
            pair.submit(&sqe, transfer, tag)?;
        }
        queues.flush(group);
        Ok(())
    }

    fn reap(&mut self) -> Result<(), Box<dyn Error>> {
        let Self { group, queues, free, .. } = self;
        let mut failed = None;
        queues.poll(group, |_, completion| {
            free.push(completion.tag);
            failed = failed.or(completion.outcome.err());
        });
        // What was asked for now.
        queues.flush(group);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Stops both.
    pub(crate) fn end(self) -> Result<(), Box<dyn Error>> {
        let Self { mut io, mut management, appliance, mut group, mut queues, admin: (going, thread), .. } =
            self;
        queues.close_all(&mut group);
        drop(going);
        appliance.stopper().stop();
        turn_until(&mut [&mut io, &mut management], || thread.is_finished().then_some(()))?;
        for _ in 0..TURNS_MAX {
            if io.stopping() && management.stopping() {
                return Ok(());
            }
            let _ = (io.turn(), management.turn());
        }
        Err("the target does not stop".into())
    }
}

/// A target with a RAM disk; its reactors for I/O and for management, to which the caller gives their turns.
fn target(state_directory: &Path) -> Result<(Appliance, [Reactor; 2]), Box<dyn Error>> {
    let cores = cpu::allowed();
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let embedded = Embedded { listen, size: ByteSize::new(REGION_BLOCKS * BLOCK_BYTES as u64) };
    let accepted = embedded.config(&Topology::flat(&cores)).map_err(|findings| format!("{findings:?}"))?;
    let mut config = accepted.config;
    config.reactors.management = cores[0];
    config.reactors.io = vec![cores[1]];
    config.reactors.engine = EngineName::Epoll;
    config.limits.queue_depth_max = QUEUE_ENTRIES;
    config.limits.connections_max = 16;
    let options = ApplianceOptions { config, state_directory: state_directory.to_owned() };
    let (appliance, handovers) = Builder::new(options).hand_over()?;
    let mut reactors = Vec::new();
    for handover in handovers {
        reactors.push(handover.start()?);
    }
    Ok((appliance, <[Reactor; 2]>::try_from(reactors).map_err(|_| "not two reactors")?))
}

/// An admin queue, until `goes` ends.
fn admin(address: SocketAddr, told: &mpsc::Sender<Told>, goes: &mpsc::Receiver<()>) {
    let connect = || -> Result<_, Box<dyn Error>> {
        let options = HostOptions { io_queues: 0, ..HostOptions::new(Nqn::parse(SUBSYSTEM)?) };
        let mut host = Host::connect(address, &options)?;
        host.admin(&command::number_of_queues(1), Exchange::None)?;
        let cntlid = host.cntlid().ok_or("the admin queue has ended")?;
        let in_capsule_bytes_max = host.controller().in_capsule_bytes_max();
        Ok((host, (options.identity, cntlid, in_capsule_bytes_max)))
    };
    let (host, tells) = connect().expect("an association");
    told.send(tells).expect("somebody waits");
    let _ = goes.recv();
    drop(host);
}

/// Gives the reactors turns until `ready` says something.
fn turn_until<T>(
    reactors: &mut [&mut Reactor],
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T, Box<dyn Error>> {
    for _ in 0..PAUSES_MAX {
        if let Some(value) = ready() {
            return Ok(value);
        }
        for reactor in &mut *reactors {
            let _ = reactor.turn();
        }
        // Valgrind runs one thread at a time, and the other one may be what is waited for.
        thread::sleep(PAUSE);
    }
    Err("what is waited for does not happen".into())
}
