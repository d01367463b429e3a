//! A disk that can lose power, for tests: the files of one directory behind a page cache that reaches the disk
//! when it is synchronised, or any part of it earlier, in any order. Calls can fail, lie, or come after the end.
//!
//! What the model lets happen; a real file system may do less of it:
//!
//! - each name of the directory changes on the disk by itself: a power cut leaves it at any value it has had since
//!   the directory was last synchronised, so that of creations, renames and removals any subset may have survived,
//!   in any order. A rename is two such changes, of the old name and of the new one;
//! - a file that was not synchronised survives with any length up to its own, and each of its sectors with what
//!   was written or with zeros;
//! - a synchronisation that fails brings nothing to the disk and forgets what it should have brought: a later one
//!   succeeds and does not bring it either. It may still have got there.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::persist::Store;

pub(crate) use outcomes::{Survivor, Survivors};
pub(crate) use random::Random;

mod calls;
mod outcomes;
mod random;
mod tests;

/// A system call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Call {
    Marked,
    Names,
    OpenDirectory,
    Create,
    Open,
    Length,
    Read,
    Write,
    SyncFile,
    SyncDirectory,
    Rename,
    Remove,
}

impl Call {
    pub(crate) const ALL: [Self; 12] = [
        Self::Marked,
        Self::Names,
        Self::OpenDirectory,
        Self::Create,
        Self::Open,
        Self::Length,
        Self::Read,
        Self::Write,
        Self::SyncFile,
        Self::SyncDirectory,
        Self::Rename,
        Self::Remove,
    ];
}

/// What happens to a call other than what should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It fails and does nothing.
    Fails(Errno),
    /// It fails, and the running system sees nothing of it, but the disk may: for a rename or a removal.
    MayReachDisk(Errno),
    /// It does what it should, and reports a failure.
    FailsAfterwards(Errno),
    /// It does nothing, and reports success: for a synchronisation, as if it were not called.
    Lies,
    /// It takes at most this many bytes: for a read or write.
    Short(usize),
    /// The program has a bug here.
    Panics,
}

/// A directory on such a disk. Clones are the same directory.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Mutex<State>>);

/// An open file or directory of a [`Disk`].
#[derive(Debug)]
pub(crate) struct Handle {
    disk: Disk,
    /// `None` for the directory.
    file: Option<FileId>,
    offset: Cell<usize>,
}

type FileId = usize;

#[derive(Default, Debug)]
struct State {
    names: BTreeMap<String, Entry>,
    files: Vec<Contents>,
    /// Whether the directory was removed.
    is_gone: bool,
    /// Every call since the process was started.
    calls: Vec<Call>,
    /// What calls meet, by their number.
    faults: BTreeMap<usize, Fault>,
    /// What every call of a kind meets.
    broken: BTreeMap<Call, Fault>,
    /// Calls from this number on find the process dead.
    dead_from: Option<usize>,
    handles: usize,
}

/// A name of the directory.
#[derive(Clone, Default, Debug)]
struct Entry {
    /// The file that the running system sees.
    cached: Option<FileId>,
    /// What a power cut may leave.
    surviving: BTreeSet<Option<FileId>>,
    /// Whether the next synchronisation brings `cached` to the disk.
    is_dirty: bool,
}

/// What is in a file.
#[derive(Clone, Default, Debug)]
struct Contents {
    bytes: Vec<u8>,
    /// Whether `bytes` are on the disk.
    is_durable: bool,
    /// Whether a synchronisation has failed: none will help any more.
    is_lost: bool,
}

