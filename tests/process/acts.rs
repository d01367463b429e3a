//! What hostile peers do, one act at a time, so that any mix of them can be played at any pace: for the tests of what others
//! feel of it and of what it leaves behind, and for the bench `hostile`.
//!
//! Peers that stay are kept in a company of limited size; the oldest leaves when there are too many.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use corelane::initiator::command;
use corelane::spec::identify::Cns;
use corelane::spec::status::Status;
use zerocopy::IntoBytes;

use crate::peer::{
    self, ANSWER_MAX, Leaves, Peer, Wrong, by_transport, chunk, in_capsule, plain_icreq as icreq,
};
use crate::session::{Script, Session, numbered};

/// Peers that stay at a time.
const COMPANY_MAX: usize = 8;
/// From one look whether a queue can be had to the next.
const LOOK: Duration = Duration::from_millis(2);

/// Peers that stay, each with what keeps its association.
#[derive(Default)]
pub(crate) struct Company(VecDeque<(Peer, Option<Session>)>);

/// A name, whether it has a queue on an I/O reactor, and what is done.
pub(crate) struct Act {
    pub(crate) name: &'static str,
    pub(crate) has_io_queue: bool,
    pub(crate) play: fn(&Script, &mut Company),
}

const fn stranger(name: &'static str, play: fn(&Script, &mut Company)) -> Act {
    Act { name, has_io_queue: false, play }
}

const fn member(name: &'static str, play: fn(&Script, &mut Company)) -> Act {
    Act { name, has_io_queue: true, play }
}

/// All of them.
pub(crate) const ACTS: [Act; 14] = [
    stranger("connects, and is gone", |script, _| drop(Peer::new(script.address))),
    stranger("connects, and resets", |script, _| {
        Peer::new(script.address).leave(Leaves::Resets);
    }),
    stranger("connects, and says nothing", |script, company| company.keep(Peer::new(script.address), None)),
    stranger("sends half an ICReq", |script, company| {
        let mut peer = Peer::new(script.address);
        peer.send_some(&icreq()[..64]);
        company.keep(peer, None);
    }),
    stranger("sends nothing that is a PDU", |script, _| {
        let mut peer = Peer::new(script.address);
        peer.send_some(&[0xff; 512]);
        while peer.receive().is_some() {}
    }),
    stranger("sends a wrong PDU", |script, _| {
        let mut peer = script.opened();
        peer.send_some(&peer::capsule(&command::flush(1), &[]).hlen(73));
        while peer.receive().is_some() {}
    }),
    stranger("is refused", |script, _| {
        let mut data = script.data;
        data.subnqn[28] = b'9';
        let (mut peer, _) = script.attempt(script.connect(0), &data);
        peer.closed();
    }),
    stranger("comes for an association, and goes", |script, _| drop(script.start())),
    stranger("sends more to an admin queue than it may", |script, _| {
        let mut session = script.start();
        for cid in 0..16 {
            session.admin.command(&numbered(command::async_event_request(), cid), &[]);
            session.admin.command(&numbered(command::keep_alive(), cid), &[]);
        }
        for _ in 0..16 + 12 {
            session.admin.completion();
        }
    }),
    stranger("does not read what it asks an admin queue for", |script, company| {
        let Session { mut admin, .. } = Script { narrow: true, ..script.clone() }.start();
        let identify = by_transport(command::identify(Cns::CONTROLLER, 0), 1, 4096);
        admin.send_without_waiting(&peer::capsule(&identify, &[]).repeat(64));
        company.keep(admin, None);
    }),
    member("comes for an I/O queue, and resets", |script, _| {
        let (io, _session) = queue(script);
        io.leave(Leaves::Resets);
    }),
    member("does not read what it asks an I/O queue for", |script, company| {
        let (mut io, session) = queue(&Script { narrow: true, ..script.clone() });
        let read = by_transport(command::read(1, 0, 256), 1, 128 << 10);
        io.send_without_waiting(&peer::capsule(&read, &[]).repeat(64));
        company.keep(io, Some(session));
    }),
    member("sends half of what it was asked for", |script, company| {
        let (mut io, session) = queue(script);
        io.command(&by_transport(command::write(1, 0, 256, false), 1, 128 << 10), &[]);
        let request = io.ready_to_transfer();
        let data = io.data(&chunk(&request, 0, 128 << 10, true), &[0xee; 128 << 10]);
        io.send(&data[..64 << 10]);
        company.keep(io, Some(session));
    }),
    member("sends a wrong PDU to an I/O queue", |script, _| {
        let (mut io, _session) = queue(script);
        let write = in_capsule(command::write(1, 0, 1, false), 1, 512);
        io.send_some(&peer::capsule(&write, &[0xee; 512]).pdo(71));
        while io.receive().is_some() {}
    }),
];

impl Company {
    fn keep(&mut self, peer: Peer, session: Option<Session>) {
        if self.0.len() == COMPANY_MAX {
            self.0.pop_front();
        }
        self.0.push_back((peer, session));
    }
}

/// An I/O queue of an association of its own: where there is no room, as soon as there is.
fn queue(script: &Script) -> (Peer, Session) {
    let deadline = Instant::now() + ANSWER_MAX;
    let session = script.start();
    loop {
        let connect = session.script.connect(1);
        let mut peer = session.script.opened();
        let cqe = peer.execute(&connect.into(), session.script.data.as_bytes());
        if cqe.status().is_success() {
            return (peer, session);
        }
        let again = [Status::CONNECT_CONTROLLER_BUSY, Status::COMMAND_SEQUENCE_ERROR.with_dnr()];
        assert!(again.contains(&cqe.status()), "connecting an I/O queue: {:?}", cqe.status());
        assert!(Instant::now() < deadline, "there is room for an I/O queue again");
        thread::sleep(LOOK);
    }
}
