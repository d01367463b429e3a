//! Connect commands that must be refused, and commands before Connect (NVMe base 2.1, sections 3.3 and 6.3).

use std::mem::offset_of;

use corelane::initiator::command;
use corelane::spec::fabrics::{Connect, ConnectAccepted, ConnectData, ConnectRefused};
use corelane::spec::identify::Cns;
use corelane::spec::nqn::Nqn;
use corelane::spec::register::Property;
use corelane::spec::sgl::SglDescriptor;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use zerocopy::IntoBytes;

use crate::peer::by_transport;
use crate::scene::{OTHER_NQN, Scene};
use crate::session::numbered;

/// A name, what is wrong, and what comes back: status, and DW0.
type Row = (&'static str, fn(&mut Connect, &mut ConnectData), (Status, u32));

const INVALID: Status = Status::CONNECT_INVALID_PARAMETERS.with_dnr();
const SEQUENCE: Status = Status::COMMAND_SEQUENCE_ERROR.with_dnr();
const LENGTH: Status = Status::DATA_SGL_LENGTH_INVALID.with_dnr();

fn in_data(offset: usize) -> (Status, u32) {
    (INVALID, ConnectRefused::data(offset).into())
}

fn in_command(offset: usize) -> (Status, u32) {
    (INVALID, ConnectRefused::command(offset).into())
}

fn rows() -> Vec<Row> {
    vec![
        ("RECFMT", |it, _| it.recfmt = 1.into(), (Status::CONNECT_INCOMPATIBLE_FORMAT.with_dnr(), 0)),
        ("a queue of one entry", |it, _| it.sqsize_z = 0.into(), in_command(offset_of!(Connect, sqsize_z))),
        ("a PSDT that is reserved", |it, _| it.header.flags = 0xc0, in_command(1)),
        ("SUBNQN without a NUL", |_, it| it.subnqn = [b'n'; 256], in_data(offset_of!(ConnectData, subnqn))),
        (
            "HOSTNQN without a NUL",
            |_, it| it.hostnqn = [b'n'; 256],
            in_data(offset_of!(ConnectData, hostnqn)),
        ),
        ("an empty SUBNQN", |_, it| it.subnqn = [0; 256], in_data(offset_of!(ConnectData, subnqn))),
        (
            "a HOSTNQN that is no text",
            |_, it| it.hostnqn[0] = 0xff,
            in_data(offset_of!(ConnectData, hostnqn)),
        ),
        ("a longer SGL than data", |it, _| it.header.sgl1.length = 1028.into(), (LENGTH, 0)),
        ("a shorter SGL than data", |it, _| it.header.sgl1.length = 512.into(), (LENGTH, 0)),
        (
            "an offset into the capsule",
            |it, _| it.header.sgl1.address = 4.into(),
            (Status::SGL_OFFSET_INVALID.with_dnr(), 0),
        ),
    ]
}

/// What hosts set (40h), and what the specification has (base 2.1, figure 95): 80h with data, 00h without.
#[test]
fn fabrics_commands_are_taken_with_every_psdt_of_hosts() {
    let mut scene = Scene::start();
    for flags in [0x00, 0x40, 0x80] {
        let mut script = scene.script();
        let set = |mut sqe: Sqe| {
            sqe.flags = flags;
            sqe
        };
        let mut admin = script.opened();
        let cqe = admin.execute(&set(script.connect(0).into()), script.data.as_bytes());
        assert!(cqe.status().is_success(), "{flags:x}: {:?}", cqe.status());
        script.data.cntlid = ConnectAccepted::from_bits(cqe.dw0.get()).cntlid().into();
        let cc = command::property_set(Property::CC, 0x0046_0001);
        assert!(admin.execute(&set(numbered(cc, 1)), &[]).status().is_success(), "{flags:x}");
        let csts = admin.execute(&set(numbered(command::property_get(Property::CSTS), 2)), &[]);
        assert_eq!((csts.status(), csts.dw0.get()), (Status::SUCCESS, 1), "{flags:x}");
        let mut io = script.opened();
        let cqe = io.execute(&set(script.connect(1).into()), script.data.as_bytes());
        assert!(cqe.status().is_success(), "{flags:x}: {:?}", cqe.status());
        let unknown = io.execute(&set(numbered(command::property_get(Property::CSTS), 2)), &[]);
        assert_eq!(unknown.status(), Status::INVALID_OPCODE.with_dnr(), "{flags:x}");
        assert!(io.execute(&numbered(command::flush(1), 3), &[]).status().is_success(), "{flags:x}");
        scene.check();
    }
    scene.end();
}

#[test]
fn a_wrong_connect_is_refused_for_the_right_reason() {
    let mut scene = Scene::start();
    let session = scene.script().start();
    let admin: &[Row] = &[
        ("a SUBNQN that is not here", |_, it| it.subnqn[28] = b'9', in_data(offset_of!(ConnectData, subnqn))),
        ("a static controller", |_, it| it.cntlid = 1.into(), in_data(offset_of!(ConnectData, cntlid))),
        ("HOSTID zero", |_, it| it.hostid = [0; 16], in_data(offset_of!(ConnectData, hostid))),
        ("too long a queue", |it, _| it.sqsize_z = 4096.into(), in_command(offset_of!(Connect, sqsize_z))),
    ];
    let io: &[Row] = &[
        ("another host's HOSTID", |_, it| it.hostid[0] ^= 1, in_data(offset_of!(ConnectData, hostid))),
        ("another host's NQN", |_, it| it.hostnqn[29] = b'x', in_data(offset_of!(ConnectData, hostnqn))),
        ("no such controller", |_, it| it.cntlid = 999.into(), in_data(offset_of!(ConnectData, cntlid))),
        ("no controller", |_, it| it.cntlid = 0xffff.into(), in_data(offset_of!(ConnectData, cntlid))),
        (
            "a controller of another subsystem",
            |_, it| it.subnqn = Nqn::parse(OTHER_NQN).expect("a name").to_wire(),
            in_data(offset_of!(ConnectData, hostnqn)),
        ),
        (
            "an I/O queue of the discovery controller",
            |_, it| it.subnqn = Nqn::discovery().to_wire(),
            in_data(offset_of!(ConnectData, cntlid)),
        ),
        ("a QID beyond the last", |it, _| it.qid = 65.into(), in_command(offset_of!(Connect, qid))),
        ("a queue beyond MQES", |it, _| it.sqsize_z = 128.into(), in_command(offset_of!(Connect, sqsize_z))),
        ("a QID in use", |it, _| it.qid = 1.into(), (SEQUENCE, 0)),
    ];
    let mut used = session.io(1);
    let both = rows();
    for (qid, script, rows) in
        [(0, scene.script(), both.iter().chain(admin)), (2, session.script.clone(), both.iter().chain(io))]
    {
        for (name, change, expected) in rows {
            println!("QID {qid}: {name}");
            let (mut connect, mut data) = (script.connect(qid), script.data);
            change(&mut connect, &mut data);
            let (mut peer, cqe) = script.attempt(connect, &data);
            assert_eq!((cqe.status(), cqe.dw0.get()), *expected, "QID {qid}: {name}");
            if !matches!(*expected, (LENGTH, _)) && !name.contains("capsule") {
                peer.closed();
            }
            scene.check();
        }
    }
    // The queue that was there all along is as it was.
    assert!(used.execute(&numbered(command::flush(1), 1), &[]).status().is_success());
    scene.end();
}

#[test]
fn a_connect_by_r2t_is_as_good_as_one_in_a_capsule() {
    let scene = Scene::start();
    let script = scene.script();
    let mut peer = script.opened();
    let mut connect = script.connect(0);
    connect.header.sgl1 = SglDescriptor::transport(1024);
    peer.command(&connect.into(), &[]);
    let request = peer.ready_to_transfer();
    peer.transfer(&request, script.data.as_bytes());
    assert!(peer.completion().status().is_success());
    scene.end();
}

#[test]
fn nothing_is_done_before_connect() {
    let mut scene = Scene::start();
    let script = scene.script();
    let mut peer = script.opened();
    let early = [
        by_transport(command::identify(Cns::CONTROLLER, 0), 1, 4096),
        by_transport(command::read(1, 0, 1), 2, 512),
        numbered(command::flush(1), 3),
        numbered(command::property_get(Property::CAP), 4),
        numbered(command::property_set(Property::CC, 1), 5),
        numbered(command::keep_alive(), 6),
        numbered(command::async_event_request(), 7),
    ];
    for sqe in &early {
        let cqe = peer.execute(sqe, &[]);
        assert_eq!((cqe.status(), cqe.cid), (SEQUENCE, sqe.cid), "{sqe:?}");
    }
    scene.check();
    // It may still become a queue.
    let cqe = peer.execute(&script.connect(0).into(), script.data.as_bytes());
    assert!(cqe.status().is_success());
    scene.end();
}

#[test]
fn a_second_connect_and_an_early_io_queue_are_refused() {
    let mut scene = Scene::start();
    let mut session = scene.script().start_disabled();
    let (mut peer, cqe) = session.script.attempt(session.script.connect(1), &session.script.data);
    let expected = in_command(offset_of!(Connect, qid));
    assert_eq!((cqe.status(), cqe.dw0.get()), expected, "an I/O queue of a controller that is not enabled");
    peer.closed();
    let cqe = session.admin.execute(&by_transport(command::identify(Cns::CONTROLLER, 0), 1, 4096), &[]);
    assert_eq!(cqe.status(), SEQUENCE, "Identify before CC.EN");
    let again = session.script.connect(0);
    let cqe = session.admin.execute(&again.into(), session.script.data.as_bytes());
    assert_eq!(cqe.status(), SEQUENCE, "Connect on an admin queue");

    let session = scene.script().start();
    let mut io = session.io(1);
    let cqe = io.execute(&session.script.connect(1).into(), session.script.data.as_bytes());
    assert_eq!(cqe.status(), SEQUENCE, "Connect on an I/O queue");
    scene.check();
    scene.end();
}
