//! An association by hand: a scripted host's admin queue, and I/O queues on raw sockets of their own.

use std::net::SocketAddr;

use corelane::initiator::command;
use corelane::spec::cqe::Cqe;
use corelane::spec::fabrics::{
    CNTLID_DYNAMIC, Connect, ConnectAccepted, ConnectAttributes, ConnectData, FabricsHeader,
};
use corelane::spec::nqn::Nqn;
use corelane::spec::opcode::FabricsType;
use corelane::spec::register::{Cc, Property};
use corelane::spec::sgl::SglDescriptor;
use corelane::spec::sqe::Sqe;
use zerocopy::{FromZeros, IntoBytes};

use crate::peer::{Digests, Peer};

/// An association.
pub(crate) struct Session {
    pub(crate) admin: Peer,
    /// What further Connect commands say: the CNTLID is that of the controller.
    pub(crate) script: Script,
}

/// What Connect commands say; each field can be made wrong.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    pub(crate) digests: Digests,
    /// Sockets have the least memory for what they receive.
    pub(crate) narrow: bool,
    /// Entries of I/O queues, less one.
    pub(crate) sqsize_z: u16,
    pub(crate) flow_control: bool,
    pub(crate) kato_ms: u32,
    pub(crate) data: ConnectData,
}

impl Script {
    /// A host of its own, to the subsystem `nqn` at `address`.
    pub(crate) fn new(address: SocketAddr, nqn: &str) -> Self {
        let mut data = ConnectData::new_zeroed();
        data.hostid = [0x5a; 16];
        data.cntlid = CNTLID_DYNAMIC.into();
        data.subnqn = Nqn::parse(nqn).expect("a name").to_wire();
        data.hostnqn = Nqn::parse("nqn.2026-11.io.corelane:script").expect("a name").to_wire();
        let digests = Digests::NONE;
        Self { address, digests, narrow: false, sqsize_z: 31, flow_control: false, kato_ms: 0, data }
    }

    /// The Connect command of queue `qid`, CID 7.
    pub(crate) fn connect(&self, qid: u16) -> Connect {
        let mut connect = Connect::new_zeroed();
        let bytes = u32::try_from(size_of::<ConnectData>()).expect("1,024");
        connect.header = FabricsHeader::of(FabricsType::CONNECT, 7, SglDescriptor::in_capsule(0, bytes));
        connect.qid = qid.into();
        connect.sqsize_z = if qid == 0 { 31 } else { self.sqsize_z }.into();
        connect.cattr = ConnectAttributes::new().with_flow_control_disabled(!self.flow_control).into_bits();
        connect.kato = if qid == 0 { self.kato_ms } else { 0 }.into();
        connect
    }

    /// A connection that has opened and has not said what it is.
    pub(crate) fn opened(&self) -> Peer {
        let peer = if self.narrow { Peer::narrow(self.address) } else { Peer::new(self.address) };
        peer.open(self.digests)
    }

    /// Sends this Connect command with this data on a connection of its own; returns its completion.
    pub(crate) fn attempt(&self, connect: Connect, data: &ConnectData) -> (Peer, Cqe) {
        let mut peer = self.opened();
        let cqe = peer.execute(&connect.into(), data.as_bytes());
        (peer, cqe)
    }

    /// An enabled controller.
    pub(crate) fn start(&self) -> Session {
        let mut session = self.start_disabled();
        let cc = Cc::new().with_en(true).with_css(Cc::CSS_NVM).with_iosqes(6).with_iocqes(4);
        let cqe =
            session.admin.execute(&numbered(command::property_set(Property::CC, cc.into_bits()), 1), &[]);
        assert!(cqe.status().is_success(), "enabling: {:?}", cqe.status());
        session
    }

    /// A controller that is not enabled yet.
    pub(crate) fn start_disabled(&self) -> Session {
        let (admin, cqe) = self.attempt(self.connect(0), &self.data);
        assert!(cqe.status().is_success(), "connecting: {:?}", cqe.status());
        let cntlid = ConnectAccepted::from_bits(cqe.dw0.get()).cntlid();
        let mut script = self.clone();
        script.data.cntlid = cntlid.into();
        Session { admin, script }
    }
}

impl Session {
    /// I/O queue `qid`.
    pub(crate) fn io(&self, qid: u16) -> Peer {
        let (peer, cqe) = self.script.attempt(self.script.connect(qid), &self.script.data);
        assert!(cqe.status().is_success(), "connecting I/O queue {qid}: {:?}", cqe.status());
        peer
    }
}

/// `sqe` with this CID.
pub(crate) fn numbered(mut sqe: Sqe, cid: u16) -> Sqe {
    sqe.cid = cid.into();
    sqe
}
