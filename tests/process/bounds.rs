//! What one command may move and what one connection may hold, as hosts are told, up to the limit and beyond it.

use std::time::{Duration, Instant};

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::initiator::command;
use corelane::spec::log_page::LogPageId;
use corelane::spec::nqn::Nqn;
use corelane::spec::register::{Cc, Property};
use corelane::spec::status::Status;
use corelane::spec::tcp::PduType;
use serde_json::{Value, json};

use crate::pattern;
use crate::peer::{Peer, by_transport, in_capsule};
use crate::scene::{NQN, Scene, connect};
use crate::session::numbered;

const BLOCK_BYTES: usize = 512;
const KIB: usize = 1 << 10;

fn blocks_of(bytes: usize) -> u32 {
    u32::try_from(bytes / BLOCK_BYTES).expect("few blocks")
}

/// A write that the target does not want: its in-capsule data is longer than IOCCSZ says.
fn too_long(peer: &mut Peer, bytes: usize) {
    let sqe = in_capsule(command::write(1, 0, blocks_of(bytes), false), 9, bytes);
    peer.command(&sqe, &vec![7; bytes]);
    assert_eq!(peer.terminated(), (1, 4), "PLEN");
}

#[test]
fn capsules_carry_what_they_may_and_no_more() {
    for (text, bytes) in [("0", 0), ("4KiB", 4 * KIB), ("8KiB", 8 * KIB), ("32KiB", 32 * KIB)] {
        let mut scene = Scene::with_limits(json!({"in_capsule_bytes_max": text}));
        let host = connect(scene.address, NQN);
        let ioccsz = host.controller().identify.ioccsz.get();
        assert_eq!(ioccsz as usize * 16, 64 + bytes, "IOCCSZ");
        host.disconnect().expect("a disconnect");
        let session = scene.script().start();
        let mut io = session.io(1);
        let mut expected = pattern::blocks(1, 0, 64 * KIB);
        for (cid, length) in (1..).zip([BLOCK_BYTES, bytes]) {
            if length == 0 || length > bytes {
                continue;
            }
            let data = pattern::blocks(2, cid.into(), length);
            let sqe = in_capsule(command::write(1, 0, blocks_of(length), false), cid, length);
            assert!(io.execute(&sqe, &data).status().is_success(), "{length} bytes in a capsule");
            expected[..length].copy_from_slice(&data);
            let sqe = by_transport(command::read(1, 0, blocks_of(length)), 3, length);
            io.command(&sqe, &[]);
            assert!(read_back(&mut io) == expected[..length], "{length} bytes in a capsule");
        }
        // More goes by transport, whatever fits into a capsule.
        let data = pattern::blocks(3, 0, 64 * KIB);
        io.command(&by_transport(command::write(1, 0, 128, false), 4, 64 * KIB), &[]);
        let request = io.ready_to_transfer();
        io.transfer(&request, &data);
        assert!(io.completion().status().is_success());
        too_long(&mut io, bytes + BLOCK_BYTES);
        scene.check();
        scene.end();
    }
}

/// What a read brings, which SUCCESS completes.
fn read_back(io: &mut Peer) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let pdu = io.receive().expect("an answer");
        assert_eq!(pdu.common.pdu_type, PduType::C2H_DATA, "data");
        data.extend_from_slice(pdu.payload());
        if pdu.common.flags & 8 != 0 {
            return data;
        }
    }
}

