//! A store of records: reads them, and replaces them so that a crash leaves the old one or the new one. Does
//! not know what is in them, and does not try again what has failed.
//!
//! A save writes a new temporary file in the same directory; brings it to stable storage; gives it the record's
//! name; and brings the directory to stable storage. Invariants:
//!
//! - a file has a record's name only after its contents are on stable storage;
//! - a save or a removal that returned `Ok` is on stable storage, and so is what a store that was opened finds
//!   (whoever wrote it may have been killed before it could see to that);
//! - no descriptor is synchronised twice, whether it failed or not (see [`Files::sync`]);
//! - a temporary file is gone when a call returns, or is listed in `leftovers`, which are removed before the
//!   next save; those of a process that was killed are removed when the store is opened;
//! - a record of which nobody knows what the disk holds is listed in `uncertain` until it is on stable storage.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use tracing::{info, warn};

pub use failure::{LoadError, OpenError, Reason, SaveError, Stage, Step};
pub use files::{Files, StateFiles};
pub use name::{NameError, RecordName};

mod failure;
mod files;
mod name;

/// Longest record, in bytes. Far more than any has; protects from a file that is something else.
pub const RECORD_BYTES_MAX: usize = 128 << 20;
/// Most names in a state directory: one for each namespace there can be, and then some.
const NAMES_MAX: usize = 1 << 20;
/// Most temporary files that can wait for their removal, before nothing more is saved.
const LEFTOVERS_MAX: usize = 8;

/// The records of a state directory, for the one who writes them. Every method blocks.
#[derive(Debug)]
pub struct Store<F: Files = StateFiles> {
    files: Arc<F>,
    /// Number of the last temporary file. Never used again in this process.
    number: u64,
    /// Temporary files that could not be removed.
    leftovers: Vec<String>,
    /// Records whose last save or removal failed at [`Stage::Unknown`].
    uncertain: BTreeSet<RecordName>,
}

/// The records of a state directory, for reading. Safe beside the [`Store`]: it sees whole records only.
#[derive(Debug)]
pub struct Reader<F: Files = StateFiles> {
    files: Arc<F>,
}

impl<F: Files> Store<F> {
    /// Removes what a crash left half done, and makes sure that what [`Store::load`] finds is on stable
    /// storage.
    ///
    /// # Errors
    /// [`OpenError`] when either fails. Nothing that counts was changed.
    pub fn open(files: F) -> Result<Self, OpenError> {
        let failed = |name: &str, errno: Errno| OpenError { path: files.path(name), reason: errno.into() };
        let directory = files.open_directory().map_err(|errno| failed("", errno))?;
        let mut names = files.names(NAMES_MAX).map_err(|errno| failed("", errno))?;
        if names.len() > NAMES_MAX {
            return Err(OpenError { path: files.path(""), reason: Reason::TooMany });
        }
        names.retain(|name| name::is_temporary(name));
        for name in names {
            files.remove(&name).map_err(|errno| failed(&name, errno))?;
            info!(file = %files.path(&name).display(), "removed a temporary file that a crash left");
        }
        files.sync(directory).map_err(|errno| failed("", errno))?;
        Ok(Self { files: Arc::new(files), number: 0, leftovers: Vec::new(), uncertain: BTreeSet::new() })
    }

    /// For reading, on any thread.
    #[must_use]
    pub fn reader(&self) -> Reader<F> {
        Reader { files: Arc::clone(&self.files) }
    }

    /// As [`Reader::load`].
    ///
    /// # Errors
    /// As [`Reader::load`].
    pub fn load(&self, name: &RecordName) -> Result<Option<Vec<u8>>, LoadError> {
        self.reader().load(name)
    }

    /// Replaces the record by `bytes`, which are 1 to [`RECORD_BYTES_MAX`], or creates it. When this returns
    /// `Ok`, it is on stable storage.
    ///
    /// # Errors
    /// [`SaveError`]; its [`Stage`] says what the disk holds.
    ///
    /// # Panics
    /// When `bytes` are none: an empty record says nothing.
    pub fn save(&mut self, name: &RecordName, bytes: &[u8]) -> Result<(), SaveError> {
        assert!(!bytes.is_empty());
        let result = self.replace(name, bytes);
        self.conclude(name, result)
    }

