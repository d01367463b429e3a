//! A target with reservations on a management reactor and two I/O reactors, whose turns come in a random order, and
//! hosts with identifiers of their own. Turns do not overlap, but for those of [`FenceRig::stalled`].

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corelane::bdev::Bdev;
use corelane::initiator::command;
use corelane::nvmf::fence::recover::{Recovered, record_name, recover};
use corelane::nvmf::fence::{Fences, NamespaceKey, Snapshot};
use corelane::nvmf::host::Hosts;
use corelane::nvmf::io::{Channels, Counts};
use corelane::nvmf::namespace::Namespace;
use corelane::nvmf::options::Options;
use corelane::nvmf::policy::Policy;
use corelane::nvmf::subsystem::Subsystem;
use corelane::nvmf::target::Target;
use corelane::persist::{Answer, StateDirectory, StateFiles, Store, Worker, Writer};
use corelane::reservation::{self, Identity};
use corelane::spec::fabrics::CNTLID_DYNAMIC;
use corelane::spec::nqn::Nqn;
use corelane::spec::opcode::NvmOpcode;
use corelane::spec::register::Property;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane::transport::{
    Counters, Endpoint, EndpointRole, Listener, Mail, Management, Placement, ReservationMail, attach, listen,
};
use corelane_reactors::clock::{Clock, Time, VirtualClock};
use corelane_reactors::group::Group;
use corelane_reactors::mailbox::{Mailbox, Sender};
use corelane_reactors::poller::Phase;
use corelane_reactors::reactor::{Activity, Reactor};
use corelane_reactors::sim::Simulation;
use tempfile::TempDir;
use uuid::Uuid;
use zerocopy::IntoBytes;

use crate::host::{Host, Wish};
use crate::rig::{Change, NQN, buffers, changes, io_uring, ring, settings};

/// Turns after which bytes on the loopback device count as lost.
const TURNS_MAX: usize = 1_000_000;
/// Idle turns in a row after which nothing more is expected.
const QUIET_TURNS: usize = 400;
const TURN: Duration = Duration::from_micros(50);
/// Management reactor first.
const REACTORS: usize = 3;
const ORDERS_MAX: usize = 64;

/// A queue of a host, by its number.
pub(crate) type HostIndex = usize;

pub(crate) struct FenceRig {
    _group: Group,
    clock: VirtualClock,
    /// What a turn takes, in virtual time.
    pub(crate) turn: Duration,
    /// All but the one that is in the midst of a turn.
    reactors: Vec<Option<Reactor>>,
    /// Management first.
    pub(crate) endpoints: Vec<Rc<RefCell<Endpoint>>>,
    /// Of the I/O reactors.
    pub(crate) counters: Vec<Arc<Counters>>,
    live: Arc<AtomicUsize>,
    worker: Worker<StateFiles>,
    address: SocketAddr,
    pub(crate) hosts: Vec<Host>,
    changes: Sender<Change>,
    directory: TempDir,
    random: u64,
}

/// What a rig stands on.
#[derive(Clone, Copy)]
pub(crate) struct Ground {
    /// Sockets of I/O queues are served through an io_uring.
    pub(crate) ring: bool,
    /// I/O queues for which each I/O reactor has buffers.
    pub(crate) queues: usize,
    /// Queues move from busy reactors to idle ones.
    pub(crate) balance: bool,
    pub(crate) placement: fn() -> Placement,
}

impl Default for Ground {
    fn default() -> Self {
        let placement = || Placement::LeastLoaded;
        Self { ring: false, queues: settings().connections_max, balance: false, placement }
    }
}

fn identity(nsid: u32) -> Identity {
    Identity { subsystem: Nqn::parse(NQN).expect("a name"), nsid, uuid: Uuid::from_u128(u128::from(nsid)) }
}

/// Where the record of a namespace is kept below the state directory.
pub(crate) fn record_path(directory: &TempDir, nsid: u32) -> PathBuf {
    directory.path().join(record_name(&identity(nsid)).as_str())
}

impl FenceRig {
    /// A target with what `bdevs` makes of the clock as its namespaces, by NSID.
    pub(crate) fn new(seed: u64, bdevs: impl FnOnce(&Clock) -> Vec<(u32, Arc<dyn Bdev>)>) -> Self {
        Self::over(tempfile::tempdir().expect("a directory"), seed, bdevs)
    }