#[test]
fn commands_move_what_mdts_says_and_no_more() {
    for (text, bytes, mdts) in
        [("8KiB", 8 * KIB, 1), ("16KiB", 16 * KIB, 2), ("128KiB", 128 * KIB, 5), ("1MiB", 1024 * KIB, 8)]
    {
        let mut scene =
            Scene::with_limits(json!({"transfer_bytes_max": text, "in_capsule_bytes_max": "4KiB"}));
        let options = HostOptions::new(Nqn::parse(NQN).expect("a name"));
        let mut host = Host::connect(scene.address, &options).expect("a host");
        assert_eq!(host.controller().identify.mdts, mdts, "MDTS");
        // The host cuts by MDTS; twice as much is two commands.
        let data = pattern::blocks(4, 0, 2 * bytes);
        host.write(1, 3, &data).expect("a write");
        assert!(host.read(1, 3, blocks_of(2 * bytes)).expect("a read") == data, "{text}");
        host.disconnect().expect("a disconnect");

        let session = scene.script().start();
        let mut io = session.io(1);
        let data = pattern::blocks(5, 0, bytes);
        let (whole, more) = (blocks_of(bytes), blocks_of(bytes) + 1);
        io.command(&by_transport(command::write(1, 0, whole, false), 1, bytes), &[]);
        let request = io.ready_to_transfer();
        assert_eq!(request.r2tl.get() as usize, bytes, "all of it is asked for at once");
        for (offset, part) in (0..).step_by(128 * KIB).zip(data.chunks(128 * KIB)) {
            let chunk = crate::peer::chunk(&request, offset, part.len(), offset + part.len() == bytes);
            let pdu = io.data(&chunk, part);
            io.send(&pdu);
        }
        assert!(io.completion().status().is_success());
        io.command(&by_transport(command::read(1, 0, whole), 2, bytes), &[]);
        assert!(read_back(&mut io) == data, "{text}");
        let longer = bytes + BLOCK_BYTES;
        for sqe in
            [command::read(1, 0, more), command::write(1, 0, more, false), command::compare(1, 0, more)]
        {
            let refused = io.execute(&by_transport(sqe, 3, longer), &[]).status();
            assert_eq!(refused, Status::INVALID_FIELD.with_dnr(), "{text} and a block");
        }
        scene.check();
        scene.end();
    }
}

#[test]
fn keep_alive_timeouts_are_within_their_bounds() {
    let mut scene = Scene::with_limits(json!({"keep_alive_min_ms": 5_000, "keep_alive_max_ms": 20_000}));
    let mut script = scene.script();
    let get = numbered(feature(false, 0), 2);
    for (asked, granted) in [(1, Some(5_000)), (6_001, Some(7_000)), (20_000, Some(20_000)), (20_001, None)] {
        script.kato_ms = asked;
        let (_, cqe) = script.attempt(script.connect(0), &script.data);
        let Some(kato) = granted else {
            assert_eq!(cqe.status(), Status::KEEP_ALIVE_INVALID.with_dnr(), "{asked}");
            continue;
        };
        assert!(cqe.status().is_success(), "{asked}");
        let mut session = script.start();
        assert_eq!(session.admin.execute(&get, &[]).dw0.get(), kato, "{asked}");
        let refused = session.admin.execute(&numbered(feature(true, 20_001), 3), &[]).status();
        assert_eq!(refused, Status::KEEP_ALIVE_INVALID.with_dnr());
        assert_eq!(session.admin.execute(&get, &[]).dw0.get(), kato, "the timer stays as it was");
    }
    scene.check();
    scene.end();
}

/// Get or Set Features of the keep alive timer.
fn feature(set: bool, kato: u32) -> corelane::spec::sqe::Sqe {
    let opcode = if set { 0x09 } else { 0x0a };
    let mut sqe = corelane::spec::sqe::Sqe::of(opcode, 0, 0);
    (sqe.cdw10, sqe.cdw11) = (0x0f.into(), kato.into());
    sqe
}

/// `connection_bytes_max`.
const HELD_BYTES: u64 = 1 << 20;
/// Hosts that do not read.
const HOSTS: u64 = 24;
/// Pages, and reports, that each of them asks for.
const ASKED: u16 = 120;
/// What the process may grow by besides: allocations of other tests' size, kernel accounting, and the like.
const SLACK_BYTES: u64 = 4 << 20;

