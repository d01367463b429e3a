//! `corelane perf`, `discover` and `identify` against `corelane serve`, over real sockets, and against targets that lie.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corelane::initiator::blocking::{Host, HostOptions};
use corelane::spec::nqn::Nqn;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::liar::{Liar, Lie};
use crate::program::{Finished, Program, run};
use crate::scene::{NQN, configuration};

/// From the start of a load to its end.
const LOAD_MAX: Duration = Duration::from_secs(60);

pub(crate) fn target(address: SocketAddr) -> String {
    format!("tcp://{address}/{NQN}")
}

/// Loads spin, so two at a time would measure each other.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOAD: Mutex<()> = Mutex::new(());
    // What failed in another test is no matter of this one.
    LOAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A short load with these options; its words and its output as JSON.
fn load(address: SocketAddr, options: &[&str]) -> (Finished, Value) {
    let target = target(address);
    // On a busy machine a core is shared by many for tens of milliseconds each.
    let time =
        if options.contains(&"--duration") { &[][..] } else { &["--duration", "1s", "--warm-up", "50ms"] };
    let fixed = ["perf", "--target", &target, "--json"];
    let arguments: Vec<&str> = fixed.iter().chain(time).chain(options).copied().collect();
    let _one = one_at_a_time();
    let finished = Program::start(&arguments).finish(LOAD_MAX);
    let object = serde_json::from_str(&finished.output.join("\n")).unwrap_or(Value::Null);
    (finished, object)
}

/// The same, with nothing wrong.
fn clean_load(address: SocketAddr, options: &[&str]) -> Value {
    let (finished, object) = load(address, options);
    assert_eq!(finished.code, 0, "{options:?}: {finished:?}");
    assert_eq!(object["errors"], 0, "{object}");
    assert!(object["iops"].as_f64().is_some_and(|iops| iops > 0.0), "{object}");
    object
}

#[test]
fn loads_of_all_kinds_are_measured() {
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    // Namespace 2 needs no memory, which the kernel may be slow to give.
    let rows: [&[&str]; 7] = [
        &["--depth", "1"],
        &["--nsid", "2", "--mix", "0", "--depth", "16"],
        &["--nsid", "2", "--mix", "70", "--block-size", "64KiB", "--depth", "4", "--pattern", "sequential"],
        &["--nsid", "2", "--connections", "3", "--depth", "8", "--digests", "header,data", "--mix", "50"],
        &["--nsid", "2", "--block-size", "128KiB", "--sq-flow-control", "--depth", "4"],
        &["--block-size", "512", "--verify", "--mix", "50", "--digests", "data", "--duration", "3s"],
        &["--rate", "500", "--depth", "4"],
    ];
    for row in rows {
        let object = clean_load(address, row);
        let (iops, bytes) = (object["iops"].as_f64().unwrap(), object["bytes_per_second"].as_f64().unwrap());
        assert!((bytes - iops * object["block_size"].as_f64().unwrap()).abs() < 1.0, "{object}");
        let latency =
            |name: &str| object["latency_us"][name].as_f64().unwrap_or_else(|| panic!("{name}: {object}"));
        let ascending = ["p50", "p99", "p999", "p9999", "max"].map(latency);
        assert!(ascending.is_sorted() && ascending[0] > 0.0, "{object}");
        assert!(latency("mean") > 0.0 && latency("mean") <= latency("max"));
        if row.contains(&"--rate") {
            assert!(iops < 600.0, "{object}");
        }
        if row.contains(&"--verify") {
            assert_eq!(object["verify"]["blocks_wrong"], 0);
            assert!(object["verify"]["commands_read_back"].as_u64().unwrap() > 0);
        }
    }
    server.stop();
}

#[test]
fn a_sweep_and_a_distribution_are_drawn() {
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (one, many) = (directory.path().join("one.svg"), directory.path().join("many.svg"));
    clean_load(address, &["--depth", "4", "--plot", one.to_str().unwrap()]);
    let object = clean_load(address, &["--depth", "6", "--sweep", "--plot", many.to_str().unwrap()]);
    let depths: Vec<_> = object["sweep"].as_array().unwrap().iter().map(|run| run["depth"].clone()).collect();
    assert_eq!(depths, [1, 2, 4, 6]);
    for (file, words) in [(one, "Latency distribution"), (many, "Latency over load")] {
        let picture = fs::read_to_string(file).expect("the plot");
        assert!(picture.starts_with("<svg ") && picture.contains(words), "{picture}");
    }
    let (finished, object) = load(address, &["--depth", "1", "--plot", "/nonexistent/plot.svg"]);
    assert_eq!(finished.code, 1);
    assert!(finished.errors.contains("--plot /nonexistent/plot.svg: No such file"), "{}", finished.errors);
    assert_eq!(object["errors"], 0, "what was measured is printed nevertheless");
    server.stop();
}

