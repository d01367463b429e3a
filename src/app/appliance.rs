//! A whole appliance in this process: started, looked at, stopped.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use corelane_reactors::clock::Clock;
use corelane_reactors::cpu;
use corelane_reactors::group::Group;
use corelane_reactors::mailbox::{Mailbox, Sender, Slot};
use corelane_reactors::poller::Phase;
use corelane_reactors::reactor::{Reactor, ReactorIndex};

use crate::app::assemble::{self, Sockets, Users};
use crate::app::builder::{OwnBdevs, Setup};
use crate::app::descriptors::Descriptors;
use crate::app::devices::Devices;
use crate::app::engine::{Opened, RingUse, SocketEngine, socket_engine};
use crate::app::memory::Memory;
use crate::app::metrics::{self, Ask, Numbers};
use crate::app::reconfigure::{Makes, ORDERS_MAX, Order, Reconfigurer};
use crate::app::records::Records;
use crate::app::shutdown::{Shutdown, Stopper};
use crate::app::{Builder, Options, ServeError};
use crate::bdev::Home;
use crate::config::{self, Config};
use crate::mem::{Extent, PoolMemory};
use crate::metrics::Server;
use crate::nvmf::io::Channels;
use crate::persist::StateDirectory;
use crate::transport::{
    Counters, Endpoint, EndpointRole, IoMail, Listener, Mail, Management, ManagementMail, ReservationMail,
    Settings, attach,
};

/// Messages to the management reactor that can wait: one for each queue that ends, and each I/O reactor's last.
const MANAGEMENT_MAIL_SPARE: usize = 1024;
/// Answers of the writer of records that one turn takes.
const RECORD_ANSWERS_PER_TURN: usize = 32;
/// Messages to an I/O reactor that can wait.
const IO_MAIL: usize = 1024;
/// Questions of the metrics endpoint that can wait: it asks one at a time, and gives up on one that takes too long.
const ASKS_MAX: usize = 4;

/// A subsystem that is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub nqn: String,
    /// Where it is reached.
    pub addresses: Vec<SocketAddr>,
    /// Number of its namespaces.
    pub namespaces: usize,
}

/// A running appliance. Dropping it stops its reactors without finishing what is in flight.
#[derive(Debug)]
pub struct Appliance {
    group: Arc<Group>,
    stopper: Stopper,
    reconfigurer: Reconfigurer,
    state: Arc<StateDirectory>,
    extents: Vec<Arc<Extent>>,
    addresses: Vec<SocketAddr>,
    subsystems: Vec<Served>,
    counters: Vec<Arc<Counters>>,
    socket_engine: SocketEngine,
    /// Ends before the reactors are joined, and after they were told to stop.
    metrics: Option<Server>,
}

/// An appliance of which nothing runs yet.
pub(super) struct Assembled {
    pub(super) appliance: Appliance,
    /// What sets each reactor up, the management reactor last.
    pub(super) setups: Vec<Setup>,
    pub(super) scrape: Option<Scrape>,
}

/// What the thread that says the numbers starts with.
pub(super) struct Scrape {
    socket: TcpListener,
    cores: Vec<usize>,
    numbers: Numbers,
}

/// What an I/O reactor needs to set up its endpoint on its own thread.
struct IoStart {
    settings: Settings,
    lane: usize,
    extents: Vec<Arc<Extent>>,
    memory: PoolMemory,
    counters: Arc<Counters>,
    mailbox: Mailbox<IoMail>,
    drained: Slot<ManagementMail>,
    to_management: Sender<ManagementMail>,
    ring: Option<RingUse>,
}

/// What the management reactor needs.
struct ManagementStart {
    settings: Settings,
    management: Management,
    counters: Arc<Counters>,
    mailbox: Mailbox<ManagementMail>,
    asks: Mailbox<Ask>,
    orders: Mailbox<Order>,
    sockets: Sockets,
    records: Records,
    devices: Devices,
    stopper: Stopper,
    reactors: Vec<corelane_reactors::group::Handle>,
    shutdown_limit: std::time::Duration,
}

