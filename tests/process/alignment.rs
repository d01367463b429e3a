//! Hosts that want the target's data aligned, and hosts that take any number of R2Ts.

use corelane::initiator::command;
use corelane::pdu::icreq::Request;
use corelane::spec::status::Status;
use corelane::spec::tcp::PduType;

use crate::pattern;
use crate::peer::{Digests, Peer, by_transport, in_capsule};
use crate::scene::Scene;
use crate::session::Script;

const BYTES: usize = 20 << 10;
const BLOCKS: u32 = 40;

/// I/O queue 1 of a controller of its own; the admin queue, which keeps it, comes with it.
fn queue(script: &Script, digests: Digests, alignment: usize, r2t_max: u64) -> (Peer, Peer) {
    let session = script.start();
    let request = Request { header_digest: digests.header, data_digest: digests.data, alignment, r2t_max };
    let mut io = Peer::opened_with(script.address, &request);
    let script = session.script;
    let cqe = io.execute(&script.connect(1).into(), zerocopy::IntoBytes::as_bytes(&script.data));
    assert!(cqe.status().is_success(), "connecting: {:?}", cqe.status());
    (session.admin, io)
}

#[test]
fn data_comes_aligned_as_the_host_asked() {
    let mut scene = Scene::start();
    for digests in Digests::ALL {
        for (alignment, flow_control) in [
            (4, false),
            (8, true),
            (12, false),
            (36, true),
            (64, false),
            (100, true),
            (128, false),
            (128, true),
        ] {
            let mut script = scene.script();
            script.flow_control = flow_control;
            let (admin, mut io) = queue(&script, digests, alignment, 1);
            let data = pattern::blocks(alignment as u64, 0, BYTES);
            io.command(&by_transport(command::write(1, 0, BLOCKS, false), 1, BYTES), &[]);
            let request = io.ready_to_transfer();
            io.transfer(&request, &data);
            assert!(io.completion().status().is_success());
            for (cid, (lba, blocks)) in (2..).zip([(0, 1), (0, BLOCKS), (3, 8)]) {
                let bytes = blocks as usize * 512;
                io.command(&by_transport(command::read(1, lba, blocks), cid, bytes), &[]);
                let pdu = io.receive().expect("data");
                let row = format!("{digests:?}, HPDA of {alignment} bytes");
                assert_eq!(pdu.common.pdu_type, PduType::C2H_DATA, "{row}");
                let (pdo, header_end) = (usize::from(pdu.common.pdo), if digests.header { 28 } else { 24 });
                assert!(pdo.is_multiple_of(alignment) && pdo >= header_end, "{row}: PDO {pdo}");
                assert!(pdo - header_end < alignment, "{row}: no more padding than needed");
                assert!(pdu.bytes[header_end..pdo].iter().all(|&byte| byte == 0), "{row}: zeros");
                let start = usize::try_from(lba).expect("near") * 512;
                assert!(pdu.payload() == &data[start..start + bytes], "{row}");
                assert_eq!(pdu.common.flags & 8 != 0, !flow_control, "{row}: SUCCESS");
                if flow_control {
                    assert!(io.completion().status().is_success(), "{row}");
                }
            }
            drop((admin, io));
        }
        scene.check();
    }
    scene.end();
}

#[test]
fn a_write_takes_one_r2t_however_many_the_host_allows() {
    let mut scene = Scene::start();
    for r2t_max in [1, 2, 16, 1 << 32] {
        let (admin, mut io) = queue(&scene.script(), Digests::NONE, 4, r2t_max);
        for bytes in [512, BYTES, 128 << 10] {
            let blocks = u32::try_from(bytes / 512).expect("few");
            io.command(&by_transport(command::write(1, 0, blocks, false), 1, bytes), &[]);
            let request = io.ready_to_transfer();
            assert_eq!((request.r2to.get(), request.r2tl.get() as usize), (0, bytes), "MAXR2T {r2t_max}");
            io.transfer(&request, &pattern::blocks(1, 0, bytes));
            // Nothing is asked for twice: the next PDU is the response.
            let pdu = io.receive().expect("a response");
            assert_eq!(pdu.common.pdu_type, PduType::CAPSULE_RESP, "MAXR2T {r2t_max}");
            assert!(pdu.cqe().status().is_success());
        }
        drop((admin, io));
    }
    scene.check();
    scene.end();
}

#[test]
fn data_in_the_wrong_place_ends_the_connection() {
    let mut scene = Scene::start();
    for pdo in [0, 8, 23, 25, 26, 27] {
        let (_admin, mut io) = queue(&scene.script(), Digests::NONE, 4, 1);
        io.command(&by_transport(command::write(1, 0, 1, false), 1, 512), &[]);
        let request = io.ready_to_transfer();
        let mut pdu = io.data(&crate::peer::chunk(&request, 0, 512, true), &[7; 512]);
        pdu[3] = pdo;
        io.send(&pdu);
        assert_eq!(io.terminated(), (1, 3), "PDO {pdo} of H2CData");

        let (_admin, mut io) = queue(&scene.script(), Digests::NONE, 4, 1);
        let sqe = in_capsule(command::write(1, 0, 1, false), 1, 512);
        let mut capsule = crate::peer::command(&sqe, &[7; 512], &io.agreement);
        capsule[3] = pdo;
        io.send(&capsule);
        assert_eq!(io.terminated(), (1, 3), "PDO {pdo} of a capsule");
    }
    scene.check();
    scene.end();
}

#[test]
fn data_that_is_not_in_dwords_is_neither_asked_for_nor_taken() {
    let mut scene = Scene::start();
    for (bytes, dwords) in [(1, false), (4095, false), (4094, false), (4096, true)] {
        let mut session = scene.script().start();
        // Host Behavior Support, whose data the target would ask for.
        let mut sqe = corelane::spec::sqe::Sqe::of(0x09, 0, 0);
        sqe.cdw10 = 0x16.into();
        session.admin.command(&by_transport(sqe, 1, bytes), &[]);
        if dwords {
            let request = session.admin.ready_to_transfer();
            session.admin.transfer(&request, &vec![0; bytes]);
        }
        let refused = Status::DATA_SGL_LENGTH_INVALID.with_dnr();
        let expected = if dwords { Status::SUCCESS } else { refused };
        assert_eq!(session.admin.completion().status(), expected, "{bytes} bytes");
    }
    for (offset, bytes, place) in [(0, 510, 16), (2, 508, 12), (0, 1, 16)] {
        let (_admin, mut io) = queue(&scene.script(), Digests::NONE, 4, 1);
        io.command(&by_transport(command::write(1, 0, 1, false), 1, 512), &[]);
        let request = io.ready_to_transfer();
        let chunk = crate::peer::chunk(&request, offset, bytes, false);
        let pdu = io.data(&chunk, &vec![7; bytes]);
        io.send(&pdu);
        assert_eq!(io.terminated(), (1, place), "{bytes} bytes at {offset}");
    }
    scene.check();
    scene.end();
}
