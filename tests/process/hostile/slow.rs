//! Peers that stop in the middle of a PDU, of every type that a host sends, and peers that go on byte by byte.
//!
//! Before its Connect command a connection has a time limit, for its ICReq and then for the command, whatever it sends
//! meanwhile. Afterwards it has the time that its host's keep alive timer gives (KATO). A host that sets none may wait for
//! ever in the middle of any PDU: it holds what belongs to its own queue, and nobody waits for it.

use std::time::{Duration, Instant};

use corelane::initiator::command;
use corelane::pdu::header::Role;
use corelane::pdu::{PduError, term_req};
use corelane::spec::identify::Cns;
use corelane::spec::tcp::PduType;
use serde_json::json;
use zerocopy::IntoBytes;

use crate::peer::pace::Pace;
use crate::peer::{self, Digests, Peer, Wrong, by_transport, chunk, in_capsule, plain_icreq as icreq};
use crate::scene::Scene;
use crate::session::{Script, Session, numbered};

/// For an ICReq, and for a Connect command: more than those who hurry need, beside other tests on a loaded machine.
const GIVEN: Duration = Duration::from_secs(1);
/// The keep alive timer of hosts that let it run out; the target counts whole seconds.
const KATO: Duration = Duration::from_secs(3);
/// Later than a limit by so much is too late.
const LATE: Duration = Duration::from_secs(5);

fn scene() -> Scene {
    let limit = GIVEN.as_millis();
    Scene::with_limits(json!({"icreq_timeout_ms": limit, "connect_timeout_ms": limit}))
}

/// A peer that has stopped, the PDU that it is in, and the rest of it.
struct Stopped {
    name: &'static str,
    peer: Peer,
    rest: Vec<u8>,
    /// What keeps its association.
    _session: Option<Session>,
}

/// Sends the first `count` of `bytes`.
fn stop(
    name: &'static str,
    (mut peer, session): (Peer, Option<Session>),
    bytes: Vec<u8>,
    count: usize,
) -> Stopped {
    peer.send(&bytes[..count]);
    let rest = bytes[count..].to_vec();
    Stopped { name, peer, rest, _session: session }
}

fn terminate() -> Vec<u8> {
    let mut request = vec![0; term_req::BYTES_MAX];
    let length = term_req::encode(&mut request, Role::Host, PduError::Sequence, &[4, 0, 72, 0, 72, 0, 0, 0]);
    request.cut(length)
}

/// Nobody has said yet what it is.
fn before_connect(script: &Script) -> Vec<Stopped> {
    let address = script.address;
    let connect = peer::capsule(&script.connect(0).into(), script.data.as_bytes());
    let opened = || (script.opened(), None);
    let by_r2t = || {
        let mut peer = script.opened();
        let mut connect = script.connect(0);
        connect.header.sgl1 = corelane::spec::sgl::SglDescriptor::transport(1024);
        peer.command(&connect.into(), &[]);
        let request = peer.ready_to_transfer();
        let data = peer.data(&chunk(&request, 0, 1024, true), script.data.as_bytes());
        ((peer, None), data)
    };
    let (header, header_data) = by_r2t();
    let (data, data_data) = by_r2t();
    vec![
        stop("nothing", (Peer::new(address), None), icreq(), 0),
        stop("a byte of ICReq", (Peer::new(address), None), icreq(), 1),
        stop("the common header of ICReq", (Peer::new(address), None), icreq(), 8),
        stop("all but a byte of ICReq", (Peer::new(address), None), icreq(), 127),
        stop("a terminate request instead of ICReq", (Peer::new(address), None), terminate(), 20),
        stop("nothing after ICReq", opened(), connect.clone(), 0),
        stop("the common header of Connect", opened(), connect.clone(), 7),
        stop("the command of Connect", opened(), connect.clone(), 40),
        stop("the data of Connect", opened(), connect.clone(), 600),
        stop("the header of Connect's data by R2T", header, header_data, 12),
        stop("Connect's data by R2T", data, data_data, 600),
        stop("a terminate request instead of Connect", opened(), terminate(), 30),
    ]
}

/// In the middle of every PDU of a queue that is connected.
fn connected(script: &Script) -> Vec<Stopped> {
    let identify = peer::command(
        &by_transport(command::identify(Cns::CONTROLLER, 0), 1, 4096),
        &[],
        &Peer::agreed(script.digests),
    );
    let admin = || {
        let mut session = script.start();
        let idle = Peer::new(script.address);
        (std::mem::replace(&mut session.admin, idle), None)
    };
    let io = || {
        let session = script.start();
        (session.io(1), Some(session))
    };
    let write = |peer: &Peer| {
        let write = in_capsule(command::write(1, 0, 1, false), 1, 512);
        peer::command(&write, &[0xee; 512], &peer.agreement)
    };
    let transfer = |(mut peer, session): (Peer, Option<Session>)| {
        peer.command(&by_transport(command::write(1, 0, 2, false), 1, 1024), &[]);
        let request = peer.ready_to_transfer();
        let data = peer.data(&chunk(&request, 0, 1024, true), &[0xee; 1024]);
        ((peer, session), data)
    };
    let (command_header, in_the_data) = (io(), io());
    let (first, second) = (write(&command_header.0), write(&in_the_data.0));
    let ((data_header, header_bytes), (data, data_bytes)) = (transfer(io()), transfer(io()));
    vec![
        stop("the header of an admin command", admin(), identify, 33),
        stop("the header of a Write", command_header, first, 70),
        stop("the data of a Write", in_the_data, second, 300),
        stop("the header of its data by R2T", data_header, header_bytes, 23),
        stop("its data by R2T", data, data_bytes, 700),
        stop("a terminate request", io(), terminate(), 20),
    ]
}