#[test]
fn block_devices_of_a_configuration_take_loads() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("corelane.json");
    let mut bdevs = configuration();
    let path = directory.path().join("disk");
    let disk = json!({"name": "disk", "type": "file", "path": path, "size": "16MiB", "block_size": 512});
    bdevs["bdevs"].as_array_mut().unwrap().push(disk);
    fs::write(&file, bdevs.to_string()).expect("a configuration");
    let file = file.to_str().unwrap();
    let fixed = ["perf", "--duration", "1s", "--warm-up", "0s", "--json", "--config", file, "--target"];
    let _one = one_at_a_time();
    for rest in [
        &["bdev:void", "--block-size", "1MiB"][..],
        &["bdev:ram0", "--mix", "40", "--verify", "--depth", "8"],
    ] {
        let arguments: Vec<&str> = fixed.iter().chain(rest).copied().collect();
        let finished = Program::start(&arguments).finish(LOAD_MAX);
        assert_eq!(finished.code, 0, "{finished:?}");
        let object: Value = serde_json::from_str(&finished.output.join("\n")).expect("JSON");
        assert!(object["iops"].as_f64().unwrap() > 0.0);
    }
    // What a file holds is there after a restart, and perhaps needed.
    let finished = run(&[&fixed[..], &["bdev:disk", "--verify"]].concat());
    assert_eq!(finished.code, 1);
    assert!(finished.errors.contains("overwrites the block device \"disk\""), "{}", finished.errors);
    let finished = run(&[&fixed[..], &["bdev:disk", "--verify", "--mix", "50", "--yes-overwrite"]].concat());
    assert_eq!(finished.code, 0, "{finished:?}");
    let finished = run(&[&fixed[..], &["bdev:nothing"]].concat());
    assert_eq!(finished.code, 1);
    assert!(finished.errors.contains("has no block device \"nothing\""), "{}", finished.errors);
    let finished = run(&["perf", "--target", "bdev:ram0"]);
    assert_eq!(finished.code, 2);
    assert!(finished.errors.contains("needs --config FILE"), "{}", finished.errors);
}

#[test]
fn what_others_wrote_is_not_overwritten_without_a_word() {
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    let mut host = Host::connect(address, &HostOptions::new(Nqn::parse(NQN).unwrap())).expect("connecting");
    host.write(1, 2, &[0x5a; 512]).expect("a write");
    for options in [["--mix", "99"], ["--mix", "0"], ["--verify", "--depth=2"]] {
        let (finished, _) = load(address, &options);
        assert_eq!(finished.code, 1);
        assert!(
            finished.errors.contains("holds something that no load generator wrote (LBA 2)"),
            "{}",
            finished.errors
        );
        assert!(finished.errors.contains("add --yes-overwrite"), "{}", finished.errors);
    }
    assert_eq!(host.read(1, 2, 1).expect("a read"), [0x5a; 512], "it is still there");
    clean_load(address, &["--mix", "100", "--depth", "2"]);
    clean_load(address, &["--mix", "0", "--pattern", "sequential", "--yes-overwrite", "--duration", "3s"]);
    assert_ne!(host.read(1, 2, 1).expect("a read"), [0x5a; 512]);
    // What a load wrote, a load may overwrite.
    clean_load(address, &["--mix", "50", "--verify", "--duration", "3s"]);
    host.disconnect().expect("disconnecting");
    server.stop();
}

#[test]
fn a_flipped_bit_is_found_and_named() {
    let server = Server::start(configuration());
    let liar = Liar::start(server.listeners()[0], Lie::FlipDataBit, 9, 1);
    let (finished, object) =
        load(liar.address, &["--verify", "--mix", "50", "--depth", "4", "--yes-overwrite"]);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert_eq!((object["verify"]["blocks_wrong"].as_u64(), liar.told()), (Some(1), 1), "{object}");
    let wrong = &object["verify"]["first_wrong"][0];
    assert_eq!(
        (&wrong["nsid"], &wrong["meaning"], &wrong["wrong_bytes"]),
        (&json!(1), &json!("one bit is flipped"), &json!(1))
    );
    let (expected, got) = (wrong["expected"].as_u64().unwrap(), wrong["got"].as_u64().unwrap());
    assert_eq!(expected ^ got, 4);
    // Byte 2,060 of the PDU, behind a header of 24 bytes, is byte 500 of the fourth block of 512 bytes.
    assert_eq!((wrong["offset"].as_u64().unwrap(), wrong["lba"].as_u64().unwrap() % 8), (500, 3));
    let words = format!(
        "verify: namespace 1, LBA {}, byte 500: expected {expected:#04x}, got {got:#04x}",
        wrong["lba"]
    );
    assert!(finished.errors.contains(&words), "{words}: {}", finished.errors);
    server.stop();
}

