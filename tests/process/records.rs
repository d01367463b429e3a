//! What a target does about the records that it finds, or does not find, when it starts.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;

use corelane::initiator::blocking::{Host, HostError};
use corelane::reservation::Record;
use corelane::spec::nqn::Nqn;
use corelane::spec::status::Status;

use crate::program::{Program, run};
use crate::residence::{Residence, register};
use crate::storm::{self, report};

pub(crate) const KEY: u64 = u64::MAX;

pub(crate) fn connect(address: SocketAddr) -> Host {
    Host::connect(address, &storm::options()).expect("connecting")
}

/// The namespace does everything.
pub(crate) fn served(host: &mut Host, nsid: u32) {
    let data = vec![7; 4096];
    host.write(nsid, 1, &data).expect("a write");
    assert!(host.read(nsid, 1, 1).expect("a read") == data);
    report(host, nsid).expect("a report");
}

/// Reads the status of a command that must fail.
pub(crate) fn status<T>(result: Result<T, HostError>) -> Option<Status> {
    result.err().and_then(|error| error.status())
}

/// It ends in order, and has neither warned nor complained.
pub(crate) fn silent(program: Program) {
    assert_eq!(program.stop().errors, "", "nothing is wrong");
}

#[test]
fn a_start_without_records_is_silent_and_serves() {
    let residence = Residence::new(2);
    for start in ["first", "second"] {
        let (program, address) = residence.start();
        let mut host = connect(address);
        for nsid in [1, 2] {
            served(&mut host, nsid);
            let found = report(&mut host, nsid).expect("a report").header;
            assert_eq!((found.generation.get(), found.regstrnt.get()), (0, 0), "{start}");
        }
        host.disconnect().expect("a disconnect");
        silent(program);
        assert!(!residence.record(1).exists(), "nobody asked for a record");
    }
}

#[test]
fn a_record_that_is_missing_beside_one_that_is_there_is_silent() {
    let residence = Residence::new(2);
    let (program, address) = residence.start();
    register(&mut connect(address), 1, KEY).expect("a registration");
    silent(program);
    let (program, address) = residence.start();
    let mut host = connect(address);
    assert_eq!(report(&mut host, 1).expect("a report").registrants[0].rkey.get(), KEY);
    assert_eq!(report(&mut host, 2).expect("a report").registrants, []);
    silent(program);
}

/// Records of both namespaces, as a target wrote them.
pub(crate) fn written(residence: &Residence) -> [Vec<u8>; 2] {
    let (program, address) = residence.start();
    let mut host = connect(address);
    for nsid in [1, 2] {
        register(&mut host, nsid, KEY).expect("a registration");
    }
    silent(program);
    [1, 2].map(|nsid| fs::read(residence.record(nsid)).expect("a record"))
}

fn of_another_subsystem(bytes: &[u8]) -> Vec<u8> {
    let mut record = Record::decode(bytes).expect("a record");
    record.identity.subsystem = Nqn::parse("nqn.2026-11.io.corelane:other").expect("a name");
    record.encode()
}

fn of_another_nsid(bytes: &[u8]) -> Vec<u8> {
    let mut record = Record::decode(bytes).expect("a record");
    record.identity.nsid = 7;
    record.encode()
}

fn changed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = str::from_utf8(bytes).expect("text");
    assert!(text.contains(from), "{from} in {text}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn a_record_that_cannot_be_used_fences_its_namespace_and_no_other() {
    let residence = Residence::new(2);
    let [own, other] = written(&residence);
    let rows: [(&str, Vec<u8>, &str); 11] = [
        ("empty", Vec::new(), "ends too early"),
        ("torn", own[..own.len() / 2].to_vec(), "ends too early"),
        ("no text", vec![0xff; 64], "is not UTF-8"),
        ("no JSON", b"reservations\n".to_vec(), "expected"),
        ("changed by hand", changed(&own, "ffffffffffffffff", "fffffffffffffffe"), "checksum: "),
        ("nested without end", b"[".repeat(1 << 20), "[0]: invalid type"),
        ("of an older version", changed(&own, "\"format\": 1", "\"format\": 0"), "format: is 0"),
        ("of a later version", changed(&own, "\"format\": 1", "\"format\": 3"), "format: is 3"),
        ("of another UUID", other, "uuid: is "),
        ("of another subsystem", of_another_subsystem(&own), "subsystem: is "),
        ("of another NSID", of_another_nsid(&own), "nsid: is 7"),
    ];
    for (name, bytes, reason) in rows {
        println!("a record {name}");
        fs::write(residence.record(1), &bytes).expect("damaging the record");
        fenced(&residence, reason);
        assert_eq!(fs::read(residence.record(1)).expect("a record"), bytes, "what is not understood stays");
    }
    fs::write(residence.record(1), &own).expect("mending the record");
    let (program, address) = residence.start();
    served(&mut connect(address), 1);
    silent(program);
}

