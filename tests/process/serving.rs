//! What hosts get: every layout, engine, digest and size; namespaces, subsystems, addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::initiator::command;
use corelane::spec::nqn::Nqn;
use corelane::spec::status::Status;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::pattern;
use crate::peer::{Digests, Peer, by_transport};
use crate::scene::{NQN, OTHER_NQN, configuration, connect};
use crate::session::Script;

const BLOCK_BYTES: usize = 512;
/// In a capsule, just in a capsule, by R2T, MDTS, and more than one command takes.
const SIZES: [usize; 8] = [512, 4096, 8192, 8704, 65_536, 130_560, 131_072, 400_384];

/// Management and I/O on one core; on two, where there are two; and one of two I/O cores shared with management.
fn layouts() -> Vec<Value> {
    let cores = corelane_reactors::cpu::allowed();
    let first = cores[0];
    let mut layouts = vec![json!({"management": first, "io": [first]})];
    if let Some(second) = cores.get(1) {
        layouts.push(json!({"management": first, "io": [second]}));
        layouts.push(json!({"management": first, "io": [first, second]}));
    } else {
        println!("there is one core only");
    }
    layouts
}

fn options(digests: Digests, flow_control: bool) -> HostOptions {
    HostOptions {
        io_queues: 2,
        header_digest: digests.header,
        data_digest: digests.data,
        flow_control,
        ..HostOptions::new(Nqn::parse(NQN).expect("a name"))
    }
}

#[test]
fn every_layout_engine_digest_and_size_brings_data_back() {
    let engines = ["epoll", "io_uring"];
    for (mut layout, engine) in
        layouts().into_iter().flat_map(|layout| engines.map(|it| (layout.clone(), it)))
    {
        layout["engine"] = json!(engine);
        let mut configuration = configuration();
        configuration["reactors"] = layout.clone();
        let server = Server::start(configuration);
        let mut seed = 0;
        for digests in Digests::ALL {
            for flow_control in [false, true] {
                println!("{layout}, {digests:?}, flow control {flow_control}");
                let options = options(digests, flow_control);
                let mut host = Host::connect(server.listeners()[0], &options).expect("a host");
                assert_eq!(host.io_queues(), 2);
                seed += 1;
                write_and_read(&mut host, seed);
                host.disconnect().expect("a disconnect");
            }
        }
        server.stop();
    }
}

fn write_and_read(host: &mut Host, seed: u64) {
    let mut lba = seed;
    for bytes in SIZES {
        let data = pattern::blocks(seed, lba, bytes);
        host.write(1, lba, &data).expect("a write");
        lba += (bytes / BLOCK_BYTES) as u64;
    }
    lba = seed;
    for bytes in SIZES {
        let blocks = u32::try_from(bytes / BLOCK_BYTES).expect("few");
        let data = host.read(1, lba, blocks).expect("a read");
        assert!(pattern::is_intact(&data), "{bytes} bytes: the checksums match");
        assert!(data == pattern::blocks(seed, lba, bytes), "{bytes} bytes: the right ones");
        host.compare(1, lba, &data).expect("a comparison");
        lba += u64::from(blocks);
    }
    let mut other = pattern::blocks(seed, seed, BLOCK_BYTES);
    other[511] ^= 1;
    let different = host.compare(1, seed, &other).expect_err("a difference");
    assert!(different.status().is_some_and(|status| status.is(Status::COMPARE_FAILURE)), "{different}");
    host.flush(1).expect("a flush");
    host.write_zeroes(1, seed, 1, false).expect("zeros");
    host.deallocate(1, &[(seed + 1, 8)]).expect("a deallocation");
    assert!(host.read(1, seed, 9).expect("a read").iter().all(|&byte| byte == 0), "zeros");
}

