//! What the target and `corelane reservation` say about state directories that cannot be used, or can no longer, and what
//! they do when they can be used again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use corelane::initiator::blocking::{Exchange, Host, HostError};
use corelane::initiator::command::reservation;
use corelane::spec::reservation::{PersistChange, RegisterAction};
use corelane::spec::status::Status;
use rustix::process::Signal;
use serde_json::{Value, json};
use zerocopy::IntoBytes;

use crate::mounts::{Mounted, fill, without_privilege};
use crate::program::{run, run_by};
use crate::records::{KEY, connect, served, silent, status, written};
use crate::residence::{Residence, register};
use crate::starting::refused;
use crate::storm::{NQN, report, uuid};

const END_MAX: Duration = Duration::from_secs(20);
/// Where the message ends that has to keep an operator from opening the fence.
const ELSEWHERE: &str = "right for a new target only";

/// A file as SPDK writes it, with the largest key.
fn of_spdk(residence: &Residence) -> String {
    let host = "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a";
    let file = residence.path("spdk.json");
    let content = json!({
        "ptpl": true, "rtype": 1, "crkey": KEY, "bdev_uuid": uuid(1), "holder_uuid": host,
        "registrants": [{"rkey": KEY, "host_uuid": host}]
    });
    fs::write(&file, content.to_string()).expect("a file");
    file
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A command line of `corelane reservation` on the state directory.
fn look(residence: &Residence, line: &str) -> Vec<String> {
    [
        &words("--log-level warn reservation"),
        &words(line),
        &words("--state-dir")[..],
        &[residence.path("state")],
    ]
    .concat()
}

/// Every subcommand, on namespace 1.
fn lines(residence: &Residence) -> [String; 5] {
    let (uuid, file) = (uuid(1), of_spdk(residence));
    [
        "list".to_owned(),
        "verify".to_owned(),
        format!("show {uuid}"),
        format!("clear {uuid} --yes"),
        format!("import {file} --nqn {NQN} --nsid 1 --uuid {uuid} --yes"),
    ]
}

/// The target and every subcommand refuse, name the directory, and say this.
fn unusable(residence: &Residence, by: &[&str], serve: &[&str], reservation: &[&str]) {
    let state = residence.path("state");
    refused(&run_by(by, &residence.serve()), &[&[&*state], serve].concat());
    for line in lines(residence) {
        println!("reservation {line}");
        refused(&run_by(by, &look(residence, &line)), &[&[&*state], reservation].concat());
    }
}

/// Names and contents of the regular files.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries
        .filter(|path| !path.ends_with("corelane.lock"))
        .map(|path| (path.display().to_string(), fs::read(&path).expect("a file")))
        .collect();
    files.sort();
    files
}

/// From now on the state directory must exist.
fn must_exist(residence: &Residence) {
    let file = residence.path("corelane.json");
    let text = fs::read_to_string(&file).expect("the configuration");
    let mut configuration: Value = serde_json::from_str(&text).expect("JSON");
    configuration["state_must_exist"] = json!(true);
    fs::write(&file, configuration.to_string()).expect("the configuration");
}

#[test]
fn a_disk_that_is_not_mounted_is_named_and_left_alone() {
    let residence = Residence::new(2);
    must_exist(&residence);
    unusable(
        &residence,
        &[],
        &["does not exist", "is its disk mounted?"],
        &["does not exist", "is its disk mounted?", "--state-dir"],
    );
    assert!(!residence.state().exists(), "nothing is created");
    fs::create_dir(residence.state()).expect("a mount point");
    unusable(
        &residence,
        &[],
        &["has no marker", "is its disk mounted?"],
        &["has no marker", "is its disk mounted?", "--state-dir"],
    );
    assert_eq!(files(&residence.state()), [], "nothing is left in it");
}

#[test]
fn a_file_in_place_of_the_state_directory_is_named_and_left_alone() {
    let residence = Residence::new(2);
    fs::write(residence.state(), "mine").expect("a file");
    let wanted = ["is not a directory", "--state-dir"];
    unusable(&residence, &[], &wanted, &wanted);
    assert_eq!(fs::read_to_string(residence.state()).expect("the file"), "mine");
}

