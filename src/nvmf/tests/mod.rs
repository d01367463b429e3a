//! A target with two subsystems, and a host that speaks to it in commands.

mod association;
mod conformance;
mod connect;
mod discovery;
mod features;
mod fields;
mod fuzz;
mod health;
mod identify;
mod log_pages;
mod policies;
mod properties;
mod protection;
mod reservations;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use uuid::Uuid;
use zerocopy::{FromZeros, IntoBytes};

use crate::bdev::{Atomicity, Bdev, Channel, Features, Geometry, Home, Memory, OpenError};
use crate::nvmf::access::Access;
use crate::nvmf::admin::Reply;
use crate::nvmf::controller::ControllerId;
use crate::nvmf::host::Hosts;
use crate::nvmf::namespace::Namespace;
use crate::nvmf::options::Options;
use crate::nvmf::policy::Policy;
use crate::nvmf::subsystem::{Counting, IoCounts, Subsystem};
use crate::nvmf::target::{Action, Arrival, Connected, IoTicket, Refusal, Target};
use crate::spec::fabrics::{
    CNTLID_DYNAMIC, Connect, ConnectData, FabricsHeader, PropertyGet, PropertySet, PropertySize,
};
use crate::spec::nqn::{DISCOVERY_NQN, Nqn};
use crate::spec::opcode::{AdminOpcode, FabricsType};
use crate::spec::register::{Csts, Property};
use crate::spec::sgl::SglDescriptor;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::text::nul_padded;

/// Open to everybody; namespaces 1 (512-byte blocks) and 3 (4,096-byte blocks).
const DISK0: &str = "nqn.2026-11.io.corelane:disk0";
/// For [`HOST`] only; no namespaces.
const DISK1: &str = "nqn.2026-11.io.corelane:disk1";
const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:0d5f9d2e-7a0c-4f5e-8a0e-2f5b8f1c9a11";
const STRANGER: &str = "nqn.2026-11.io.corelane:stranger";
const HOSTID: [u8; 16] = [7; 16];
/// CC as Linux enables a controller.
const ENABLE: u32 = 0x0046_0001;
/// CC as Linux announces a shutdown.
const SHUT_DOWN: u32 = 0x0046_4001;
/// CC as a host announces an abrupt shutdown.
const SHUT_DOWN_ABRUPTLY: u32 = 0x0046_8001;

/// A device that is only looked at.
#[derive(Debug)]
struct Shape(Geometry);

impl Bdev for Shape {
    fn name(&self) -> &str {
        "shape"
    }

    fn geometry(&self) -> &Geometry {
        &self.0
    }

    fn open(&self, _home: &Home) -> Result<Box<dyn Channel>, OpenError> {
        Err(OpenError::Exhausted)
    }
}

fn shape(block_size: u32, cache: bool, features: Features) -> Arc<dyn Bdev> {
    Arc::new(Shape(Geometry {
        block_size,
        blocks: 0x1234_5678,
        volatile_write_cache: cache,
        survives_restart: true,
        atomicity: Atomicity::BLOCK,
        memory: Memory::Own,
        features,
    }))
}

#[derive(Debug)]
struct Counts(IoCounts);

impl Counting for Counts {
    fn counts(&self) -> IoCounts {
        self.0
    }
}

fn counts() -> IoCounts {
    let (read_bytes, written_bytes) = (512_000, 512_001);
    IoCounts { read_commands: 3, write_commands: 4, read_bytes, written_bytes, media_errors: 5 }
}

fn subsystem(nqn: &str, hosts: Hosts, namespaces: Vec<Namespace>) -> Subsystem {
    Subsystem {
        nqn: Nqn::parse(nqn).unwrap(),
        serial: "CL0001".to_owned(),
        model: "Corelane".to_owned(),
        policy: Policy::of(hosts),
        listeners: vec!["127.0.0.1:4420".parse().unwrap()],
        namespaces,
        counting: Arc::new(Counts(counts())),
    }
}

