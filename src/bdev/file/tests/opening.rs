//! What can be opened, and what the operator is told where it cannot.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::bdev::{Geometry, Memory};

fn refused(options: &FileOptions, words: &str) {
    let error = File::open_within("f0", options, Duration::ZERO).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("{}: ", options.path.display())), "{text}");
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_file_that_is_missing_is_made_sparse_and_private() {
    for directory in directories() {
        let (file, path) = device(directory.path(), 4096, 256);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.blocks(), metadata.mode() & 0o777), (1 << 20, 0, 0o600));
        let Geometry { blocks, volatile_write_cache, survives_restart, .. } = *file.geometry();
        assert_eq!((blocks, volatile_write_cache, survives_restart), (256, true, true));
        assert!(matches!(file.geometry().memory, Memory::Callers { alignment } if alignment <= 4096));
    }
}

#[test]
fn storage_can_be_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("device");
    let wanted = FileOptions { preallocate: true, ..options(&path, 4096, Some(1 << 20)) };
    drop(File::open("f0", &wanted).unwrap());
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
}

#[test]
fn a_file_grows_and_is_never_cut() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("device");
    fs::write(&path, [7; 8192]).unwrap();
    assert_eq!(File::open("f0", &options(&path, 4096, None)).unwrap().geometry().blocks, 2);
    let file = File::open("f0", &options(&path, 4096, Some(16384))).unwrap();
    assert_eq!(file.geometry().blocks, 4);
    let mut rig = Rig::new(&file);
    let read = rig.read(0, 4).unwrap();
    assert!(read[..8192] == [7; 8192] && read[8192..] == [0; 8192]);
    drop((rig, file));
    refused(&options(&path, 4096, Some(8192)), "it has 16384 bytes, more than the size of 8192");
    assert_eq!(fs::metadata(&path).unwrap().len(), 16384);
}

#[test]
fn what_cannot_be_a_device_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("odd"), [0; 5000]).unwrap();
    fs::write(at("empty"), []).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    let rows = [
        (options(&at("missing"), 4096, None), "it does not exist; give a \"size\""),
        (options(&at("dangling"), 4096, None), "it does not exist"),
        (options(&at("no/such/place"), 4096, Some(4096)), "the directory that should hold it does not exist"),
        (options(&at("odd/below"), 4096, None), "the directory that should hold it does not exist"),
        (
            options(directory.path(), 4096, None),
            "it is a directory, and has to be a regular file or a block device",
        ),
        (options(&at("pipe"), 4096, None), "it is a pipe"),
        (options(Path::new("/dev/null"), 4096, None), "it is a character device"),
        (options(&at("odd"), 4096, None), "size 5000 is not a positive multiple of the block size 4096"),
        (options(&at("empty"), 4096, None), "size 0 is not a positive multiple"),
        (options(&at("new"), 4096, Some(5000)), "size 5000 is not a positive multiple"),
        (options(&at("new"), 1000, None), "block size 1000 is not a power of two"),
    ];
    for (options, words) in rows {
        refused(&options, words);
    }
    assert!(!at("new").exists(), "what is refused makes nothing");
}

#[test]
fn a_file_that_may_not_be_written_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("device");
    fs::write(&path, [0; 4096]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Root may write what it likes, except a program that runs.
        let running = fs::read_link("/proc/self/exe").unwrap();
        let error = File::open("f0", &options(&running, 512, None)).unwrap_err();
        assert_eq!(error.reason, Reason::System(rustix::io::Errno::TXTBSY));
        return;
    }
    refused(&options(&path, 4096, None), "this process may not read and write it");
}

#[test]
fn a_file_has_one_owner() {
    for directory in directories() {
        let (file, path) = device(directory.path(), 4096, 8);
        let (link, again) = (directory.path().join("link"), directory.path().join("again"));
        symlink(&path, &link).unwrap();
        fs::hard_link(&path, &again).unwrap();
        for path in [&path, &link, &again] {
            refused(&options(path, 4096, None), "another process or another bdev has it");
        }
        // The lock goes with the last descriptor, which a channel's ring has too.
        let channel = file.open(&home()).unwrap();
        drop(file);
        refused(&options(&path, 4096, None), "another process or another bdev has it");
        drop(channel);
        File::open("f0", &options(&path, 4096, None)).unwrap();
    }
}

#[test]
fn direct_io_is_used_where_there_is_some() {
    let directory = tempfile::tempdir().unwrap();
    let (file, _) = device(directory.path(), 4096, 8);
    // Whether the temporary directory has it is not ours to say; what follows from it is.
    let expected = if file.is_direct() { 512..=4096 } else { 1..=1 };
    assert!(expected.contains(&file.layout.alignment), "{:?}", file.layout);
}

#[test]
fn an_owner_that_leaves_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (file, path) = device(directory.path(), 4096, 8);
    let wanted = options(&path, 4096, None);
    let next = std::thread::spawn(move || File::open("f1", &wanted).map(drop));
    drop(file);
    next.join().unwrap().unwrap();
}