impl Appliance {
    /// Starts everything that `options` asks for; returns when hosts can connect.
    ///
    /// # Errors
    /// [`ServeError`]; nothing runs then, and nothing listens.
    pub fn start(options: Options) -> Result<Self, ServeError> {
        Builder::new(options).start()
    }

    /// Everything but the threads. `own` are block devices that `config` names and does not describe.
    pub(super) fn assemble(
        config: Config,
        own: OwnBdevs,
        state_directory: &Path,
    ) -> Result<Assembled, ServeError> {
        let engine = socket_engine(&config, &cpu::allowed()).map_err(ServeError::Engine)?;
        let state = Arc::new(StateDirectory::open(state_directory, config.state_must_exist)?);
        let settings = Settings { connections_max: connections_max(&config)?, ..assemble::settings(&config) };
        let memory = Memory::take(&config, &settings)?;
        let extents = memory.extents();
        let clock = Clock::real();
        let (devices, bdevs) = Devices::open(&config, &extents, &clock)?;
        let mut bdevs = assemble::bdevs(&config, Users::of(&config, engine), bdevs)?;
        bdevs.extend(own);
        let sockets = assemble::sockets(&config)?;
        let metrics_socket = assemble::metrics_socket(&config)?;
        let counts = assemble::counts(&config);
        let target = assemble::target(&config, &settings, &bdevs, &sockets, &counts)?;
        let group = Arc::new(assemble::group(&config, clock)?);
        let ring = RingUse::of(&config, group.allowed_cpus(), engine);

        let (addresses, subsystems) = served(&config, &sockets);
        let management_mail = settings.connections_max + MANAGEMENT_MAIL_SPARE;
        let (to_management, mailbox) = group.mailbox(group.management(), management_mail);
        let (io, lanes) = io_starts(&group, ring.as_ref(), memory, &settings, &to_management);
        let counters: Vec<_> = io.iter().map(|(_, start)| Arc::clone(&start.counters)).collect();
        let (records, reader) = Records::open(&group, &config, Arc::clone(&state))?;
        let stopper = Stopper::new(group.handle(group.management()));
        let (order, orders) = group.mailbox(group.management(), ORDERS_MAX);
        let makes = Makes { rings: ring.is_some(), users: Users::of(&config, engine) };
        let reconfigurer = Reconfigurer::new(config.clone(), &bdevs, reader, makes, order);
        let (ask, asks) = group.mailbox(group.management(), ASKS_MAX);
        let management_counters = Arc::<Counters>::default();
        let numbers = Numbers::new(&group, &counters, &management_counters, counts, ask);
        let mut management =
            Management::new(target, to_management, lanes).with_placement(assemble::placement(&config));
        if config.reactors.rebalance {
            management = management.with_balance(group.io().iter().map(|&io| group.handle(io)).collect());
        }
        let start = ManagementStart {
            settings,
            management,
            counters: management_counters,
            mailbox,
            asks,
            orders,
            sockets,
            records,
            devices,
            stopper: stopper.clone(),
            reactors: (0..group.reactors()).map(|index| group.handle(index)).collect(),
            shutdown_limit: config.limits.shutdown_timeout,
        };
        let cores = metrics::cores(&group, &config.reactors);
        let scrape = metrics_socket.map(|socket| Scrape { socket, cores, numbers });
        let appliance = Self {
            group,
            stopper,
            reconfigurer,
            state,
            extents,
            addresses,
            subsystems,
            counters,
            socket_engine: engine,
            metrics: None,
        };
        let setups = appliance.setups(io, start);
        Ok(Assembled { appliance, setups, scrape })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the metrics are served, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Server::address)
    }

    /// What is served.
    pub fn subsystems(&self) -> &[Served] {
        &self.subsystems
    }

    /// What serves the sockets of I/O queues.
    pub fn socket_engine(&self) -> SocketEngine {
        self.socket_engine
    }

    /// The memory that the data of commands moves through: what it lies in, and where.
    pub fn memory(&self) -> &[Arc<Extent>] {
        &self.extents
    }

    /// Where state is kept.
    pub fn state_directory(&self) -> &Path {
        self.state.path()
    }

    /// What each I/O reactor has counted, in the order of the configuration.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// The reactors: for their statistics, and to stop them at once.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// A way to give it another configuration from another thread.
    pub fn reconfigurer(&self) -> Reconfigurer {
        self.reconfigurer.clone()
    }

    /// A way to stop it from another thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until the threads of its reactors have ended, because it was asked to stop or because a reactor failed.
    /// Reactors that were handed over are not waited for.
    ///
    /// # Errors
    /// [`ServeError::Failed`] names the reactors that did not end by being stopped.
    pub fn join(self) -> Result<(), ServeError> {
        Ok(self.group.join()?)
    }

    /// I/O reactors first, so that the first connection finds them; one setup where management shares a core.
    fn setups(&self, io: Vec<(ReactorIndex, IoStart)>, start: ManagementStart) -> Vec<Setup> {
        let management = self.group.management();
        let mut shared = None;
        let mut setups: Vec<Setup> = Vec::new();
        for (number, (index, io)) in io.into_iter().enumerate() {
            if index == management {
                shared = Some(io);
                continue;
            }
            let name = format!("corelane-io-{number}");
            setups.push(Setup { index, name, add_pollers: Box::new(|reactor| start_io(reactor, io)) });
        }
        let name = if shared.is_some() { "corelane" } else { "corelane-mgmt" };
        let add_pollers = move |reactor: &mut Reactor| {
            if let Some(io) = shared {
                start_io(reactor, io)?;
            }
            start_management(reactor, start)
        };
        setups.push(Setup { index: management, name: name.to_owned(), add_pollers: Box::new(add_pollers) });
        setups
    }

    /// Starts every reactor on a thread of its own.
    pub(super) fn spawn(&self, setups: Vec<Setup>) -> Result<(), ServeError> {
        setups.into_iter().try_for_each(|Setup { index, name, add_pollers }| {
            let spawned = self.group.spawn(index, &name, add_pollers);
            spawned.map_err(|source| ServeError::Start { reactor: name, source })
        })
    }

    /// Starts the thread that says the numbers, if one is wanted: what it asks the reactors for, they answer once they run.
    pub(super) fn serve_metrics(&mut self, scrape: Option<Scrape>) -> Result<(), ServeError> {
        if let Some(Scrape { socket, cores, numbers }) = scrape {
            self.metrics = Some(Server::spawn(socket, &cores, numbers).map_err(ServeError::MetricsThread)?);
        }
        Ok(())
    }

    /// The reactors, for those who run them.
    pub(super) fn shared_group(&self) -> &Arc<Group> {
        &self.group
    }
}

