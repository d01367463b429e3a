//! The order in which a reservation command takes effect, whatever the disk does meanwhile.

use uuid::Uuid;

use crate::reservation::{Acquire, Identity, Key, Kind, Options, Register, Release, Request};
use crate::spec::host::{Host, HostId};
use crate::spec::nqn::Nqn;

mod directed;
mod model;
mod ordering;
mod recovery;
mod rules;

const PERSISTENT: Options = Options { ptpl: true };

fn id(number: u8) -> HostId {
    HostId([number; 16])
}

fn host(number: u8) -> Host {
    let nqn = Nqn::parse(&format!("nqn.2014-08.org.example:host-{number}")).unwrap();
    Host { nqn, id: id(number) }
}

/// The key that a host registers by custom of these tests.
fn key(number: u8) -> Key {
    Key(u64::MAX - u64::from(number))
}

fn register(number: u8, ptpl: Option<bool>) -> Request {
    Request::Register { action: Register::Register { new: key(number) }, ptpl }
}

fn acquire(number: u8, kind: Kind) -> Request {
    Request::Acquire { current: key(number), action: Acquire::Acquire { kind } }
}

fn preempt(number: u8, victim: u8, kind: Kind, abort: bool) -> Request {
    let action = Acquire::Preempt { rtype: kind.to_wire(), victim: key(victim), abort };
    Request::Acquire { current: key(number), action }
}

fn clear(number: u8) -> Request {
    Request::Release { current: key(number), action: Release::Clear }
}

fn identity(nsid: u32) -> Identity {
    let subsystem = Nqn::parse("nqn.2014-08.org.example:disk").unwrap();
    Identity { subsystem, nsid, uuid: Uuid::from_u128(0x5eed_0000 + u128::from(nsid)) }
}