#[test]
fn many_connections_read_at_once() {
    const CONTROLLERS: u8 = 8;
    const QUEUES: u16 = 8;
    const READS: u16 = 8;
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    let data = pattern::blocks(1, 0, 64 * 4096);
    let mut host = connect(address, NQN);
    host.write(1, 0, &data).expect("a write");

    let mut sessions = Vec::new();
    let mut queues = Vec::new();
    for number in 0..CONTROLLERS {
        let mut script = Script::new(address, NQN);
        script.data.hostid[0] = number;
        script.flow_control = number % 2 == 0;
        script.digests = Digests::ALL[usize::from(number) % 4];
        let session = script.start();
        queues.extend((1..=QUEUES).map(|qid| (session.io(qid), script.flow_control)));
        sessions.push(session);
    }
    assert_eq!(queues.len(), 64);
    for _ in 0..4 {
        for (io, _) in &mut queues {
            for cid in 0..READS {
                let lba = u64::from(cid) * 8;
                io.command(&by_transport(command::read(1, lba, 8), cid, 4096), &[]);
            }
        }
        for (io, flow_control) in &mut queues {
            for cid in 0..READS {
                let start = usize::from(cid) * 4096;
                let pdu = io.receive().expect("data");
                assert!(pdu.payload() == &data[start..start + 4096], "the data of command {cid}");
                if *flow_control {
                    assert!(io.completion().status().is_success());
                }
            }
        }
    }
    drop((queues, sessions, host));
    server.stop();
}

#[test]
fn subsystems_and_namespaces_are_told_apart() {
    let listeners = json!([{"address": "127.0.0.1", "port": 0}]);
    let member = "nqn.2026-11.io.corelane:member";
    let server = Server::start(json!({
        "bdevs": [
            {"name": "a", "type": "malloc", "size": "1MiB", "block_size": 512},
            {"name": "b", "type": "malloc", "size": "2MiB", "block_size": 4096},
            {"name": "c", "type": "null", "size": "1GiB", "block_size": 512},
            {"name": "d", "type": "malloc", "size": "3MiB", "block_size": 512}
        ],
        "subsystems": [
            {"nqn": NQN, "serial": "ONE", "model": "First", "allow_any_host": true, "listeners": listeners,
             "namespaces": [{"nsid": 1, "bdev": "a"}, {"nsid": 2, "bdev": "b"}, {"nsid": 7, "bdev": "c"}]},
            {"nqn": OTHER_NQN, "serial": "TWO", "model": "Second", "hosts": [member], "listeners": listeners,
             "namespaces": [{"nsid": 1, "bdev": "d"}]}
        ]
    }));
    let address = server.listeners()[0];
    let mut stranger = connect(address, NQN);
    assert_eq!(stranger.namespaces().expect("the list"), [1, 2, 7]);
    let geometries = [1, 2, 7].map(|nsid| stranger.geometry(nsid).expect("a size"));
    assert_eq!(geometries.map(|it| (it.block_size, it.blocks)), [(512, 2048), (4096, 512), (512, 2_097_152)]);
    assert!(stranger.controller().identify.sn.starts_with(b"ONE "));
    assert!(stranger.controller().identify.mn.starts_with(b"First "));
    let (one, two) = (pattern::blocks(1, 0, 4096), pattern::blocks(2, 0, 4096));
    stranger.write(1, 0, &one).expect("a write");
    stranger.write(2, 0, &two).expect("a write");
    stranger.write(7, 0, &two).expect("a write");
    assert!(stranger.read(1, 0, 8).expect("a read") == one);
    assert!(stranger.read(2, 0, 1).expect("a read") == two);
    assert!(stranger.read(7, 0, 8).expect("a read").iter().all(|&byte| byte == 0), "null reads as zeros");

    let mut options = HostOptions::new(Nqn::parse(OTHER_NQN).expect("a name"));
    let refused = Host::connect(address, &options).err().expect("a stranger is refused");
    assert!(refused.status().is_some_and(|status| status.is(Status::CONNECT_INVALID_HOST)), "{refused}");
    options.identity.host = Nqn::parse(member).expect("a name");
    let mut listed = Host::connect(address, &options).expect("a listed host");
    assert_eq!(listed.namespaces().expect("the list"), [1]);
    assert!(listed.read(1, 0, 8).expect("a read").iter().all(|&byte| byte == 0), "another disk");

    // The discovery log shows what a host may have.
    assert_eq!(discovered(address, None), [(NQN.to_owned(), address)].into());
    let both = [(NQN.to_owned(), address), (OTHER_NQN.to_owned(), address)].into();
    assert_eq!(discovered(address, Some(member)), both);
    drop((stranger, listed));
    server.stop();
}

