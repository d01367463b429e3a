//! The rules of reservations, one test for each. Commands go through the decoder, as hosts send them.

use zerocopy::IntoBytes;

use crate::reservation::{Effects, Kind, Notice, NoticeKind, Options, Request, State, transition};
use crate::spec::host::{Host, HostId};
use crate::spec::nqn::Nqn;
use crate::spec::opcode::NvmOpcode;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

mod access;
mod acquire;
mod fuzzing;
mod import;
mod many;
mod model;
mod notices;
mod oracle;
mod peers;
mod persistence;
mod preempt;
mod record;
mod register;
mod release;
mod report;
mod request;

/// Hosts by number; keys that are the hosts' own by custom of these tests.
pub(super) const A: u8 = 0xa;
pub(super) const B: u8 = 0xb;
pub(super) const C: u8 = 0xc;
pub(super) const D: u8 = 0xd;
pub(super) const KEY_A: u64 = 0xaaaa_0000_0000_0001;
pub(super) const KEY_B: u64 = 0xbbbb_0000_0000_0001;
pub(super) const KEY_C: u64 = 0xcccc_0000_0000_0001;

pub(super) const CONFLICT: Status = Status::RESERVATION_CONFLICT.with_dnr();
pub(super) const INVALID_FIELD: Status = Status::INVALID_FIELD.with_dnr();

/// A command and its data.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) sqe: Sqe,
    pub(super) data: Vec<u8>,
}

impl Command {
    /// With IEKEY.
    pub(super) fn ignoring_key(mut self) -> Self {
        self.sqe.cdw10 |= 1 << 3;
        self
    }

    /// A Register with CPTPL.
    pub(super) fn cptpl(mut self, cptpl: u32) -> Self {
        self.sqe.cdw10 |= cptpl << 30;
        self
    }
}

fn command(opcode: NvmOpcode, cdw10: u32, keys: &[u64]) -> Command {
    let mut sqe = Sqe::of(opcode.0, 1, 1);
    sqe.cdw10.set(cdw10);
    Command { sqe, data: keys.as_bytes().to_vec() }
}

pub(super) fn register_command(rrega: u32, crkey: u64, nrkey: u64) -> Command {
    command(NvmOpcode::RESERVATION_REGISTER, rrega, &[crkey, nrkey])
}

pub(super) fn acquire_command(racqa: u32, rtype: u32, crkey: u64, prkey: u64) -> Command {
    command(NvmOpcode::RESERVATION_ACQUIRE, racqa | rtype << 8, &[crkey, prkey])
}

pub(super) fn release_command(rrela: u32, rtype: u32, crkey: u64) -> Command {
    command(NvmOpcode::RESERVATION_RELEASE, rrela | rtype << 8, &[crkey])
}

/// Register, RREGA 0.
pub(super) fn register(new: u64) -> Command {
    register_command(0, 0, new)
}

/// Register, RREGA 1.
pub(super) fn unregister(current: u64) -> Command {
    register_command(1, current, 0)
}

/// Register, RREGA 2.
pub(super) fn replace(current: u64, new: u64) -> Command {
    register_command(2, current, new)
}

/// Acquire, RACQA 0.
pub(super) fn acquire(rtype: u32, current: u64) -> Command {
    acquire_command(0, rtype, current, 0)
}

/// Acquire, RACQA 1.
pub(super) fn preempt(rtype: u32, current: u64, victim: u64) -> Command {
    acquire_command(1, rtype, current, victim)
}

/// Release, RRELA 0.
pub(super) fn release(rtype: u32, current: u64) -> Command {
    release_command(0, rtype, current)
}

/// Release, RRELA 1.
pub(super) fn clear(current: u64) -> Command {
    release_command(1, 0, current)
}

pub(super) fn id(host: u8) -> HostId {
    HostId([host; 16])
}

pub(super) fn host(number: u8) -> Host {
    let nqn = Nqn::parse(&format!("nqn.2014-08.org.example:host-{number:x}")).unwrap();
    Host { nqn, id: id(number) }
}

