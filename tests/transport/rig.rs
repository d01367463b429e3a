//! A management reactor and an I/O reactor with their endpoints, a listener, and hosts.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corelane::bdev::{Bdev, Blocks, Command, Home, Malloc, Submitted, Tag};
use corelane::initiator::command;
use corelane::mem::{self, Arena, ArenaOptions, Extent, PoolMemory};
use corelane::nvmf::host::Hosts;
use corelane::nvmf::io::{Channels, Counts};
use corelane::nvmf::namespace::Namespace;
use corelane::nvmf::options::Options;
use corelane::nvmf::policy::{Ana, Policy};
use corelane::nvmf::subsystem::Subsystem;
use corelane::nvmf::target::Target;
use corelane::spec::fabrics::CNTLID_DYNAMIC;
use corelane::spec::nqn::Nqn;
use corelane::spec::register::Property;
use corelane::spec::status::Status;
use corelane::transport::{
    Counters, Endpoint, EndpointRole, Listener, Mail, Management, ReservationMail, Settings, attach, listen,
};
use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::mailbox::Sender;
use corelane_reactors::poller::Phase;
use corelane_reactors::reactor::{Activity, Reactor};
use corelane_reactors::ring::{self, Ring};
use corelane_reactors::sim::Simulation;
use uuid::Uuid;

use crate::host::{Host, Wish};

pub(crate) const NQN: &str = "nqn.2026-11.io.corelane:disk0";
/// The variable that says on which engine the tests run.
pub(crate) const ENGINE: &str = "CORELANE_TEST_ENGINE";
/// Its value for io_uring; otherwise epoll.
pub(crate) const IO_URING: &str = "io_uring";
/// Rounds after which bytes on the loopback device count as lost.
const ROUNDS_MAX: usize = 200_000;
/// Idle rounds in a row after which nothing more is expected.
const QUIET_ROUNDS: usize = 50;
/// What a round takes in virtual time: as much as the management reactor leaves between two looks at its sockets.
const ROUND: Duration = Duration::from_micros(100);
const MANAGEMENT: usize = 0;
const IO: usize = 1;

/// The whole target and its hosts, by their numbers.
pub(crate) struct Rig {
    sim: Simulation,
    pub(crate) management: Rc<RefCell<Endpoint>>,
    pub(crate) io: Rc<RefCell<Endpoint>>,
    pub(crate) counters: Arc<Counters>,
    live: Arc<std::sync::atomic::AtomicUsize>,
    pub(crate) address: SocketAddr,
    pub(crate) hosts: Vec<Host>,
    cntlid: u16,
    changes: Sender<Change>,
}

/// Something that an operator wants of the target.
pub(crate) type Change = Box<dyn FnOnce(&mut Target) + Send>;

/// Settings with little memory.
pub(crate) fn settings() -> Settings {
    Settings { connections_max: 8, ..Settings::default() }
}

/// Ordinary memory for the buffers of so many queues, and what bdevs learn of it.
pub(crate) fn buffers(settings: &Settings, queues: usize) -> (Home, PoolMemory) {
    let bytes = settings.queue_bytes() * queues;
    let mut arena = Arena::new(&ArenaOptions { bytes, ..ArenaOptions::default() }).expect("memory");
    let memory = settings.carve(&mut arena).expect("room for a queue");
    (Home::new(arena.extents()), memory)
}

/// An io_uring for the sockets of an I/O reactor, attached to it, if the tests run on that engine.
pub(crate) fn ring(reactor: &mut Reactor) -> Option<Ring> {
    if std::env::var(ENGINE).as_deref() != Ok(IO_URING) {
        return None;
    }
    Some(io_uring(reactor))
}

/// An io_uring, attached to its reactor.
pub(crate) fn io_uring(reactor: &mut Reactor) -> Ring {
    let ring = Ring::open(&ring::Options::default()).expect("io_uring on the machine that runs the tests");
    ring.attach(reactor).expect("pollers");
    ring
}

/// 8 MiB of memory in blocks of 512 bytes, lent where a target with one I/O reactor would.
pub(crate) fn memory() -> Arc<dyn Bdev> {
    let memory = Malloc::new("ram", 8 << 20, 512).expect("memory");
    let lends = std::env::var(ENGINE).as_deref() != Ok(IO_URING);
    Arc::new(if lends { memory.for_one_reactor() } else { memory })
}

