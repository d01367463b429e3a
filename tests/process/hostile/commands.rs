//! Well-formed PDUs with commands that cannot be carried out: each gets its status, and the queue goes on.

use corelane::initiator::command;
use corelane::spec::identify::Cns;
use corelane::spec::sgl::{SglDescriptor, SglSubtype, SglType};
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;

use crate::peer::{Peer, by_transport, in_capsule};
use crate::scene::{self, NQN, Scene};
use crate::session::numbered;

/// A name, the command, how much data its capsule has, and its status without "do not retry".
type Row = (&'static str, Sqe, usize, Status);

/// 512-byte blocks of namespace 1: 64 MiB.
const BLOCKS: u64 = 131_072;
const MDTS_BYTES: usize = 128 << 10;

/// `sqe` with a data pointer of this type and subtype.
fn described(sqe: Sqe, kind: SglType, subtype: SglSubtype, address: u64, length: u32) -> Sqe {
    let mut sqe = numbered(sqe, 9);
    let identifier = kind.0 << 4 | subtype.0;
    sqe.dptr = SglDescriptor { address: address.into(), length: length.into(), reserved: [0; 3], identifier };
    sqe
}

fn with_flags(mut sqe: Sqe, flags: u8) -> Sqe {
    sqe.flags = flags;
    sqe
}

/// Opcodes, namespaces and ranges.
fn range_rows() -> Vec<Row> {
    let write = |blocks| command::write(1, 0, blocks, false);
    let read = |lba, blocks| command::read(1, lba, blocks);
    vec![
        ("an unknown opcode", numbered(Sqe::of(0x55, 0, 1), 9), 0, Status::INVALID_OPCODE),
        ("PRPs", with_flags(by_transport(read(0, 1), 9, 512), 0), 0, Status::INVALID_FIELD),
        ("a fused command", with_flags(by_transport(read(0, 1), 9, 512), 0x41), 0, Status::INVALID_FIELD),
        ("no namespace", by_transport(command::read(0, 0, 1), 9, 512), 0, Status::INVALID_NAMESPACE),
        (
            "a namespace that is not active",
            by_transport(command::read(3, 0, 1), 9, 512),
            0,
            Status::INVALID_FIELD,
        ),
        ("an NSID above NN", by_transport(command::read(70_000, 0, 1), 9, 512), 0, Status::INVALID_NAMESPACE),
        ("all namespaces", by_transport(command::read(u32::MAX, 0, 1), 9, 512), 0, Status::INVALID_FIELD),
        ("a read past the end", by_transport(read(BLOCKS, 1), 9, 512), 0, Status::LBA_OUT_OF_RANGE),
        ("a read over the end", by_transport(read(BLOCKS - 1, 2), 9, 1024), 0, Status::LBA_OUT_OF_RANGE),
        ("an LBA that wraps", by_transport(read(u64::MAX, 2), 9, 1024), 0, Status::LBA_OUT_OF_RANGE),
        (
            "a write past the end",
            in_capsule(command::write(1, BLOCKS, 1, false), 9, 512),
            512,
            Status::LBA_OUT_OF_RANGE,
        ),
        ("more than MDTS", by_transport(read(0, 257), 9, MDTS_BYTES + 512), 0, Status::INVALID_FIELD),
        ("a write above MDTS", by_transport(write(257), 9, MDTS_BYTES + 512), 0, Status::INVALID_FIELD),
    ]
}

/// Data pointers and capsules that do not fit the command, and commands of other queues.
fn transfer_rows() -> Vec<Row> {
    let write = |blocks| command::write(1, 0, blocks, false);
    let read = |lba, blocks| command::read(1, lba, blocks);
    let mut rows = vec![
        ("an SGL too short to read", by_transport(read(0, 2), 9, 512), 0, Status::DATA_SGL_LENGTH_INVALID),
        ("an SGL too short to write", by_transport(write(2), 9, 512), 0, Status::DATA_SGL_LENGTH_INVALID),
        ("an SGL of nothing", by_transport(read(0, 1), 9, 0), 0, Status::DATA_SGL_LENGTH_INVALID),
        ("a capsule without its data", in_capsule(write(1), 9, 512), 0, Status::DATA_SGL_LENGTH_INVALID),
        ("a capsule with too little", in_capsule(write(2), 9, 1024), 512, Status::DATA_SGL_LENGTH_INVALID),
        (
            "a capsule with more than it says",
            in_capsule(write(1), 9, 512),
            1024,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
        ("data for the host in a capsule", in_capsule(read(0, 1), 9, 512), 0, Status::SGL_TYPE_INVALID),
        (
            "zeros over the end",
            numbered(command::write_zeroes(1, BLOCKS, 1, false), 9),
            0,
            Status::LBA_OUT_OF_RANGE,
        ),
        (
            "the admin command Identify",
            by_transport(command::identify(Cns::CONTROLLER, 0), 9, 4096),
            0,
            Status::INVALID_OPCODE,
        ),
        ("a Keep Alive", numbered(command::keep_alive(), 9), 0, Status::INVALID_OPCODE),
        (
            "a fabrics command",
            numbered(command::property_get(corelane::spec::register::Property::CAP), 9),
            0,
            Status::INVALID_OPCODE,
        ),
        (
            "a deallocation without ranges",
            in_capsule(command::deallocate(1, 2), 9, 16),
            16,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
        (
            "a deallocation past the end",
            in_capsule(command::deallocate(1, 1), 9, 16),
            16,
            Status::LBA_OUT_OF_RANGE,
        ),
        (
            "an offset into the capsule",
            described(write(1), SglType::DATA_BLOCK, SglSubtype::OFFSET, 4, 512),
            512,
            Status::SGL_OFFSET_INVALID,
        ),
    ];
    for (name, kind, subtype) in WRONG_SGLS {
        rows.push((name, described(read(0, 1), kind, subtype, 0, 512), 0, Status::SGL_TYPE_INVALID));
        rows.push((name, described(write(1), kind, subtype, 0, 512), 0, Status::SGL_TYPE_INVALID));
    }
    rows
}

const WRONG_SGLS: [(&str, SglType, SglSubtype); 7] = [
    ("a data block by address", SglType::DATA_BLOCK, SglSubtype::ADDRESS),
    ("a bit bucket", SglType::BIT_BUCKET, SglSubtype::ADDRESS),
    ("a segment", SglType::SEGMENT, SglSubtype::ADDRESS),
    ("a segment by offset", SglType::LAST_SEGMENT, SglSubtype::OFFSET),
    ("a keyed data block", SglType::KEYED_DATA_BLOCK, SglSubtype::ADDRESS),
    ("a transport data block by address", SglType::TRANSPORT_DATA_BLOCK, SglSubtype::ADDRESS),
    ("an unknown type", SglType(0xf), SglSubtype(0xf)),
];

fn admin_rows() -> Vec<Row> {
    let identify = || command::identify(Cns::CONTROLLER, 0);
    let mut rows = vec![
        ("an unknown opcode", numbered(Sqe::of(0x7d, 0, 0), 9), 0, Status::INVALID_OPCODE),
        ("PRPs", with_flags(by_transport(identify(), 9, 4096), 0), 0, Status::INVALID_FIELD),
        ("an SGL too short", by_transport(identify(), 9, 4092), 0, Status::DATA_SGL_LENGTH_INVALID),
        ("an SGL of nothing", by_transport(identify(), 9, 0), 0, Status::DATA_SGL_LENGTH_INVALID),
        (
            "an in-capsule length that is not so",
            in_capsule(command::number_of_queues(4), 9, 16),
            0,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
    ];
    for (name, kind, subtype) in WRONG_SGLS {
        rows.push((name, described(identify(), kind, subtype, 0, 4096), 0, Status::SGL_TYPE_INVALID));
    }
    rows
}

fn refuse_all(scene: &mut Scene, peer: &mut Peer, rows: &[Row]) {
    for (name, sqe, bytes, status) in rows {
        // A range of a deallocation at an impossible block, and impossible data for everything else.
        let cqe = peer.execute(sqe, &vec![0xee; *bytes]);
        assert_eq!((cqe.status(), cqe.cid), (status.with_dnr(), sqe.cid), "{name}");
        scene.check();
    }
}

#[test]
fn a_wrong_command_gets_its_status_and_the_queue_goes_on() {
    let mut scene = Scene::start();
    let mut session = scene.script().start();
    let mut io = session.io(1);
    refuse_all(&mut scene, &mut io, &range_rows());
    refuse_all(&mut scene, &mut io, &transfer_rows());
    refuse_all(&mut scene, &mut session.admin, &admin_rows());

    let mut host = scene::connect(scene.address, NQN);
    assert!(host.read(1, 0, 8).expect("a read").iter().all(|&byte| byte == 0), "nothing was written");
    host.disconnect().expect("a disconnect");
    assert!(io.execute(&numbered(command::flush(1), 1), &[]).status().is_success());
    scene.end();
}

#[test]
fn commands_with_one_cid_are_each_answered() {
    // The host is not kept from it; it gets what it asked for.
    let scene = Scene::start();
    let session = scene.script().start();
    let mut io = session.io(1);
    for _ in 0..8 {
        io.command(&numbered(command::flush(1), 5), &[]);
    }
    for _ in 0..8 {
        let cqe = io.completion();
        assert_eq!((cqe.status(), cqe.cid.get()), (Status::SUCCESS, 5));
    }
    scene.end();
}
