//! What `corelane discover`, `identify` and `perf` say where there is no target, or one that lies before any load runs, or about
//! writes: the reason, an exit status of 1, and no panic.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use corelane::spec::tcp::PduType;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::liar::{Liar, Lie, Queues};
use crate::load::{one_at_a_time, target};
use crate::program::{Finished, Program, run};
use crate::scene::{NQN, configuration};

/// From the start of a command to its end.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// An ICReq.
const ICREQ_BYTES: usize = 128;

/// A listener that reads an ICReq of everyone who comes, answers with these bytes, and hangs up.
fn stranger(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut host in listener.incoming().map_while(Result::ok) {
            let mut icreq = [0; ICREQ_BYTES];
            // Whoever hangs up first: the host judges what it got.
            let _ = host.read_exact(&mut icreq).and_then(|()| host.write_all(&answer));
        }
    });
    address
}

/// An ICResp with this PFV, and of this length; no digests, MAXH2CDATA of 128 KiB.
fn icresp(pfv: u16, plen: u32) -> Vec<u8> {
    let mut pdu = vec![0; 128];
    (pdu[0], pdu[2]) = (PduType::ICRESP.0, 128);
    pdu[4..8].copy_from_slice(&plen.to_le_bytes());
    pdu[8..10].copy_from_slice(&pfv.to_le_bytes());
    pdu[12..16].copy_from_slice(&0x2_0000_u32.to_le_bytes());
    pdu
}

/// The three commands, asked of `address`, each with its own words for what it wanted.
fn ask(address: SocketAddr, timeout: &str) -> [(&'static str, Finished); 3] {
    let target = target(address);
    let _one = one_at_a_time();
    [
        ("discover", run(&["discover", &address.to_string(), "--timeout", timeout])),
        ("identify", run(&["identify", &target, "--timeout", timeout])),
        ("perf", run(&["perf", "--target", &target, "--timeout", timeout, "--duration", "100ms"])),
    ]
}

/// A busy machine must not look like a stall.
fn patience(lie: Lie) -> &'static str {
    if lie == Lie::Stall { "500ms" } else { "10s" }
}

fn told(what: &dyn std::fmt::Debug, address: SocketAddr, timeout: &str, words: &str) {
    for (command, finished) in ask(address, timeout) {
        assert_eq!(finished.code, 1, "{what:?}, {command}: {finished:?}");
        assert!(finished.errors.contains(words), "{what:?}, {command}: {}", finished.errors);
        assert!(finished.output.is_empty(), "{what:?}, {command}: {finished:?}");
        assert!(!finished.errors.contains("panicked"), "{what:?}, {command}: {}", finished.errors);
    }
}

