//! Peers that are slow, greedy, or both: they hold up nobody but themselves.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use corelane::initiator::command;
use corelane::spec::status::Status;
use corelane::spec::tcp::PduType;
use zerocopy::IntoBytes;

use crate::pattern;
use crate::peer::{self, ANSWER_MAX, Digests, Peer, by_transport, chunk, in_capsule, plain_icreq as icreq};
use crate::scene::Scene;
use crate::session::Script;

/// How long a socket must take nothing until it counts as full.
const FULL: Duration = Duration::from_millis(300);
const READ_BYTES: usize = 128 << 10;
/// Answers that may wait in the target and in the kernel, generously: more than that is not bounded.
const WAITING_MAX: u64 = 48 << 20;
/// What the kernel takes from the target for a peer that has read little, 128 KiB, less what goes out to the window of the
/// peer at once, and that with a segment and a window.
const COPIED_MIN: u64 = 120 << 10;
const COPIED_MAX: u64 = 256 << 10;

/// Sends `bytes` one by one.
fn drip(peer: &mut Peer, bytes: &[u8]) {
    for byte in bytes {
        peer.send(&[*byte]);
    }
}

#[test]
fn one_byte_at_a_time_is_served_like_any_other() {
    let mut scene = Scene::start();
    for digests in Digests::ALL {
        let mut script = scene.script();
        script.digests = digests;
        let mut peer = Peer::new(scene.address);
        drip(&mut peer, &peer::icreq(digests));
        assert_eq!(peer.receive().expect("an ICResp").common.pdu_type, PduType::ICRESP);

        let session = script.start();
        let mut io = script.opened();
        let connect = session.script.connect(1).into();
        let connect = peer::command(&connect, session.script.data.as_bytes(), &io.agreement);
        drip(&mut io, &connect);
        assert!(io.completion().status().is_success());

        let data = pattern::blocks(1, 0, 1024);
        let write = in_capsule(command::write(1, 0, 2, false), 1, data.len());
        let write = peer::command(&write, &data, &io.agreement);
        drip(&mut io, &write);
        assert!(io.completion().status().is_success());

        let more = pattern::blocks(2, 2, 1024);
        let write = peer::command(&by_transport(command::write(1, 2, 2, false), 2, 1024), &[], &io.agreement);
        drip(&mut io, &write);
        let request = io.ready_to_transfer();
        let first = io.data(&chunk(&request, 0, 512, false), &more[..512]);
        drip(&mut io, &first);
        scene.check();
        let last = io.data(&chunk(&request, 512, 512, true), &more[512..]);
        drip(&mut io, &last);
        assert!(io.completion().status().is_success());

        io.command(&by_transport(command::read(1, 0, 4), 3, 2048), &[]);
        let read = io.receive().expect("the data");
        assert!(read.payload() == [data, more].concat());
    }
    scene.end();
}

#[test]
fn many_transfers_at_once_may_be_answered_in_any_order() {
    const COMMANDS: u16 = 31;
    let mut scene = Scene::start();
    let session = scene.script().start();
    let mut io = session.io(1);
    let data = |cid: u16| pattern::blocks(3, cid.into(), 16384);
    for cid in 0..COMMANDS {
        let write = command::write(1, u64::from(cid) * 32, 32, false);
        io.command(&by_transport(write, cid, 16384), &[]);
    }
    // There are fewer buffers than commands: the target asks for as much as it has room for, and for the rest when
    // room comes back.
    let mut requests = vec![io.ready_to_transfer()];
    scene.check();
    let mut completed = 0;
    while completed < COMMANDS {
        let request = requests.pop().expect("an R2T that is not answered");
        let cid = request.cccid.get();
        let bytes = data(cid);
        let first = io.data(&chunk(&request, 0, 4096, false), &bytes[..4096]);
        io.send(&first);
        let rest = io.data(&chunk(&request, 4096, 12288, true), &bytes[4096..]);
        io.send(&rest);
        loop {
            let pdu = io.receive().expect("a PDU");
            if pdu.common.pdu_type == PduType::CAPSULE_RESP {
                assert!(pdu.cqe().status().is_success());
                completed += 1;
                if completed == COMMANDS || !requests.is_empty() {
                    break;
                }
            } else {
                requests.push(zerocopy::FromBytes::read_from_prefix(&pdu.bytes).expect("an R2T").0);
            }
        }
    }
    for cid in 0..COMMANDS {
        io.command(&by_transport(command::read(1, u64::from(cid) * 32, 32), cid, 16384), &[]);
        assert!(io.receive().expect("the data").payload() == data(cid), "the data of command {cid}");
    }
    scene.end();
}

#[test]
fn a_peer_that_does_not_read_is_bounded() {
    let mut scene = Scene::start();
    let before = scene.resident_bytes();
    let mut greedy = Vec::new();
    for nsid in [1, 2] {
        for digests in [Digests::NONE, Digests { header: false, data: true }] {
            let mut script = scene.script();
            script.digests = digests;
            script.data.hostid[0] ^= u8::try_from(greedy.len()).expect("four");
            let session = script.start();
            let io = session.io(1);
            greedy.push((session, ask_until_full(io, nsid)));
            scene.check();
        }
    }
    let held = scene.resident_bytes().saturating_sub(before);
    assert!(held < WAITING_MAX, "peers that do not read make the target hold {held} bytes more");
    // When it reads after all, it gets whole answers.
    let (_session, io) = &mut greedy[0];
    for _ in 0..64 {
        let pdu = io.receive().expect("data");
        assert_eq!(pdu.payload().len(), READ_BYTES);
    }
    drop(greedy);
    scene.end();
}

