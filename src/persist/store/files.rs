//! The system calls of a record store, and nothing but them: what is called, and in which order, is the
//! store's. Behind a trait, so that a disk that loses power or fails can stand in for the real one.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, fsync, openat, renameat, statat, unlinkat};
use rustix::io::{Errno, read, retry_on_intr, write};

use crate::persist::directory::{MARKER, StateDirectory};

/// The system calls on the files of one directory.
///
/// Names are names of files in that directory. Errors are those of the system call.
pub trait Files {
    /// An open file or directory; closed when dropped.
    type Handle;

    /// Where the file of this name is, for messages. The empty name is the directory itself.
    fn path(&self, name: &str) -> PathBuf;

    /// Whether the directory still is there and is a state directory.
    ///
    /// # Errors
    /// NOENT when it is not.
    fn marked(&self) -> Result<(), Errno>;

    /// The names in the directory, in any order; more than `names_max` only if there are more. Names that are
    /// not UTF-8 are left out.
    ///
    /// # Errors
    /// Of the system calls.
    fn names(&self, names_max: usize) -> Result<Vec<String>, Errno>;

    /// Opens the directory itself, as a descriptor of its own.
    ///
    /// # Errors
    /// Of the system call.
    fn open_directory(&self) -> Result<Self::Handle, Errno>;

    /// Creates an empty file, to be written by its owner only.
    ///
    /// # Errors
    /// EXIST if there is one; others of the system call.
    fn create(&self, name: &str) -> Result<Self::Handle, Errno>;

    /// Opens a file for reading, without waiting for anybody.
    ///
    /// # Errors
    /// LOOP if it is a link; others of the system call.
    fn open(&self, name: &str) -> Result<Self::Handle, Errno>;

    /// The length of a regular file in bytes; `None` for anything else.
    ///
    /// # Errors
    /// Of the system call.
    fn length(&self, file: &Self::Handle) -> Result<Option<u64>, Errno>;

    /// Reads on from where the last read ended; 0 at the end of the file.
    ///
    /// # Errors
    /// Of the system call.
    fn read(&self, file: &Self::Handle, into: &mut [u8]) -> Result<usize, Errno>;

    /// Writes on from where the last write ended; the number of bytes taken, which may be fewer.
    ///
    /// # Errors
    /// Of the system call.
    fn write(&self, file: &Self::Handle, bytes: &[u8]) -> Result<usize, Errno>;

    /// Waits until a file's contents, or a directory's names, are on stable storage. Takes the descriptor: the
    /// kernel may report an error once and call the lost pages clean, so that a second attempt would lie.
    ///
    /// # Errors
    /// Of the system call; whatever was written may then be lost.
    fn sync(&self, handle: Self::Handle) -> Result<(), Errno>;

    /// Gives the file `from` the name `to`, in the place of a file that has it.
    ///
    /// # Errors
    /// Of the system call.
    fn rename(&self, from: &str, to: &str) -> Result<(), Errno>;

    /// Removes a name.
    ///
    /// # Errors
    /// Of the system call.
    fn remove(&self, name: &str) -> Result<(), Errno>;
}

/// The real files of a state directory, which stays locked as long as this lives.
#[derive(Clone, Debug)]
pub struct StateFiles(Arc<StateDirectory>);

impl StateFiles {
    /// The files of this directory.
    #[must_use]
    pub fn new(state: Arc<StateDirectory>) -> Self {
        Self(state)
    }
}

impl Files for StateFiles {
    type Handle = OwnedFd;

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.path().to_owned() } else { self.0.path().join(name) }
    }

    fn marked(&self) -> Result<(), Errno> {
        // The marker cannot be found in a directory that was removed, although a descriptor of it is open.
        statat(self.0.directory(), MARKER, AtFlags::SYMLINK_NOFOLLOW).map(drop)
    }

    fn names(&self, names_max: usize) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.0.directory())? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
            if names.len() > names_max {
                break;
            }
        }
        Ok(names)
    }

    fn open_directory(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(self.0.directory(), ".", flags, Mode::empty())
    }

    fn create(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(self.0.directory(), name, flags, Mode::from_raw_mode(0o600))
    }

    fn open(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat(self.0.directory(), name, flags, Mode::empty())
    }

    fn length(&self, file: &OwnedFd) -> Result<Option<u64>, Errno> {
        let stat = fstat(file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(if is_file { u64::try_from(stat.st_size).ok() } else { None })
    }

    fn read(&self, file: &OwnedFd, into: &mut [u8]) -> Result<usize, Errno> {
        retry_on_intr(|| read(file, &mut *into))
    }

    fn write(&self, file: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
        retry_on_intr(|| write(file, bytes))
    }

    fn sync(&self, handle: OwnedFd) -> Result<(), Errno> {
        fsync(handle)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        renameat(self.0.directory(), from, self.0.directory(), to)
    }

    fn remove(&self, name: &str) -> Result<(), Errno> {
        unlinkat(self.0.directory(), name, AtFlags::empty())
    }
}