#[test]
fn who_is_no_target_is_told() {
    let rows = [
        (
            "another protocol",
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
            "the controller broke the protocol: invalid PDU header field at byte 0",
        ),
        (
            "an unknown version",
            icresp(1, 128),
            "the controller broke the protocol: unsupported parameter at byte 8",
        ),
        (
            "a header of another length",
            icresp(0, 129),
            "the controller broke the protocol: invalid PDU header field at byte 4",
        ),
        (
            "a header that is too short",
            icresp(0, 8),
            "the controller broke the protocol: invalid PDU header field at byte 4",
        ),
        ("half of it", icresp(0, 128)[..64].to_vec(), "the controller closed the connection"),
        ("nothing", Vec::new(), "the controller closed the connection"),
    ];
    for (what, answer, words) in rows {
        told(&what, stranger(answer), "10s", words);
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    told(&"a closed port", free.expect("an address"), "10s", "Connection refused");
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    told(
        &"silence",
        silent.local_addr().expect("its address"),
        "300ms",
        "admin queue: not connected after 300ms",
    );
    // Multicast cannot be connected to, on no machine.
    let nowhere = "224.0.0.1:4420".parse().expect("an address");
    told(&"no host", nowhere, "300ms", "cannot connect to 224.0.0.1:4420: ");
}

/// A command identifier that no command has, in the header of any PDU.
const UNKNOWN_CID: &str = "the controller broke the protocol: invalid PDU header field at byte 8";
const OUT_OF_RANGE: &str = "the controller broke the protocol: data transfer out of range";

#[test]
fn lies_on_the_admin_queue_are_told() {
    let server = Server::start(configuration());
    let rows = [
        (Lie::WrongCid, PduType::C2H_DATA, UNKNOWN_CID),
        (Lie::Oversized, PduType::C2H_DATA, OUT_OF_RANGE),
        (Lie::OutOfOrder, PduType::C2H_DATA, OUT_OF_RANGE),
        (Lie::Twice, PduType::C2H_DATA, "the controller broke the protocol: PDU out of sequence"),
        (
            Lie::WrongType,
            PduType::C2H_DATA,
            "the controller broke the protocol: invalid PDU header field at byte 0",
        ),
        (
            Lie::LongHeader,
            PduType::C2H_DATA,
            "the controller broke the protocol: invalid PDU header field at byte 2",
        ),
        (
            Lie::Empty,
            PduType::C2H_DATA,
            "the controller broke the protocol: invalid PDU header field at byte 16",
        ),
        (
            Lie::NoLength,
            PduType::C2H_DATA,
            "the controller broke the protocol: invalid PDU header field at byte 4",
        ),
        (Lie::NoData, PduType::C2H_DATA, "the data came damaged or short"),
        (Lie::Stall, PduType::C2H_DATA, "admin queue: a command is not answered after 500ms"),
        (Lie::Reset, PduType::C2H_DATA, "the controller closed the connection"),
        (Lie::CutShort, PduType::C2H_DATA, "the controller closed the connection"),
        (Lie::WrongCid, PduType::CAPSULE_RESP, UNKNOWN_CID),
        (Lie::Twice, PduType::CAPSULE_RESP, UNKNOWN_CID),
        (Lie::Stall, PduType::CAPSULE_RESP, "admin queue: not connected after 500ms"),
        (Lie::Reset, PduType::CAPSULE_RESP, "the controller closed the connection"),
    ];
    for (lie, on, words) in rows {
        let liar = Liar::about(server.listeners()[0], lie, (Queues::Admin, on), 1, usize::MAX);
        told(&(lie, on), liar.address, patience(lie), words);
        assert!(liar.told() >= 3, "{lie:?}");
    }
    server.stop();
}

#[test]
fn lies_about_writes_and_completions_are_told_and_nothing_is_lost() {
    let server = Server::start(configuration());
    let rows = [
        (Lie::WrongCid, PduType::R2T, UNKNOWN_CID),
        (Lie::Oversized, PduType::R2T, OUT_OF_RANGE),
        (Lie::OutOfOrder, PduType::R2T, OUT_OF_RANGE),
        (Lie::Twice, PduType::R2T, "the controller broke the protocol: PDU out of sequence"),
        (
            Lie::NoData,
            PduType::R2T,
            "the controller broke the protocol: success of a command before its data was sent",
        ),
        (Lie::Stall, PduType::R2T, "I/O queue 1: a command is not answered after 500ms"),
        (Lie::WrongCid, PduType::CAPSULE_RESP, UNKNOWN_CID),
        (Lie::Twice, PduType::CAPSULE_RESP, UNKNOWN_CID),
        (Lie::Stall, PduType::CAPSULE_RESP, "I/O queue 1: a command is not answered after 500ms"),
        (Lie::Twice, PduType::C2H_DATA, "the controller broke the protocol: "),
    ];
    for (lie, on, words) in rows {
        let liar = Liar::about(server.listeners()[0], lie, (Queues::Io, on), 5, 1);
        let target = target(liar.address);
        let _one = one_at_a_time();
        let finished = Program::start(&[
            "perf",
            "--target",
            &target,
            "--json",
            "--block-size",
            "64KiB",
            "--mix",
            "50",
            "--verify",
            "--depth",
            "4",
            "--warm-up",
            "0s",
            "--duration",
            "2s",
            "--timeout",
            patience(lie),
            "--yes-overwrite",
        ])
        .finish(COMMAND_MAX);
        let object: Value = serde_json::from_str(&finished.output.join("\n")).expect("JSON");
        assert_eq!((finished.code, liar.told()), (1, 1), "{lie:?} {on:?}: {finished:?}");
        assert!(finished.errors.contains(words), "{lie:?} {on:?}: {}", finished.errors);
        assert_eq!(object["errors"], 1, "{lie:?} {on:?}: {object}");
        assert_eq!(object["verify"]["blocks_wrong"], 0, "{lie:?} {on:?}: {object}");
        assert!(object["verify"]["commands_read_back"].as_u64().is_some_and(|count| count > 0), "{object}");
    }
    server.stop();
}

#[test]
fn hosts_that_are_not_listed_are_told() {
    let mut closed = configuration();
    closed["subsystems"][0]["allow_any_host"] = json!(false);
    let listed = "nqn.2014-08.org.nvmexpress:uuid:0e1c2a1e-6a7b-4a53-9b0a-3f1d9f0b1c55";
    closed["subsystems"][0]["hosts"] = json!([listed]);
    let server = Server::start(closed);
    let address = server.listeners()[0];
    let finished = run(&["identify", &target(address)]);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(
        finished.errors.contains("Connect refused: Connect Invalid Host (1h/84h)"),
        "{}",
        finished.errors
    );
    let subsystems = |options: &[&str]| {
        let finished = run(&[&["discover", &address.to_string()][..], options].concat());
        assert_eq!(finished.code, 0, "{finished:?}");
        finished.output.iter().filter(|line| line.ends_with(NQN)).count()
    };
    assert_eq!((subsystems(&[]), subsystems(&["--hostnqn", listed])), (0, 1), "only who may come is told");
    assert_eq!(run(&["identify", &target(address), "--hostnqn", listed]).code, 0);
    server.stop();
}
