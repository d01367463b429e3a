//! Identifiers that are used again while they are in use, and commands of queues that are gone (NVMe base 2.1, sections 3.3.1,
//! 3.6 and 3.7).

use std::time::Instant;

use corelane::initiator::command;
use corelane::spec::identify::Cns;
use corelane::spec::register::{Cc, Property, Shutdown};
use corelane::spec::status::Status;

use crate::pattern;
use crate::peer::{ANSWER_MAX, Peer, by_transport};
use crate::scene::Scene;
use crate::session::{Session, numbered};

const SEQUENCE: Status = Status::COMMAND_SEQUENCE_ERROR.with_dnr();

#[test]
fn writes_with_one_cid_are_told_apart_by_their_tags() {
    const WRITES: u16 = 8;
    const CID: u16 = 5;
    let mut scene = Scene::start();
    let session = scene.script().start();
    let mut io = session.io(1);
    for lba in 0..WRITES {
        io.command(&by_transport(command::write(1, lba.into(), 1, false), CID, 512), &[]);
    }
    let requests: Vec<_> = (0..WRITES).map(|_| io.ready_to_transfer()).collect();
    assert!(requests.iter().all(|request| request.cccid.get() == CID));
    // The last is answered first; tags are given in the order of the commands.
    for (lba, request) in requests.iter().enumerate().rev() {
        io.transfer(request, &pattern::blocks(7, lba as u64, 512));
    }
    for _ in 0..WRITES {
        let cqe = io.completion();
        assert_eq!((cqe.status(), cqe.cid.get()), (Status::SUCCESS, CID));
    }
    for lba in 0..u64::from(WRITES) {
        io.command(&by_transport(command::read(1, lba, 1), CID, 512), &[]);
        let read = io.receive().expect("the data");
        assert!(read.payload() == pattern::blocks(7, lba, 512), "block {lba}");
    }
    scene.check();
    drop((io, session));
    scene.end();
}

#[test]
fn one_host_may_come_twice_and_neither_disturbs_the_other() {
    let mut scene = Scene::start();
    let mut first = scene.script().start();
    let mut io = first.io(1);
    for _ in 0..20 {
        let second = scene.script().start();
        let mut other = second.io(1);
        assert_ne!(first.script.data.cntlid, second.script.data.cntlid, "controllers are told apart");
        assert!(other.execute(&numbered(command::flush(1), 1), &[]).status().is_success());
        drop((other, second));
        assert!(io.execute(&numbered(command::flush(1), 1), &[]).status().is_success());
        let alive = first.admin.execute(&numbered(command::keep_alive(), 1), &[]);
        assert!(alive.status().is_success());
    }
    scene.check();
    drop((io, first));
    scene.end();
}

/// An association with an I/O queue, which has a command that waits for data.
fn waiting(scene: &Scene) -> (Session, Peer) {
    let session = scene.script().start();
    let mut io = session.io(1);
    io.command(&by_transport(command::write(1, 0, 1, false), 3, 512), &[]);
    io.ready_to_transfer();
    (session, io)
}

/// Sets CC of the controller, and says so on its admin queue.
fn set(session: &mut Session, cc: Cc) {
    let cqe = session.admin.execute(&numbered(command::property_set(Property::CC, cc.into_bits()), 1), &[]);
    assert!(cqe.status().is_success(), "{:?}", cqe.status());
}

fn enabled() -> Cc {
    Cc::new().with_en(true).with_css(Cc::CSS_NVM).with_iosqes(6).with_iocqes(4)
}

/// The queue takes nothing more, and is closed; what it is sent after that reaches nobody.
fn is_deleted(io: &mut Peer) {
    let flush = crate::peer::capsule(&numbered(command::flush(1), 9), &[]);
    io.send_some(&flush);
    io.closed();
    io.send_some(&flush);
}

/// The controller may be enabled again, and the queue be connected again; nothing of what was before comes.
fn begins_anew(session: &mut Session) {
    let deadline = Instant::now() + ANSWER_MAX;
    let mut io = loop {
        // CSTS.RDY stays 1 until the queues are closed, and then CC.EN can be set.
        let sqe = numbered(command::property_set(Property::CC, enabled().into_bits()), 1);
        if session.admin.execute(&sqe, &[]).status().is_success() {
            let (peer, cqe) = session.script.attempt(session.script.connect(1), &session.script.data);
            if cqe.status().is_success() {
                break peer;
            }
        }
        assert!(Instant::now() < deadline, "the controller can be enabled again");
    };
    let cqe = io.execute(&numbered(command::flush(1), 4), &[]);
    assert_eq!((cqe.status(), cqe.cid.get()), (Status::SUCCESS, 4));
}

#[test]
fn commands_after_a_reset_reach_nobody() {
    let mut scene = Scene::start();
    let (mut session, mut io) = waiting(&scene);
    set(&mut session, enabled().with_en(false));
    is_deleted(&mut io);
    let identify = by_transport(command::identify(Cns::CONTROLLER, 0), 2, 4096);
    assert_eq!(session.admin.execute(&identify, &[]).status(), SEQUENCE, "a controller that is disabled");
    let (mut refused, cqe) = session.script.attempt(session.script.connect(1), &session.script.data);
    let invalid = Status::CONNECT_INVALID_PARAMETERS.with_dnr();
    assert_eq!(cqe.status(), invalid, "an I/O queue of a controller that is disabled");
    refused.closed();
    begins_anew(&mut session);
    scene.check();
    drop((io, session));
    scene.end();
}

#[test]
fn commands_after_a_shutdown_reach_nobody() {
    let mut scene = Scene::start();
    let (mut session, mut io) = waiting(&scene);
    set(&mut session, enabled().with_shn(Shutdown::NORMAL));
    is_deleted(&mut io);
    let (mut refused, cqe) = session.script.attempt(session.script.connect(1), &session.script.data);
    assert_eq!(cqe.status(), SEQUENCE, "an I/O queue of a controller that is shut down");
    refused.closed();
    set(&mut session, enabled().with_en(false));
    begins_anew(&mut session);
    scene.check();
    drop((io, session));
    scene.end();
}

#[test]
fn commands_after_the_end_of_the_association_reach_nobody() {
    let mut scene = Scene::start();
    let (session, mut io) = waiting(&scene);
    let Session { admin, script } = session;
    drop(admin);
    is_deleted(&mut io);
    // Its controller is gone with the last queue: nobody joins it.
    let deadline = Instant::now() + ANSWER_MAX;
    loop {
        let (mut refused, cqe) = script.attempt(script.connect(2), &script.data);
        refused.closed();
        if cqe.status() == Status::CONNECT_INVALID_PARAMETERS.with_dnr() {
            break;
        }
        assert_eq!(cqe.status(), SEQUENCE, "no queue joins an association that ends");
        assert!(Instant::now() < deadline, "the controller is gone");
    }
    scene.check();
    scene.end();
}
