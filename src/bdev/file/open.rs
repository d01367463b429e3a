//! Opening a file: what it is, how large, whose, and how it can be read and written. Everything here may block.

use std::{
    fmt, fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{
        AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Mode, OFlags, SeekFrom, StatxFlags,
        fallocate, flock, fstat, fsync, ftruncate, ioctl_blksszget, major, minor, open as open_path, seek,
        stat, statx, unlink,
    },
    io::Errno,
    thread::nanosleep,
    time::Timespec,
};

use super::Layout;
use crate::bdev::{Atomicity, Features, Geometry, GeometryError, Memory};

/// What memory is aligned to where the kernel does not say what direct I/O needs: what suits every device.
const MEMORY_ALIGNMENT: usize = 4096;

/// The smallest sector that block devices have, in bytes.
const SECTOR_MIN: u32 = 512;

/// How long an owner is waited for that may be on its way out: after the end of a process, however it ended, the kernel
/// holds its files until what it had in flight on them is done.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether the owner is gone.
const LOOK: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// The file or block device; symbolic links are followed.
    pub path: PathBuf,
    /// Bytes of a block: see [`Geometry::BLOCK_SIZE_MIN`].
    pub block_size: u32,
    /// Size in bytes: a file that is missing is made, a shorter one grows. Not for block devices.
    pub size: Option<u64>,
    /// Have the file system set the storage aside; otherwise blocks take storage when they are first written.
    pub preallocate: bool,
}

/// Why a file does not serve.
#[derive(Debug)]
pub struct FileError {
    /// Which one.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not there, and no size is given to make it with.
    Missing,
    /// The directory that should hold it is not there.
    NoDirectory,
    /// It is neither a regular file nor a block device.
    Kind(&'static str),
    /// This process may not read and write it.
    Denied,
    /// Another process, or another bdev, has it.
    Locked,
    /// The block device is mounted, or swap, or part of something else.
    Busy,
    /// The block device takes no writes, though the kernel lets it be opened for them.
    ReadOnly,
    /// It is larger than the given size.
    Shrink {
        /// Its size in bytes.
        has: u64,
        /// The given size in bytes.
        wanted: u64,
    },
    /// A size was given for a block device, or storage to be set aside on it.
    SizeOfDevice,
    /// Its size, or the block size, is not possible.
    Geometry(GeometryError),
    /// Direct I/O needs larger blocks here.
    Alignment {
        /// The block size that was asked for, in bytes.
        block_size: u32,
        /// The least that will do, in bytes, where the kernel says it.
        needed: Option<u32>,
    },
    /// There is no room for it.
    NoSpace,
    /// The file system cannot set storage aside.
    NoPreallocation,
    /// Anything else.
    System(Errno),
}

/// A file that serves.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: OwnedFd,
    pub(super) geometry: Geometry,
    pub(super) layout: Layout,
}

/// What kinds of files there are for us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    Block,
}

/// Opens it, and waits at most for `patience` for an owner to leave.
pub(super) fn open(name: &str, options: &FileOptions, patience: Duration) -> Result<Opened, FileError> {
    let mut waited = Duration::ZERO;
    loop {
        match attempt(name, options) {
            Err(Reason::Locked | Reason::Busy) if waited < patience => {
                if waited.is_zero() {
                    tracing::info!(bdev = name, path = %options.path.display(), "in use: waiting for its owner to leave");
                }
                // Nothing runs yet, and the kernel tells nobody.
                let pause = Timespec::try_from(LOOK).unwrap_or_default();
                let _ = nanosleep(&pause);
                waited += LOOK;
            }
            attempted => {
                return attempted.map_err(|reason| FileError { path: options.path.clone(), reason });
            }
        }
    }
}