/// Asks for data until the target takes no more commands.
fn ask_until_full(mut io: Peer, nsid: u32) -> Peer {
    io.stream.set_write_timeout(Some(FULL)).expect("a limit on waiting");
    let blocks = if nsid == 1 { 256 } else { 32 };
    let read = by_transport(command::read(nsid, 0, blocks), 1, READ_BYTES);
    let asks = peer::command(&read, &[], &io.agreement).repeat(64);
    for _ in 0..10_000 {
        match io.stream.write(&asks) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return io,
            Err(error) => panic!("the target closed the connection: {error}"),
        }
    }
    panic!("the target takes commands without end");
}

#[test]
fn little_is_copied_for_a_peer_that_reads_nothing() {
    let mut scene = Scene::start();
    let session = Script { narrow: true, ..scene.script() }.start();
    let mut io = session.io(1);
    let read = by_transport(command::read(1, 0, 256), 1, READ_BYTES);
    io.send_without_waiting(&peer::capsule(&read, &[]).repeat(64));
    let deadline = Instant::now() + ANSWER_MAX;
    while copied(&io) < COPIED_MIN {
        assert!(Instant::now() < deadline, "the target answers");
    }
    // Once the target has turned to somebody else, it has sent what the kernel takes.
    scene.check();
    let copied = copied(&io);
    println!("{copied} bytes are copied");
    assert!(copied <= COPIED_MAX, "{copied} bytes are copied for a peer that reads nothing");
    drop((io, session));
    scene.end();
}

/// Bytes that the kernel holds at the target's end of this connection until they are acknowledged (proc_net_tcp.txt).
fn copied(peer: &Peer) -> u64 {
    let port =
        |address: std::io::Result<std::net::SocketAddr>| address.expect("a socket that is connected").port();
    let ends = [port(peer.stream.peer_addr()), port(peer.stream.local_addr())];
    let ends = ends.map(|port| format!("0100007F:{port:04X}")).join(" ");
    let table = fs::read_to_string("/proc/self/net/tcp").expect("the kernel's connections");
    let line = table.lines().find(|line| line.contains(&ends)).expect("the target's end of the connection");
    let queues = line.split_whitespace().nth(4).expect("what waits in it");
    let (copied, _) = queues.split_once(':').expect("to be sent and to be read");
    u64::from_str_radix(copied, 16).expect("a number")
}

#[test]
fn more_commands_than_the_queue_has_entries_wait_in_the_socket() {
    let mut scene = Scene::start();
    let mut script = scene.script();
    script.sqsize_z = 1;
    let session = script.start();
    let mut io = session.io(1);
    let mut burst = Vec::new();
    for cid in 0..500 {
        burst.extend(peer::command(&by_transport(command::read(1, 0, 1), cid, 512), &[], &io.agreement));
    }
    io.send(&burst);
    for cid in 0..500 {
        let pdu = io.receive().expect("data");
        assert_eq!(pdu.payload().len(), 512);
        assert_eq!(pdu.bytes[8..10], u16::to_le_bytes(cid));
    }
    scene.check();
    scene.end();
}

#[test]
fn writes_beyond_the_entries_hold_up_nobody_but_their_host() {
    const ENTRIES: u16 = 4;
    let mut scene = Scene::start();
    let mut script = scene.script();
    script.sqsize_z = ENTRIES - 1;
    let session = script.start();
    let mut io = session.io(1);
    for cid in 0..ENTRIES * 4 {
        io.command(&by_transport(command::write(1, cid.into(), 1, false), cid, 512), &[]);
    }
    // The data that these wait for would come behind commands for which there is no entry.
    let requests: Vec<_> = (0..ENTRIES).map(|_| io.ready_to_transfer()).collect();
    for request in &requests {
        io.transfer(request, &[3; 512]);
    }
    scene.check();
    io.stream.set_read_timeout(Some(FULL)).expect("a limit on waiting");
    let mut byte = [0];
    let more = io.stream.read(&mut byte);
    assert!(more.is_err(), "no further command is taken: {more:?}");
    drop((io, session));
    scene.end();
}

#[test]
fn asynchronous_event_requests_are_limited() {
    let mut scene = Scene::start();
    let mut session = scene.script().start();
    for cid in 100..200 {
        session.admin.command(&crate::session::numbered(command::async_event_request(), cid), &[]);
    }
    let mut refused = 0;
    let limit = Status::ASYNC_EVENT_LIMIT_EXCEEDED;
    for _ in 0..96 {
        assert_eq!(session.admin.completion().status(), limit);
        refused += 1;
    }
    assert_eq!(refused, 96, "four are kept");
    let alive = session.admin.execute(&crate::session::numbered(command::keep_alive(), 1), &[]);
    assert!(alive.status().is_success());
    scene.check();
    scene.end();
}

#[test]
fn half_a_pdu_and_then_nothing_holds_up_nobody() {
    let mut scene = Scene::start();
    let mut silent = Vec::new();
    for length in [1, 7, 8, 9, 127] {
        let mut peer = Peer::new(scene.address);
        peer.send(&icreq()[..length]);
        silent.push(peer);
    }
    scene.check();
    let session = scene.script().start();
    let mut io = session.io(1);
    let write = peer::command(&in_capsule(command::write(1, 0, 1, false), 1, 512), &[1; 512], &io.agreement);
    io.send(&write[..300]);
    scene.check();
    io.send(&write[300..]);
    assert!(io.completion().status().is_success());
    scene.end();
}