    /// As [`FenceRig::new`], over a state directory that may have records.
    pub(crate) fn over(
        directory: TempDir,
        seed: u64,
        bdevs: impl FnOnce(&Clock) -> Vec<(u32, Arc<dyn Bdev>)>,
    ) -> Self {
        Self::standing_on(&Ground::default(), directory, seed, bdevs)
    }

    /// As [`FenceRig::new`], on ground that is not the usual one.
    pub(crate) fn on(
        ground: &Ground,
        seed: u64,
        bdevs: impl FnOnce(&Clock) -> Vec<(u32, Arc<dyn Bdev>)>,
    ) -> Self {
        Self::standing_on(ground, tempfile::tempdir().expect("a directory"), seed, bdevs)
    }

    fn standing_on(
        ground: &Ground,
        directory: TempDir,
        seed: u64,
        bdevs: impl FnOnce(&Clock) -> Vec<(u32, Arc<dyn Bdev>)>,
    ) -> Self {
        let mut sim = Simulation::new(REACTORS, seed).expect("descriptors");
        let socket = listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = socket.local_addr().expect("a bound socket");
        let mut target = target(address, bdevs(sim.group().clock()));
        let (answers, worker) = reservations(&sim, &directory, &mut target);
        let (to_management, management_mail) = sim.group().mailbox(0, 64);
        let lanes: Vec<_> = (1..REACTORS).map(|reactor| sim.group().mailbox(reactor, 64)).collect();
        let senders = lanes.iter().map(|(sender, _)| sender.clone()).collect();
        let mut management =
            Management::new(target, to_management.clone(), senders).with_placement((ground.placement)());
        if ground.balance {
            management = management.with_balance((1..REACTORS).map(|io| sim.group().handle(io)).collect());
        }
        let live = Arc::clone(management.live());
        let endpoint = |counters, role| {
            Rc::new(RefCell::new(Endpoint::new(&settings(), counters, role).expect("an endpoint")))
        };
        let management = endpoint(Arc::default(), EndpointRole::Management(Box::new(management)));
        attach(sim.reactor(0), &management, Mail::Management(management_mail)).expect("pollers");
        let keeper = Rc::clone(&management);
        let answers = answers.into_poller("record-answers", ORDERS_MAX, move |turn, answer| {
            keeper.borrow_mut().manage(turn, |target| target.fences().saved(answer));
        });
        sim.reactor(0).add_poller(Phase::Mailbox, answers).expect("a poller");
        let changes = changes(&mut sim, &management);
        let listener = Listener::new(socket, Rc::clone(&management), settings().connections_max);
        sim.reactor(0).add_poller(Phase::Ingress, Box::new(listener.expect("a listener"))).expect("a poller");
        let mut endpoints = vec![management];
        let mut counters = Vec::new();
        for (lane, (back, mailbox)) in lanes.into_iter().enumerate() {
            let drained = to_management.reserve().expect("an empty mailbox");
            let mail = ReservationMail { to_management: to_management.clone(), back };
            let (home, memory) = buffers(&settings(), ground.queues);
            let channels = Channels::new(home);
            let reactor = sim.reactor(lane + 1);
            let ring = if ground.ring { Some(io_uring(reactor)) } else { ring(reactor) };
            counters.push(Arc::<Counters>::default());
            let role = EndpointRole::Io { lane, channels, memory, drained, mail, ring };
            let io = endpoint(Arc::clone(&counters[lane]), role);
            attach(sim.reactor(lane + 1), &io, Mail::Io(mailbox)).expect("pollers");
            endpoints.push(io);
        }
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let (group, reactors, clock) = sim.into_parts();
        let reactors = reactors.into_iter().map(Some).collect();
        let hosts = Vec::new();
        Self {
            _group: group,
            clock,
            turn: TURN,
            reactors,
            endpoints,
            counters,
            live,
            worker,
            address,
            hosts,
            changes,
            directory,
            random,
        }
    }

    /// The target ends, and another starts with its records.
    pub(crate) fn restarted(self, bdevs: impl FnOnce(&Clock) -> Vec<(u32, Arc<dyn Bdev>)>) -> Self {
        let (directory, random) = self.ended();
        Self::over(directory, random, bdevs)
    }

    /// What is left when the target has ended, and has given its state directory free.
    fn ended(self) -> (TempDir, u64) {
        (self.directory, self.random)
    }

    /// Connects the host with this identifier; its I/O queue. Hosts find themselves on the I/O reactors by turns.
    pub(crate) fn connect(&mut self, number: u8) -> HostIndex {
        self.connect_as(&Wish { host: number, ..Wish::default() })
    }

