//! The state directory: found or set up, marked, and owned by one process at a time. Keeps no records itself.
//!
//! Invariants of a [`StateDirectory`]: the directory holds a marker file that names a format this program
//! knows, and the lock file is locked by this process until the value is dropped (or the process dies: the kernel
//! then lets go). A directory has a marker only after its own name, and those of the directories above it, were
//! brought to stable storage: power loss cannot take records together with the directory they are in.
//!
//! Three names live here: `corelane.marker`, which says that the directory is Corelane's and was not just an
//! empty mount point; `corelane.marker.new`, while the marker is being written; `corelane.lock`, with the
//! owner's process identifier. The lock file is never removed: a second process could otherwise lock another
//! one of the same name.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fsync, open, openat, renameat};
use rustix::io::Errno;
use tracing::info;

pub use failure::{Failure, Owner, StateError};

mod failure;

/// Name of the marker file.
pub(super) const MARKER: &str = "corelane.marker";
/// Name of the marker file while it is being written.
const MARKER_NEW: &str = "corelane.marker.new";
/// Name of the lock file.
const LOCK: &str = "corelane.lock";
/// The whole marker file. A later format changes the number.
const MARKER_TEXT: &str = "corelane state directory, format 1\n";
/// Longest text of a marker or lock file that is read, in bytes.
const TEXT_BYTES_MAX: u64 = 256;

/// An open state directory, owned by this process.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    directory: OwnedFd,
    is_new: bool,
    /// Locked; closing it lets go.
    _lock: File,
}

/// Brings a file's contents or a directory's names to stable storage: fsync, but in tests.
type Sync<'a> = &'a mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>;

/// What the environment says about where state lives. Read by the caller: this module looks at no variable.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Environment {
    /// `STATE_DIRECTORY`, as systemd sets it; of several paths, joined by colons, the first counts.
    pub state_directory: Option<String>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<String>,
    /// `HOME`.
    pub home: Option<String>,
}

/// The state directory when nobody names one: `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/corelane`, else
/// `$HOME/.local/state/corelane`. Values that are not absolute paths are passed over, as the XDG Base
/// Directory Specification asks. `None` when nothing is left.
#[must_use]
pub fn default_path(environment: &Environment) -> Option<PathBuf> {
    let absolute =
        |text: &Option<String>| text.as_deref().filter(|text| text.starts_with('/')).map(PathBuf::from);
    let first = |text: &String| text.split(':').next().unwrap_or_default().to_owned();
    let systemd = environment.state_directory.as_ref().map(first);
    let xdg = absolute(&environment.xdg_state_home).map(|path| path.join("corelane"));
    let home = absolute(&environment.home).map(|path| path.join(".local/state/corelane"));
    absolute(&systemd).or(xdg).or(home)
}

impl StateDirectory {
    /// Opens the directory and takes it for this process. With `must_exist`, a directory that is missing or
    /// has no marker is an error, and nothing is created; otherwise it is set up, with mode 0700 and a line
    /// in the log.
    ///
    /// # Errors
    /// Every [`Failure`]; the error names the directory and what to do.
    pub fn open(path: &Path, must_exist: bool) -> Result<Self, StateError> {
        let failed = |failure| StateError { path: path.to_owned(), failure };
        Self::open_inner(path, must_exist, &mut |handle| fsync(handle)).map_err(failed)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was set up by this call: there was no marker before.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The directory itself, for opening what lies in it.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn open_inner(path: &Path, must_exist: bool, sync: Sync<'_>) -> Result<Self, Failure> {
        let created = if must_exist { Vec::new() } else { create(path)? };
        let directory = match open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        {
            Ok(directory) => directory,
            Err(Errno::NOENT) if must_exist => return Err(Failure::Missing),
            Err(errno) => return Err(errno.into()),
        };
        // Looked at before the lock file is made: nothing is to be left in a directory that is not ours.
        let marked = has_marker(directory.as_fd())?;
        if must_exist && !marked {
            return Err(Failure::MarkerMissing);
        }
        let lock = lock(directory.as_fd())?;
        // Looked at again: another process may have set the directory up, and ended, in between.
        let is_new = !has_marker(directory.as_fd())?;
        if is_new {
            keep_names(path, &created, sync)?;
            write_marker(directory.as_fd(), sync)?;
            info!(directory = %path.display(), "set up a new state directory");
        }
        Ok(Self { path: path.to_owned(), directory, is_new, _lock: lock })
    }
}

/// Creates the directory and those above it; those that it created.
fn create(path: &Path) -> Result<Vec<&Path>, Failure> {
    let missing = ancestors(path).take_while(|ancestor| !ancestor.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    Ok(missing)
}

/// Brings the names of the directory and of those above it to stable storage.
fn keep_names(path: &Path, created: &[&Path], sync: Sync<'_>) -> Result<(), Failure> {
    for ancestor in ancestors(path) {
        let parent =
            ancestor.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let kept = open(parent, flags, Mode::empty()).and_then(|parent| sync(parent.as_fd()));
        // A process that was killed may have created the others too. Where this one may not look, or where
        // nothing can be written, it has not.
        if created.contains(&ancestor) {
            kept?;
        }
    }
    Ok(())
}

fn ancestors(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty())
}

/// Whether there is a marker, and it is of the format that this program writes.
fn has_marker(directory: BorrowedFd<'_>) -> Result<bool, Failure> {
    let marker =
        match openat(directory, MARKER, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(marker) => File::from(marker),
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
    let mut text = Vec::new();
    marker.take(TEXT_BYTES_MAX).read_to_end(&mut text)?;
    if text == MARKER_TEXT.as_bytes() { Ok(true) } else { Err(Failure::Format) }
}

/// Writes the marker so that after power loss it is there whole, or not at all.
fn write_marker(directory: BorrowedFd<'_>, sync: Sync<'_>) -> Result<(), Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut marker = File::from(openat(directory, MARKER_NEW, flags, Mode::from_raw_mode(0o600))?);
    marker.write_all(MARKER_TEXT.as_bytes())?;
    sync(marker.as_fd())?;
    renameat(directory, MARKER_NEW, directory, MARKER)?;
    sync(directory)?;
    Ok(())
}

/// Locks the directory for this process. `flock` belongs to the open file, so that a second attempt fails
/// within one process too.
fn lock(directory: BorrowedFd<'_>) -> Result<File, Failure> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut lock = File::from(openat(directory, LOCK, flags, Mode::from_raw_mode(0o600))?);
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(Failure::Owned(owner(&lock))),
        Err(errno) => return Err(errno.into()),
    }
    // For people only, so it need not survive power loss; and on a full disk what is kept must be found without it.
    lock.set_len(0)?;
    match writeln!(lock, "{}", std::process::id()).map_err(Failure::from) {
        Ok(()) | Err(Failure::Full) => Ok(lock),
        Err(failure) => Err(failure),
    }
}

/// The process that the lock file names. Unknown while the owner has locked it and not yet written, or had no space to.
fn owner(lock: &File) -> Owner {
    let mut text = String::new();
    let read: io::Result<usize> = lock.take(TEXT_BYTES_MAX).read_to_string(&mut text);
    Owner(read.ok().and_then(|_| text.trim().parse().ok()))
}

#[cfg(test)]
mod tests;