fn attempt(name: &str, options: &FileOptions) -> Result<Opened, Reason> {
    let FileOptions { path, block_size, size, preallocate } = options;
    // Before anything is made.
    Geometry::divide(size.unwrap_or_else(|| u64::from(*block_size)), *block_size)
        .map_err(Reason::Geometry)?;
    let found = match stat(path) {
        Ok(found) => Some(kind(FileType::from_raw_mode(found.st_mode))?),
        Err(Errno::NOENT) if size.is_none() => return Err(Reason::Missing),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(refusal(errno)),
    };
    if found == Some(Kind::Block) && (size.is_some() || *preallocate) {
        return Err(Reason::SizeOfDevice);
    }
    let (file, direct) = open_either_way(name, path, found)?;
    // It may be another one by now.
    let opened = fstat(&file).map_err(refusal)?;
    let kind = kind(FileType::from_raw_mode(opened.st_mode))?;
    if kind == Kind::Block && is_read_only(opened.st_rdev) {
        return Err(Reason::ReadOnly);
    }
    lock(&file)?;
    if kind == Kind::Regular
        && let Some(size) = *size
        && let Err(reason) = resize(&file, path, size, *preallocate)
    {
        if found.is_none() {
            // It was made just now, and holds nothing.
            let _ = unlink(path);
        }
        return Err(reason);
    }
    let bytes = seek(&file, SeekFrom::End(0)).map_err(refusal)?;
    let blocks = Geometry::divide(bytes, *block_size).map_err(Reason::Geometry)?;
    let whole = WholeBlocks {
        disk: is_disk(if kind == Kind::Block { opened.st_rdev } else { opened.st_dev }),
        bytes_max: if kind == Kind::Block { u32::MAX } else { SECTOR_MIN },
    };
    let (layout, memory) = layout(&file, direct, whole, *block_size)?;
    let file = check_reading(file, *block_size, layout)?;
    let punches = punches(&file, kind, bytes, *block_size);
    let features = Features {
        deallocate: punches,
        // A block device may take the hint and leave the contents.
        deallocated_reads_zeros: punches && kind == Kind::Regular,
        // A file has no place to note which of its blocks shall not be read.
        write_uncorrectable: false,
        ..Features::ALL
    };
    let geometry = Geometry {
        block_size: *block_size,
        blocks,
        volatile_write_cache: true,
        survives_restart: true,
        atomicity: Atomicity::BLOCK,
        memory: Memory::Callers { alignment: memory },
        features,
    };
    Ok(Opened { file, geometry, layout })
}

fn kind(kind: FileType) -> Result<Kind, Reason> {
    match kind {
        FileType::RegularFile => Ok(Kind::Regular),
        FileType::BlockDevice => Ok(Kind::Block),
        FileType::Directory => Err(Reason::Kind("a directory")),
        FileType::CharacterDevice => Err(Reason::Kind("a character device")),
        FileType::Fifo => Err(Reason::Kind("a pipe")),
        FileType::Socket => Err(Reason::Kind("a socket")),
        FileType::Symlink | FileType::Unknown => Err(Reason::Kind("neither")),
    }
}

/// Opens it for direct I/O; where the file system has none, without. Returns which.
fn open_either_way(name: &str, path: &Path, found: Option<Kind>) -> Result<(OwnedFd, bool), Reason> {
    let mut flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    match found {
        // Exclusive: refused while it is mounted, swap, or part of another device.
        Some(Kind::Block) => flags |= OFlags::EXCL,
        Some(Kind::Regular) => {}
        None => flags |= OFlags::CREATE,
    }
    let mode = Mode::RUSR | Mode::WUSR;
    match open_path(path, flags | OFlags::DIRECT, mode) {
        Ok(file) => match statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
            Ok(said)
                if said.stx_mask & StatxFlags::DIOALIGN.bits() != 0 && said.stx_dio_offset_align == 0 => {}
            _ => return Ok((file, true)),
        },
        Err(Errno::INVAL) => {}
        Err(errno) => return Err(refusal(errno)),
    }
    tracing::warn!(
        bdev = name,
        path = %path.display(),
        "the file system has no direct I/O: reads and writes go through the page cache, at the cost of memory and copies"
    );
    open_path(path, flags, mode).map(|file| (file, false)).map_err(refusal)
}

/// Which blocks of the smallest size for direct I/O are read and written as a whole below.
#[derive(Clone, Copy)]
struct WholeBlocks {
    /// A disk is below.
    disk: bool,
    /// Larger ones are not sectors of it, as far as one can know: a file system may want more than a sector.
    bytes_max: u32,
}

/// Whether this is the number of a disk, or of a part of one, and not of something that the kernel makes of files, of memory or
/// of several disks: those copy sectors, or read and write them in parts. One that the kernel does not show is not believed.
fn is_disk(device: u64) -> bool {
    let path = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    ["device", "../device"].iter().any(|name| Path::new(&path).join(name).exists())
}

/// Whether a block device takes no writes. One that the kernel does not show is believed to.
fn is_read_only(device: u64) -> bool {
    let path = format!("/sys/dev/block/{}:{}/ro", major(device), minor(device));
    fs::read_to_string(path).is_ok_and(|said| said.trim() != "0")
}

/// One owner at a time: the lock belongs to this descriptor, so another bdev of this process is kept away too. The rings
/// have the descriptor as well, so that it is held until the last of their operations is done, even of a process that
/// was killed: no write of a former owner comes after the first of the next one.
fn lock(file: &OwnedFd) -> Result<(), Reason> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(Reason::Locked),
        Err(errno) => Err(refusal(errno)),
    }
}

/// Gives a regular file its size, and makes that durable.
fn resize(file: &OwnedFd, path: &Path, size: u64, preallocate: bool) -> Result<(), Reason> {
    let has = seek(file, SeekFrom::End(0)).map_err(refusal)?;
    if has > size {
        return Err(Reason::Shrink { has, wanted: size });
    }
    if has < size {
        ftruncate(file, size).map_err(refusal)?;
    }
    if preallocate {
        match fallocate(file, FallocateFlags::empty(), 0, size) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => return Err(Reason::NoPreallocation),
            Err(errno) => return Err(refusal(errno)),
        }
    }
    fsync(file).map_err(refusal)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = rustix::fs::openat(CWD, directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    directory.and_then(fsync).map_err(refusal)
}

