//! Write protection of namespaces, by hosts and by the operator, over whole processes.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use corelane::initiator::blocking::{Exchange, Host, HostError};
use corelane::initiator::command;
use corelane::spec::feature::WriteProtectionState;
use corelane::spec::identify::Cns;
use corelane::spec::log_page::{LogPageId, WARNING_RELIABILITY};
use corelane::spec::status::Status;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::Server;
use crate::mounts::{Mounted, fill};
use crate::program::run;
use crate::records::{KEY, connect, served, silent, status};
use crate::reload::reload;
use crate::residence::{Residence, register};
use crate::scene;
use crate::storm::{report, uuid};

const END_MAX: Duration = Duration::from_secs(20);
const PROTECTED: Option<Status> = Some(Status::WRITE_PROTECTED.with_dnr());
const BLOCK: usize = 512;

/// Feature 84h of a namespace.
fn protect(host: &mut Host, nsid: u32, protected: bool) -> Result<(), HostError> {
    let state = if protected { WriteProtectionState::PROTECTED } else { WriteProtectionState::NONE };
    host.admin(&command::write_protection(nsid, state), Exchange::None).map(drop)
}

/// What a write of one block of 4,096 bytes is answered, where it is refused.
fn write(host: &mut Host, nsid: u32) -> Option<Status> {
    status(host.write(nsid, 3, &[9; 4096]))
}

/// NSATTR.
fn attributes(host: &mut Host, nsid: u32) -> u8 {
    host.identify(Cns::NAMESPACE, nsid).expect("a page")[99]
}

#[test]
fn what_a_host_protects_survives_sigkill_and_what_it_lifts_leaves_nothing() {
    let residence = Residence::new(2);
    let (program, address) = residence.start();
    let (mut host, mut other) = (connect(address), connect(address));
    served(&mut host, 1);
    protect(&mut host, 1, true).expect("Set Features");
    assert_eq!((write(&mut other, 1), write(&mut other, 2)), (PROTECTED, None));
    program.signal(Signal::KILL);
    program.finish(END_MAX);

    let shown = run(&[
        "--log-level",
        "warn",
        "reservation",
        "show",
        &uuid(1),
        "--state-dir",
        &residence.path("state"),
    ]);
    assert!(shown.output.iter().any(|line| line == "write protected:      yes"), "{shown:?}");
    let (program, address) = residence.start();
    (host, other) = (connect(address), connect(address));
    for host in [&mut host, &mut other] {
        assert_eq!(write(host, 1), PROTECTED);
        assert_eq!((write(host, 2), attributes(host, 1), attributes(host, 2)), (None, 1, 0));
        host.read(1, 0, 1).expect("a read");
        host.flush(1).expect("a flush");
    }
    register(&mut other, 1, KEY).expect("a registration");
    protect(&mut other, 1, false).expect("Set Features");
    assert_eq!((write(&mut host, 1), attributes(&mut host, 1)), (None, 0));
    program.signal(Signal::KILL);
    program.finish(END_MAX);

    let (program, address) = residence.start();
    host = connect(address);
    served(&mut host, 1);
    assert_eq!(report(&mut host, 1).expect("a report").registrants[0].rkey.get(), KEY);
    silent(program);
}

#[test]
fn a_record_of_a_protected_namespace_that_is_damaged_puts_it_out_of_service() {
    let residence = Residence::new(2);
    let (program, address) = residence.start();
    protect(&mut connect(address), 1, true).expect("Set Features");
    silent(program);
    let sound = fs::read_to_string(residence.record(1)).expect("a record");
    let rows = [
        (sound.replace("\"write_protected\": true", "\"write_protected\": false"), "checksum: is"),
        (
            sound.replace("  \"write_protected\": true,\n", "").replace("\"format\": 2", "\"format\": 1"),
            "checksum: is",
        ),
        (sound[..sound.len() / 2].to_owned(), "ends too early"),
        (sound.replace("\"format\": 2", "\"format\": 3"), "format: is 3"),
    ];
    for (text, reason) in rows {
        fs::write(residence.record(1), &text).expect("damaging the record");
        let (program, address) = residence.start();
        let mut host = connect(address);
        let refused = Some(Status::INTERNAL_ERROR.with_dnr());
        assert_eq!(
            (write(&mut host, 1), status(protect(&mut host, 1, false))),
            (refused, refused),
            "{reason}"
        );
        let smart = host.admin(&command::log_page(LogPageId::SMART, 0, 512), Exchange::Receive(512));
        assert_eq!(
            smart.expect("a page").data[0],
            WARNING_RELIABILITY,
            "hosts can see that something is wrong"
        );
        served(&mut host, 2);
        let errors = program.stop().errors;
        assert!(errors.contains(reason) && errors.contains(&residence.path("state")), "{errors}");
        assert_eq!(fs::read_to_string(residence.record(1)).expect("a record"), text, "it stays as it is");
    }
    fs::write(residence.record(1), sound).expect("mending the record");
    let (program, address) = residence.start();
    assert_eq!(write(&mut connect(address), 1), PROTECTED);
    silent(program);
}

