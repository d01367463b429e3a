//! Connect: each check, its status and the parameter it points at.

use super::{DISK0, DISK1, ENABLE, HOSTID, Rig, STRANGER, Wish, at, command, shape};
use crate::bdev::Features;
use crate::nvmf::host::HostId;
use crate::nvmf::options::Options;
use crate::nvmf::target::{Connected, Refusal};
use crate::spec::nqn::DISCOVERY_NQN;
use crate::spec::opcode::AdminOpcode;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

use zerocopy::IntoBytes;

const INVALID: Status = Status::CONNECT_INVALID_PARAMETERS;
/// IATTR bit 0 in DW0.
const DATA: u32 = 1 << 16;

type Change = fn(&mut Wish);

fn refused(status: Status, dw0: u32) -> Refusal {
    Refusal { status: status.with_dnr(), dw0 }
}

#[test]
fn a_right_admin_connect_makes_a_controller() {
    let mut rig = Rig::new();
    let mut wish = Wish::admin(DISK0);
    wish.connect.cattr = 0b100;
    let Ok(Connected::Admin { controller, entries, flow_control, dw0 }) = rig.connect(&wish) else {
        panic!()
    };
    let association = rig.target.association(controller).unwrap();
    assert_eq!((entries, flow_control, dw0), (32, false, u32::from(association.cntlid)));
    assert_eq!((association.subsystem.unwrap().as_str(), association.host.id), (DISK0, HostId(HOSTID)));
    assert!((1..=0xffef).contains(&association.cntlid));
}

#[test]
fn each_wrong_admin_connect_is_refused_with_its_parameter() {
    let rows: [(&str, Status, u32, Change); 16] = [
        ("format", Status::CONNECT_INCOMPATIBLE_FORMAT, 0, |wish| wish.connect.recfmt.set(1)),
        ("reserved PSDT", INVALID, 1, |wish| wish.connect.header.flags = 0xc0),
        ("one entry", INVALID, 44, |wish| wish.connect.sqsize_z.set(0)),
        ("too many entries", INVALID, 44, |wish| wish.connect.sqsize_z.set(128)),
        ("static controller", INVALID, 16 | DATA, |wish| wish.data.cntlid.set(1)),
        ("any static controller", INVALID, 16 | DATA, |wish| wish.data.cntlid.set(0xfffe)),
        ("no host identifier", INVALID, DATA, |wish| wish.data.hostid = [0; 16]),
        ("unterminated subsystem", INVALID, 256 | DATA, |wish| wish.data.subnqn = [b'a'; 256]),
        ("unterminated host", INVALID, 512 | DATA, |wish| wish.data.hostnqn = [b'a'; 256]),
        ("overlong host", INVALID, 512 | DATA, |wish| wish.data.hostnqn[..224].fill(b'a')),
        ("empty subsystem", INVALID, 256 | DATA, |wish| wish.data.subnqn[0] = 0),
        ("empty host", INVALID, 512 | DATA, |wish| wish.data.hostnqn[0] = 0),
        ("subsystem that is not text", INVALID, 256 | DATA, |wish| wish.data.subnqn[0] = 0xff),
        ("unknown subsystem", INVALID, 256 | DATA, |wish| wish.data.subnqn[0] = b'N'),
        ("stranger", Status::CONNECT_INVALID_HOST, 0, |wish| *wish = Wish::admin(DISK1).from(STRANGER)),
        ("not Connect", Status::COMMAND_SEQUENCE_ERROR, 0, |wish| wish.connect.header.fctype = 4),
    ];
    for (name, status, dw0, change) in rows {
        let mut rig = Rig::new();
        let mut wish = Wish::admin(DISK0);
        change(&mut wish);
        assert_eq!(rig.connect(&wish).unwrap_err(), refused(status, dw0), "{name}");
        assert_eq!(rig.target.controllers().count(), 0, "{name}");
    }
}

#[test]
fn connect_is_taken_with_every_psdt_of_hosts() {
    for flags in [0x00, 0x40, 0x80] {
        let mut rig = Rig::new();
        let mut wish = Wish::admin(DISK0);
        wish.connect.header.flags = flags;
        assert!(matches!(rig.connect(&wish), Ok(Connected::Admin { .. })), "{flags:x}");
    }
}