#[test]
fn lies_are_told_as_what_they_are_and_nothing_is_lost() {
    let server = Server::start(configuration());
    let rows = [
        (Lie::WrongCid, "", "the controller broke the protocol: invalid PDU header field at byte 8"),
        (Lie::Oversized, "", "the controller broke the protocol: data transfer out of range"),
        (Lie::OutOfOrder, "", "the controller broke the protocol: data transfer out of range"),
        (Lie::FlipDataBit, "data", "the data came damaged or short"),
        (Lie::FlipHeaderBit, "header", "the controller broke the protocol: header digest error"),
        (Lie::WrongType, "", "the controller broke the protocol: invalid PDU header field at byte 0"),
        (Lie::LongHeader, "header", "the controller broke the protocol: invalid PDU header field at byte 2"),
        (Lie::NoData, "", "the data came damaged or short"),
        (Lie::Stall, "", "I/O queue 1: a command is not answered after 500ms"),
    ];
    for (lie, digests, words) in rows {
        let liar = Liar::start(server.listeners()[0], lie, 5, 1);
        let digests = if digests.is_empty() { "none" } else { digests };
        let options = ["--depth", "4", "--timeout", "500ms", "--digests", digests, "--duration", "2s"];
        let target = target(liar.address);
        let fixed = ["perf", "--target", &target, "--json", "--warm-up", "0s"];
        let _one = one_at_a_time();
        let finished = Program::start(&[&fixed[..], &options].concat()).finish(LOAD_MAX);
        let object: Value = serde_json::from_str(&finished.output.join("\n")).expect("JSON");
        assert_eq!((finished.code, liar.told()), (1, 1), "{lie:?}: {finished:?}");
        assert!(finished.errors.contains(words), "{lie:?}: {}", finished.errors);
        assert_eq!(object["errors"], 1, "{lie:?}: {object}");
        assert!(object["iops"].as_f64().unwrap() > 0.0, "{lie:?}: the load goes on: {object}");
        assert_eq!(object["gave_up"], Value::Null, "{lie:?}");
    }
    server.stop();
}

#[test]
fn verifying_survives_lost_connections() {
    let server = Server::start(configuration());
    for lie in [Lie::Reset, Lie::CutShort] {
        let liar = Liar::start(server.listeners()[0], lie, 6, 3);
        let options = ["--verify", "--mix", "50", "--depth", "4", "--yes-overwrite", "--duration", "3s"];
        let object = clean_load(liar.address, &options);
        assert!(liar.told() > 0);
        assert!(object["connections_lost"].as_u64().unwrap() > 0, "{lie:?}: {object}");
        assert!(object["commands_sent_again"].as_u64().unwrap() > 0, "{lie:?}: {object}");
        assert_eq!(object["verify"]["blocks_wrong"], 0, "{lie:?}: {object}");
    }
    server.stop();
}

#[test]
fn a_target_that_stays_away_is_given_up() {
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    let target = target(address);
    let fixed =
        ["perf", "--target", &target, "--progress", "--duration", "60s", "--warm-up", "0s", "--depth", "4"];
    let program = Program::start(&[&fixed[..], &["--reconnect-for", "300ms"]].concat());
    program.errors_until("measuring");
    drop(server);
    let finished = program.finish(LOAD_MAX);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(
        finished.errors.contains("gave the target up: cannot connect: Connection refused"),
        "{}",
        finished.errors
    );
    assert!(finished.output.iter().any(|line| line.starts_with("IOPS ")), "what was measured: {finished:?}");
}