fn arrival() -> Arrival {
    Arrival { local: "127.0.0.1:4420".parse().unwrap(), peer: "127.0.0.1:50000".parse().unwrap() }
}

/// Commands of a host, with what came of them.
struct Rig {
    target: Target,
    now: Time,
    arrival: Arrival,
}

impl Rig {
    fn new() -> Self {
        Self::with(Options::default(), shape(512, false, Features::ALL))
    }

    /// With `first` as the device of namespace 1 of [`DISK0`].
    fn with(options: Options, first: Arc<dyn Bdev>) -> Self {
        let mut target = Target::new(options);
        let namespace = |nsid, bdev| Namespace { nsid, uuid: Uuid::from_u128(nsid.into()), bdev };
        let namespaces = vec![namespace(3, shape(4096, false, Features::ALL)), namespace(1, first)];
        target.add_subsystem(subsystem(DISK0, Hosts::Any, namespaces)).unwrap();
        let listed = Hosts::Listed([Nqn::parse(HOST).unwrap()].into());
        target.add_subsystem(subsystem(DISK1, listed, Vec::new())).unwrap();
        Self { target, now: Time::ORIGIN, arrival: arrival() }
    }

    /// A target with one subsystem only: what `change` makes of this one.
    fn replace(&mut self, nqn: &str, change: impl FnOnce(&mut Subsystem)) {
        self.target = Target::new(self.target.options().clone());
        let namespace = |nsid| Namespace {
            nsid,
            uuid: Uuid::from_u128(nsid.into()),
            bdev: shape(512, false, Features::ALL),
        };
        let mut subsystem = subsystem(nqn, Hosts::Any, vec![namespace(1), namespace(3)]);
        change(&mut subsystem);
        self.target.add_subsystem(subsystem).unwrap();
    }

    /// What the next I/O queue of a controller is given.
    fn target_access(&mut self, controller: ControllerId) -> Arc<Access> {
        let cntlid = self.target.association(controller).unwrap().cntlid;
        for qid in 1.. {
            let mut wish = Wish::io(DISK0, cntlid, qid);
            wish.data.hostid = [0; 16];
            if let Ok(Connected::Io { ticket, .. }) = self.connect(&wish) {
                return ticket.access;
            }
        }
        unreachable!()
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        self.target.tick(self.now);
    }

    fn connect(&mut self, wish: &Wish) -> Result<Connected, Refusal> {
        self.target.connect(self.now, &wish.sqe(), wish.data.as_bytes(), &self.arrival)
    }

    fn admin_queue(&mut self, wish: &Wish) -> ControllerId {
        match self.connect(wish) {
            Ok(Connected::Admin { controller, .. }) => controller,
            other => panic!("{other:?}"),
        }
    }

    /// A controller of [`DISK0`] that is enabled.
    fn ready(&mut self) -> ControllerId {
        let controller = self.admin_queue(&Wish::admin(DISK0));
        self.enable(controller);
        controller
    }

    /// A discovery controller with a keep alive timer that is enabled.
    fn discovery(&mut self, host: &str) -> ControllerId {
        let mut wish = Wish::admin(DISCOVERY_NQN).from(host);
        wish.connect.kato.set(30_000);
        let controller = self.admin_queue(&wish);
        self.enable(controller);
        controller
    }

    fn enable(&mut self, controller: ControllerId) {
        assert_eq!(self.set_cc(controller, ENABLE), Status::SUCCESS);
        assert!(self.csts(controller).rdy());
    }

