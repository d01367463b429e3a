//! Setting up, opening again, the lock, and every failure.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

fn failure(path: &Path, must_exist: bool) -> Failure {
    let error = StateDirectory::open(path, must_exist).unwrap_err();
    assert_eq!(error.path, path);
    error.failure
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_missing_directory_is_set_up_for_its_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    let state = StateDirectory::open(&path, false).unwrap();
    assert!(state.is_new());
    assert_eq!(state.path(), path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(names(&path), [LOCK, MARKER]);
    assert_eq!(fs::read_to_string(path.join(MARKER)).unwrap(), MARKER_TEXT);
    for name in [LOCK, MARKER] {
        assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_marked_directory_opens_again_and_is_not_new() {
    let parent = tempfile::tempdir().unwrap();
    drop(StateDirectory::open(parent.path(), false).unwrap());
    for must_exist in [false, true] {
        assert!(!StateDirectory::open(parent.path(), must_exist).unwrap().is_new());
    }
}

/// What was synchronised when a directory was opened, in order, and which names it had by then.
fn synchronised(path: &Path) -> Vec<(u64, Vec<String>)> {
    let mut log = Vec::new();
    let mut sync = |handle: BorrowedFd<'_>| {
        log.push((rustix::fs::fstat(handle)?.st_ino, names(path)));
        Ok(())
    };
    StateDirectory::open_inner(path, false, &mut sync).unwrap();
    log
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn a_new_directory_is_on_stable_storage_before_its_marker_and_its_marker_before_it_counts() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    // A process that was killed before it wrote the marker may have left one, two, or all of them.
    for existing in [parent.path().to_owned(), parent.path().join("a"), path.clone()] {
        fs::create_dir_all(&existing).unwrap();
        let log = synchronised(&path);
        let marker = log.iter().position(|(file, _)| *file == inode(&path.join(MARKER))).unwrap();
        assert_eq!(log[marker].1, [LOCK, MARKER_NEW], "its contents come before its name");
        for ancestor in [parent.path().parent().unwrap(), parent.path(), &parent.path().join("a")] {
            let kept = log[..marker].iter().find(|(file, _)| *file == inode(ancestor));
            assert_eq!(kept.unwrap().1, [LOCK], "{}", ancestor.display());
        }
        assert_eq!(log[marker + 1..], [(inode(&path), vec![LOCK.to_owned(), MARKER.to_owned()])]);
        assert_eq!(synchronised(&path), [], "it was there already");
        fs::remove_dir_all(parent.path().join("a")).unwrap();
    }
}

#[test]
fn a_directory_that_cannot_be_brought_to_the_disk_is_an_error() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a");
    let last = synchronised(&path).len() - 1;
    fs::remove_dir_all(&path).unwrap();
    // The name of the directory, the contents of the marker, its name.
    for (failing, is_marked) in [(0, false), (last - 1, false), (last, true)] {
        let mut calls = 0..;
        let mut sync = |_: BorrowedFd<'_>| match calls.next() {
            Some(call) if call == failing => Err(Errno::IO),
            _ => Ok(()),
        };
        let opened = StateDirectory::open_inner(&path, false, &mut sync);
        assert_eq!(opened.unwrap_err(), Failure::System(Errno::IO));
        assert_eq!(path.join(MARKER).exists(), is_marked);
        fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn a_half_written_marker_counts_as_none() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join(MARKER_NEW), "corel").unwrap();
    assert_eq!(failure(parent.path(), true), Failure::MarkerMissing);
    assert!(StateDirectory::open(parent.path(), false).unwrap().is_new());
    assert_eq!(names(parent.path()), [LOCK, MARKER]);
}

#[test]
fn a_directory_that_must_exist_is_not_touched_when_it_does_not() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("state");
    assert_eq!(failure(&path, true), Failure::Missing);
    assert!(!path.exists());
    assert_eq!(failure(parent.path(), true), Failure::MarkerMissing);
    assert_eq!(names(parent.path()), [""; 0]);
}