    /// Removes the record. When this returns `Ok` it is gone, also after a crash; so it is when there was none.
    ///
    /// # Errors
    /// [`SaveError`]; its [`Stage`] says what the disk holds. After [`Stage::Unknown`], a record that the running
    /// system does not see may still be on the disk, and no second removal would reach it: until the record was
    /// saved again, the reason then is [`Reason::Uncertain`].
    pub fn remove(&mut self, name: &RecordName) -> Result<(), SaveError> {
        let result = self.erase(name);
        self.conclude(name, result)
    }

    fn conclude(&mut self, name: &RecordName, result: Result<(), Failed>) -> Result<(), SaveError> {
        match &result {
            Ok(()) => {
                self.uncertain.remove(name);
            }
            Err(Failed { stage: Stage::Unknown, .. }) => {
                self.uncertain.insert(name.clone());
            }
            Err(Failed { stage: Stage::Before, .. }) => {}
        }
        result.map_err(|failed| failed.at(&*self.files, name))
    }

    fn replace(&mut self, name: &RecordName, bytes: &[u8]) -> Result<(), Failed> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(Failed { stage: Stage::Before, step: Step::Prepare, reason: Reason::TooLarge });
        }
        self.sweep()?;
        // Opened while nothing has changed yet: after the rename only the disk itself can fail.
        let directory = self.files.open_directory().map_err(Failed::before(Step::Prepare))?;
        self.number += 1;
        let temporary = name.temporary(self.number);
        let renamed = self.write(&temporary, bytes).and_then(|()| {
            // Whatever the error, the disk may have taken the new name.
            self.files.rename(&temporary, name.as_str()).map_err(Failed::unknown(Step::Rename))
        });
        if let Err(failed) = renamed {
            self.discard(temporary);
            return Err(failed);
        }
        self.files.sync(directory).map_err(Failed::unknown(Step::SyncDirectory))
    }

    /// Creates a temporary file and brings it to stable storage.
    fn write(&self, temporary: &str, bytes: &[u8]) -> Result<(), Failed> {
        let file = self.files.create(temporary).map_err(Failed::before(Step::Create))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.files.write(&file, rest) {
                // A file that takes nothing and reports nothing would be written for ever.
                Ok(0) => Err(Errno::IO),
                other => other,
            };
            rest = &rest[taken.map_err(Failed::before(Step::Write))?..];
        }
        self.files.sync(file).map_err(Failed::before(Step::Sync))
    }

    fn erase(&mut self, name: &RecordName) -> Result<(), Failed> {
        let directory = self.files.open_directory().map_err(Failed::before(Step::Prepare))?;
        match self.files.remove(name.as_str()) {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                // Nothing can be said about a directory that is not there.
                self.files.marked().map_err(Failed::before(Step::Remove))?;
                if self.uncertain.contains(name) {
                    let (stage, reason) = (Stage::Unknown, Reason::Uncertain);
                    return Err(Failed { stage, step: Step::Remove, reason });
                }
            }
            Err(errno) => return Err(Failed::unknown(Step::Remove)(errno)),
        }
        self.files.sync(directory).map_err(Failed::unknown(Step::SyncDirectory))
    }

    /// Removes a temporary file, now or before the next save. Nobody reads it: it need not be durable.
    fn discard(&mut self, temporary: String) {
        match self.files.remove(&temporary) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => {
                warn!(file = %self.files.path(&temporary).display(), %errno, "cannot remove a temporary file");
                self.leftovers.push(temporary);
            }
        }
    }

    /// Removes the temporary files that could not be removed before.
    fn sweep(&mut self) -> Result<(), Failed> {
        let mut failure = None;
        self.leftovers.retain(|name| match self.files.remove(name) {
            Ok(()) | Err(Errno::NOENT) => false,
            Err(errno) => {
                failure = Some(errno);
                true
            }
        });
        match failure {
            Some(errno) if self.leftovers.len() >= LEFTOVERS_MAX => Err(Failed::before(Step::Prepare)(errno)),
            _ => Ok(()),
        }
    }
}