#[test]
fn who_stops_before_connect_is_closed_in_time_wherever_it_stopped() {
    let mut scene = scene();
    let start = Instant::now();
    for mut stopped in before_connect(&scene.script()) {
        assert!(stopped.peer.receive().is_none(), "{}", stopped.name);
        let took = start.elapsed();
        assert!(took < GIVEN * 2 + LATE, "{}: closed after {took:?}", stopped.name);
    }
    assert!(start.elapsed() >= GIVEN, "everybody has the time that was given");
    scene.check();
    scene.end();
}

#[test]
fn who_is_connected_may_stop_anywhere_and_go_on() {
    let mut scene = scene();
    for digests in [Digests::NONE, Digests { header: true, data: true }] {
        let mut script = scene.script();
        script.digests = digests;
        let mut all = connected(&script);
        let longest = all.last_mut().expect("several");
        assert!(longest.peer.stands_for(GIVEN * 2), "no limit for {}", longest.name);
        scene.check();
        for Stopped { name, mut peer, rest, .. } in all {
            assert!(peer.stands_for(Duration::from_millis(1)), "no limit for {name}");
            peer.send(&rest);
            match name {
                "a terminate request" => peer.closed(),
                _ => assert!(peer.completion().status().is_success(), "{name}"),
            }
        }
        scene.check();
    }
    scene.end();
}

#[test]
fn who_stops_and_is_not_kept_alive_is_closed_wherever_it_stopped() {
    let mut scene = scene();
    let mut script = scene.script();
    script.kato_ms = u32::try_from(KATO.as_millis()).expect("a few seconds");
    let start = Instant::now();
    for mut stopped in connected(&script) {
        assert!(stopped.peer.receive().is_none(), "{}", stopped.name);
        let took = start.elapsed();
        assert!(took >= KATO && took < KATO * 2 + LATE, "{}: closed after {took:?}", stopped.name);
    }
    scene.check();
    scene.end();
}

/// Whether the kernel asks by and by if the other end of the target's connection to `peer` is still there: what
/// /proc/net/tcp says of its timer (proc_net_tcp: 02 is keepalive).
fn is_probed(peer: &Peer) -> bool {
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let target = port(peer.stream.peer_addr().expect("the target's address"));
    let host = port(peer.stream.local_addr().expect("an address"));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the connections of the machine");
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut mine = row.filter(|row| row[1].ends_with(&target) && row[2].ends_with(&host));
    mine.next().is_some_and(|row| row[5].starts_with("02:"))
}

#[test]
fn whether_a_silent_host_is_still_there_is_asked_by_the_kernel() {
    let mut scene = scene();
    let session = scene.script().start();
    let io = session.io(1);
    for (name, peer) in [("an admin queue", &session.admin), ("an I/O queue", &io)] {
        // Until what was sent last is acknowledged, another timer runs.
        let deadline = Instant::now() + LATE;
        while !is_probed(peer) {
            assert!(Instant::now() < deadline, "{name} without a keep alive timer is asked");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    scene.check();
    drop((io, session));
    scene.end();
}

#[test]
fn a_pace_that_never_stops_does_not_buy_time_for_connect() {
    let mut scene = scene();
    let script = scene.script();
    let connect = peer::capsule(&script.connect(0).into(), script.data.as_bytes());
    let pace = Pace { bytes: 8, every: Duration::from_millis(20) };
    let start = Instant::now();
    let mut peer = script.opened();
    let sent = peer.send_slowly(&connect, pace);
    let took = start.elapsed();
    assert!(sent < connect.len(), "the whole command at that pace takes longer than there is");
    assert!(took >= GIVEN && took < GIVEN + LATE, "closed after {took:?}");
    scene.check();
    scene.end();
}

#[test]
fn commands_that_are_refused_do_not_buy_time_for_connect() {
    let mut scene = scene();
    let start = Instant::now();
    let mut peer = scene.script().opened();
    let mut refused = 0;
    let keep_alive = peer::capsule(&numbered(command::keep_alive(), 1), &[]);
    loop {
        peer.send_some(&keep_alive);
        match peer.receive() {
            Some(pdu) => assert_eq!(pdu.common.pdu_type, PduType::CAPSULE_RESP),
            None => break,
        }
        refused += 1;
        assert!(start.elapsed() < GIVEN + LATE, "{refused} commands were refused");
    }
    assert!(start.elapsed() >= GIVEN && refused > 0);
    scene.check();
    scene.end();
}