    /// Connects a host as it wishes; its I/O queue.
    pub(crate) fn connect_as(&mut self, wish: &Wish) -> HostIndex {
        let [admin, io] = [0, 1].map(|_| {
            self.hosts.push(Host::new(self.address, wish));
            let host = self.hosts.len() - 1;
            self.until("ICResp", |rig| rig.hosts[host].opened);
            host
        });
        self.hosts[admin].connect(0, NQN, CNTLID_DYNAMIC, 0, wish);
        self.until("an admin queue", |rig| !rig.hosts[admin].completions.is_empty());
        let cqe = self.hosts[admin].completions.pop_front().expect("waited for");
        assert_eq!(cqe.status(), Status::SUCCESS);
        let cntlid = u16::try_from(cqe.dw0.get() & 0xffff).expect("16 bits");
        self.hosts[admin].plain(0, command::property_set(Property::CC, 0x0046_0001));
        assert_eq!(self.completion(admin), (0, Status::SUCCESS));
        self.hosts[io].connect(0, NQN, cntlid, 1, wish);
        assert_eq!(self.completion(io), (0, Status::SUCCESS));
        io
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).expect("31 bits") % bound
    }

    /// One turn of somebody: a reactor, the writer of records, or a host. True if anything happened.
    pub(crate) fn turn(&mut self) -> bool {
        self.clock.advance(self.turn);
        let who = self.below(REACTORS + 1 + self.hosts.len());
        match who {
            0..REACTORS => {
                self.reactors[who].as_mut().is_some_and(|reactor| reactor.turn() == Activity::Busy)
            }
            REACTORS => self.worker.step(),
            _ => self.hosts[who - REACTORS - 1].pump(),
        }
    }

    /// A turn of reactor `who` that stalls in the midst of its work: where a device of its calls what it is given by
    /// `arm`, `during` may take turns of everybody else.
    pub(crate) fn stalled(
        mut self,
        who: usize,
        arm: impl FnOnce(Box<dyn FnOnce()>),
        during: impl FnOnce(&mut Self) + 'static,
    ) -> Self {
        let mut reactor = self.reactors[who].take().expect("not in the midst of a turn");
        let rig = Rc::new(RefCell::new(self));
        let others = Rc::downgrade(&rig);
        arm(Box::new(move || during(&mut others.upgrade().expect("the turn goes on").borrow_mut())));
        let _ = reactor.turn();
        let Some(mut rig) = Rc::into_inner(rig).map(RefCell::into_inner) else {
            unreachable!("only the turn that is over used it");
        };
        rig.reactors[who] = Some(reactor);
        rig
    }

    /// Takes turns until `condition` holds.
    pub(crate) fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if condition(self) {
                return;
            }
            if !self.turn() {
                std::thread::yield_now();
            }
        }
        panic!("waited in vain for {what}");
    }

    /// Takes turns until nothing happens any more.
    pub(crate) fn quiet(&mut self) {
        let mut idle = 0;
        for _ in 0..TURNS_MAX {
            idle = if self.turn() { 0 } else { idle + 1 };
            if idle == QUIET_TURNS {
                return;
            }
            std::thread::yield_now();
        }
        panic!("it never comes to rest");
    }

    /// Lets time pass, and a little more while what is due then happens.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.clock.advance(by);
        self.quiet();
    }

    /// Has the management reactor change something, at its next turn.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Target) + Send + 'static) {
        assert!(self.changes.send(Box::new(change)).is_ok());
    }

    /// Connections that count.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The time it is.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The next completion of a queue.
    pub(crate) fn completion(&mut self, host: HostIndex) -> (u16, Status) {
        self.until("a completion", |rig| !rig.hosts[host].completions.is_empty());
        let cqe = self.hosts[host].completions.pop_front().expect("waited for");
        (cqe.cid.get(), cqe.status())
    }

    /// The status of a command that is the only one on its queue.
    pub(crate) fn run(&mut self, host: HostIndex, command: &Reservation) -> Status {
        self.submit(host, 200, command);
        let (cid, status) = self.completion(host);
        assert_eq!(cid, 200);
        status
    }

    pub(crate) fn submit(&mut self, host: HostIndex, cid: u16, command: &Reservation) {
        self.hosts[host].in_capsule(cid, command.sqe, &command.data);
    }

    /// Submits a write of one block full of `value`.
    pub(crate) fn write(&mut self, host: HostIndex, cid: u16, nsid: u32, lba: u64, value: u8) {
        self.hosts[host].in_capsule(cid, command::write(nsid, lba, 1, false), &[value; 512]);
    }

    /// Where the record of a namespace is.
    pub(crate) fn record(&self, nsid: u32) -> PathBuf {
        record_path(&self.directory, nsid)
    }
}