#[test]
fn a_state_directory_without_permission_is_named_and_left_alone() {
    let residence = Residence::new(2);
    written(&residence);
    let before = files(&residence.state());
    let Some(by) = without_privilege() else { return };
    let wanted = ["cannot be read and written by this user", "change its owner", ELSEWHERE];
    fs::set_permissions(residence.state(), Permissions::from_mode(0o000)).expect("a mode");
    unusable(&residence, by, &wanted, &wanted);
    fs::set_permissions(residence.state(), Permissions::from_mode(0o700)).expect("a mode");
    assert_eq!(files(&residence.state()), before);
    let (program, address) = residence.start_by(by);
    served(&mut connect(address), 1);
    silent(program);
}

#[test]
fn a_read_only_file_system_is_named_and_what_is_kept_is_found_when_it_can_be_written() {
    let residence = Residence::new(2);
    written(&residence);
    let before = files(&residence.state());
    let Some(mounted) = Mounted::read_only(&residence.state()) else { return };
    let wanted = ["is on a read-only file system", "kernel's log", "mount it for writing", ELSEWHERE];
    unusable(&residence, &[], &wanted, &wanted);
    assert_eq!(files(&residence.state()), before);
    drop(mounted);
    let (program, address) = residence.start();
    let found = report(&mut connect(address), 1).expect("a report");
    assert_eq!(found.registrants[0].rkey.get(), KEY);
    silent(program);
}

#[test]
fn a_new_state_directory_on_a_full_file_system_is_named() {
    let residence = Residence::new(2);
    let Some(_mounted) = Mounted::small(&residence.state()) else { return };
    let ballast = fill(&residence.state());
    let wanted = ["is on a full file system", "make space", ELSEWHERE];
    refused(&run(&residence.serve()), &[&[&*residence.path("state")], &wanted[..]].concat());
    fs::remove_file(ballast).expect("making room");
    let (program, address) = residence.start();
    served(&mut connect(address), 1);
    silent(program);
}

#[test]
fn what_is_kept_on_a_file_system_that_is_full_is_served_and_looked_after() {
    let residence = Residence::new(2);
    let Some(_mounted) = Mounted::small(&residence.state()) else { return };
    let [own, _] = written(&residence);
    // Not even the page of the owner's process identifier is left.
    fs::write(residence.state().join("corelane.lock"), []).expect("the lock file");
    fill(&residence.state());
    let (program, address) = residence.start();
    let mut host = connect(address);
    for nsid in [1, 2] {
        served(&mut host, nsid);
        assert_eq!(report(&mut host, nsid).expect("a report").registrants[0].rkey.get(), KEY);
    }
    refused(&run(&look(&residence, "list")), &["in use by another process"]);
    silent(program);

    let [list, verify, show, clear, import] = lines(&residence);
    for line in [list, verify, show] {
        let finished = run(&look(&residence, &line));
        assert_eq!((finished.code, finished.errors.as_str()), (0, ""), "{line}: {finished:?}");
    }
    let file = residence.record(1);
    let wanted = [file.to_str().expect("UTF-8"), "no space is left on the file system; make some"];
    refused(&run(&look(&residence, &import)), &wanted);
    assert_eq!(fs::read(&file).expect("the record"), own, "a refused import changes nothing");
    for line in [&clear, &clear.replace(&uuid(1), &uuid(2))] {
        assert_eq!(run(&look(&residence, line)).code, 0, "what takes no space is done");
    }
    assert!(!file.exists() && !residence.record(2).exists());
    let imported = run(&look(&residence, &import));
    assert_eq!(imported.code, 0, "the records made room: {imported:?}");
}

#[test]
fn a_full_disk_refuses_what_it_should_keep_until_there_is_room() {
    let residence = Residence::new(2);
    let Some(_mounted) = Mounted::small(&residence.state()) else { return };
    let reason = "no space is left on the file system; make some; the record is what it was";
    refuses_meanwhile(
        &residence,
        &[],
        reason,
        |state| drop(fill(state)),
        |state| fs::remove_file(state.join("ballast")).expect("making room"),
    );
}

#[test]
fn a_directory_that_may_not_be_written_any_more_refuses_until_it_may() {
    let residence = Residence::new(2);
    let mode =
        |mode| move |state: &Path| fs::set_permissions(state, Permissions::from_mode(mode)).expect("a mode");
    let reason = "permission denied; give the directory and its files back to the user that Corelane runs as";
    let Some(by) = without_privilege() else { return };
    refuses_meanwhile(&residence, by, reason, mode(0o500), mode(0o700));
}