#[test]
fn ctrl_c_prints_what_was_measured() {
    let server = Server::start(configuration());
    let target = target(server.listeners()[0]);
    let fixed =
        ["perf", "--target", &target, "--progress", "--duration", "60s", "--warm-up", "0s", "--depth", "4"];
    let program = Program::start(&[&fixed[..], &["--json"]].concat());
    program.errors_until("measuring");
    program.signal(Signal::INT);
    let finished = program.finish(LOAD_MAX);
    assert_eq!(finished.code, 0, "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output.join("\n")).expect("JSON");
    assert_eq!(object["interrupted"], true);
    assert!(object["iops"].as_f64().unwrap() > 0.0 && object["seconds"].as_f64().unwrap() < 60.0);
    server.stop();
}

#[test]
fn refusals_name_their_reason() {
    let mut closed = configuration();
    closed["subsystems"][0]["allow_any_host"] = json!(false);
    let server = Server::start(closed);
    let address = server.listeners()[0];
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let silent = nobody.local_addr().expect("its address");
    let free = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.local_addr().expect("its address")
    };
    let unknown = format!("tcp://{address}/nqn.2026-11.io.corelane:nothing");
    let rows = [
        (target(address), "Connect refused: Connect Invalid Host (1h/84h)"),
        (unknown, "Connect refused: Connect Invalid Parameters (1h/82h): SUBNQN (subsystem name)"),
        (target(free), "Connection refused"),
        (target(silent), "not connected after 300ms"),
    ];
    for (target, words) in rows {
        let finished = run(&["perf", "--target", &target, "--timeout", "300ms"]);
        assert_eq!(finished.code, 1, "{target}: {finished:?}");
        assert!(finished.errors.contains(words), "{target}: {}", finished.errors);
        assert!(finished.errors.starts_with(&format!("corelane: {target}: ")), "{}", finished.errors);
    }
    server.stop();
}

#[test]
fn plans_that_a_namespace_cannot_give_are_refused() {
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    let rows: [(&[&str], &str); 4] = [
        (&["--block-size", "1000"], "not a multiple of the 512 bytes of a logical block"),
        (&["--block-size", "16MiB"], "more than the 131072 that one command may transfer"),
        (&["--nsid", "9"], "no active namespace 9; it has 1, 2"),
        (&["--core-list", "9999"], "CPU 9999 is not one of them"),
    ];
    for (options, words) in rows {
        let (finished, _) = load(address, options);
        assert_eq!(finished.code, 1, "{options:?}: {finished:?}");
        assert!(finished.errors.contains(words), "{options:?}: {}", finished.errors);
    }
    let (finished, object) = load(address, &["--depth", "4096"]);
    assert_eq!((finished.code, &object["depth"]), (0, &json!(127)), "{finished:?}");
    assert!(finished.errors.contains("queues take 127 commands: that depth is used"), "{}", finished.errors);
    // Nobody asked for more than that.
    let (finished, object) = load(address, &[]);
    assert_eq!((finished.code, &object["depth"]), (0, &json!(127)), "{finished:?}");
    assert!(!finished.errors.contains("that depth is used"), "{}", finished.errors);
    server.stop();
}

#[test]
fn discover_and_identify_say_what_there_is() {
    let server = Server::start(configuration());
    let address = server.listeners()[0];
    let finished = run(&["discover", &address.to_string(), "--json"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output.join("\n")).expect("JSON");
    let entries = object["entries"].as_array().unwrap();
    let mine = entries.iter().find(|entry| entry["subsystem"] == NQN).expect("an entry");
    assert_eq!((&mine["transport"], &mine["port"]), (&json!("tcp"), &json!(address.port().to_string())));
    let finished = run(&["discover", &address.to_string()]);
    assert!(finished.output[0].starts_with("KIND"), "{finished:?}");
    assert!(finished.output.iter().any(|line| line.ends_with(NQN)), "{finished:?}");

    let finished = run(&["identify", &target(address), "--json"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output.join("\n")).expect("JSON");
    assert_eq!(object["controller"]["subsystem"], NQN);
    let namespaces = object["namespaces"].as_array().unwrap();
    assert_eq!((namespaces.len(), &namespaces[0]["block_size"]), (2, &json!(512)));
    assert_eq!(namespaces[0]["bytes"], 64 << 20);
    assert!(namespaces[0]["uuid"].is_string());
    let finished = run(&["identify", &target(address)]);
    assert!(finished.output.iter().any(|line| line.starts_with("controller ")), "{finished:?}");
    assert!(finished.output.iter().any(|line| line.starts_with("NSID ")), "{finished:?}");

    let finished = run(&["identify", &format!("tcp://{address}/nqn.2026-11.io.corelane:nothing")]);
    assert_eq!(finished.code, 1);
    assert!(finished.errors.contains("SUBNQN (subsystem name)"), "{}", finished.errors);
    server.stop();
}