/// A reservation command and its data.
pub(crate) struct Reservation {
    pub(crate) sqe: Sqe,
    pub(crate) data: Vec<u8>,
}

/// A reservation command on namespace `nsid` with CDW10 and two keys.
pub(crate) fn reservation(opcode: NvmOpcode, nsid: u32, cdw10: u32, keys: [u64; 2]) -> Reservation {
    let mut sqe = Sqe::of(opcode.0, 0, nsid);
    sqe.cdw10.set(cdw10);
    Reservation { sqe, data: keys.as_bytes().to_vec() }
}

/// Register `key`; `cptpl` is CPTPL.
pub(crate) fn register(nsid: u32, key: u64, cptpl: u32) -> Reservation {
    reservation(NvmOpcode::RESERVATION_REGISTER, nsid, cptpl << 30, [0, key])
}

/// Acquire a reservation of type `rtype`.
pub(crate) fn acquire(nsid: u32, rtype: u32, key: u64) -> Reservation {
    reservation(NvmOpcode::RESERVATION_ACQUIRE, nsid, rtype << 8, [key, 0])
}

/// Preempt and Abort.
pub(crate) fn preempt_and_abort(nsid: u32, rtype: u32, key: u64, victim: u64) -> Reservation {
    reservation(NvmOpcode::RESERVATION_ACQUIRE, nsid, 2 | rtype << 8, [key, victim])
}

/// Preempt.
pub(crate) fn preempt(nsid: u32, rtype: u32, key: u64, victim: u64) -> Reservation {
    reservation(NvmOpcode::RESERVATION_ACQUIRE, nsid, 1 | rtype << 8, [key, victim])
}

/// Clear.
pub(crate) fn clear(nsid: u32, key: u64) -> Reservation {
    reservation(NvmOpcode::RESERVATION_RELEASE, nsid, 1, [key, 0])
}

fn target(address: SocketAddr, bdevs: Vec<(u32, Arc<dyn Bdev>)>) -> Target {
    let mut target = Target::new(Options::default());
    let namespaces: Vec<_> = bdevs
        .into_iter()
        .map(|(nsid, bdev)| Namespace { nsid, uuid: Uuid::from_u128(u128::from(nsid)), bdev })
        .collect();
    let subsystem = Subsystem {
        nqn: Nqn::parse(NQN).expect("a name"),
        serial: "CL0001".to_owned(),
        model: "Corelane".to_owned(),
        policy: Policy::of(Hosts::Any),
        listeners: vec![address],
        namespaces,
        counting: Arc::new(Counts::new(REACTORS - 1, [1])),
    };
    target.add_subsystem(subsystem).expect("a subsystem");
    target
}

/// Reservations for all namespaces, as their records have them: where the writer's answers come, and the writer.
fn reservations(
    sim: &Simulation,
    directory: &TempDir,
    target: &mut Target,
) -> (Mailbox<Answer>, Worker<StateFiles>) {
    let (sender, answers) = sim.group().mailbox(0, ORDERS_MAX);
    let state = StateDirectory::open(directory.path(), false).expect("a state directory");
    let store = Store::open(StateFiles::new(Arc::new(state))).expect("a store");
    let reader = store.reader();
    let (writer, worker) = Writer::local(store, sender, ORDERS_MAX);
    let mut fences = Fences::new(writer);
    let there = |nsid: &u32| target.namespace(NamespaceKey { subsystem: 0, nsid: *nsid }).is_some();
    let recovered = (1..=3).filter(there).map(|nsid| {
        let options = reservation::Options { ptpl: true };
        let found = recover(&reader, &identity(nsid), options).unwrap_or(Recovered::Fenced);
        (identity(nsid), found, options)
    });
    fences.add(0, sim.group().published(Arc::new(Snapshot::default())), recovered);
    target.enable_reservations(&Nqn::parse(NQN).expect("a name"));
    target.enable_write_protection(&Nqn::parse(NQN).expect("a name"));
    target.set_fences(fences);
    (answers, worker)
}
