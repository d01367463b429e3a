//! What was on disk when the target starts. Only a record that is not there is no record.

use std::sync::Arc;

use rustix::io::Errno;

use super::{PERSISTENT, acquire, host, identity, register};
use crate::nvmf::fence::recover::{Recovered, record_name, recover};
use crate::persist::power_cut::{Call, Disk, Fault, Survivor};
use crate::persist::{StateDirectory, StateFiles, Store};
use crate::reservation::{Identity, Kind, Options, Record, State, transition};

/// A record with a reservation in it; persistent or not.
fn record(identity: &Identity, ptpl: bool) -> Record {
    let registered = transition(&State::new(), &host(1), &register(1, Some(ptpl)), PERSISTENT).unwrap().next;
    let state =
        transition(&registered, &host(1), &acquire(1, Kind::WriteExclusive), PERSISTENT).unwrap().next;
    Record { identity: identity.clone(), sequence: 9, write_protected: false, state }
}

fn disk(bytes: Option<Vec<u8>>) -> Disk {
    let name = record_name(&identity(1)).as_str().to_owned();
    Disk::holding(&bytes.into_iter().map(|bytes| (name.clone(), bytes)).collect::<Survivor>())
}

/// Why the namespace is out of service; the message has to name its file.
fn reason(disk: &Disk) -> String {
    let store = disk.store();
    let error = recover(&store.reader(), &identity(1), PERSISTENT)
        .expect_err("a namespace out of service")
        .to_string();
    assert!(error.contains(record_name(&identity(1)).as_str()), "{error}");
    error
}

#[test]
fn missing_record_contract_enoent_alone_means_no_reservations() {
    let nothing = Recovered::nothing();
    assert_eq!(recover(&disk(None).store().reader(), &identity(1), PERSISTENT).unwrap(), nothing);
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path(), false).unwrap();
    let store = Store::open(StateFiles::new(Arc::new(state))).unwrap();
    assert_eq!(recover(&store.reader(), &identity(1), PERSISTENT).unwrap(), nothing);
    // The record of another namespace beside it is none of this one's.
    let other = record(&identity(2), true);
    std::fs::write(directory.path().join(record_name(&identity(2)).as_str()), other.encode()).unwrap();
    assert_eq!(recover(&store.reader(), &identity(1), PERSISTENT).unwrap(), nothing);
}

#[test]
fn missing_record_contract_other_failures_put_the_namespace_out_of_service() {
    let failures = [
        (Errno::ACCESS, "permission"),
        (Errno::NOTDIR, ""),
        (Errno::IO, "kernel's log"),
        (Errno::LOOP, "no regular file"),
        (Errno::MFILE, "kernel's log"),
        (Errno::STALE, "kernel's log"),
    ];
    for bytes in [None, Some(record(&identity(1), true).encode())] {
        for (errno, text) in failures {
            let disk = disk(bytes.clone());
            disk.break_calls(Call::Open, Fault::Fails(errno));
            let reason = reason(&disk);
            assert!(reason.contains(text), "{errno:?}: {reason}");
        }
    }
    let disk = disk(Some(record(&identity(1), true).encode()));
    disk.break_calls(Call::Read, Fault::Fails(Errno::IO));
    assert!(reason(&disk).contains("kernel's log"));
}

#[test]
fn missing_record_contract_a_directory_that_is_gone_holds_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let state = StateDirectory::open(&path, false).unwrap();
    let store = Store::open(StateFiles::new(Arc::new(state))).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    let error = recover(&store.reader(), &identity(1), PERSISTENT).expect_err("nothing is known").to_string();
    assert!(error.contains(record_name(&identity(1)).as_str()) && error.contains("removed"), "{error}");
}

#[test]
fn damaged_and_foreign_records_put_the_namespace_out_of_service() {
    let sound = String::from_utf8(record(&identity(1), true).encode()).unwrap();
    let other = |identity: Identity| String::from_utf8(record(&identity, true).encode()).unwrap();
    let rows = [
        ("nothing in it", String::new(), ""),
        ("torn", sound[..sound.len() / 2].to_owned(), "torn"),
        ("its end missing", sound[..sound.len() - 1].to_owned(), "torn"),
        ("bad checksum", sound.replace("\"generation\": 1", "\"generation\": 2"), "checksum"),
        ("newer format", sound.replace("\"format\": 1", "\"format\": 3"), "format"),
        ("another UUID", other(identity(2)), "uuid"),
        ("another NSID", other(Identity { nsid: 7, ..identity(1) }), "nsid"),
        ("another subsystem", other(Identity { subsystem: host(1).nqn, ..identity(1) }), "subsystem"),
    ];
    for (what, text, field) in rows {
        assert_ne!(text, sound, "{what}");
        let reason = reason(&disk(Some(text.into_bytes())));
        assert!(reason.contains(field), "{what}: {reason}");
    }
}

#[test]
fn every_torn_prefix_puts_the_namespace_out_of_service() {
    let sound = record(&identity(1), true).encode();
    for length in 0..sound.len() {
        reason(&disk(Some(sound[..length].to_vec())));
    }
}

#[test]
fn the_end_of_the_process_is_the_power_loss() {
    for ptpl in [false, true] {
        let written = record(&identity(1), ptpl);
        let found =
            recover(&disk(Some(written.encode())).store().reader(), &identity(1), PERSISTENT).unwrap();
        let state = if ptpl { written.state } else { State::new() };
        assert_eq!(found, Recovered::Sound { state, write_protected: false, sequence: 9 });
    }
}

#[test]
fn write_protection_survives_whether_or_not_reservations_may() {
    for options in [PERSISTENT, Options { ptpl: false }] {
        let written = Record { write_protected: true, ..record(&identity(1), false) };
        let found = recover(&disk(Some(written.encode())).store().reader(), &identity(1), options).unwrap();
        assert_eq!(found, Recovered::Sound { state: State::new(), write_protected: true, sequence: 9 });
    }
}

#[test]
fn a_namespace_that_keeps_nothing_does_not_pass_over_what_was_kept() {
    let off = Options { ptpl: false };
    let open = |ptpl| {
        let disk = disk(Some(record(&identity(1), ptpl).encode()));
        recover(&disk.store().reader(), &identity(1), off)
    };
    let error = open(true).expect_err("a namespace out of service").to_string();
    assert!(error.contains(record_name(&identity(1)).as_str()) && error.contains("persist"), "{error}");
    assert_eq!(
        open(false).unwrap(),
        Recovered::Sound { state: State::new(), write_protected: false, sequence: 9 }
    );
}

#[test]
fn a_record_of_the_namespace_under_another_uuid_puts_it_out_of_service() {
    let former = Identity { uuid: uuid::Uuid::from_u128(0xbad), ..identity(1) };
    let bytes = record(&former, true).encode();
    let disk = Disk::holding(&[(former.uuid.to_string(), bytes)].into_iter().collect::<Survivor>());
    for options in [PERSISTENT, Options { ptpl: false }] {
        let error =
            recover(&disk.store().reader(), &identity(1), options).expect_err("out of service").to_string();
        assert!(error.contains(&former.uuid.to_string()) && error.contains("another UUID"), "{error}");
    }
    // Another namespace's record says nothing of this one.
    assert!(recover(&disk.store().reader(), &identity(2), PERSISTENT).is_ok());
}
