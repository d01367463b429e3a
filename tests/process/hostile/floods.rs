//! Peers that do what they may, but without end: the target answers each as it answers one, takes no more than its limits
//! say, and serves the bystander meanwhile.

use std::time::{Duration, Instant};

use corelane::initiator::command;
use corelane::spec::abort::{Abort, AbortResult};
use corelane::spec::identify::Cns;
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane::spec::tcp::PduType;
use serde_json::json;

use crate::peer::{self, ANSWER_MAX, Leaves, Peer, by_transport, plain_icreq as icreq};
use crate::scene::{NQN, Scene, connect};
use crate::session::numbered;

/// Commands of a flood on one queue; the last is answered only if none is lost.
const COMMANDS: u16 = 2000;
/// Commands that a peer sends at once and then reads the answers of: fewer than fill both sockets.
const BURST: u16 = 100;
/// Connections of a flood.
const CONNECTIONS: u16 = 1500;

/// Abort of command `victim` of queue `sqid`.
fn abort(sqid: u16, victim: u16, cid: u16) -> Sqe {
    let mut sqe = numbered(Sqe::of(AdminOpcode::ABORT.0, 0, 0), cid);
    sqe.cdw10.set(Abort::new().with_sqid(sqid).with_cid(victim).into_bits());
    sqe
}

/// Sends `COMMANDS` commands in bursts and reads all answers; how many were of each kind, `None` for what is not to be.
fn flood(peer: &mut Peer, sqe: impl Fn(u16) -> Sqe, kind: impl Fn(Status) -> Option<usize>) -> [usize; 2] {
    let mut counts = [0; 2];
    for first in (0..COMMANDS).step_by(usize::from(BURST)) {
        let burst = (first..first + BURST).flat_map(|cid| peer::command(&sqe(cid), &[], &peer.agreement));
        let burst: Vec<u8> = burst.collect();
        peer.send(&burst);
        for _ in 0..BURST {
            let status = peer.completion().status();
            counts[kind(status).unwrap_or_else(|| panic!("{status:?}"))] += 1;
        }
    }
    counts
}

fn only(expected: Status) -> impl Fn(Status) -> Option<usize> {
    move |status| (status == expected).then_some(0)
}

#[test]
fn connections_that_come_and_go_leave_room_for_others() {
    let mut scene = Scene::start();
    for number in 0..CONNECTIONS {
        let mut peer = Peer::new(scene.address);
        if number % 2 == 0 {
            peer.send_some(&icreq());
        }
        peer.leave(Leaves::ALL[usize::from(number % 3)]);
        if number % 100 == 0 {
            scene.check();
        }
    }
    connect(scene.address, NQN).disconnect().expect("a host comes and goes like any other");
    scene.end();
}

#[test]
fn associations_that_come_and_go_leave_room_for_others() {
    let mut scene = Scene::start();
    for number in 0..CONNECTIONS / 5 {
        let mut script = scene.script();
        // A host of its own each time, or always the same.
        if number % 3 > 0 {
            script.data.hostid[..2].copy_from_slice(&number.to_le_bytes());
        }
        let session = script.start();
        let io = session.io(1);
        io.leave(Leaves::ALL[usize::from(number % 3)]);
        if number % 20 == 0 {
            scene.check();
        }
    }
    scene.end();
}

#[test]
fn connects_that_are_refused_leave_room_for_others() {
    let mut scene = Scene::start();
    let mut script = scene.script();
    script.data.subnqn[28] = b'9';
    for number in 0..CONNECTIONS {
        let (mut peer, cqe) = script.attempt(script.connect(0), &script.data);
        assert_eq!(cqe.status(), Status::CONNECT_INVALID_PARAMETERS.with_dnr());
        peer.closed();
        if number % 100 == 0 {
            scene.check();
        }
    }
    // Whoever floods the target does not fill a disk with its log.
    let lines = scene.server.log().lines().filter(|line| line.contains("refused a Connect")).count();
    assert!((100..1100).contains(&lines), "{lines} lines for {CONNECTIONS} refusals");
    scene.end();
}

