//! Names without an end (CVE-2023-6121): nothing that follows a name is logged or answered.

use std::fs;

use corelane::initiator::command;
use corelane::spec::fabrics::ConnectData;
use corelane::spec::log_page::LogPageId;
use corelane::spec::status::Status;
use serde_json::json;
use zerocopy::IntoBytes;

use crate::peer::{Peer, by_transport};
use crate::program::Program;
use crate::scene::{NQN, configuration};
use crate::session::Script;

/// What comes behind the names; no part of it may be seen again.
const MARK: &[u8] = b"!m4rk!";

/// `MARK` all over `field`.
fn marked(field: &mut [u8]) {
    for (place, byte) in field.iter_mut().zip(MARK.iter().cycle()) {
        *place = *byte;
    }
}

/// The names of a Connect, spoiled: 256 bytes without a NUL, text that is no name, and text behind the NUL.
fn spoiled(data: &ConnectData) -> Vec<(&'static str, ConnectData, bool)> {
    let mut rows = Vec::new();
    for (name, at_host) in [("SUBNQN", false), ("HOSTNQN", true)] {
        let change = |change: fn(&mut [u8; 256])| {
            let mut data = *data;
            change(if at_host { &mut data.hostnqn } else { &mut data.subnqn });
            marked(&mut data.reserved_end);
            data
        };
        rows.push((name, change(|field| marked(&mut field[..])), false));
        rows.push((
            name,
            change(|field| {
                // 223 bytes are the longest name; the NUL comes later.
                field.fill(b'n');
                marked(&mut field[223..255]);
                field[255] = 0;
            }),
            false,
        ));
        rows.push((
            name,
            change(|field| {
                let end = field.iter().position(|&byte| byte == 0).expect("a NUL");
                marked(&mut field[end + 1..]);
            }),
            true,
        ));
    }
    rows
}

/// Everything that the target sends until it closes, or until it has nothing more to say.
fn said(peer: &mut Peer, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let Some(pdu) = peer.receive() else { break };
        bytes.extend(pdu.bytes);
    }
    bytes
}

fn has_mark(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

#[test]
fn what_follows_a_name_is_neither_logged_nor_answered() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut written = configuration();
    written["state_dir"] = json!(directory.path().join("state"));
    let file = directory.path().join("corelane.json");
    fs::write(&file, written.to_string()).expect("writing the configuration");
    let file = file.to_str().expect("a path in UTF-8");
    let program = Program::start(&["serve", "--config", file, "--log-level", "trace"]);
    let lines = program.lines_until("listening tcp ");
    let address = lines.last().and_then(|line| line.strip_prefix("listening tcp ")).expect("an address");
    let script = Script::new(address.parse().expect("an address"), NQN);

    for (name, data, is_taken) in spoiled(&script.data) {
        let mut peer = script.opened();
        let connect = script.connect(0);
        peer.command(&connect.into(), data.as_bytes());
        let cqe = peer.completion();
        if is_taken {
            assert!(cqe.status().is_success(), "{name} ends at its NUL: {:?}", cqe.status());
        } else {
            assert_eq!(cqe.status(), Status::CONNECT_INVALID_PARAMETERS.with_dnr(), "{name}");
        }
        assert!(!has_mark(cqe.as_bytes()), "{name}: the answer");
    }
    // A name of control characters is a name, and is told with their escapes.
    let mut forger = script.clone();
    forger.data.hostnqn[..15].copy_from_slice(b"nqn.x\nFORGED\x1b[m");
    drop(forger.start());
    // Nor by what can be read afterwards.
    let mut session = script.start();
    for page in [LogPageId::ERROR, LogPageId::SMART] {
        session.admin.command(&by_transport(command::log_page(page, 0, 4096), 1, 4096), &[]);
        assert!(!has_mark(&said(&mut session.admin, 2)), "{page:?}");
    }
    drop(session);
    program.errors_until("refused a Connect command");
    let log = program.stop().errors;
    assert!(log.contains("FORGED") && !log.lines().any(|line| line.starts_with("FORGED")), "{log}");
    assert!(!log.contains(std::str::from_utf8(MARK).expect("text")), "{log}");
}
