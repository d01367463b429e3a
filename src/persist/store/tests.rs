//! The store on real files, names, and the contract of a missing record.
//!
//! `missing_record_contract_*`: a record that is missing in a state directory that is there is `None`, and silent;
//! every other failure is an error that names the file. An error taken for a missing record would open a fenced
//! namespace to everyone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::persist::StateDirectory;
use crate::persist::power_cut::{Call, Disk, Fault, Survivor};

const NAME: &str = "6f1b9a5c-6f0e-4c3e-8d6a-0d2f5c1b7a11";

fn name() -> RecordName {
    RecordName::new(NAME).unwrap()
}

/// A store in a new directory.
fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = reopened(directory.path());
    (directory, store)
}

fn reopened(directory: &Path) -> Store {
    let state = StateDirectory::open(directory, false).unwrap();
    Store::open(StateFiles::new(Arc::new(state))).unwrap()
}

/// The files that a state directory has without its own.
fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with("corelane."));
    names.sort();
    names
}

#[test]
fn records_are_saved_read_replaced_and_removed() {
    let (directory, mut store) = store();
    assert_eq!(store.load(&name()).unwrap(), None);
    for bytes in [&b"first"[..], b"2", &[7; 100_000]] {
        store.save(&name(), bytes).unwrap();
        assert_eq!(store.load(&name()).unwrap().as_deref(), Some(bytes));
        assert_eq!(fs::read(directory.path().join(NAME)).unwrap(), bytes);
        assert_eq!(files(directory.path()), [NAME]);
    }
    assert_eq!(fs::metadata(directory.path().join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
    drop(store);
    let mut store = reopened(directory.path());
    assert_eq!(store.load(&name()).unwrap(), Some(vec![7; 100_000]));
    for _ in 0..2 {
        store.remove(&name()).unwrap();
        assert_eq!(store.load(&name()).unwrap(), None);
    }
    assert_eq!(files(directory.path()), [""; 0]);
}

#[test]
fn a_store_keeps_its_directory_locked() {
    let (directory, store) = store();
    let reader = store.reader();
    drop(store);
    StateDirectory::open(directory.path(), false).unwrap_err();
    drop(reader);
    StateDirectory::open(directory.path(), false).unwrap();
}

#[test]
fn opening_removes_temporary_files_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let kept =
        [NAME, "b.new", "b.x.new", "b..new", "c.1.old", "-d.1.new", "corelane.e.1.new", "lost+found.1.new"];
    for name in kept.iter().chain(&["a.1.new", "6f1b.json.184467440737095516150.new"]) {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    let store = reopened(directory.path());
    let mut expected: Vec<&str> = kept.into_iter().filter(|name| !name.starts_with("corelane.")).collect();
    expected.sort_unstable();
    assert_eq!(files(directory.path()), expected);
    assert!(directory.path().join("corelane.e.1.new").exists());
    let names: Vec<String> = store.reader().names().unwrap().iter().map(RecordName::to_string).collect();
    assert_eq!(names, [NAME, "c.1.old"]);
}

#[test]
fn a_temporary_name_that_is_taken_fails_once_and_is_not_followed() {
    let (directory, mut store) = store();
    let target = directory.path().join("elsewhere");
    symlink(&target, directory.path().join(name().temporary(1))).unwrap();
    let error = store.save(&name(), b"bytes").unwrap_err();
    assert_eq!((error.stage, error.step), (Stage::Before, Step::Create));
    assert!(!target.exists());
    store.save(&name(), b"bytes").unwrap();
    assert_eq!(files(directory.path()), [NAME]);
}

#[test]
fn names_are_checked() {
    for good in [NAME, "a", "0", "a.json", "A_b-c.1", "new", "corelane", "a.new.json", &"x".repeat(200)] {
        assert_eq!(RecordName::new(good).unwrap().as_str(), good);
        assert!(is_temporary_of(good), "{good}");
    }
    let rows = [
        ("", NameError::Length),
        (&*"x".repeat(201), NameError::Length),
        (".", NameError::Characters),
        ("..", NameError::Characters),
        (".hidden", NameError::Characters),
        ("-rf", NameError::Characters),
        ("a/b", NameError::Characters),
        ("../a", NameError::Characters),
        ("a b", NameError::Characters),
        ("a\0", NameError::Characters),
        ("\u{e4}", NameError::Characters),
        ("a.1.new", NameError::Reserved),
        ("a.new", NameError::Reserved),
        ("corelane.marker", NameError::Reserved),
        ("corelane.lock", NameError::Reserved),
    ];
    for (bad, error) in rows {
        assert_eq!(RecordName::new(bad), Err(error), "{bad:?}");
    }
}

fn is_temporary_of(record: &str) -> bool {
    let temporary = RecordName::new(record).unwrap().temporary(u64::MAX);
    name::is_temporary(&temporary) && !name::is_temporary(record) && temporary.len() <= 255
}

#[test]
fn a_record_has_a_bounded_length() {
    let (directory, mut store) = store();
    store.save(&name(), b"small").unwrap();
    let error = store.save(&name(), &vec![1; RECORD_BYTES_MAX + 1]).unwrap_err();
    assert_eq!((error.stage, error.reason), (Stage::Before, Reason::TooLarge));
    assert_eq!(store.load(&name()).unwrap().as_deref(), Some(&b"small"[..]));
    let file = fs::File::options().write(true).open(directory.path().join(NAME)).unwrap();
    let length = u64::try_from(RECORD_BYTES_MAX).unwrap();
    file.set_len(length).unwrap();
    assert_eq!(store.load(&name()).unwrap().unwrap().len(), RECORD_BYTES_MAX);
    file.set_len(length + 1).unwrap();
    assert_eq!(store.load(&name()).unwrap_err().reason, Reason::TooLarge);
    // The system says that this one has no bytes, and it never ends.
    fs::remove_file(directory.path().join(NAME)).unwrap();
    symlink("/dev/zero", directory.path().join(NAME)).unwrap();
    assert_eq!(store.load(&name()).unwrap_err().reason, Reason::NotAFile);
}

#[test]
fn missing_record_contract_a_missing_file_is_silent() {
    let (directory, store) = store();
    assert_eq!(store.load(&name()), Ok(None));
    // So it is after other records have come, and in a directory that was opened again.
    fs::write(directory.path().join("other"), "x").unwrap();
    assert_eq!(store.load(&name()), Ok(None));
    drop(store);
    assert_eq!(reopened(directory.path()).load(&name()), Ok(None));
}

#[test]
fn missing_record_contract_an_empty_file_is_not_a_missing_one() {
    let (directory, store) = store();
    fs::write(directory.path().join(NAME), "").unwrap();
    assert_eq!(store.load(&name()), Ok(Some(Vec::new())));
}

#[test]
fn missing_record_contract_every_other_error_of_open_is_loud() {
    for number in 1..=133 {
        let errno = Errno::from_raw_os_error(number);
        let disk = Disk::holding(&Survivor::new());
        let store = disk.store();
        disk.break_calls(Call::Open, Fault::Fails(errno));
        match store.load(&name()) {
            Ok(record) => {
                assert_eq!(record, None);
                assert_eq!(errno, Errno::NOENT);
            }
            Err(error) => {
                assert_ne!(errno, Errno::NOENT);
                assert_ne!(error.reason, Reason::Gone);
                assert!(error.to_string().starts_with(&format!("record /state/{NAME}: cannot be read: ")));
            }
        }
    }
}

#[test]
fn missing_record_contract_every_error_after_open_is_loud() {
    for call in [Call::Length, Call::Read] {
        for number in 1..=133 {
            let errno = Errno::from_raw_os_error(number);
            let disk = Disk::holding(&Survivor::from([(NAME.to_owned(), b"record".to_vec())]));
            let store = disk.store();
            disk.break_calls(call, Fault::Fails(errno));
            let error = store.load(&name()).unwrap_err();
            assert_ne!(error.reason, Reason::Gone, "{call:?} {errno}");
            assert_eq!(disk.handles(), 0);
        }
    }
}

#[test]
fn missing_record_contract_a_marker_that_cannot_be_looked_at_is_loud() {
    for errno in [Errno::IO, Errno::ACCESS, Errno::NOENT, Errno::STALE] {
        let disk = Disk::holding(&Survivor::new());
        let store = disk.store();
        disk.break_calls(Call::Marked, Fault::Fails(errno));
        assert_eq!(store.load(&name()).unwrap_err().reason, errno.into());
    }
}

#[test]
fn missing_record_contract_what_is_no_file_is_loud() {
    type Make = fn(&Path);
    let rows: [(&str, Make); 5] = [
        ("a link", |path| symlink("/dev/null", path).unwrap()),
        ("a link to nowhere", |path| symlink("nowhere", path).unwrap()),
        ("a link to itself", |path| symlink(NAME, path).unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a pipe that nobody writes", |path| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
    ];
    for (called, make) in rows {
        let (directory, store) = store();
        let path = directory.path().join(NAME);
        make(&path);
        let error = store.load(&name()).unwrap_err();
        assert_eq!(error, LoadError { path, reason: Reason::NotAFile }, "{called}");
    }
}

#[test]
fn missing_record_contract_a_file_without_permission_is_loud() {
    let (directory, store) = store();
    let path = directory.path().join(NAME);
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let loaded = store.load(&name());
    if rustix::process::geteuid().is_root() {
        println!("root may read everything: the errors of open have a test of their own");
        assert_eq!(loaded, Ok(Some(b"x".to_vec())));
    } else {
        assert_eq!(loaded, Err(LoadError { path, reason: Reason::NoPermission }));
    }
}

#[test]
fn missing_record_contract_a_missing_directory_is_loud() {
    for is_made_again in [false, true] {
        let (directory, mut store) = store();
        store.save(&name(), b"bytes").unwrap();
        fs::remove_dir_all(directory.path()).unwrap();
        if is_made_again {
            fs::create_dir(directory.path()).unwrap();
        }
        let error = store.load(&name()).unwrap_err();
        assert_eq!(error, LoadError { path: directory.path().join(NAME), reason: Reason::Gone });
        assert_eq!(store.reader().names().unwrap_err().reason, Reason::Gone);
        let error = store.save(&name(), b"bytes").unwrap_err();
        assert_eq!((error.stage, error.reason), (Stage::Before, Reason::Gone));
        let error = store.remove(&name()).unwrap_err();
        assert_eq!((error.stage, error.reason), (Stage::Before, Reason::Gone));
    }
}

#[test]
fn missing_record_contract_an_emptied_directory_is_loud() {
    let (directory, store) = store();
    for entry in fs::read_dir(directory.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(store.load(&name()).unwrap_err().reason, Reason::Gone);
}

#[test]
fn errors_say_where_what_and_what_to_do() {
    let (directory, mut store) = store();
    fs::create_dir(directory.path().join(NAME)).unwrap();
    let path = directory.path().join(NAME).display().to_string();
    let error = store.save(&name(), b"bytes").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "record {path}: putting its temporary file in its place failed: it is no regular file, so Corelane \
             did not write it; find out who did, and move it away; the disk may hold the old or the new record"
        )
    );
    assert_eq!(files(directory.path()), [NAME]);
}

/// A file system of 64 KiB in memory, while this lives.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=64k,mode=0700", "corelane-test"];
        let output = Command::new("mount").args(mount).arg(directory.path()).output();
        output.is_ok_and(|output| output.status.success()).then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Not asserted: this may run while a test panics.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_keeps_the_old_record_until_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: mounting a tmpfs needs root and the right to mount");
        return;
    };
    let mut store = reopened(disk.0.path());
    store.save(&name(), b"old record").unwrap();
    let ballast = disk.0.path().join("ballast");
    // Ends with an error when the disk is full; what was written stays.
    fs::write(&ballast, vec![1; 1 << 20]).unwrap_err();
    for _ in 0..3 {
        let error = store.save(&name(), &[2; 8192]).unwrap_err();
        assert_eq!((error.stage, error.reason), (Stage::Before, Reason::Full), "{error}");
        assert_eq!(store.load(&name()).unwrap().as_deref(), Some(&b"old record"[..]));
        assert_eq!(files(disk.0.path()), [NAME, "ballast"]);
    }
    fs::remove_file(&ballast).unwrap();
    store.save(&name(), &[2; 8192]).unwrap();
    assert_eq!(store.load(&name()).unwrap(), Some(vec![2; 8192]));
    drop(store);
}

#[test]
fn a_read_only_disk_is_refused_at_the_start_and_used_when_it_can_be_written() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: mounting a tmpfs needs root and the right to mount");
        return;
    };
    let remount = |mode: &str| {
        let option = format!("remount,{mode}");
        let status = Command::new("mount").args(["-o", &option]).arg(disk.0.path()).status().unwrap();
        assert!(status.success());
    };
    reopened(disk.0.path()).save(&name(), b"old record").unwrap();
    remount("ro");
    let error = StateDirectory::open(disk.0.path(), true).unwrap_err();
    assert_eq!(error.failure, crate::persist::Failure::ReadOnly);
    remount("rw");
    let mut store = reopened(disk.0.path());
    assert_eq!(store.load(&name()).unwrap().as_deref(), Some(&b"old record"[..]));
    store.save(&name(), b"new record").unwrap();
    assert_eq!(store.load(&name()).unwrap().as_deref(), Some(&b"new record"[..]));
}