#[test]
fn who_takes_every_connection_keeps_others_out_for_the_time_limit_and_no_longer() {
    const CONNECTIONS_MAX: usize = 64;
    let limit = Duration::from_secs(1);
    let limits = json!({"connections_max": CONNECTIONS_MAX, "icreq_timeout_ms": 1000});
    let mut scene = Scene::with_limits(limits);
    let start = Instant::now();
    let mut silent: Vec<_> = (0..CONNECTIONS_MAX - 2).map(|_| Peer::new(scene.address)).collect();
    // Hosts that are in are served as ever.
    scene.check();
    let mut refused = 0;
    loop {
        let mut peer = Peer::new(scene.address);
        peer.send_some(&icreq());
        if peer.receive().is_some() {
            break;
        }
        refused += 1;
        assert!(start.elapsed() < limit + ANSWER_MAX, "{refused} times there was no room");
    }
    assert!(refused > 0 && start.elapsed() >= limit, "{refused} times refused in {:?}", start.elapsed());
    for peer in &mut silent {
        assert!(peer.receive().is_none(), "who said nothing is closed");
    }
    connect(scene.address, NQN).disconnect().expect("a host comes and goes like any other");
    scene.end();
}

#[test]
fn a_flood_of_commands_to_an_admin_queue_is_answered_in_full() {
    let mut scene = Scene::start();
    let mut session = scene.script().start();
    let io = session.io(1);
    let admin = &mut session.admin;
    let limit = Status::ABORT_LIMIT_EXCEEDED;
    let one_of = |status: Status| match status {
        Status::SUCCESS => Some(0),
        status if status == limit => Some(1),
        _ => None,
    };
    // Four at a time wait for the I/O queue's word; the target tells the others to wait.
    let [answered, refused] = flood(admin, |cid| abort(1, cid, cid), one_of);
    assert!(answered >= 4, "{answered} aborts were answered, {refused} were too many");
    scene.check();
    flood(admin, |cid| abort(0, cid, cid), only(Status::SUCCESS));
    flood(admin, |cid| abort(999, cid, 1), only(Status::SUCCESS));
    scene.check();
    flood(admin, |cid| numbered(command::keep_alive(), cid), only(Status::SUCCESS));
    flood(admin, |cid| by_transport(command::identify(Cns::CONTROLLER, 0), cid, 4096), only(Status::SUCCESS));
    scene.check();
    for cid in 0..4 {
        admin.command(&numbered(command::async_event_request(), cid), &[]);
    }
    let limit = Status::ASYNC_EVENT_LIMIT_EXCEEDED;
    flood(admin, |cid| numbered(command::async_event_request(), cid), only(limit));
    // Each of the four is there, and is ended once.
    for cid in 0..4 {
        admin.command(&abort(0, cid, 100), &[]);
        let (first, second) = (admin.completion(), admin.completion());
        let (aborted, ended) = if first.cid.get() == 100 { (first, second) } else { (second, first) };
        assert_eq!((aborted.status(), aborted.dw0.get()), (Status::SUCCESS, 0));
        assert_eq!((ended.status(), ended.cid.get()), (Status::ABORT_REQUESTED, cid));
    }
    drop((io, session));
    scene.end();
}

#[test]
fn aborted_writes_give_back_what_they_held() {
    const WRITES: u16 = 16;
    let mut scene = Scene::start();
    let mut session = scene.script().start();
    let mut io = session.io(1);
    for round in 0..5 {
        for cid in 0..WRITES {
            io.command(&by_transport(command::write(1, 0, 256, false), cid, 128 << 10), &[]);
        }
        let request = io.ready_to_transfer();
        let mut aborted = 0;
        for cid in 0..WRITES {
            let cqe = session.admin.execute(&abort(1, cid, 200 + cid), &[]);
            assert_eq!((cqe.status(), cqe.cid.get()), (Status::SUCCESS, 200 + cid));
            aborted += u16::from(!AbortResult::from_bits(cqe.dw0.get()).not_aborted());
        }
        assert!(aborted > 0, "round {round}: some waited for a buffer");
        // The rest of them are aborted when their data has come.
        let mut requests = vec![request];
        let mut ended = 0;
        while ended < WRITES {
            if let Some(request) = requests.pop() {
                let data = vec![0xee; request.r2tl.get() as usize];
                io.transfer(&request, &data);
            }
            let pdu = io.receive().expect("an R2T or a completion");
            if pdu.common.pdu_type == PduType::R2T {
                requests.push(zerocopy::FromBytes::read_from_prefix(&pdu.bytes).expect("an R2T").0);
                continue;
            }
            assert_eq!(pdu.cqe().status(), Status::ABORT_REQUESTED, "round {round}");
            ended += 1;
        }
    }
    scene.check();
    drop((io, session));
    scene.end();
}
