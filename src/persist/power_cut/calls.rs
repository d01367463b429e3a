//! The system calls on a [`Disk`], with the faults that they meet.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Call, Contents, Disk, Fault, Handle, State};
use crate::persist::Files;

/// Where messages say the directory is.
const DIRECTORY: &str = "/state";

impl Disk {
    /// Counts a call and lets it meet its fault; `effect` is what it does otherwise.
    fn call<T>(
        &self,
        call: Call,
        effect: impl FnOnce(&mut State, Option<Fault>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut state = self.state();
        let number = state.calls.len();
        state.calls.push(call);
        if state.dead_from.is_some_and(|from| number >= from) {
            return Err(Errno::IO);
        }
        let fault = state.faults.get(&number).or_else(|| state.broken.get(&call)).copied();
        match fault {
            Some(Fault::Panics) => panic!("a bug at {call:?}"),
            Some(Fault::FailsAfterwards(errno)) => {
                let done = effect(&mut state, None);
                // What was opened is closed again, which takes the lock.
                drop(state);
                done.and(Err(errno))
            }
            _ => effect(&mut state, fault),
        }
    }
}

/// A call that does nothing when it fails.
fn plain(fault: Option<Fault>) -> Result<(), Errno> {
    match fault {
        Some(Fault::Fails(errno)) => Err(errno),
        _ => Ok(()),
    }
}

/// How many bytes a read or write takes of `length`.
fn taken(fault: Option<Fault>, length: usize) -> Result<usize, Errno> {
    plain(fault)?;
    Ok(if let Some(Fault::Short(most)) = fault { length.min(most) } else { length })
}

impl Files for Disk {
    type Handle = Handle;

    fn path(&self, name: &str) -> PathBuf {
        Path::new(DIRECTORY).join(name)
    }

    fn marked(&self) -> Result<(), Errno> {
        self.call(Call::Marked, |state, fault| {
            plain(fault)?;
            if state.is_gone { Err(Errno::NOENT) } else { Ok(()) }
        })
    }

    fn names(&self, _names_max: usize) -> Result<Vec<String>, Errno> {
        self.call(Call::Names, |state, fault| plain(fault).map(|()| state.visible()))
    }

    fn open_directory(&self) -> Result<Handle, Errno> {
        self.call(Call::OpenDirectory, |state, fault| {
            plain(fault)?;
            Ok(self.handle(state, None))
        })
    }

    fn create(&self, name: &str) -> Result<Handle, Errno> {
        self.call(Call::Create, |state, fault| {
            plain(fault)?;
            if state.is_gone {
                return Err(Errno::NOENT);
            }
            if state.file(name).is_ok() {
                return Err(Errno::EXIST);
            }
            let id = Some(state.files.len());
            state.files.push(Contents::default());
            state.set(name, id);
            Ok(self.handle(state, id))
        })
    }

    fn open(&self, name: &str) -> Result<Handle, Errno> {
        self.call(Call::Open, |state, fault| {
            plain(fault)?;
            let file = state.file(name)?;
            Ok(self.handle(state, Some(file)))
        })
    }

    fn length(&self, file: &Handle) -> Result<Option<u64>, Errno> {
        self.call(Call::Length, |state, fault| {
            plain(fault)?;
            Ok(file.file.and_then(|id| u64::try_from(state.files[id].bytes.len()).ok()))
        })
    }

    fn read(&self, file: &Handle, into: &mut [u8]) -> Result<usize, Errno> {
        self.call(Call::Read, |state, fault| {
            let rest = &state.files[file.file.ok_or(Errno::ISDIR)?].bytes[file.offset.get()..];
            let count = taken(fault, rest.len().min(into.len()))?;
            into[..count].copy_from_slice(&rest[..count]);
            forward(&file.offset, count);
            Ok(count)
        })
    }

    fn write(&self, file: &Handle, bytes: &[u8]) -> Result<usize, Errno> {
        self.call(Call::Write, |state, fault| {
            let count = taken(fault, bytes.len())?;
            let contents = &mut state.files[file.file.ok_or(Errno::ISDIR)?];
            assert_eq!(file.offset.get(), contents.bytes.len(), "records are written once, from the start");
            contents.bytes.extend_from_slice(&bytes[..count]);
            contents.is_durable = false;
            forward(&file.offset, count);
            Ok(count)
        })
    }

    fn sync(&self, handle: Handle) -> Result<(), Errno> {
        let call = if handle.file.is_some() { Call::SyncFile } else { Call::SyncDirectory };
        self.call(call, |state, fault| {
            match fault {
                Some(Fault::Fails(errno) | Fault::MayReachDisk(errno)) => {
                    state.sync_failed(handle.file);
                    return Err(errno);
                }
                Some(Fault::Lies) => {}
                _ => state.sync(handle.file),
            }
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        self.call(Call::Rename, |state, fault| {
            plain(fault)?;
            let file = Some(state.file(from)?);
            if let Some(Fault::MayReachDisk(errno)) = fault {
                state.may_become(to, file);
                return Err(errno);
            }
            state.set(from, None);
            state.set(to, file);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> Result<(), Errno> {
        self.call(Call::Remove, |state, fault| {
            plain(fault)?;
            state.file(name)?;
            if let Some(Fault::MayReachDisk(errno)) = fault {
                state.may_become(name, None);
                return Err(errno);
            }
            state.set(name, None);
            Ok(())
        })
    }
}

fn forward(offset: &Cell<usize>, count: usize) {
    offset.set(offset.get() + count);
}
