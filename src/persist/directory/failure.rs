//! Why a state directory cannot be used, and what an operator can do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// The way out for those who have nothing to lose.
const ELSEWHERE: &str =
    "Another directory (--state-dir) knows nothing of what is kept here: right for a new target only";

/// A state directory that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("state directory {}: {failure}", path.display())]
pub struct StateError {
    /// The directory.
    pub path: PathBuf,
    /// What is the matter.
    pub failure: Failure,
}

/// What is the matter with a state directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// It must be there and is not.
    #[error("does not exist, and must (\"state_must_exist\" is true); is its disk mounted?")]
    Missing,
    /// It is there without the marker that Corelane leaves in its state directories.
    #[error(
        "has no marker of Corelane, and must (\"state_must_exist\" is true); is its disk mounted? For a new \
         directory, start once with \"state_must_exist\": false"
    )]
    MarkerMissing,
    /// The marker is not one that this program knows.
    #[error(
        "has a marker of another format; was it made by a newer Corelane? Use that, or another directory"
    )]
    Format,
    /// Another process has it.
    #[error("is in use by {0}; stop that, or choose another directory with --state-dir or \"state_dir\"")]
    Owned(Owner),
    /// A part of the path is a file.
    #[error(
        "is not a directory, or something above it is not; name the right one with --state-dir or \"state_dir\""
    )]
    NotADirectory,
    /// The process lacks the rights.
    #[error("cannot be read and written by this user; change its owner. {ELSEWHERE}")]
    NoPermission,
    /// The file system cannot be written.
    #[error(
        "is on a read-only file system; look for errors in the kernel's log, and mount it for writing. {ELSEWHERE}"
    )]
    ReadOnly,
    /// No space, no inodes, or no quota left.
    #[error("is on a full file system; make space. {ELSEWHERE}")]
    Full,
    /// Anything else that the system reports.
    #[error("{0}")]
    System(Errno),
}

/// The process that owns a state directory, if its lock file says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner(pub Option<u32>);

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(process) => write!(formatter, "process {process}"),
            None => formatter.write_str("another process"),
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        match errno {
            // A marker or lock that is a symbolic link is refused with LOOP: somebody else put it there.
            Errno::ACCESS | Errno::PERM | Errno::LOOP => Self::NoPermission,
            Errno::ROFS => Self::ReadOnly,
            Errno::NOSPC | Errno::DQUOT => Self::Full,
            Errno::NOTDIR | Errno::EXIST => Self::NotADirectory,
            other => Self::System(other),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
    }
}
