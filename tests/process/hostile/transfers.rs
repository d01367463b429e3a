//! Data PDUs that do not answer an R2T as they should (TCP transport 1.0, sections 3.3.2 and 3.6.2.8).

use corelane::initiator::command;
use corelane::spec::tcp::R2t;

use crate::hostile::{Ends, LIMIT, OUT_OF_RANGE, SEQUENCE, Stage, field};
use crate::peer::{Peer, Wrong, by_transport, chunk, in_capsule};
use crate::scene::{self, NQN, Scene};

const BLOCK_BYTES: usize = 512;
/// What each Write wants to move.
const BYTES: usize = 16 << 10;
const CID: u16 = 3;
const DATAO: usize = 12;
const DATAL: usize = 16;

/// A name, what is sent in answer to an R2T, and what becomes of the connection.
type Row = (&'static str, fn(&Peer, &R2t) -> Vec<u8>, Ends);

/// Data for all of `request`.
fn all(peer: &Peer, request: &R2t) -> Vec<u8> {
    part(peer, request, 0, BYTES, true)
}

fn part(peer: &Peer, request: &R2t, offset: usize, bytes: usize, last: bool) -> Vec<u8> {
    peer.data(&chunk(request, offset, bytes, last), &vec![0xee; bytes])
}

fn renamed(peer: &Peer, request: &R2t, cid: u16, ttag: u16) -> Vec<u8> {
    let other = R2t { cccid: cid.into(), ttag: ttag.into(), ..*request };
    all(peer, &other)
}

const ROWS: &[Row] = &[
    ("a tag that is idle", |peer, r2t| renamed(peer, r2t, CID, r2t.ttag.get() + 1), field(10)),
    ("a tag that cannot be", |peer, r2t| renamed(peer, r2t, CID, 0xffff), field(10)),
    ("another command's CID", |peer, r2t| renamed(peer, r2t, CID + 1, r2t.ttag.get()), field(8)),
    ("a gap at the start", |peer, r2t| part(peer, r2t, 4096, 4096, false), SEQUENCE),
    (
        "a gap in the middle",
        |peer, r2t| [part(peer, r2t, 0, 4096, false), part(peer, r2t, 4100, 4096, false)].concat(),
        SEQUENCE,
    ),
    (
        "the same twice",
        |peer, r2t| [part(peer, r2t, 0, 4096, false), part(peer, r2t, 0, 4096, false)].concat(),
        SEQUENCE,
    ),
    (
        "an overlap",
        |peer, r2t| [part(peer, r2t, 0, 4096, false), part(peer, r2t, 4092, 4096, false)].concat(),
        SEQUENCE,
    ),
    ("more than was asked for", |peer, r2t| part(peer, r2t, 0, BYTES + 4, true), OUT_OF_RANGE),
    ("all of it behind the end", |peer, r2t| part(peer, r2t, BYTES, 4096, true), OUT_OF_RANGE),
    (
        "an offset that wraps around",
        |peer, r2t| part(peer, r2t, 0, 4096, true).field(DATAO, &u32::MAX.to_le_bytes()),
        OUT_OF_RANGE,
    ),
    ("more than MAXH2CDATA", |peer, r2t| part(peer, r2t, 0, (128 << 10) + 4, true), LIMIT),
    ("far more than MAXH2CDATA", |peer, r2t| part(peer, r2t, 0, 4096, true).plen(u32::MAX), LIMIT),
    (
        "DATAL below what PLEN says",
        |peer, r2t| part(peer, r2t, 0, 4096, false).field(DATAL, &4092_u32.to_le_bytes()),
        field(16),
    ),
    (
        "DATAL above what PLEN says",
        |peer, r2t| part(peer, r2t, 0, 4096, false).field(DATAL, &u32::MAX.to_le_bytes()),
        field(16),
    ),
    ("no data at all", |peer, r2t| part(peer, r2t, 0, 4, false).plen(24), field(16)),
    ("LAST too early", |peer, r2t| part(peer, r2t, 0, 4096, true), field(1)),
    ("LAST missing", |peer, r2t| part(peer, r2t, 0, BYTES, false), field(1)),
    ("PDO inside the header", |peer, r2t| all(peer, r2t).pdo(20), field(3)),
    ("PDO unaligned", |peer, r2t| all(peer, r2t).pdo(26), field(3)),
    ("a digest not agreed on", |peer, r2t| all(peer, r2t).flags(0b110), field(1)),
];

#[test]
fn wrong_data_ends_its_connection_and_reaches_no_block() {
    let mut scene = Scene::start();
    for (name, bytes, ends) in ROWS {
        println!("{name}");
        let (mut peer, _session) = Stage::Io.reach(&scene);
        let blocks = u32::try_from(BYTES / BLOCK_BYTES).expect("32");
        peer.command(&by_transport(command::write(1, 0, blocks, false), CID, BYTES), &[]);
        let request = peer.ready_to_transfer();
        assert_eq!((request.r2to.get(), request.r2tl.get() as usize), (0, BYTES));
        let bytes = bytes(&peer, &request);
        peer.send_some(&bytes);
        ends.check(&mut peer, name);
        scene.check();
    }
    let mut host = scene::connect(scene.address, NQN);
    let read = host.read(1, 0, 64).expect("a read");
    assert!(read.iter().all(|&byte| byte == 0), "nothing of a broken transfer is written");
    host.disconnect().expect("a disconnect");
    scene.end();
}

#[test]
fn data_that_nobody_asked_for_ends_its_connection() {
    let mut scene = Scene::start();
    let unasked = R2t {
        header: *corelane::pdu::header::common(&[0; 8]).expect("eight bytes"),
        cccid: CID.into(),
        ttag: 0.into(),
        r2to: 0.into(),
        r2tl: 512.into(),
        reserved: [0; 4],
    };
    let commands = [
        ("for no command", None),
        ("for a Flush", Some((by_transport(command::flush(1), CID, 0), &[][..]))),
        ("for a Read", Some((by_transport(command::read(1, 0, 1), CID, 512), &[][..]))),
        (
            "for a Write that had its data",
            Some((in_capsule(command::write(1, 0, 1, false), CID, 512), &[7; 512])),
        ),
    ];
    for (name, command) in commands {
        println!("{name}");
        let (mut peer, _session) = Stage::Io.reach(&scene);
        if let Some((sqe, data)) = command {
            peer.command(&sqe, data);
        }
        let data = part(&peer, &unasked, 0, 512, true);
        peer.send_some(&data);
        field(10).check(&mut peer, name);
        scene.check();
    }

    let (mut peer, _session) = Stage::Io.reach(&scene);
    peer.command(&by_transport(command::write(1, 0, 1, false), CID, 512), &[]);
    let request = peer.ready_to_transfer();
    peer.transfer(&request, &[7; 512]);
    assert!(peer.completion().status().is_success());
    peer.transfer(&request, &[8; 512]);
    field(10).check(&mut peer, "for a tag that is through");
    scene.end();
}
