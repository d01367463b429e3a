//! The deepest queue: 4,096 entries, with 4,095 commands outstanding.

use std::collections::BTreeSet;

use corelane::initiator::command;
use corelane::spec::cqe::Cqe;
use corelane::spec::tcp::{PduType, R2t};
use serde_json::json;
use zerocopy::FromBytes;

use crate::pattern;
use crate::peer::{Peer, by_transport};
use crate::scene::{NQN, Scene, connect};

const ENTRIES: u16 = 4096;
const COMMANDS: u16 = ENTRIES - 1;
const BLOCK_BYTES: usize = 512;

/// The next completion; data that R2Ts ask for on the way is sent.
fn serve(io: &mut Peer, round: u64) -> Cqe {
    loop {
        let pdu = io.receive().expect("an R2T or a completion");
        if pdu.common.pdu_type == PduType::CAPSULE_RESP {
            return pdu.cqe();
        }
        let (request, _) = R2t::read_from_prefix(&pdu.bytes).expect("an R2T");
        let lba = u64::from(request.cccid.get());
        io.transfer(&request, &pattern::blocks(round, lba, BLOCK_BYTES));
    }
}

#[test]
fn a_queue_of_4096_entries_takes_4095_commands_at_once() {
    let mut scene = Scene::with_limits(json!({"queue_depth_max": ENTRIES}));
    let host = connect(scene.address, NQN);
    assert_eq!(host.controller().identify.maxcmd.get(), ENTRIES, "MAXCMD");
    host.disconnect().expect("a disconnect");
    for (round, flow_control) in [(1, false), (2, true)] {
        let mut script = scene.script();
        (script.sqsize_z, script.flow_control) = (COMMANDS, flow_control);
        let session = script.start();
        let mut io = session.io(1);
        // No data is sent before the last command is, so none of them can end.
        for cid in 0..COMMANDS {
            io.command(&by_transport(command::write(1, cid.into(), 1, false), cid, BLOCK_BYTES), &[]);
        }
        scene.check();
        let mut done = BTreeSet::new();
        let mut heads = BTreeSet::new();
        while done.len() < usize::from(COMMANDS) {
            let cqe = serve(&mut io, round);
            assert!(cqe.status().is_success(), "{:?}", cqe.status());
            assert!(done.insert(cqe.cid.get()), "a command ends once");
            heads.insert(cqe.sqhd.get());
        }
        assert_eq!(done.last(), Some(&(COMMANDS - 1)));
        assert!(heads.iter().all(|&head| head < ENTRIES), "SQHD is below the size of the queue");
        // All at once again: reads, which the host does not take until the last is sent.
        for cid in 0..COMMANDS {
            io.command(&by_transport(command::read(1, cid.into(), 1), cid, BLOCK_BYTES), &[]);
        }
        let mut read = BTreeSet::new();
        while read.len() < usize::from(COMMANDS) {
            let pdu = io.receive().expect("data");
            if pdu.common.pdu_type == PduType::CAPSULE_RESP {
                assert!(flow_control && pdu.cqe().status().is_success());
                continue;
            }
            let cid = u16::from_le_bytes([pdu.bytes[8], pdu.bytes[9]]);
            assert!(pdu.payload() == pattern::blocks(round, cid.into(), BLOCK_BYTES), "command {cid}");
            assert!(read.insert(cid), "a read is answered once");
        }
        scene.check();
    }
    scene.end();
}
