//! `reactors.rebalance` on real threads: a whole appliance in this process whose I/O queues that work are all on one reactor,
//! hosts that check what they read, and what the reactors have counted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use corelane::app::{Appliance, Builder, Options};
use corelane::bdev::{Bdev, BdevError, Channel, Command, Geometry, Home, Malloc, OpenError, Submitted, Tag};
use corelane::config::{ByteSize, Embedded, EngineName, Placement, Topology};
use corelane::initiator::blocking::{Host, HostOptions};
use corelane::nvmf::namespace::Namespace;
use corelane::spec::nqn::Nqn;
use corelane_reactors::cpu;
use corelane_reactors::poller::Wake;
use corelane_reactors::ring::{self, Ring};
use uuid::Uuid;

const NSID: u32 = 2;
/// What a command costs a reactor: so much that few hosts, on the same cores, keep it busy.
const THOUGHT: Duration = Duration::from_micros(100);
/// Hosts that work; as many others do nothing.
const HOSTS: u64 = 4;
/// Blocks of each host's own.
const REGION: u64 = 64;
const BLOCK: usize = 4096;
/// Until queues have moved, on a machine that has other things to do.
const SPREAD_MAX: Duration = Duration::from_secs(60);
/// How long hosts go on afterwards.
const AFTER: Duration = Duration::from_secs(1);

/// A RAM disk that makes its reactor work.
struct Thinker(Malloc);

struct Thinking(Box<dyn Channel>);

impl Bdev for Thinker {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn geometry(&self) -> &Geometry {
        self.0.geometry()
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(Thinking(self.0.open(home)?)))
    }
}

impl Channel for Thinking {
    fn submit(&mut self, tag: Tag, command: &Command<'_>) -> Submitted {
        let began = Instant::now();
        while began.elapsed() < THOUGHT {
            std::hint::spin_loop();
        }
        self.0.submit(tag, command)
    }

    fn poll(&mut self, done: &mut dyn FnMut(Tag, Result<(), BdevError>)) -> usize {
        self.0.poll(done)
    }

    fn outstanding(&self) -> usize {
        self.0.outstanding()
    }

    fn wake(&self) -> Wake {
        self.0.wake()
    }
}

/// Queues are placed by turns on two reactors, the first of which does management, too.
fn start(cores: [usize; 2], engine: EngineName) -> (tempfile::TempDir, Appliance) {
    let state = tempfile::tempdir().expect("a temporary directory");
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let embedded = Embedded { listen, size: ByteSize::new(1 << 20) };
    let mut config = embedded.config(&Topology::flat(&cores)).expect("two cores").config;
    config.reactors.management = cores[0];
    config.reactors.io = cores.to_vec();
    config.reactors.placement = Placement::RoundRobin;
    config.reactors.rebalance = true;
    config.reactors.engine = engine;
    let nqn = config.subsystems[0].nqn.clone();
    let disk = Malloc::new("thinker", HOSTS * REGION * BLOCK as u64, 4096).expect("memory");
    let namespace = Namespace { nsid: NSID, uuid: Uuid::from_u128(2), bdev: Arc::new(Thinker(disk)) };
    let options = Options { config, state_directory: state.path().to_owned() };
    let appliance = Builder::new(options).namespace(nqn, namespace).start().expect("an appliance");
    (state, appliance)
}

/// Writes and reads back until it is told to stop; how many commands that were, and the longest.
fn work(host: &mut Host, number: u64, stop: &AtomicBool) -> (u64, Duration) {
    let (mut round, mut longest) = (0, Duration::ZERO);
    // Relaxed: nothing else is handed over by it.
    while !stop.load(Ordering::Relaxed) {
        let lba = number * REGION + round % REGION;
        let mark = (number << 48 | round).to_le_bytes();
        let data = mark.repeat(BLOCK / mark.len());
        let began = Instant::now();
        host.write(NSID, lba, &data).expect("a write");
        let wrote = began.elapsed();
        let back = host.read(NSID, lba, 1).expect("a read");
        assert!(back == data, "host {number} reads what it wrote in round {round}");
        longest = longest.max(wrote).max(began.elapsed() - wrote);
        round += 1;
    }
    (2 * round, longest)
}

fn spreads(cores: [usize; 2], engine: EngineName) {
    let (_state, appliance) = start(cores, engine);
    let nqn = Nqn::parse(&appliance.subsystems()[0].nqn).expect("a name");
    let address = appliance.addresses()[0];
    let stop = Arc::new(AtomicBool::new(false));
    let (mut idle, mut threads) = (Vec::new(), Vec::new());
    for number in 0..HOSTS {
        let (options, stop) = (HostOptions::new(nqn.clone()), Arc::clone(&stop));
        let (connected, is_connected) = mpsc::channel();
        threads.push(thread::spawn(move || {
            let mut host = Host::connect(address, &options).expect("a host");
            connected.send(()).expect("somebody who waits");
            let worked = work(&mut host, number, &stop);
            host.disconnect().expect("a disconnect");
            worked
        }));
        is_connected.recv().expect("a host");
        idle.push(Host::connect(address, &HostOptions::new(nqn.clone())).expect("its neighbour"));
    }
    let moved = || appliance.counters().iter().map(|counters| counters.queues_moved.read()).sum::<u64>();
    let commands =
        || -> Vec<u64> { appliance.counters().iter().map(|counters| counters.commands.read()).collect() };
    let began = Instant::now();
    while moved() == 0 && began.elapsed() < SPREAD_MAX && !threads.iter().any(|thread| thread.is_finished()) {
        thread::sleep(Duration::from_millis(10));
    }
    let (after, before) = (began.elapsed(), commands());
    thread::sleep(AFTER);
    let then = commands();
    stop.store(true, Ordering::Relaxed);
    let worked: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("a host that was served")).collect();
    for host in idle {
        host.disconnect().expect("a disconnect");
    }
    let refused: u64 = appliance.counters().iter().map(|counters| counters.moves_refused.read()).sum();
    let mut pauses = appliance.counters()[0].pauses.distribution();
    pauses.merge(&appliance.counters()[1].pauses.distribution());
    println!(
        "{engine:?}: {} moves, {refused} refused, the first after {after:?}; pauses up to {:?}, {} of {} within \
         1.05 ms; commands and the longest of each host: {worked:?}",
        moved(),
        Duration::from_nanos(pauses.max()),
        pauses.below(1 << 20),
        pauses.count(),
    );
    assert!(moved() > 0, "nothing moved: {then:?}");
    assert_eq!(pauses.count(), moved());
    assert!(then[1] > before[1], "the second reactor serves what came to it: {before:?}, then {then:?}");
    let total: u64 = worked.iter().map(|(commands, _)| commands).sum();
    assert_eq!(commands().iter().sum::<u64>(), total, "each command was taken once");
    appliance.stopper().stop();
    appliance.join().expect("a clean end");
}

#[test]
fn queues_that_work_on_one_reactor_spread() {
    let [first, second, ..] = cpu::allowed()[..] else {
        println!("there is one core only");
        return;
    };
    spreads([first, second], EngineName::Epoll);
    match Ring::open(&ring::Options::default()).and_then(|ring| ring.window().map(drop)) {
        Ok(()) => spreads([first, second], EngineName::IoUring),
        Err(error) => println!("epoll only: {error}"),
    }
}