/// The most memory that the process has within a second in which it serves others, over what it had `before`.
fn grown(scene: &mut Scene, before: u64) -> u64 {
    let end = Instant::now() + Duration::from_secs(1);
    let mut most = 0;
    while Instant::now() < end {
        scene.check();
        most = most.max(scene.resident_bytes());
    }
    let grown = most.saturating_sub(before);
    println!("grown by {grown} bytes");
    grown
}

fn limits() -> Value {
    json!({"connection_bytes_max": "1MiB"})
}

/// An enabled controller whose admin queue has 128 entries.
fn wide(scene: &Scene) -> crate::session::Session {
    let script = scene.script();
    let mut connect = script.connect(0);
    connect.sqsize_z = 127.into();
    let (mut admin, cqe) = script.attempt(connect, &script.data);
    assert!(cqe.status().is_success(), "connecting");
    let cc = Cc::new().with_en(true).with_css(Cc::CSS_NVM).with_iosqes(6).with_iocqes(4);
    let enabled = admin.execute(&numbered(command::property_set(Property::CC, cc.into_bits()), 1), &[]);
    assert!(enabled.status().is_success(), "enabling");
    let mut script = script;
    script.data.cntlid = (cqe.dw0.get() & 0xffff).try_into().map(u16::into).expect("16 bits");
    crate::session::Session { admin, script }
}

#[test]
fn pages_that_nobody_reads_take_no_more_than_a_connection_may_hold() {
    let mut scene = Scene::with_limits(limits());
    let bytes = 128 * KIB;
    let page = command::log_page(LogPageId::ERROR, 0, u32::try_from(bytes).expect("128 KiB"));
    let mut sessions: Vec<_> = (0..HOSTS).map(|_| wide(&scene)).collect();
    scene.check();
    let before = scene.resident_bytes();
    for session in &mut sessions {
        for cid in 0..ASKED {
            session.admin.command(&by_transport(page, cid, bytes), &[]);
        }
    }
    let grown = grown(&mut scene, before);
    assert!(grown < HOSTS * HELD_BYTES + SLACK_BYTES, "{grown} bytes are held");
    // They are served all the same, once they read: nothing was refused.
    for session in &mut sessions {
        for cid in 0..ASKED {
            let data = session.admin.receive().expect("a page");
            assert_eq!((data.common.pdu_type, data.payload().len()), (PduType::C2H_DATA, bytes));
            let cqe = session.admin.receive().expect("a completion").cqe();
            assert_eq!((cqe.cid.get(), cqe.status()), (cid, Status::SUCCESS));
        }
    }
    drop(sessions);
    scene.end();
}

#[test]
fn reports_that_nobody_reads_take_no_more_than_a_connection_may_hold() {
    let mut scene = Scene::with_limits(limits());
    let bytes = 128 * KIB;
    let report = command::reservation::report(1, u32::try_from(bytes).expect("128 KiB"));
    let mut script = scene.script();
    script.sqsize_z = 127;
    let session = script.start();
    let mut queues: Vec<_> = (1..=8).map(|qid| session.io(qid)).collect();
    scene.check();
    let before = scene.resident_bytes();
    for io in &mut queues {
        for cid in 0..ASKED {
            io.command(&by_transport(report, cid, bytes), &[]);
        }
    }
    let grown = grown(&mut scene, before);
    assert!(grown < 8 * HELD_BYTES + SLACK_BYTES, "{grown} bytes are held");
    for io in &mut queues {
        for _ in 0..ASKED {
            let data = io.receive().expect("a report");
            assert_eq!((data.common.pdu_type, data.payload().len()), (PduType::C2H_DATA, bytes));
            // No registrants, and what lies behind the report is zeros, whatever was in the buffer before.
            assert!(data.payload().iter().all(|&byte| byte == 0));
        }
    }
    drop((queues, session));
    scene.end();
}