impl<F: Files> Reader<F> {
    /// The record's bytes, at most [`RECORD_BYTES_MAX`]. `None`, and silent, if and only if the state directory
    /// is there and has no file of that name.
    ///
    /// # Errors
    /// [`LoadError`] for everything else: the record may be there, and must not be taken for one that is not.
    pub fn load(&self, name: &RecordName) -> Result<Option<Vec<u8>>, LoadError> {
        self.read(name).map_err(|reason| LoadError { path: self.files.path(name.as_str()), reason })
    }

    /// Where the record's file is, whether there is one or not.
    #[must_use]
    pub fn path(&self, name: &RecordName) -> PathBuf {
        self.files.path(name.as_str())
    }

    /// The names of all records, sorted. What else lies in the directory is left out.
    ///
    /// # Errors
    /// [`LoadError`] when the directory cannot be read, or is not there.
    pub fn names(&self) -> Result<Vec<RecordName>, LoadError> {
        let failed = |reason| LoadError { path: self.files.path(""), reason };
        self.files.marked().map_err(|errno| failed(errno.into()))?;
        let names = self.files.names(NAMES_MAX).map_err(|errno| failed(errno.into()))?;
        if names.len() > NAMES_MAX {
            return Err(failed(Reason::TooMany));
        }
        let mut names: Vec<_> = names.iter().filter_map(|name| RecordName::new(name).ok()).collect();
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &RecordName) -> Result<Option<Vec<u8>>, Reason> {
        let file = match self.files.open(name.as_str()) {
            Ok(file) => file,
            // Every name is missing in a directory that was removed: the marker tells the difference.
            Err(Errno::NOENT) => return self.files.marked().map(|()| None).map_err(Reason::from),
            Err(errno) => return Err(errno.into()),
        };
        let length = self.files.length(&file).map_err(system)?.ok_or(Reason::NotAFile)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= RECORD_BYTES_MAX);
        // One more than there should be: the file may have grown, or its length may be a lie.
        let mut bytes = vec![0; length.ok_or(Reason::TooLarge)? + 1];
        let mut filled = 0;
        loop {
            let count = self.files.read(&file, &mut bytes[filled..]).map_err(system)?;
            filled += count;
            if count == 0 {
                bytes.truncate(filled);
                return Ok(Some(bytes));
            }
            if filled > RECORD_BYTES_MAX {
                return Err(Reason::TooLarge);
            }
            if filled == bytes.len() {
                bytes.resize((2 * filled).min(RECORD_BYTES_MAX + 1), 0);
            }
        }
    }
}

impl<F: Files> Clone for Reader<F> {
    fn clone(&self) -> Self {
        Self { files: Arc::clone(&self.files) }
    }
}

/// Of an open file no error means that its directory is gone.
fn system(errno: Errno) -> Reason {
    if errno == Errno::NOENT { Reason::System(errno) } else { errno.into() }
}

/// A [`SaveError`] without its path.
struct Failed {
    stage: Stage,
    step: Step,
    reason: Reason,
}

impl Failed {
    fn before(step: Step) -> impl Fn(Errno) -> Self {
        move |errno| Self { stage: Stage::Before, step, reason: errno.into() }
    }

    fn unknown(step: Step) -> impl Fn(Errno) -> Self {
        move |errno| Self { stage: Stage::Unknown, step, reason: errno.into() }
    }

    fn at<F: Files>(self, files: &F, name: &RecordName) -> SaveError {
        let Self { stage, step, reason } = self;
        SaveError { path: files.path(name.as_str()), stage, step, reason }
    }
}

#[cfg(test)]
mod tests;