/// Puts something in the place of a record, and what is said about it.
type Put = (fn(&Path), &'static str);

#[test]
fn a_record_that_is_no_file_or_endless_fences_its_namespace_and_no_other() {
    let residence = Residence::new(2);
    let [own, _] = written(&residence);
    let record = residence.record(1);
    let elsewhere = record.with_file_name("elsewhere");
    fs::write(&elsewhere, own).expect("a file");
    let endless = |record: &Path| {
        let file = fs::File::create(record).expect("a file");
        file.set_len(1 << 40).expect("a length of which no byte is written");
    };
    let put: [Put; 3] = [
        (endless, "it has more than 134217728 bytes"),
        (|record| fs::create_dir(record).expect("a directory"), "it is no regular file"),
        (|record| symlink("elsewhere", record).expect("a link"), "it is no regular file"),
    ];
    for (put, reason) in put {
        let _ = fs::remove_dir(&record);
        let _ = fs::remove_file(&record);
        put(&record);
        fenced(&residence, reason);
    }
}

/// The first namespace is out of service, the log says why, and the second serves.
fn fenced(residence: &Residence, reason: &str) {
    let (program, address) = residence.start();
    let mut host = connect(address);
    assert_eq!(host.namespaces().expect("the namespaces"), [1, 2]);
    assert_eq!(host.geometry(1).expect("Identify").blocks, 256);
    let refused = Some(Status::INTERNAL_ERROR.with_dnr());
    assert_eq!(status(host.read(1, 0, 1)), refused, "Read");
    assert_eq!(status(host.write(1, 0, &[0; 4096])), refused, "Write");
    assert_eq!(status(host.flush(1)), refused, "Flush");
    assert_eq!(status(host.write_zeroes(1, 0, 1, true)), refused, "Write Zeroes");
    assert_eq!(status(host.deallocate(1, &[(0, 1)])), refused, "Dataset Management");
    assert_eq!(status(register(&mut host, 1, 1)), refused, "Reservation Register");
    assert_eq!(status(report(&mut host, 1)), refused, "Reservation Report");
    served(&mut host, 2);
    assert_eq!(report(&mut host, 2).expect("a report").registrants[0].rkey.get(), KEY);
    host.disconnect().expect("a disconnect");
    let errors = program.stop().errors;
    let [line] = &errors.lines().collect::<Vec<_>>()[..] else { panic!("one line and not: {errors}") };
    let file = residence.record(1);
    for part in ["ERROR", file.to_str().expect("a path in UTF-8"), reason, storm::NQN, "nsid=1"] {
        assert!(line.contains(part), "{part:?} is missing in: {line}");
    }
}

#[test]
fn an_operator_gives_up_a_damaged_record_once_the_target_is_stopped() {
    let residence = Residence::new(2);
    written(&residence);
    fs::write(residence.record(1), "").expect("damaging the record");
    let (program, _) = residence.start();
    let uuid = storm::uuid(1);
    let record = residence.record(1);
    let state = record.parent().and_then(Path::to_str).expect("a path in UTF-8");
    let clear = ["reservation", "clear", &uuid, "--yes", "--state-dir", state];
    let refused = run(&clear);
    assert_eq!(refused.code, 1);
    assert!(refused.errors.contains(&format!("in use by process {}", program.id())), "{refused:?}");
    program.stop();
    let cleared = run(&clear);
    assert_eq!(cleared.code, 0, "{cleared:?}");
    for part in ["WARN", "an operator cleared", &uuid, "ends too early"] {
        assert!(cleared.errors.contains(part), "{part:?} is missing in the log: {}", cleared.errors);
    }
    let (program, address) = residence.start();
    served(&mut connect(address), 1);
    silent(program);
}