/// A block as it lies on a device, read on a channel of its own.
pub(crate) fn block(bdev: &Arc<dyn Bdev>, lba: u64) -> Vec<u8> {
    let mut channel = bdev.open(&Home::default()).expect("a channel");
    let memory = Extent::ordinary(512).expect("memory");
    let blocks = Blocks { first: lba, count: 1 };
    let read = channel.submit(Tag(0), &Command::Read { blocks, into: &[memory.segment_mut(0..512)] });
    assert_eq!(read, Submitted::Done(Ok(())));
    let mut bytes = vec![0; 512];
    mem::copy_out(memory.segment(0..512), &mut bytes);
    bytes
}

impl Rig {
    /// A target whose namespace 1 is what `bdev` makes of the clock.
    pub(crate) fn new(settings: &Settings, bdev: impl FnOnce(&Clock) -> Arc<dyn Bdev>) -> Self {
        Self::with_memory(settings, settings.connections_max, bdev)
    }

    /// As [`Rig::new`], with buffers for so many queues.
    pub(crate) fn with_memory(
        settings: &Settings,
        queues: usize,
        bdev: impl FnOnce(&Clock) -> Arc<dyn Bdev>,
    ) -> Self {
        let mut sim = Simulation::new(2, 1).expect("descriptors");
        let socket = listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = socket.local_addr().expect("a bound socket");
        let target = target(address, bdev(sim.group().clock()));
        let (to_management, management_mail) = sim.group().mailbox(MANAGEMENT, 64);
        let (to_io, io_mail) = sim.group().mailbox(IO, 64);
        let drained = to_management.reserve().expect("an empty mailbox");
        let mail = ReservationMail { to_management: to_management.clone(), back: to_io.clone() };
        let management = Management::new(target, to_management, vec![to_io]);
        let live = Arc::clone(management.live());
        let counters = Arc::<Counters>::default();
        let endpoint = |counters, role| {
            Rc::new(RefCell::new(Endpoint::new(settings, counters, role).expect("an endpoint")))
        };
        let (home, memory) = buffers(settings, queues);
        let management = endpoint(Arc::default(), EndpointRole::Management(Box::new(management)));
        let ring = ring(sim.reactor(IO));
        let io = endpoint(
            Arc::clone(&counters),
            EndpointRole::Io { lane: 0, channels: Channels::new(home), memory, drained, mail, ring },
        );
        attach(sim.reactor(MANAGEMENT), &management, Mail::Management(management_mail)).expect("pollers");
        attach(sim.reactor(IO), &io, Mail::Io(io_mail)).expect("pollers");
        let listener =
            Listener::new(socket, Rc::clone(&management), settings.connections_max).expect("a listener");
        sim.reactor(MANAGEMENT).add_poller(Phase::Ingress, Box::new(listener)).expect("a poller");
        let changes = changes(&mut sim, &management);
        Self { sim, management, io, counters, live, address, hosts: Vec::new(), cntlid: 0, changes }
    }

    /// A rig with an admin queue, host 0, whose controller is enabled, and an I/O queue, host 1.
    pub(crate) fn connected(
        settings: &Settings,
        wish: &Wish,
        bdev: impl FnOnce(&Clock) -> Arc<dyn Bdev>,
    ) -> Self {
        let mut rig = Self::new(settings, bdev);
        rig.associate(wish);
        rig.open_queue(1, wish);
        rig
    }

    /// Opens an admin queue, as the next host, and enables its controller.
    pub(crate) fn associate(&mut self, wish: &Wish) -> usize {
        let admin = self.host(wish);
        self.hosts[admin].connect(0, NQN, CNTLID_DYNAMIC, 0, wish);
        let cqe = self.cqe(admin);
        assert_eq!(cqe.status(), Status::SUCCESS);
        self.cntlid = u16::try_from(cqe.dw0.get() & 0xffff).expect("16 bits");
        self.hosts[admin].plain(0, command::property_set(Property::CC, 0x0046_0001));
        assert_eq!(self.completion(admin), (0, Status::SUCCESS));
        admin
    }

    /// Opens the I/O queue `qid` of the last association, as the next host.
    pub(crate) fn open_queue(&mut self, qid: u16, wish: &Wish) -> usize {
        let io = self.host(wish);
        self.connect_io(io, qid, wish);
        assert_eq!(self.completion(io), (0, Status::SUCCESS));
        io
    }

    /// Sends the Connect command of an I/O queue.
    pub(crate) fn connect_io(&mut self, host: usize, qid: u16, wish: &Wish) {
        let cntlid = self.cntlid;
        self.hosts[host].connect(0, NQN, cntlid, qid, wish);
    }