impl Disk {
    /// A directory with these files, all on stable storage.
    pub(crate) fn holding(files: &Survivor) -> Self {
        let mut state = State::default();
        for (name, bytes) in files {
            let id = Some(state.files.len());
            state.files.push(Contents { bytes: bytes.clone(), is_durable: true, is_lost: false });
            let entry = Entry { cached: id, surviving: BTreeSet::from([id]), is_dirty: false };
            state.names.insert(name.clone(), entry);
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// A store on it, opened without a fault.
    pub(crate) fn store(&self) -> Store<Self> {
        Store::open(self.clone()).expect("the disk works")
    }

    /// Lets call number `number`, from 0, meet `fault`.
    pub(crate) fn fault_at(&self, number: usize, fault: Fault) {
        self.state().faults.insert(number, fault);
    }

    /// Lets every call of a kind meet `fault`.
    pub(crate) fn break_calls(&self, call: Call, fault: Fault) {
        self.state().broken.insert(call, fault);
    }

    /// Takes away all faults that are still to come.
    pub(crate) fn repair(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.broken.clear();
    }

    /// Ends the process before call number `number`: that and all later ones do nothing and fail.
    pub(crate) fn kill_at(&self, number: usize) {
        self.state().dead_from = Some(number);
    }

    /// Whether a call came after the end.
    pub(crate) fn is_dead(&self) -> bool {
        let state = self.state();
        state.dead_from.is_some_and(|from| state.calls.len() > from)
    }

    /// The process starts again. The machine never stopped: its cache is what it was.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        assert_eq!(state.handles, 0, "descriptors leak");
        state.calls.clear();
        state.faults.clear();
        state.broken.clear();
        state.dead_from = None;
    }

    /// The directory is removed with all that is in it.
    pub(crate) fn remove_directory(&self) {
        let mut state = self.state();
        state.names.clear();
        state.is_gone = true;
    }

    /// The calls since the start.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Open descriptors.
    pub(crate) fn handles(&self) -> usize {
        self.state().handles
    }

    /// The names that the running system sees.
    pub(crate) fn visible(&self) -> Vec<String> {
        self.state().visible()
    }

    /// What a power cut at this moment may leave.
    pub(crate) fn survivors(&self) -> Survivors {
        let state = self.state();
        let names = state.names.iter().map(|(name, entry)| (name.clone(), entry.surviving.clone()));
        Survivors::new(names.collect(), state.files.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A call may panic, for a test of what happens then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, state: &mut State, file: Option<FileId>) -> Handle {
        state.handles += 1;
        Handle { disk: self.clone(), file, offset: Cell::new(0) }
    }
}

impl State {
    fn visible(&self) -> Vec<String> {
        let names = self.names.iter().filter(|(_, entry)| entry.cached.is_some());
        names.map(|(name, _)| name.clone()).collect()
    }

    fn file(&self, name: &str) -> Result<FileId, Errno> {
        self.names.get(name).and_then(|entry| entry.cached).ok_or(Errno::NOENT)
    }

    /// The running system sees `file` under this name from now on.
    fn set(&mut self, name: &str, file: Option<FileId>) {
        let entry = self.entry(name);
        entry.cached = file;
        entry.surviving.insert(file);
        entry.is_dirty = true;
    }

    /// A power cut may leave `file` under this name, although the running system does not see it.
    fn may_become(&mut self, name: &str, file: Option<FileId>) {
        self.entry(name).surviving.insert(file);
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        // A name that never was is missing on the disk, too.
        let missing = || Entry { surviving: BTreeSet::from([None]), ..Entry::default() };
        self.names.entry(name.to_owned()).or_insert_with(missing)
    }

    fn sync(&mut self, file: Option<FileId>) {
        match file {
            Some(id) if !self.files[id].is_lost => self.files[id].is_durable = true,
            Some(_) => {}
            None => {
                for entry in self.names.values_mut().filter(|entry| entry.is_dirty) {
                    entry.surviving = BTreeSet::from([entry.cached]);
                    entry.is_dirty = false;
                }
            }
        }
    }

    /// The kernel calls clean what it could not bring to the disk.
    fn sync_failed(&mut self, file: Option<FileId>) {
        match file {
            Some(id) => self.files[id].is_lost = true,
            None => self.names.values_mut().for_each(|entry| entry.is_dirty = false),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.disk.state().handles -= 1;
    }
}
