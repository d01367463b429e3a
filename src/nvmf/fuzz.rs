//! Feeds arbitrary commands to a target. Whatever peers send, it must not panic, and what it promises must
//! hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use uuid::Uuid;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::bdev::{Bdev, Channel, Geometry, Home, Null, OpenError};
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::{AERL_Z, ControllerId};
use crate::nvmf::fence::NamespaceKey;
use crate::nvmf::fence::keeper::Protection;
use crate::nvmf::host::{HostId, Hosts};
use crate::nvmf::namespace::Namespace;
use crate::nvmf::options::Options;
use crate::nvmf::policy::{Ana, Policy};
use crate::nvmf::subsystem::{Counting, IoCounts, Subsystem};
use crate::nvmf::target::{Action, Arrival, Connected, Target};
use crate::reservation::{Notice, NoticeKind};
use crate::spec::NSID_ALL;
use crate::spec::ana::AnaState;
use crate::spec::fabrics::{CNTLID_DYNAMIC, Connect, ConnectData, FabricsHeader, PropertySize};
use crate::spec::feature::FeatureId;
use crate::spec::nqn::Nqn;
use crate::spec::opcode::{AdminOpcode, FabricsType};
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

const NQN: &str = "nqn.2026-11.io.corelane:fuzz";

/// Some policy with ANA.
fn policy(choice: u8) -> Policy {
    let states = [AnaState::OPTIMIZED, AnaState::INACCESSIBLE, AnaState::CHANGE, AnaState::PERSISTENT_LOSS];
    let state = states[usize::from(choice >> 3 & 3)];
    let masks =
        if choice & 0x20 == 0 { BTreeMap::new() } else { [(1, Hosts::Listed(BTreeSet::new()))].into() };
    let ana = Some(Ana { groups: BTreeMap::new(), states: [((0, 1), state)].into() });
    Policy { masks, ana, ..Policy::of(Hosts::Any) }
}

/// Commands of one run.
const STEPS_MAX: usize = 256;

#[derive(Debug)]
struct Nothing;

impl Counting for Nothing {
    fn counts(&self) -> IoCounts {
        IoCounts::default()
    }
}

/// A device that says that it has a volatile cache, so that shutdowns wait for it.
struct Cached(Null, Geometry);

impl Bdev for Cached {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn geometry(&self) -> &Geometry {
        &self.1
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        self.0.open(home)
    }
}

/// What the transport would know.
struct Peer {
    target: Target,
    arrival: Arrival,
    now: Time,
    controllers: Vec<ControllerId>,
    deferred: BTreeMap<ControllerId, BTreeSet<u16>>,
    queues: BTreeSet<(ControllerId, u16)>,
    to_close: Vec<(ControllerId, Option<u16>)>,
    asked: BTreeSet<(ControllerId, Option<u16>)>,
    /// Set Features of Reservation Persistence and, otherwise, of write protection that wait for an answer.
    saves: VecDeque<(ControllerId, u16, bool, bool)>,
    /// Abort commands that wait for an answer.
    aborts: VecDeque<(ControllerId, u16)>,
    /// What I/O queues were given and have not taken.
    given: VecDeque<(ControllerId, u64)>,
    /// Shutdowns that wait for caches.
    flushes: VecDeque<(ControllerId, u64)>,
}

/// Reads `bytes` as steps: a byte that says what to do, and a command of 64 bytes that some steps use. What
/// follows a command is also the data that comes with it.
///
/// # Panics
/// When the target breaks a promise.
pub fn fuzz(bytes: &[u8]) {
    let Some(mut peer) = Peer::new() else { return };
    let mut rest = bytes;
    for _ in 0..STEPS_MAX {
        let Some((step, after)) = rest.split_first() else { break };
        rest = after;
        let (sqe, after) =
            Sqe::read_from_prefix(rest).map_or((Sqe::new_zeroed(), &[][..]), |(sqe, after)| (sqe, after));
        match step % 8 {
            0 => peer.connect(&sqe, after.get(..size_of::<ConnectData>()).unwrap_or(after)),
            1 => peer.connect_well(step / 8, &sqe),
            2 => peer.set_cc(step / 8),
            3 => peer.close_one(step / 8),
            4 => {
                peer.save_one(step / 8);
                peer.pass(step / 8);
            }
            _ => peer.admin(step / 8, &sqe, after),
        }
        rest = after;
        peer.act();
    }
    peer.end();
}

