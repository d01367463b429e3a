//! Damaged digests (TCP transport 1.0, section 3.3.1.1): damaged data fails its command, a damaged header ends the
//! connection.

use corelane::initiator::command;
use corelane::spec::identify::Cns;
use corelane::spec::log_page::{ErrorEntry, LogPageId};
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::sgl::SglDescriptor;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane::spec::tcp::{DIGEST_BYTES, flags};
use zerocopy::{FromBytes, IntoBytes};

use crate::hostile::{Ends, Stage, field};
use crate::peer::{self, Digests, Peer, Wrong, by_transport, chunk, in_capsule};
use crate::scene::{self, NQN, Scene};
use crate::session::{Session, numbered};

const DAMAGED: Status = Status::TRANSIENT_TRANSPORT_ERROR;
const BOTH: Digests = Digests { header: true, data: true };
const HEADER: usize = 72;

fn io(scene: &Scene, digests: Digests) -> (Session, Peer) {
    let mut script = scene.script();
    script.digests = digests;
    let session = script.start();
    let io = session.io(1);
    (session, io)
}

/// `bytes` with the last bit flipped: it belongs to a data digest.
fn damaged(mut bytes: Vec<u8>) -> Vec<u8> {
    *bytes.last_mut().expect("a PDU") ^= 0x80;
    bytes
}

#[test]
fn damaged_data_fails_its_command_and_no_other() {
    let mut scene = Scene::start();
    for digests in [Digests { header: false, data: true }, BOTH] {
        let (_session, mut io) = io(&scene, digests);
        let write = in_capsule(command::write(1, 0, 8, false), 1, 4096);
        let pdu = damaged(peer::command(&write, &[0xee; 4096], &io.agreement));
        io.send(&pdu);
        let cqe = io.completion();
        assert_eq!((cqe.status(), cqe.cid.get()), (DAMAGED, 1), "data in a capsule");

        // The first PDU of a transfer is damaged, then the last.
        for wrong in 0..2 {
            io.command(&by_transport(command::write(1, 0, 32, false), 2, 16384), &[]);
            let request = io.ready_to_transfer();
            for number in 0..2 {
                let part = io.data(&chunk(&request, number * 8192, 8192, number == 1), &[0xee; 8192]);
                io.send(&if number == wrong { damaged(part) } else { part });
            }
            let cqe = io.completion();
            assert_eq!((cqe.status(), cqe.cid.get()), (DAMAGED, 2), "PDU {wrong} of a transfer");
            scene.check();
        }
        let cqe = io.execute(&numbered(command::flush(1), 3), &[]);
        assert!(cqe.status().is_success(), "the queue goes on");
    }
    let mut host = scene::connect(scene.address, NQN);
    assert!(host.read(1, 0, 64).expect("a read").iter().all(|&byte| byte == 0), "nothing was written");
    host.disconnect().expect("a disconnect");
    scene.end();
}

#[test]
fn what_the_admin_queue_refuses_by_itself_is_in_the_error_log() {
    const BEHAVIOR: u32 = 0x16;
    let scene = Scene::start();
    let mut script = scene.script();
    script.digests = BOTH;
    let mut admin = script.start().admin;
    let mut behavior = Sqe::of(AdminOpcode::SET_FEATURES.0, 0, 0);
    behavior.cdw10.set(BEHAVIOR);
    let identify = command::identify(Cns::CONTROLLER, 0);
    let set = in_capsule(behavior, 1, 512);
    let pdu = damaged(peer::command(&set, &[0; 512], &admin.agreement));
    admin.send(&pdu);
    assert_eq!(admin.completion().status(), DAMAGED);
    admin.command(&by_transport(behavior, 2, 512), &[]);
    let request = admin.ready_to_transfer();
    let pdu = damaged(admin.data(&chunk(&request, 0, 512, true), &[0; 512]));
    admin.send(&pdu);
    assert_eq!(admin.completion().status(), DAMAGED);
    let mut offset = in_capsule(behavior, 5, 512);
    offset.dptr = SglDescriptor::in_capsule(4, 512);
    let rows = [
        (in_capsule(identify, 3, 4096), 4096, Status::SGL_TYPE_INVALID),
        (in_capsule(identify, 4, 4096), 0, Status::DATA_SGL_LENGTH_INVALID),
        (offset, 512, Status::SGL_OFFSET_INVALID),
        (by_transport(behavior, 6, 511), 0, Status::DATA_SGL_LENGTH_INVALID),
        (by_transport(behavior, 7, 8196), 0, Status::INVALID_FIELD),
    ];
    let mut expected = vec![(2, behavior.opcode, DAMAGED), (1, behavior.opcode, DAMAGED)];
    for (sqe, bytes, status) in rows {
        assert_eq!(admin.execute(&sqe, &vec![0; bytes]).status(), status.with_dnr(), "{status}");
        expected.insert(0, (sqe.cid.get(), sqe.opcode, status.with_dnr()));
    }
    admin.command(&by_transport(command::log_page(LogPageId::ERROR, 0, 4096), 9, 4096), &[]);
    let pdu = admin.receive().expect("the page");
    let page = pdu.payload();
    let entries = page.chunks(64).map(|entry| ErrorEntry::read_from_bytes(entry).expect("64 bytes"));
    let told: Vec<_> = entries
        .filter(|entry| entry.error_count.get() != 0)
        .map(|entry| (entry.cid.get(), entry.opcode, Status::from_wire(entry.status.get())))
        .collect();
    assert_eq!(told, expected);
    scene.end();
}