/// How it wants to be used, and what memory must be aligned to.
fn layout(
    file: &OwnedFd,
    direct: bool,
    whole: WholeBlocks,
    block_size: u32,
) -> Result<(Layout, usize), Reason> {
    if !direct {
        // The cache is written under locks that readers do not take.
        return Ok((Layout { alignment: 1, direct, atomic: false }, 1));
    }
    let said = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let said = said.filter(|said| said.stx_mask & StatxFlags::DIOALIGN.bits() != 0);
    let said = said.map(|said| (said.stx_dio_mem_align, said.stx_dio_offset_align));
    let sector = || ioctl_blksszget(file).ok().map(|sector| (0, sector));
    match said.or_else(sector) {
        Some((_, offset)) if offset > block_size => {
            Err(Reason::Alignment { block_size, needed: Some(offset) })
        }
        Some((memory, offset)) => {
            // The lengths of segments count too: so no piece of memory ends inside a block that is atomic.
            let memory = if memory == 0 { MEMORY_ALIGNMENT } else { memory as usize }.max(offset as usize);
            let atomic = offset == block_size && whole.disk && offset <= whole.bytes_max;
            Ok((Layout { alignment: offset.into(), direct, atomic }, memory))
        }
        None => {
            // There may be no device below, but memory (tmpfs), or another machine's cache.
            let layout = Layout { alignment: block_size.into(), direct, atomic: false };
            Ok((layout, MEMORY_ALIGNMENT.max(block_size as usize)))
        }
    }
}

/// Reads one block, as all reads will be: some file systems refuse only here.
fn check_reading(file: OwnedFd, block_size: u32, layout: Layout) -> Result<OwnedFd, Reason> {
    let length = block_size as usize;
    let memory = vec![0; length + MEMORY_ALIGNMENT];
    let start = memory.as_ptr().addr().next_multiple_of(MEMORY_ALIGNMENT) - memory.as_ptr().addr();
    let mut memory = memory;
    let file = fs::File::from(file);
    match file.read_exact_at(&mut memory[start..start + length], 0) {
        Ok(()) => Ok(file.into()),
        Err(error) => Err(match Errno::from_io_error(&error) {
            Some(Errno::INVAL) if layout.direct => Reason::Alignment { block_size, needed: None },
            Some(errno) => refusal(errno),
            None => Reason::System(Errno::IO),
        }),
    }
}

/// Whether ranges can be given back: asked with a range beyond the end, which holds nothing. A block device cannot be
/// asked without doing it.
fn punches(file: &OwnedFd, kind: Kind, bytes: u64, block_size: u32) -> bool {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    kind == Kind::Block || fallocate(file.as_fd(), flags, bytes, block_size.into()).is_ok()
}

fn refusal(errno: Errno) -> Reason {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Reason::NoDirectory,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Reason::Denied,
        Errno::BUSY => Reason::Busy,
        Errno::ISDIR => Reason::Kind("a directory"),
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Reason::NoSpace,
        errno => Reason::System(errno),
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for FileError {}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("it does not exist; give a \"size\" to have it made"),
            Self::NoDirectory => formatter.write_str("the directory that should hold it does not exist"),
            Self::Kind(kind) => write!(formatter, "it is {kind}, and has to be a regular file or a block device"),
            Self::Denied => formatter.write_str("this process may not read and write it"),
            Self::Locked => formatter.write_str("another process or another bdev has it; two would destroy its contents"),
            Self::Busy => formatter.write_str(
                "the device is in use: mounted, swap, or part of RAID, LVM or device mapper; free it first (lsblk shows by whom)",
            ),
            Self::ReadOnly => formatter.write_str(
                "the device is read-only; where that is a mere setting, blockdev --setrw changes it",
            ),
            Self::Shrink { has, wanted } => write!(
                formatter,
                "it has {has} bytes, more than the size of {wanted}, and is not cut; give its own size, or leave \"size\" out"
            ),
            Self::SizeOfDevice => {
                formatter.write_str("a block device has the size it has; leave \"size\" and \"preallocate\" out")
            }
            Self::Geometry(error) => error.fmt(formatter),
            Self::Alignment { block_size, needed: Some(needed) } => write!(
                formatter,
                "direct I/O needs blocks of at least {needed} bytes here, and block_size is {block_size}"
            ),
            Self::Alignment { block_size, needed: None } => {
                write!(formatter, "direct I/O refuses blocks of {block_size} bytes here; try a block_size of 4096")
            }
            Self::NoSpace => formatter.write_str("the file system has no room for it"),
            Self::NoPreallocation => {
                formatter.write_str("the file system cannot set storage aside; leave \"preallocate\" out")
            }
            Self::System(errno) => write!(formatter, "{}", io::Error::from(*errno)),
        }
    }
}