/// A Register that is to survive is refused after `harm`, and changes nothing, while everything else is served; after
/// `mend`, the next one works, and survives.
fn refuses_meanwhile(
    residence: &Residence,
    by: &[&str],
    reason: &str,
    harm: impl FnOnce(&Path),
    mend: impl FnOnce(&Path),
) {
    let (program, address) = residence.start_by(by);
    let (mut first, mut second) = (connect(address), connect(address));
    register(&mut first, 1, KEY).expect("a registration");
    let told = report(&mut first, 1).expect("a report");
    let kept = fs::read(residence.record(1)).expect("a record");

    harm(&residence.state());
    for _ in 0..3 {
        assert_eq!(status(register(&mut second, 1, 2)), Some(Status::INTERNAL_ERROR), "to be tried again");
        assert_eq!(report(&mut second, 1).expect("a report"), told, "nothing has changed");
    }
    assert_eq!(fs::read(residence.record(1)).expect("the record"), kept);
    for nsid in [1, 2] {
        served(&mut first, nsid);
    }
    volatile(&mut second, 2).expect("a registration that nobody wants to keep");

    mend(&residence.state());
    register(&mut second, 1, 2).expect("the next registration");
    let told = report(&mut second, 1).expect("a report");
    assert_eq!((told.header.generation.get(), told.header.regstrnt.get()), (2, 2));
    program.signal(Signal::KILL);
    let errors = program.finish(END_MAX).errors;
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "one line for each failure: {errors}");
    let file = residence.record(1);
    for part in ["ERROR", "cannot save reservations", file.to_str().expect("UTF-8"), reason] {
        assert!(lines.iter().all(|line| line.contains(part)), "{part:?} is missing: {errors}");
    }

    let (program, address) = residence.start();
    let mut host = connect(address);
    let found = report(&mut host, 1).expect("a report");
    assert_eq!(found.header.generation, told.header.generation);
    assert_eq!(found.registrants.len(), 2);
    assert_eq!(report(&mut host, 2).expect("a report").registrants, [], "nobody wanted to keep it");
    silent(program);
}

/// Registers for as long as the target lives.
fn volatile(host: &mut Host, nsid: u32) -> Result<(), HostError> {
    let (sqe, data) = reservation::register(nsid, RegisterAction::REGISTER, PersistChange::KEEP, 0, KEY);
    host.io(&sqe, Exchange::Send(data.as_bytes())).map(drop)
}

#[test]
fn a_state_directory_that_was_removed_takes_no_reservations_and_is_not_made_anew() {
    let residence = Residence::new(2);
    residence.start().0.stop();
    must_exist(&residence);
    let (program, address) = residence.start();
    let mut host = connect(address);
    fs::remove_dir_all(residence.state()).expect("removing the directory");
    assert_eq!(status(register(&mut host, 1, KEY)), Some(Status::INTERNAL_ERROR));
    assert_eq!(report(&mut host, 1).expect("a report").registrants, []);
    served(&mut host, 1);
    let errors = program.stop().errors;
    for part in [residence.path("state").as_str(), "the state directory was removed or emptied", "restart"] {
        assert!(errors.contains(part), "{part:?} is missing: {errors}");
    }
    refused(&run(&residence.serve()), &[&residence.path("state"), "does not exist"]);
}

#[test]
fn a_key_of_64_bits_goes_from_spdk_to_the_report_with_every_bit() {
    let residence = Residence::new(1);
    residence.start().0.stop();
    let [list, verify, show, _, import] = lines(&residence);
    for line in [import, list, verify] {
        let finished = run(&look(&residence, &line));
        assert_eq!(finished.code, 0, "{line}: {finished:?}");
    }
    let (program, address) = residence.start();
    let found = report(&mut connect(address), 1).expect("a report");
    assert_eq!((found.registrants.len(), found.registrants[0].rkey.get()), (1, u64::MAX));
    silent(program);
    let shown = run(&look(&residence, &show)).output.join("\n");
    assert!(shown.contains("key ffffffffffffffff,"), "{shown}");
    let json = run(&look(&residence, &format!("{show} --json"))).output.join("\n");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["registrants"][0]["key"], "ffffffffffffffff");
}
