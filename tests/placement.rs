//! Which I/O reactor gets a host's I/O queues: a whole appliance in this process, and what its reactors have counted.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use corelane::app::{Appliance, Options};
use corelane::config::{ByteSize, Embedded, Placement, Topology};
use corelane::initiator::blocking::{Host, HostOptions};
use corelane::spec::nqn::Nqn;
use corelane_reactors::cpu;

/// I/O queues of the host.
const QUEUES: u16 = 4;

/// An appliance with I/O reactors on two cores, the first of which does management, too.
fn start(placement: Placement, cores: [usize; 2]) -> (tempfile::TempDir, Appliance) {
    let state = tempfile::tempdir().expect("a temporary directory");
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let embedded = Embedded { listen, size: ByteSize::new(1 << 20) };
    let mut config = embedded.config(&Topology::flat(&cores)).expect("two cores").config;
    config.reactors.management = cores[0];
    config.reactors.io = cores.to_vec();
    config.reactors.placement = placement;
    let options = Options { config, state_directory: state.path().to_owned() };
    (state, Appliance::start(options).expect("an appliance"))
}

/// I/O queues that each I/O reactor gets of a host that runs on `core`.
fn queues(placement: Placement, cores: [usize; 2], core: usize) -> Vec<u64> {
    let (_state, appliance) = start(placement, cores);
    let nqn = Nqn::parse(&appliance.subsystems()[0].nqn).expect("a name");
    let address = appliance.addresses()[0];
    let host = thread::spawn(move || {
        // The loopback device receives on the core that sends.
        cpu::pin(core, &cores).expect("a core of its own");
        let options = HostOptions { io_queues: QUEUES, ..HostOptions::new(nqn) };
        let mut host = Host::connect(address, &options).expect("a host");
        // Each on the next queue, so that a command counts a queue.
        for _ in 0..QUEUES {
            host.read(1, 0, 1).expect("a read");
        }
        host.disconnect().expect("a disconnect");
    });
    host.join().expect("the host");
    let queues = appliance.counters().iter().map(|counters| counters.commands.read()).collect();
    appliance.stopper().stop();
    appliance.join().expect("a clean end");
    queues
}

#[test]
fn queues_are_spread_as_the_configuration_says() {
    let [first, second, ..] = cpu::allowed()[..] else {
        println!("there is one core only");
        return;
    };
    let cores = [first, second];
    let rows = [
        //  placement             host on  queues on the two cores
        (Placement::RoundRobin, second, [2, 2]),
        (Placement::LeastLoaded, second, [2, 2]),
        (Placement::IncomingCpu, first, [4, 0]),
        (Placement::IncomingCpu, second, [0, 4]),
    ];
    for (placement, core, expected) in rows {
        assert_eq!(queues(placement, cores, core), expected, "{placement:?}, the host on core {core}");
    }
}