#[test]
fn connect_data_of_another_length_is_refused() {
    let mut rig = Rig::new();
    let wish = Wish::admin(DISK0);
    let long = [wish.data.as_bytes(), &[0; 4]].concat();
    for data in [&[][..], &long[..1023], &long] {
        let refusal = rig.target.connect(rig.now, &wish.sqe(), data, &rig.arrival).unwrap_err();
        assert_eq!(refusal, refused(Status::DATA_SGL_LENGTH_INVALID, 0));
    }
    let other = Sqe::of(AdminOpcode::IDENTIFY.0, 1, 0);
    let refusal = rig.target.connect(rig.now, &other, &[], &rig.arrival).unwrap_err();
    assert_eq!(refusal, refused(Status::COMMAND_SEQUENCE_ERROR, 0));
}

#[test]
fn a_subsystem_is_there_only_at_its_listeners() {
    let rows = [
        ("127.0.0.1:4420", true),
        ("[::ffff:127.0.0.1]:4420", true),
        ("127.0.0.1:4421", false),
        ("127.0.0.2:4420", false),
        ("[::1]:4420", false),
    ];
    for (local, there) in rows {
        let mut rig = Rig::new();
        rig.arrival.local = at(local);
        match rig.connect(&Wish::admin(DISK0)) {
            Ok(_) => assert!(there, "{local}"),
            Err(refusal) => {
                assert!(!there, "{local}");
                assert_eq!(refusal, refused(INVALID, 256 | DATA));
            }
        }
        rig.connect(&Wish::admin(DISCOVERY_NQN)).unwrap();
    }
}

#[test]
fn each_wrong_io_connect_is_refused_with_its_parameter() {
    let rows: [(&str, Status, u32, Change); 9] = [
        ("queue beyond the limit", INVALID, 42, |wish| wish.connect.qid.set(65)),
        ("queue that exists", Status::COMMAND_SEQUENCE_ERROR, 0, |wish| wish.connect.qid.set(1)),
        ("one entry", INVALID, 44, |wish| wish.connect.sqsize_z.set(0)),
        ("too many entries", INVALID, 44, |wish| wish.connect.sqsize_z.set(128)),
        ("no such controller", INVALID, 16 | DATA, |wish| wish.data.cntlid.set(77)),
        ("dynamic controller", INVALID, 16 | DATA, |wish| wish.data.cntlid.set(0xffff)),
        ("other subsystem", INVALID, 16 | DATA, |wish| wish.data.subnqn = Wish::admin(DISK1).data.subnqn),
        ("other host", INVALID, 512 | DATA, |wish| *wish = wish.clone().from(STRANGER)),
        ("other host identifier", INVALID, DATA, |wish| wish.data.hostid[0] ^= 1),
    ];
    for (name, status, dw0, change) in rows {
        let mut rig = Rig::new();
        let controller = rig.ready();
        rig.io_queue(controller, 1).unwrap();
        let cntlid = rig.target.association(controller).unwrap().cntlid;
        let mut wish = Wish::io(DISK0, cntlid, 2);
        change(&mut wish);
        assert_eq!(rig.connect(&wish).unwrap_err(), refused(status, dw0), "{name}");
    }
}

#[test]
fn a_right_io_connect_gives_a_ticket() {
    let mut rig = Rig::new();
    let controller = rig.ready();
    let cntlid = rig.target.association(controller).unwrap().cntlid;
    let mut wish = Wish::io(DISK0, cntlid, 64);
    wish.data.hostid = [0; 16];
    wish.connect.sqsize_z.set(127);
    let Ok(Connected::Io { ticket, dw0 }) = rig.connect(&wish) else { panic!() };
    assert_eq!(
        (ticket.controller, ticket.qid, ticket.entries, ticket.flow_control),
        (controller, 64, 128, true)
    );
    assert_eq!((ticket.host, dw0), (HostId(HOSTID), u32::from(cntlid)));
    assert!(ticket.namespaces.iter().map(|namespace| namespace.nsid).eq([1, 3]));
}

