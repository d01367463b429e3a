//! The model itself: that it loses what may be lost, and keeps what was synchronised.

use super::*;
use crate::persist::Files;

/// A file of ten bytes that was given the record's name, with or without the synchronisations.
fn renamed(file_synced: bool, directory_synced: bool) -> Disk {
    let disk = disk(Some(OLD));
    let file = disk.create("temporary.new").unwrap();
    assert_eq!(disk.write(&file, b"0123456789").unwrap(), 10);
    if file_synced {
        disk.sync(file).unwrap();
    }
    disk.rename("temporary.new", NAME).unwrap();
    if directory_synced {
        let directory = disk.open_directory().unwrap();
        disk.sync(directory).unwrap();
    }
    disk
}

fn records(disk: &Disk) -> Vec<Option<Vec<u8>>> {
    let mut records: Vec<_> =
        disk.survivors().every().iter().map(|survivor| survivor.get(NAME).cloned()).collect();
    records.sort();
    records.dedup();
    records
}

#[test]
fn an_unsynchronised_file_survives_torn_at_every_length_and_sector() {
    let records = records(&renamed(false, true));
    for length in 0..=10 {
        assert!(records.contains(&Some(b"0123456789"[..length].to_vec())), "{length}");
    }
    for torn in ["0123\0\0\0\x0089", "\0\0\0\x004567", "\0\0\0\0\0\0\0\0\0\0"] {
        assert!(records.contains(&Some(torn.as_bytes().to_vec())), "{torn:?}");
    }
    assert!(!records.contains(&Some(OLD.to_vec())));
}

#[test]
fn an_unsynchronised_rename_survives_or_does_not() {
    let disk = renamed(true, false);
    assert_eq!(texts(&records(&disk)), ["0123456789", "old record"]);
    // The two names change on the disk in any order.
    let mut names: Vec<Vec<String>> =
        disk.survivors().every().iter().map(|survivor| survivor.keys().cloned().collect()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, [vec![NAME.to_owned()], vec![NAME.to_owned(), "temporary.new".to_owned()]]);
}

#[test]
fn what_was_synchronised_survives_as_it_is() {
    let disk = renamed(true, true);
    assert_eq!(disk.survivors().every(), [Survivor::from([(NAME.to_owned(), b"0123456789".to_vec())])]);
    disk.remove(NAME).unwrap();
    assert_eq!(texts(&records(&disk)), ["none", "0123456789"]);
    disk.sync(disk.open_directory().unwrap()).unwrap();
    assert_eq!(texts(&records(&disk)), ["none"]);
}

#[test]
fn a_synchronisation_that_failed_is_not_made_good_by_a_later_one() {
    let disk = renamed(true, false);
    disk.break_calls(Call::SyncDirectory, Fault::Fails(Errno::IO));
    assert_eq!(disk.sync(disk.open_directory().unwrap()), Err(Errno::IO));
    disk.repair();
    disk.sync(disk.open_directory().unwrap()).unwrap();
    assert_eq!(texts(&records(&disk)), ["0123456789", "old record"]);

    let disk = self::disk(None);
    let file = disk.create(NAME).unwrap();
    disk.write(&file, b"0123").unwrap();
    disk.break_calls(Call::SyncFile, Fault::Fails(Errno::IO));
    assert_eq!(disk.sync(file), Err(Errno::IO));
    disk.repair();
    disk.sync(disk.open(NAME).unwrap()).unwrap();
    disk.sync(disk.open_directory().unwrap()).unwrap();
    assert_eq!(texts(&records(&disk)), ["", "\0", "\0\0", "\0\0\0", "\0\0\0\0", "0", "01", "012", "0123"]);
}

#[test]
fn a_drawn_survivor_is_one_of_those_that_may_be() {
    let disk = renamed(false, false);
    let mut random = Random::new(1);
    let mut found: Vec<Option<Vec<u8>>> = Vec::new();
    for _ in 0..200 {
        let survivor = disk.survivors().draw(&mut random);
        let record = survivor.get(NAME).cloned();
        assert!(records(&disk).contains(&record), "{record:?}");
        found.push(record);
    }
    for expected in [OLD, b"0123456789", b"", b"012", b"\0\0\0\0\0\0\0\0\0\0"] {
        assert!(found.contains(&Some(expected.to_vec())), "{expected:?}");
    }
}

#[test]
fn a_dead_process_changes_nothing() {
    let disk = disk(Some(OLD));
    disk.kill_at(1);
    drop(disk.create("temporary.new").unwrap());
    assert!(!disk.is_dead());
    disk.remove("temporary.new").unwrap_err();
    disk.rename("temporary.new", NAME).unwrap_err();
    assert!(disk.is_dead());
    assert_eq!(disk.visible(), [NAME, "temporary.new"]);
    disk.restart();
    disk.remove("temporary.new").unwrap();
}
