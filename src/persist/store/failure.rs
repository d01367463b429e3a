//! Why a record could not be read or written, what is on the disk then, and what an operator can do about it.

use std::fmt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::RECORD_BYTES_MAX;

/// A state directory whose records cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("records in {}: {reason}", path.display())]
pub struct OpenError {
    /// The directory, or the file in it that is the matter.
    pub path: PathBuf,
    /// What is the matter.
    pub reason: Reason,
}

/// A record that may be there and could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("record {}: cannot be read: {reason}", path.display())]
pub struct LoadError {
    /// The record's file.
    pub path: PathBuf,
    /// What is the matter.
    pub reason: Reason,
}

/// A record that was not saved, or not removed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("record {}: {step} failed: {reason}; {stage}", path.display())]
pub struct SaveError {
    /// The record's file.
    pub path: PathBuf,
    /// What the disk holds now.
    pub stage: Stage,
    /// What failed.
    pub step: Step,
    /// Why.
    pub reason: Reason,
}

/// What the disk holds after a save or a removal that failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Nothing had touched the record: it is what it was before, now and after a crash.
    Before,
    /// The record is what it was before or what it should have become; a crash may change which. The caller
    /// must save, as a new record (a higher sequence number), what it holds to be true, and until that
    /// succeeds must not act on either.
    Unknown,
}

/// A step of a save or a removal, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// Looking at what is to be done, opening the directory, removing what an earlier failure left.
    Prepare,
    /// Creating the temporary file.
    Create,
    /// Writing it.
    Write,
    /// Bringing it to stable storage.
    Sync,
    /// Giving it the record's name.
    Rename,
    /// Removing the record.
    Remove,
    /// Bringing the directory, and with it the new name or the removal, to stable storage.
    SyncDirectory,
}

/// What is the matter with a record, its directory or the file system below them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// The state directory, or Corelane's marker in it, is not there any more.
    #[error("the state directory was removed or emptied; bring it back and restart the target")]
    Gone,
    /// The process lacks the rights.
    #[error("permission denied; give the directory and its files back to the user that Corelane runs as")]
    NoPermission,
    /// The name belongs to a link, a directory, a device or the like.
    #[error("it is no regular file, so Corelane did not write it; find out who did, and move it away")]
    NotAFile,
    /// The file system cannot be written.
    #[error("the file system is read-only; look for errors in the kernel's log, and mount it for writing")]
    ReadOnly,
    /// No space or no inode is left.
    #[error("no space is left on the file system; make some")]
    Full,
    /// No quota is left.
    #[error("the quota on the file system is used up; raise it, or make space")]
    Quota,
    /// A record is longer than [`RECORD_BYTES_MAX`].
    #[error("it has more than {RECORD_BYTES_MAX} bytes")]
    TooLarge,
    /// The directory has more files than a state directory ever has.
    #[error("there are too many files in it; is it the right directory?")]
    TooMany,
    /// An earlier failure left it open what the disk holds, and a removal would not change that.
    #[error("an earlier failure left it open what the disk holds; the record must be saved first")]
    Uncertain,
    /// The thread that writes records has ended.
    #[error("the thread that writes records has ended; restart the target")]
    WriterEnded,
    /// Anything else that the system reports.
    #[error("{0}; look for errors in the kernel's log")]
    System(Errno),
}

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Self {
        match errno {
            // Names have no slashes: what is missing is the directory itself.
            Errno::NOENT => Self::Gone,
            Errno::ACCESS | Errno::PERM => Self::NoPermission,
            // A link is not followed, and a socket or a device without a driver cannot be opened.
            Errno::LOOP | Errno::NXIO | Errno::ISDIR => Self::NotAFile,
            Errno::ROFS => Self::ReadOnly,
            Errno::NOSPC => Self::Full,
            Errno::DQUOT => Self::Quota,
            other => Self::System(other),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Before => "the record is what it was",
            Self::Unknown => "the disk may hold the old or the new record",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Prepare => "preparing to write it",
            Self::Create => "creating its temporary file",
            Self::Write => "writing its temporary file",
            Self::Sync => "flushing its temporary file to the disk",
            Self::Rename => "putting its temporary file in its place",
            Self::Remove => "removing it",
            Self::SyncDirectory => "flushing its directory to the disk",
        })
    }
}