/// Connections that find room under the limit on open files: what the target needs for itself is never theirs.
fn connections_max(config: &Config) -> Result<usize, ServeError> {
    let descriptors = Descriptors::now(config);
    let room = descriptors.connections()?;
    if !descriptors.is_enough() {
        tracing::warn!("open files: {descriptors}");
    }
    Ok(usize::try_from(room).unwrap_or(usize::MAX))
}

/// The addresses that are listened on, and what is served there.
fn served(config: &Config, sockets: &Sockets) -> (Vec<SocketAddr>, Vec<Served>) {
    let mut addresses: Vec<_> = sockets.keys().map(|address| assemble::bound(sockets, *address)).collect();
    addresses.sort_unstable();
    let subsystem = |entry: &config::Subsystem| Served {
        nqn: entry.nqn.to_string(),
        addresses: entry
            .listeners
            .iter()
            .map(|listener| assemble::bound(sockets, listener.address))
            .collect(),
        namespaces: entry.namespaces.len(),
    };
    (addresses, config.subsystems.iter().map(subsystem).collect())
}

/// What each I/O reactor starts with, and the ways to them.
fn io_starts(
    group: &Group,
    ring: Option<&RingUse>,
    memory: Memory,
    settings: &Settings,
    to_management: &Sender<ManagementMail>,
) -> (Vec<(ReactorIndex, IoStart)>, Vec<Sender<IoMail>>) {
    let mut io = Vec::new();
    let mut lanes = Vec::new();
    for ((lane, &index), (extents, memory)) in group.io().iter().enumerate().zip(memory.carve(settings)) {
        let (sender, mailbox) = group.mailbox(index, IO_MAIL);
        lanes.push(sender);
        let Some(drained) = to_management.reserve() else {
            unreachable!("the mailbox is empty and large enough")
        };
        io.push((
            index,
            IoStart {
                settings: settings.clone(),
                lane,
                extents: extents.clone(),
                memory,
                counters: Arc::default(),
                mailbox,
                drained,
                to_management: to_management.clone(),
                ring: ring.cloned(),
            },
        ));
    }
    (io, lanes)
}