#[test]
fn a_connect_with_damaged_data_can_be_repeated() {
    let mut scene = Scene::start();
    let mut script = scene.script();
    script.digests = BOTH;
    let mut peer = script.opened();
    let connect = script.connect(0).into();
    let pdu = damaged(peer::command(&connect, script.data.as_bytes(), &peer.agreement));
    peer.send(&pdu);
    assert_eq!(peer.completion().status(), DAMAGED);
    scene.check();
    assert!(peer.execute(&connect, script.data.as_bytes()).status().is_success());
    scene.end();
}

#[test]
fn a_damaged_header_ends_its_connection_and_comes_back_as_it_was_received() {
    let mut scene = Scene::start();
    for digests in [Digests { header: true, data: false }, BOTH] {
        let (_session, mut damaged_digest) = io(&scene, digests);
        let flush = peer::command(&numbered(command::flush(1), 1), &[], &damaged_digest.agreement);
        let digest = [1, 2, 3, 4];
        damaged_digest.send(&flush.clone().field(HEADER, &digest));
        let ends = Ends::Terminated(3, u32::from_le_bytes(digest));
        ends.check(&mut damaged_digest, "a damaged digest of a command");
        scene.check();

        let (_session, mut damaged_header) = io(&scene, digests);
        let received = flush[HEADER..HEADER + DIGEST_BYTES].try_into().expect("four bytes");
        damaged_header.send(&flush.field(HEADER - 1, &[0x40]));
        let ends = Ends::Terminated(3, u32::from_le_bytes(received));
        ends.check(&mut damaged_header, "a damaged header of a command");
        scene.check();

        let (_session, mut transfer) = io(&scene, digests);
        transfer.command(&by_transport(command::write(1, 0, 1, false), 2, 512), &[]);
        let request = transfer.ready_to_transfer();
        let data = transfer.data(&chunk(&request, 0, 512, true), &[0xee; 512]);
        transfer.send(&data.field(24, &digest));
        let ends = Ends::Terminated(3, u32::from_le_bytes(digest));
        ends.check(&mut transfer, "a damaged header of data");
        scene.check();
    }
    scene.end();
}

#[test]
fn digests_that_were_agreed_on_must_be_there() {
    let mut scene = Scene::start();
    let plain = || peer::capsule(&numbered(command::flush(1), 1), &[]);
    let mut rows = Vec::new();
    for at in [Stage::Admin, Stage::Io] {
        rows.push((at, "no header digest flag", plain(), field(1)));
        let short = plain().flags(flags::HEADER_DIGEST);
        rows.push((at, "no room for a header digest", short, field(4)));
        let write = in_capsule(command::write(1, 0, 1, false), 1, 512);
        let agreement = corelane::pdu::Agreement { header_digest: true, ..corelane::pdu::Agreement::NONE };
        rows.push((at, "no data digest flag", peer::command(&write, &[1; 512], &agreement), field(1)));
    }
    for (at, name, bytes, ends) in rows {
        let mut script = scene.script();
        script.digests = BOTH;
        let mut session = script.start();
        let mut io = session.io(1);
        let peer = if at == Stage::Io { &mut io } else { &mut session.admin };
        peer.send(&bytes);
        ends.check(peer, name);
        scene.check();
    }
    scene.end();
}