impl Peer {
    fn new() -> Option<Self> {
        let mut target = Target::new(Options { controllers_max: 8, ..Options::default() });
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 4420));
        let null = Null::new("null", 1 << 30, 512).ok()?;
        let geometry = Geometry { volatile_write_cache: true, ..*null.geometry() };
        let bdev = Arc::new(Cached(null, geometry));
        let subsystem = Subsystem {
            nqn: Nqn::lenient(NQN).ok()?,
            serial: "CL0001".to_owned(),
            model: "Corelane".to_owned(),
            policy: policy(0),
            listeners: vec![local],
            namespaces: vec![Namespace { nsid: 1, uuid: Uuid::from_u128(1), bdev }],
            counting: Arc::new(Nothing),
        };
        target.add_subsystem(subsystem).ok()?;
        target.enable_reservations(&Nqn::lenient(NQN).ok()?);
        target.enable_write_protection(&Nqn::lenient(NQN).ok()?);
        Some(Self {
            target,
            arrival: Arrival { local, peer: local },
            now: Time::ORIGIN,
            controllers: Vec::new(),
            deferred: BTreeMap::new(),
            queues: BTreeSet::new(),
            to_close: Vec::new(),
            asked: BTreeSet::new(),
            saves: VecDeque::new(),
            aborts: VecDeque::new(),
            given: VecDeque::new(),
            flushes: VecDeque::new(),
        })
    }

    fn connect(&mut self, sqe: &Sqe, data: &[u8]) {
        match self.target.connect(self.now, sqe, data, &self.arrival) {
            Ok(Connected::Admin { controller, .. }) => self.controllers.push(controller),
            Ok(Connected::Io { ticket, .. }) => {
                assert!(self.queues.insert((ticket.controller, ticket.qid)));
            }
            Err(refusal) => {
                assert!(!refusal.status.is_success() && !refusal.status.is(Status::INVALID_FIELD))
            }
        }
    }

    /// A Connect that is right but for what `sqe` makes of it.
    fn connect_well(&mut self, choice: u8, sqe: &Sqe) {
        let mut data = ConnectData::new_zeroed();
        data.hostid[0] = 1;
        let subnqn = if choice & 1 == 0 { NQN } else { crate::spec::nqn::DISCOVERY_NQN };
        data.subnqn = crate::spec::text::nul_padded(subnqn);
        data.hostnqn = crate::spec::text::nul_padded("nqn.2026-11.io.corelane:host");
        let qid = if choice & 2 == 0 { 0 } else { sqe.cid.get() % 4 };
        let named = self.pick(choice / 8).and_then(|controller| self.target.association(controller));
        let cntlid = named.filter(|_| choice & 4 == 0).map_or(u16::from(choice / 8), |found| found.cntlid);
        data.cntlid.set(if qid == 0 { CNTLID_DYNAMIC } else { cntlid });
        let connect = Connect {
            header: FabricsHeader::of(FabricsType::CONNECT, 1, SglDescriptor::in_capsule(0, 1024)),
            recfmt: 0.into(),
            qid: qid.into(),
            sqsize_z: 31.into(),
            cattr: sqe.flags,
            reserved: 0,
            kato: sqe.cdw10,
            reserved_end: [0; 12],
        };
        self.connect(&connect.into(), data.as_bytes());
    }

    fn pick(&self, choice: u8) -> Option<ControllerId> {
        let index = usize::from(choice).checked_rem(self.controllers.len())?;
        self.controllers.get(index).copied()
    }

    /// Mostly enables; else announces a shutdown, or disables.
    fn set_cc(&mut self, choice: u8) {
        let cc: u32 = [0x0046_0001, 0x0046_0001, 0x0046_4001, 0][usize::from(choice / 8 % 4)];
        let mut sqe = Sqe::of(AdminOpcode::FABRICS.0, 2, 0);
        let bytes = sqe.as_mut_bytes();
        bytes[4] = FabricsType::PROPERTY_SET.0;
        bytes[40] = PropertySize::FOUR.0;
        bytes[44] = 0x14;
        bytes[48..52].copy_from_slice(&cc.to_le_bytes());
        self.admin(choice, &sqe, &[]);
    }

    fn admin(&mut self, choice: u8, sqe: &Sqe, data: &[u8]) {
        let Some(controller) = self.pick(choice) else { return };
        let mut sqe = *sqe;
        if choice & 1 == 0 {
            // Otherwise hardly any command would get past the first check.
            sqe.flags = 0x40;
        }
        if choice & 8 == 0 {
            sqe.dptr.identifier = SglDescriptor::transport(0).identifier;
        }
        if choice & 2 == 0 {
            let opcodes = [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x7f];
            sqe.opcode = opcodes[usize::from(sqe.opcode) % opcodes.len()];
            if choice & 4 == 0 && sqe.opcode == AdminOpcode::SET_FEATURES.0 {
                // Otherwise hardly any would name one of these features.
                let features = [FeatureId::RESERVATION_PERSISTENCE, FeatureId::WRITE_PROTECTION];
                sqe.cdw10.set(features[usize::from(sqe.cdw12.get() & 1 == 1)].0.into());
                sqe.nsid.set([1, NSID_ALL, 1, 2][usize::from(sqe.cid.get() % 4)]);
            }
        }
        let deferred = self.deferred.entry(controller).or_default();
        match self.target.admin(self.now, controller, &sqe, data) {
            Reply::Done { status, data, .. } => {
                assert!(
                    u64::try_from(data.len()).is_ok_and(|bytes| bytes <= u64::from(sqe.dptr.length.get()))
                );
                assert!(data.is_empty() || status.is_success() && sqe.dptr.is_transport());
            }
            Reply::Deferred if sqe.opcode == AdminOpcode::SET_FEATURES.0 => {}
            Reply::Deferred if sqe.opcode == AdminOpcode::ABORT.0 => {}
            Reply::Deferred => {
                deferred.insert(sqe.cid.get());
                assert!(deferred.len() <= usize::from(AERL_Z) + 1);
            }
        }
    }

    /// Ends the oldest save, and tells the host of [`Peer::connect_well`] of something.
    fn save_one(&mut self, choice: u8) {
        if let Some((controller, cid, persists, on)) = self.saves.pop_front() {
            if persists {
                self.target.set_persistence_known(0, 1, on);
            } else {
                let protection = Protection { hosts: on, operator: choice & 4 != 0 };
                self.target.set_protection_known(NamespaceKey { subsystem: 0, nsid: 1 }, Some(protection));
            }
            self.target.complete_deferred(controller, cid, Status::SUCCESS, 0);
        }
        if let Some((controller, cid)) = self.aborts.pop_front() {
            self.target.complete_deferred(controller, cid, Status::SUCCESS, 1);
        }
        if let Some((controller, number)) = self.given.pop_front() {
            self.target.access_taken(controller, number);
        }
        if let Some((controller, number)) = self.flushes.pop_front() {
            self.target.flushed(self.now, controller, number, 1, choice & 8 == 0);
        }
        if choice & 6 == 2 {
            self.target.set_policy(self.now, 0, policy(choice));
        }
        if choice & 1 == 0 {
            let mut host = HostId([0; 16]);
            host.0[0] = 1;
            self.target.notify(0, 1, &[Notice { host, kind: NoticeKind::ReservationReleased }]);
        }
    }

    fn pass(&mut self, choice: u8) {
        self.now = self.now + Duration::from_millis(u64::from(choice).pow(3));
        self.target.tick(self.now);
        assert!(self.target.next_deadline().is_none_or(|deadline| deadline > self.now));
    }

    /// Notes what the target asks for.
    fn act(&mut self) {
        while let Some(action) = self.target.next_action() {
            match action {
                Action::CloseQueue { controller, qid } => {
                    assert!(self.queues.contains(&(controller, qid)));
                    assert!(self.asked.insert((controller, Some(qid))));
                    self.to_close.push((controller, Some(qid)));
                }
                Action::CloseAdmin { controller } => {
                    assert!(self.controllers.contains(&controller));
                    assert!(self.asked.insert((controller, None)));
                    self.to_close.push((controller, None));
                }
                Action::SetPersistence { controller, cid, nsids, ptpl } => {
                    assert!(self.controllers.contains(&controller) && nsids == [1]);
                    self.saves.push_back((controller, cid, true, ptpl));
                }
                Action::SetProtection { controller, cid, nsids, protected } => {
                    assert!(self.controllers.contains(&controller) && nsids == [1]);
                    self.saves.push_back((controller, cid, false, protected));
                }
                Action::Access { controller, number, .. } => {
                    assert!(self.controllers.contains(&controller));
                    self.given.push_back((controller, number));
                }
                Action::Flush { controller, number, nsids } => {
                    assert!(self.controllers.contains(&controller) && nsids == [1]);
                    self.flushes.push_back((controller, number));
                }
                Action::Abort { controller, cid, qid, .. } => {
                    assert!(self.queues.contains(&(controller, qid)));
                    self.aborts.push_back((controller, cid));
                }
                Action::Complete { controller, cid, .. } => {
                    assert!(self.controllers.contains(&controller));
                    self.deferred.entry(controller).or_default().remove(&cid);
                }
            }
        }
    }

    /// Reports the oldest close that was asked for; seldom one that was not.
    fn close_one(&mut self, choice: u8) {
        let close = if self.to_close.is_empty() {
            self.pick(choice).filter(|_| choice % 8 == 7).map(|controller| (controller, None))
        } else {
            Some(self.to_close.remove(0))
        };
        match close {
            Some((controller, Some(qid))) => {
                self.queues.remove(&(controller, qid));
                self.asked.remove(&(controller, Some(qid)));
                self.target.queue_closed(self.now, controller, qid);
            }
            Some((controller, None)) => {
                self.controllers.retain(|other| *other != controller);
                self.deferred.remove(&controller);
                self.target.admin_closed(self.now, controller);
            }
            None => {}
        }
    }

    /// When every socket is gone, nothing is left.
    fn end(&mut self) {
        for controller in std::mem::take(&mut self.controllers) {
            self.target.admin_closed(self.now, controller);
        }
        while !self.saves.is_empty() {
            self.save_one(1);
        }
        while self.target.next_action().is_some() {}
        for (controller, qid) in std::mem::take(&mut self.queues) {
            self.target.queue_closed(self.now, controller, qid);
        }
        assert_eq!(self.target.controllers().count(), 0);
        assert_eq!(self.target.next_deadline(), None);
    }
}