/// Subsystems and addresses in the discovery log at `address`, as the host of this name sees it.
fn discovered(address: SocketAddr, host: Option<&str>) -> BTreeSet<(String, SocketAddr)> {
    let mut options = HostOptions::discovery();
    if let Some(host) = host {
        options.identity.host = Nqn::parse(host).expect("a name");
    }
    let mut host = Host::connect(address, &options).expect("a discovery controller");
    let log = host.discovery_log().expect("its log");
    host.disconnect().expect("a disconnect");
    let reached = log.into_iter().filter(|entry| entry.subsystem != Nqn::discovery().as_str());
    reached
        .map(|entry| {
            let ip: IpAddr = entry.address.parse().expect("an address");
            (entry.subsystem, SocketAddr::new(ip, entry.port.parse().expect("a port")))
        })
        .collect()
}

/// What is listened on, and addresses that a host may come to.
const WILDCARDS: [(&str, &[&str]); 4] = [
    ("127.0.0.1", &["127.0.0.1"]),
    ("0.0.0.0", &["127.0.0.1", "127.0.0.2"]),
    ("::1", &["::1"]),
    ("::", &["::1", "127.0.0.1", "127.0.0.2"]),
];

#[test]
fn discovery_reports_the_address_that_the_host_came_to() {
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    for (listened, reached) in WILDCARDS {
        if listened.contains(':') && !has_ipv6 {
            println!("this machine has no IPv6");
            continue;
        }
        let mut configuration = configuration();
        for subsystem in 0..2 {
            configuration["subsystems"][subsystem]["listeners"] = json!([{"address": listened, "port": 0}]);
        }
        let server = Server::start(configuration);
        let bound = server.listeners()[0];
        assert_eq!(bound.ip().to_string(), listened);
        for ip in reached {
            let address = SocketAddr::new(ip.parse().expect("an address"), bound.port());
            let both = [(NQN.to_owned(), address), (OTHER_NQN.to_owned(), address)];
            assert_eq!(discovered(address, None), both.into(), "listening on {listened}");
            let mut host = connect(address, NQN);
            host.flush(1).expect("a command by this address");
        }
        server.stop();
    }
}

#[test]
fn a_subsystem_is_reached_only_where_it_listens() {
    let mut configuration = configuration();
    configuration["subsystems"][1]["listeners"] = json!([{"address": "127.0.0.2", "port": 0}]);
    let server = Server::start(configuration);
    let [first, second] = server.listeners() else { panic!("two addresses: {:?}", server.listeners()) };
    // The log tells all that there is, wherever it is read.
    let log: BTreeSet<_> = [(NQN.to_owned(), *first), (OTHER_NQN.to_owned(), *second)].into();
    assert_eq!(discovered(*first, None), log);
    assert_eq!(discovered(*second, None), log);
    drop(connect(*second, OTHER_NQN));
    let options = HostOptions::new(Nqn::parse(OTHER_NQN).expect("a name"));
    let refused = Host::connect(*first, &options).err().expect("it is not there");
    assert!(
        refused.status().is_some_and(|status| status.is(Status::CONNECT_INVALID_PARAMETERS)),
        "{refused}"
    );
    server.stop();
}

#[test]
fn a_host_finds_its_data_again() {
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    let data = pattern::blocks(9, 0, 1 << 20);
    let mut first = connect(address, NQN);
    first.write(1, 0, &data).expect("a write");
    // Gone without a word.
    drop(first);
    let options = HostOptions { timeout: Duration::from_secs(5), ..options(Digests::ALL[3], true) };
    let mut second = Host::connect(address, &options).expect("a host");
    assert!(second.read(1, 0, 2048).expect("a read") == data);
    second.disconnect().expect("a disconnect");
    let mut peer = Peer::opened(address, Digests::NONE);
    peer.finish();
    peer.closed();
    server.stop();
}
