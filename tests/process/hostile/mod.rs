//! Hostile peers. Each script breaks one rule on one connection; the target answers as the specification says, and a
//! bystander is served all the same.

use std::mem;

use crate::peer::Peer;
use crate::scene::Scene;
use crate::session::Session;

mod commands;
mod connects;
mod digests;
mod endings;
mod floods;
mod framing;
mod garbage;
mod identifiers;
mod memory;
mod names;
mod pace;
mod page;
mod reservations;
mod setting_up;
mod share;
mod slow;
mod transfers;
mod truncation;

/// Invalid PDU Header Field, at this offset.
const fn field(offset: u32) -> Ends {
    Ends::Terminated(1, offset)
}
/// PDU Sequence Error.
const SEQUENCE: Ends = Ends::Terminated(2, 0);
/// Data Transfer Out of Range.
const OUT_OF_RANGE: Ends = Ends::Terminated(4, 0);
/// Data Transfer Limit Exceeded.
const LIMIT: Ends = Ends::Terminated(5, 0);

/// How far a connection has come before it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Connected at the level of TCP.
    Fresh,
    /// ICReq and ICResp are exchanged.
    Opened,
    /// An admin queue, the controller enabled.
    Admin,
    /// An I/O queue.
    Io,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// A C2HTermReq with this FES and FEI, then the end.
    Terminated(u16, u32),
    /// The end, without a C2HTermReq.
    Closed,
}

/// One hostile script.
struct Case {
    name: &'static str,
    at: Stage,
    bytes: Vec<u8>,
    ends: Ends,
}

impl Stage {
    /// A connection that has come so far; the session keeps the rest of its association.
    fn reach(self, scene: &Scene) -> (Peer, Option<Session>) {
        let script = scene.script();
        match self {
            Self::Fresh => (Peer::new(scene.address), None),
            Self::Opened => (script.opened(), None),
            Self::Admin => {
                let mut session = script.start();
                // What is left in the session is of no use, and nobody uses it.
                let idle = Peer::new(scene.address);
                (mem::replace(&mut session.admin, idle), None)
            }
            Self::Io => {
                let session = script.start();
                (session.io(1), Some(session))
            }
        }
    }
}

impl Ends {
    /// Waits for what becomes of the connection.
    fn check(self, peer: &mut Peer, name: &str) {
        match self {
            Self::Terminated(status, information) => {
                assert_eq!(peer.terminated(), (status, information), "FES and FEI: {name}");
            }
            Self::Closed => peer.closed(),
        }
    }
}

/// Plays every script, each on a connection of its own, and looks after the bystander.
fn play(scene: &mut Scene, cases: &[Case]) {
    for case in cases {
        let (mut peer, _session) = case.at.reach(scene);
        println!("{}, {:?}", case.name, case.at);
        peer.send_some(&case.bytes);
        case.ends.check(&mut peer, case.name);
        scene.check();
    }
}