#[test]
fn io_queues_wait_until_the_controller_is_enabled() {
    let mut rig = Rig::new();
    let controller = rig.admin_queue(&Wish::admin(DISK0));
    assert_eq!(rig.io_queue(controller, 1).unwrap_err(), refused(INVALID, 42));
    rig.enable(controller);
    rig.io_queue(controller, 1).unwrap();
}

#[test]
fn io_queues_wait_until_the_host_has_said_how_large_their_entries_are() {
    let mut rig = Rig::new();
    let controller = rig.admin_queue(&Wish::admin(DISK0));
    for (qid, cc) in [(1, 1), (2, 0x0006_0001), (3, 0x0040_0001), (4, 0x0047_0001), (5, 0x0056_0001)] {
        assert_eq!(rig.set_cc(controller, cc), Status::SUCCESS, "{cc:x}");
        assert!(rig.csts(controller).rdy(), "{cc:x}");
        let identify = command(AdminOpcode::IDENTIFY, 0, 1, 0);
        assert_eq!(rig.status(controller, &identify), Status::SUCCESS, "{cc:x}");
        assert_eq!(rig.io_queue(controller, qid).unwrap_err(), refused(INVALID, 42), "{cc:x}");
        assert_eq!(rig.set_cc(controller, ENABLE), Status::SUCCESS, "{cc:x}");
        rig.io_queue(controller, qid).unwrap();
    }
    assert_eq!(rig.actions(), []);
}

#[test]
fn a_discovery_controller_has_no_io_queues() {
    let mut rig = Rig::new();
    let controller = rig.discovery(STRANGER);
    let cntlid = rig.target.association(controller).unwrap().cntlid;
    let wish = Wish::io(DISCOVERY_NQN, cntlid, 1).from(STRANGER);
    assert_eq!(rig.connect(&wish).unwrap_err(), refused(INVALID, 16 | DATA));
}

#[test]
fn too_many_controllers_may_try_again() {
    let options = Options { controllers_max: 1, ..Options::default() };
    let mut rig = Rig::with(options, shape(512, false, Features::ALL));
    let first = rig.admin_queue(&Wish::admin(DISK0));
    let busy = Refusal { status: Status::CONNECT_CONTROLLER_BUSY, dw0: 0 };
    assert_eq!(rig.connect(&Wish::admin(DISK0)).unwrap_err(), busy);
    rig.target.admin_closed(rig.now, first);
    rig.admin_queue(&Wish::admin(DISK0));
}

#[test]
fn a_host_has_so_many_connections_and_no_more() {
    let options = Options { connections_per_host_max: 4, ..Options::default() };
    let mut rig = Rig::with(options, shape(512, false, Features::ALL));
    let busy = Refusal { status: Status::CONNECT_CONTROLLER_BUSY, dw0: 0 };
    // Discovery counts, and so do subsystems, together.
    let discovery = rig.admin_queue(&Wish::admin(DISCOVERY_NQN));
    let first = rig.ready();
    rig.io_queue(first, 1).unwrap();
    rig.io_queue(first, 2).unwrap();
    assert_eq!(rig.io_queue(first, 3).unwrap_err(), busy);
    assert_eq!(rig.connect(&Wish::admin(DISK0)).unwrap_err(), busy);
    // Others are not concerned.
    rig.discovery(STRANGER);
    rig.target.queue_closed(rig.now, first, 1);
    rig.io_queue(first, 3).unwrap();
    assert_eq!(rig.io_queue(first, 1).unwrap_err(), busy);
    rig.target.admin_closed(rig.now, discovery);
    rig.io_queue(first, 1).unwrap();
}

#[test]
fn a_controller_identifier_is_not_given_twice_while_a_queue_is_open() {
    let mut rig = Rig::new();
    let first = rig.ready();
    rig.io_queue(first, 1).unwrap();
    let cntlid = rig.target.association(first).unwrap().cntlid;
    rig.target.admin_closed(rig.now, first);
    for _ in 0..3 {
        let other = rig.admin_queue(&Wish::admin(DISK0));
        assert_ne!(rig.target.association(other).unwrap().cntlid, cntlid);
        rig.target.admin_closed(rig.now, other);
    }
    assert_eq!(rig.target.controllers().count(), 1);
    rig.target.queue_closed(rig.now, first, 1);
    assert_eq!(rig.target.controllers().count(), 0);
}