    fn io_queue(&mut self, controller: ControllerId, qid: u16) -> Result<IoTicket, Refusal> {
        let association = self.target.association(controller).unwrap();
        let (cntlid, hostid) = (association.cntlid, association.host.id.0);
        let mut wish = Wish::io(DISK0, cntlid, qid);
        wish.data.hostid = hostid;
        match self.connect(&wish)? {
            Connected::Io { ticket, dw0 } => {
                assert_eq!(dw0, u32::from(cntlid));
                Ok(ticket)
            }
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, controller: ControllerId, sqe: &Sqe) -> Reply {
        self.target.admin(self.now, controller, sqe, &[])
    }

    /// Status, DW0 and data of a command that completes at once.
    fn done(&mut self, controller: ControllerId, sqe: &Sqe) -> (Status, u32, Vec<u8>) {
        match self.send(controller, sqe) {
            Reply::Done { status, dw0, data, .. } => (status, dw0, data),
            Reply::Deferred => panic!("deferred"),
        }
    }

    fn status(&mut self, controller: ControllerId, sqe: &Sqe) -> Status {
        self.done(controller, sqe).0
    }

    fn property(&mut self, controller: ControllerId, property: Property, size: PropertySize) -> Reply {
        let command = PropertyGet {
            header: FabricsHeader::of(FabricsType::PROPERTY_GET, 1, SglDescriptor::default()),
            attrib: size,
            reserved: [0; 3],
            ofst: property.0.into(),
            reserved_end: [0; 16],
        };
        self.send(controller, &command.into())
    }

    fn set_property(
        &mut self,
        controller: ControllerId,
        property: Property,
        size: PropertySize,
        value: u32,
    ) -> Status {
        let command = PropertySet {
            header: FabricsHeader::of(FabricsType::PROPERTY_SET, 1, SglDescriptor::default()),
            attrib: size,
            reserved: [0; 3],
            ofst: property.0.into(),
            value: u64::from(value).into(),
            reserved_end: [0; 8],
        };
        self.status(controller, &command.into())
    }

    fn set_cc(&mut self, controller: ControllerId, cc: u32) -> Status {
        self.set_property(controller, Property::CC, PropertySize::FOUR, cc)
    }

    fn csts(&mut self, controller: ControllerId) -> Csts {
        match self.property(controller, Property::CSTS, PropertySize::FOUR) {
            Reply::Done { status: Status::SUCCESS, dw0, .. } => Csts::from_bits(dw0),
            other => panic!("{other:?}"),
        }
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.target.next_action()).collect()
    }
}

/// A Connect, to be changed before it is sent.
#[derive(Clone)]
struct Wish {
    connect: Connect,
    data: ConnectData,
}

impl Wish {
    fn admin(subnqn: &str) -> Self {
        Self::of(subnqn, CNTLID_DYNAMIC, 0)
    }

    fn io(subnqn: &str, cntlid: u16, qid: u16) -> Self {
        Self::of(subnqn, cntlid, qid)
    }

    fn of(subnqn: &str, cntlid: u16, qid: u16) -> Self {
        let connect = Connect {
            header: FabricsHeader::of(FabricsType::CONNECT, 0, SglDescriptor::in_capsule(0, 1024)),
            recfmt: 0.into(),
            qid: qid.into(),
            sqsize_z: 31.into(),
            cattr: 0,
            reserved: 0,
            kato: 0.into(),
            reserved_end: [0; 12],
        };
        let mut data = ConnectData::new_zeroed();
        data.hostid = HOSTID;
        data.cntlid.set(cntlid);
        data.subnqn = nul_padded(subnqn);
        Self { connect, data }.from(HOST)
    }

    fn from(mut self, hostnqn: &str) -> Self {
        self.data.hostnqn = nul_padded(hostnqn);
        self
    }

    fn sqe(&self) -> Sqe {
        self.connect.into()
    }
}

/// An admin command with room for 4,096 bytes.
fn command(opcode: AdminOpcode, nsid: u32, cdw10: u32, cdw11: u32) -> Sqe {
    let mut sqe = Sqe::of(opcode.0, 9, nsid);
    sqe.dptr = SglDescriptor::transport(4096);
    sqe.cdw10.set(cdw10);
    sqe.cdw11.set(cdw11);
    sqe
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}