/// Carries out a command on a state.
pub(super) fn run(state: &mut State, issuer: &Host, command: &Command) -> Result<Effects, Status> {
    let request = Request::decode(&command.sqe, &command.data)?;
    let outcome = transition(state, issuer, &request, Options { ptpl: true })?;
    *state = outcome.next;
    Ok(outcome.effects)
}

/// A namespace and its hosts.
#[derive(Clone, Debug)]
pub(super) struct Rig {
    pub(super) state: State,
}

impl Rig {
    /// Nobody registered.
    pub(super) fn new() -> Self {
        Self { state: State::new() }
    }

    /// A, B and C registered with their keys.
    pub(super) fn registered() -> Self {
        let mut rig = Self::new();
        for (host, key) in [(A, KEY_A), (B, KEY_B), (C, KEY_C)] {
            rig.ok(host, &register(key));
        }
        rig
    }

    /// A, B and C registered, and A acquired a reservation of this type.
    pub(super) fn held(rtype: u32) -> Self {
        let mut rig = Self::registered();
        rig.ok(A, &acquire(rtype, KEY_A));
        rig
    }

    /// A command that succeeds, and its effects.
    pub(super) fn ok(&mut self, issuer: u8, command: &Command) -> Effects {
        match run(&mut self.state, &host(issuer), command) {
            Ok(effects) => effects,
            Err(status) => panic!("{issuer:x}: {command:?}: {status:?}"),
        }
    }

    /// A command that is refused, and changes nothing.
    pub(super) fn refused(&mut self, issuer: u8, command: &Command) -> Status {
        let before = self.state.clone();
        let status = run(&mut self.state, &host(issuer), command).expect_err("a refusal");
        assert_eq!(self.state, before);
        assert!(status.dnr(), "{status:?}");
        status
    }

    /// A command that succeeds and changes nothing, not even the generation.
    pub(super) fn nothing(&mut self, issuer: u8, command: &Command) {
        let before = self.state.clone();
        let effects = self.ok(issuer, command);
        assert_eq!((&self.state, effects), (&before, Effects::default()));
    }

    /// Numbers of the registered hosts.
    pub(super) fn registrants(&self) -> Vec<u8> {
        self.state.registrants().map(|(host, _)| host.0[0]).collect()
    }

    pub(super) fn key(&self, host: u8) -> Option<u64> {
        self.state.registrant(id(host)).map(|registrant| registrant.key.0)
    }

    /// RTYPE and the number of the only holder.
    pub(super) fn reservation(&self) -> (u32, Option<u8>) {
        let holder = self.state.reservation().and_then(|held| held.holder());
        (self.state.kind().map_or(0, |kind| kind.to_wire().0.into()), holder.map(|host| host.0[0]))
    }

    pub(super) fn holders(&self) -> Vec<u8> {
        self.registrants().into_iter().filter(|&host| self.state.is_holder(id(host))).collect()
    }
}

/// Notices of one kind, to these hosts.
pub(super) fn told(kind: NoticeKind, hosts: &[u8]) -> Vec<Notice> {
    hosts.iter().map(|&host| Notice { host: id(host), kind }).collect()
}

pub(super) fn ids(hosts: &[u8]) -> Vec<HostId> {
    hosts.iter().map(|&host| id(host)).collect()
}

/// The types that one host holds, and those that all registrants hold.
pub(super) const ONE_HOLDER: [u32; 4] = [1, 2, 3, 4];
pub(super) const ALL_REGISTRANTS: [u32; 2] = [5, 6];
pub(super) const ALL_TYPES: [u32; 6] = [1, 2, 3, 4, 5, 6];

#[test]
fn types_have_their_numbers() {
    let numbers: Vec<u8> = Kind::ALL.iter().map(|kind| kind.to_wire().0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    for kind in Kind::ALL {
        assert_eq!(Kind::from_wire(kind.to_wire()), Some(kind));
        assert_eq!(kind.is_all_registrants(), ALL_REGISTRANTS.contains(&kind.to_wire().0.into()));
    }
}