#[test]
fn what_cannot_be_kept_is_refused_and_hosts_write_as_before() {
    let residence = Residence::new(2);
    let Some(_mounted) = Mounted::small(&residence.state()) else { return };
    let (program, address) = residence.start();
    let mut host = connect(address);
    let ballast = fill(&residence.state());
    for _ in 0..3 {
        assert_eq!(status(protect(&mut host, 1, true)), Some(Status::INTERNAL_ERROR), "to be tried again");
        assert_eq!((write(&mut host, 1), attributes(&mut host, 1)), (None, 0));
    }
    fs::remove_file(ballast).expect("making room");
    protect(&mut host, 1, true).expect("Set Features");
    assert_eq!(write(&mut host, 1), PROTECTED);
    assert_eq!(program.stop().errors.lines().count(), 3, "a line for each failure");
}

/// A block that says which write it was, in each of its words.
fn block(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(BLOCK / 8)
}

/// Writes the block `lba` again and again, until that is refused; then it is refused for good. The last write that was
/// answered with success.
fn write_on(host: &mut Host, lba: u64, began: &AtomicBool) -> u64 {
    for number in 1.. {
        match status(host.write(1, lba, &block(number))) {
            None => began.store(true, Ordering::Relaxed),
            refused => {
                assert_eq!(refused, PROTECTED);
                (0..50).for_each(|_| assert_eq!(status(host.write(1, lba, &block(0))), PROTECTED));
                return number - 1;
            }
        }
    }
    unreachable!("it is refused some time")
}

#[test]
fn nothing_lands_on_a_protected_namespace_from_any_core() {
    const WRITERS: u64 = 4;
    let cores = corelane_reactors::cpu::allowed();
    let mut configuration = scene::configuration();
    configuration["reactors"]["io"] = json!(cores.iter().take(2).collect::<Vec<_>>());
    let server = Server::start(configuration);
    let address = server.listeners()[0];
    let mut host = scene::connect(address, scene::NQN);
    for _ in 0..20 {
        let began: Vec<AtomicBool> = (0..WRITERS).map(|_| AtomicBool::new(false)).collect();
        thread::scope(|scope| {
            let writer = |lba: u64| {
                let began = &began[usize::try_from(lba).expect("a small number")];
                scope.spawn(move || {
                    let mut host = scene::connect(address, scene::NQN);
                    let last = write_on(&mut host, lba, began);
                    host.disconnect().expect("a disconnect");
                    last
                })
            };
            let writers: Vec<_> = (0..WRITERS).map(writer).collect();
            while !began.iter().all(|began| began.load(Ordering::Relaxed)) {
                thread::yield_now();
            }
            protect(&mut host, 1, true).expect("Set Features");
            let before: Vec<_> = (0..WRITERS).map(|lba| host.read(1, lba, 1).expect("a read")).collect();
            for (lba, writer) in (0..).zip(writers) {
                let last = writer.join().expect("a writer");
                let now = host.read(1, lba, 1).expect("a read");
                assert!(now == before[usize::try_from(lba).expect("a small number")], "a write landed");
                assert!(now == block(last), "what was answered is there, and what was refused is not");
            }
        });
        protect(&mut host, 1, false).expect("Set Features");
    }
    host.disconnect().expect("a disconnect");
    server.stop();
}

#[test]
fn what_the_configuration_protects_hosts_cannot_lift_and_sighup_can() {
    let protecting = |protected: bool| {
        let mut wanted = scene::configuration();
        wanted["subsystems"][0]["namespaces"][0]["write_protected"] = json!(protected);
        wanted
    };
    let server = Server::start(protecting(true));
    let mut host = scene::connect(server.listeners()[0], scene::NQN);
    let write = |host: &mut Host| status(host.write(1, 0, &[1; BLOCK]));
    assert_eq!((write(&mut host), attributes(&mut host, 1)), (PROTECTED, 1));
    assert_eq!(status(protect(&mut host, 1, false)), Some(Status::FEATURE_NOT_CHANGEABLE.with_dnr()));
    let log = reload(&server, protecting(false), 1);
    assert!(log.contains("subsystems[0].namespaces[0].write_protected"), "{log}");
    let until = |host: &mut Host, wanted: Option<Status>| {
        // The log tells of it right before the cores have it.
        let found = (0..100_000).map(|_| (write(host), attributes(host, 1)));
        assert!(found.into_iter().any(|found| found == (wanted, u8::from(wanted.is_some()))), "{wanted:?}");
    };
    until(&mut host, None);
    reload(&server, protecting(true), 2);
    until(&mut host, PROTECTED);
    host.disconnect().expect("a disconnect");
    server.stop();
}