fn start_io(reactor: &mut Reactor, start: IoStart) -> io::Result<()> {
    let IoStart { settings, lane, extents, memory, counters, mailbox, drained, to_management, ring } = start;
    let mut home = Home::new(&extents);
    let mut for_sockets = None;
    if let Some(wanted) = ring
        && let Some(Opened { ring, sockets }) = wanted.open().map_err(io::Error::other)?
    {
        // Before the endpoint, which looks for what it has reaped.
        ring.attach(reactor)?;
        for_sockets = sockets.then(|| ring.clone());
        home = home.with_ring(ring);
    }
    let mail = ReservationMail { to_management, back: mailbox.sender() };
    let role =
        EndpointRole::Io { lane, channels: Channels::new(home), memory, drained, mail, ring: for_sockets };
    let endpoint = Endpoint::new(&settings, counters, role).map_err(io::Error::other)?;
    attach(reactor, &Rc::new(RefCell::new(endpoint)), Mail::Io(mailbox))
}

fn start_management(reactor: &mut Reactor, start: ManagementStart) -> io::Result<()> {
    let ManagementStart {
        settings,
        mut management,
        counters,
        mailbox,
        asks,
        orders,
        sockets,
        records,
        devices,
        stopper,
        reactors,
        shutdown_limit,
    } = start;
    // Before any listener accepts a connection.
    let answers = records.recover(management.target());
    let role = EndpointRole::Management(Box::new(management));
    let endpoint = Endpoint::new(&settings, counters, role).map_err(io::Error::other)?;
    let endpoint = Rc::new(RefCell::new(endpoint));
    attach(reactor, &endpoint, Mail::Management(mailbox))?;
    let receiver = Rc::clone(&endpoint);
    let answers = answers.into_poller("record-answers", RECORD_ANSWERS_PER_TURN, move |turn, answer| {
        receiver.borrow_mut().manage(turn, |target| target.fences().saved(answer));
    });
    reactor.add_poller(Phase::Mailbox, answers)?;
    let known = Rc::clone(&endpoint);
    let asks =
        asks.into_poller("metrics-questions", 1, move |_, ask| ask.answer(known.borrow().connections()));
    reactor.add_poller(Phase::Mailbox, asks)?;
    let managed = Rc::clone(&endpoint);
    let orders = orders.into_poller("configurations", 1, move |turn, order| {
        managed.borrow_mut().manage(turn, |target| order.apply(turn.now(), target));
    });
    reactor.add_poller(Phase::Mailbox, orders)?;
    let devices = devices.attach(reactor)?;
    let shutdown = Shutdown::new(stopper, Rc::clone(&endpoint), devices, reactors, shutdown_limit);
    reactor.add_poller(Phase::Timers, Box::new(shutdown))?;
    for socket in sockets.into_values() {
        let listener = Listener::new(socket, Rc::clone(&endpoint), settings.connections_max)?;
        reactor.add_poller(Phase::Ingress, Box::new(listener))?;
    }
    Ok(())
}