    /// CNTLID of the last association.
    pub(crate) fn cntlid(&self) -> u16 {
        self.cntlid
    }

    /// A host whose connection is open.
    pub(crate) fn host(&mut self, wish: &Wish) -> usize {
        self.hosts.push(Host::new(self.address, wish));
        let host = self.hosts.len() - 1;
        self.until("ICResp", |rig| rig.hosts[host].opened);
        host
    }

    /// The next completion of a host.
    pub(crate) fn completion(&mut self, host: usize) -> (u16, Status) {
        let cqe = self.cqe(host);
        (cqe.cid.get(), cqe.status())
    }

    /// The next completion of a host, whole.
    pub(crate) fn cqe(&mut self, host: usize) -> corelane::spec::cqe::Cqe {
        self.until("a completion", |rig| !rig.hosts[host].completions.is_empty());
        self.hosts[host].completions.pop_front().expect("waited for")
    }

    /// Has the management reactor change something, at its next turn.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Target) + Send + 'static) {
        assert!(self.changes.send(Box::new(change)).is_ok());
    }

    /// Connections that count.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Lets time pass, and a little more while what is due then happens.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.sim.advance(by);
        self.quiet();
    }

    /// What the management reactor waits for while nothing happens.
    pub(crate) fn waits_until(&mut self) -> Option<Time> {
        self.sim.advance(ROUND);
        match self.sim.reactor(MANAGEMENT).turn() {
            Activity::Busy => panic!("something happens"),
            Activity::Idle { until, .. } => until,
        }
    }

    /// One turn of each reactor, and what the hosts can do; true if anything happened.
    pub(crate) fn round(&mut self) -> bool {
        let management = self.management_turn();
        let io = self.io_turn();
        self.pump() || management || io
    }

    /// One turn of the management reactor; true if it did anything.
    pub(crate) fn management_turn(&mut self) -> bool {
        self.sim.advance(ROUND);
        self.sim.reactor(MANAGEMENT).turn() == Activity::Busy
    }

    /// One turn of the I/O reactor; true if it did anything.
    pub(crate) fn io_turn(&mut self) -> bool {
        self.sim.reactor(IO).turn() == Activity::Busy
    }

    /// What the hosts can do; true if that was anything.
    pub(crate) fn pump(&mut self) -> bool {
        self.hosts.iter_mut().filter_map(|host| host.pump().then_some(())).count() > 0
    }

    /// Takes rounds until `condition` holds.
    pub(crate) fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..ROUNDS_MAX {
            if condition(self) {
                return;
            }
            if !self.round() {
                std::thread::yield_now();
            }
        }
        panic!("waited in vain for {what}");
    }

    /// Takes rounds until nothing happens any more.
    pub(crate) fn quiet(&mut self) {
        let mut idle = 0;
        for _ in 0..ROUNDS_MAX {
            idle = if self.round() { 0 } else { idle + 1 };
            if idle == QUIET_ROUNDS {
                return;
            }
            // The kernel may want this core for the bytes that are under way.
            std::thread::yield_now();
        }
        panic!("it never comes to rest");
    }
}

/// Where what an operator wants is sent to the management reactor.
pub(crate) fn changes(sim: &mut Simulation, management: &Rc<RefCell<Endpoint>>) -> Sender<Change> {
    let (changes, mailbox) = sim.group().mailbox::<Change>(MANAGEMENT, 64);
    let manager = Rc::clone(management);
    let poller = mailbox.into_poller("changes", 1, move |turn, change| {
        manager.borrow_mut().manage(turn, change);
    });
    sim.reactor(MANAGEMENT).add_poller(Phase::Mailbox, poller).expect("a poller");
    changes
}

fn target(address: SocketAddr, bdev: Arc<dyn Bdev>) -> Target {
    let mut target = Target::new(Options::default());
    let subsystem = Subsystem {
        nqn: Nqn::parse(NQN).expect("a name"),
        serial: "CL0001".to_owned(),
        model: "Corelane".to_owned(),
        policy: Policy { ana: Some(Ana::default()), ..Policy::of(Hosts::Any) },
        listeners: vec![address],
        namespaces: vec![Namespace { nsid: 1, uuid: Uuid::from_u128(1), bdev }],
        counting: Arc::new(Counts::new(1, [1])),
    };
    target.add_subsystem(subsystem).expect("a subsystem");
    target
}