#[test]
fn a_second_owner_is_refused_with_the_name_of_the_first() {
    let parent = tempfile::tempdir().unwrap();
    let first = StateDirectory::open(parent.path(), false).unwrap();
    assert_eq!(failure(parent.path(), false), Failure::Owned(Owner(Some(std::process::id()))));
    let error = StateDirectory::open(parent.path(), true).unwrap_err();
    let expected =
        format!("state directory {}: is in use by process {};", parent.path().display(), std::process::id());
    assert!(error.to_string().starts_with(&expected), "{error}");
    fs::write(parent.path().join(LOCK), "").unwrap();
    assert_eq!(failure(parent.path(), false), Failure::Owned(Owner(None)));
    drop(first);
    assert!(StateDirectory::open(parent.path(), true).is_ok());
}

#[test]
fn a_lock_left_by_a_dead_process_does_not_count() {
    let parent = tempfile::tempdir().unwrap();
    drop(StateDirectory::open(parent.path(), false).unwrap());
    fs::write(parent.path().join(LOCK), "4194304 and a longer text than a process identifier\n").unwrap();
    let _state = StateDirectory::open(parent.path(), false).unwrap();
    let text = fs::read_to_string(parent.path().join(LOCK)).unwrap();
    assert_eq!(text, format!("{}\n", std::process::id()));
}

#[test]
fn markers_of_another_format_are_refused() {
    for text in
        ["", "corelane state directory, format 2\n", "corelane state directory, format 1", "\u{0}\u{1}"]
    {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join(MARKER), text).unwrap();
        assert_eq!(failure(parent.path(), false), Failure::Format, "{text:?}");
        assert_eq!(names(parent.path()), [MARKER]);
    }
}

#[test]
fn files_in_the_way_are_no_directories() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for must_exist in [false, true] {
        assert_eq!(failure(&file, must_exist), Failure::NotADirectory);
        assert_eq!(failure(&file.join("below"), must_exist), Failure::NotADirectory);
    }
}

#[test]
fn links_in_place_of_our_files_are_refused() {
    for name in [LOCK, MARKER] {
        let parent = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", parent.path().join(name)).unwrap();
        assert_eq!(failure(parent.path(), false), Failure::NoPermission, "{name}");
    }
}

#[test]
fn a_directory_without_permission_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("state");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere but where the kernel itself says no.
        let failure = failure(Path::new("/sys/corelane"), false);
        assert!(matches!(failure, Failure::NoPermission | Failure::ReadOnly), "{failure:?}");
    } else {
        assert_eq!(failure(&path, false), Failure::NoPermission);
        assert_eq!(failure(&path.join("below"), false), Failure::NoPermission);
    }
}

#[test]
fn system_errors_become_what_an_operator_can_act_on() {
    let rows = [
        (Errno::ACCESS, Failure::NoPermission),
        (Errno::PERM, Failure::NoPermission),
        (Errno::ROFS, Failure::ReadOnly),
        (Errno::NOSPC, Failure::Full),
        (Errno::DQUOT, Failure::Full),
        (Errno::NOTDIR, Failure::NotADirectory),
        (Errno::IO, Failure::System(Errno::IO)),
        (Errno::NOENT, Failure::System(Errno::NOENT)),
    ];
    for (errno, expected) in rows {
        assert_eq!(Failure::from(errno), expected);
        assert_eq!(Failure::from(io::Error::from_raw_os_error(errno.raw_os_error())), expected);
    }
}

#[test]
fn the_default_path_follows_the_environment() {
    let rows = [
        (["/run/s", "/x", "/h"], Some("/run/s")),
        (["/run/s:/run/t", "/x", "/h"], Some("/run/s")),
        (["", "/x", "/h"], Some("/x/corelane")),
        (["relative", "/x", "/h"], Some("/x/corelane")),
        (["", "", "/h"], Some("/h/.local/state/corelane")),
        (["", "x", "/h"], Some("/h/.local/state/corelane")),
        (["", "", ""], None),
    ];
    for (values, expected) in rows {
        let [state_directory, xdg_state_home, home] = values.map(|value| Some(value.to_owned()));
        let environment = Environment { state_directory, xdg_state_home, home };
        assert_eq!(default_path(&environment), expected.map(PathBuf::from), "{environment:?}");
    }
    assert_eq!(default_path(&Environment::default()), None);
}
