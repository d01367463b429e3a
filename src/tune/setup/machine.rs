//! The kernel's files: reading them, and the one seam through which they are changed.
//!
//! Paths are the kernel's own, such as `/sys/bus/pci`, in code and in messages; only here are they put under the
//! machine's root, which is `/` except in tests.
//!
//! Invariant: a file that is not there is `None`, any other failure is a [`Trouble`]: the two are never mixed up.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The most that is read of one file of the kernel. The list of mounts is the longest of them.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Where `modprobe` lies, which is not in everybody's path.
const MODPROBE_PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// The files under one root, and how they are changed.
pub struct Machine {
    root: PathBuf,
    kernel: Box<dyn Kernel>,
}

/// Everything that set-up does to a machine, apart from reading. Paths are the kernel's own.
pub trait Kernel {
    /// Writes `text` to a file of sysfs, in one write. The file must exist.
    ///
    /// # Errors
    ///
    /// What the kernel answers: the meaning depends on the file.
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()>;

    /// Loads a module of the kernel, with what it depends on, as `modprobe NAME` does.
    ///
    /// # Errors
    ///
    /// `modprobe` could not be started, or failed; the message is its own.
    fn load_module(&mut self, name: &str) -> io::Result<()>;

    /// Opens a block device for reading, exclusively: nobody can mount or assemble it as long as the file lives.
    ///
    /// # Errors
    ///
    /// `EBUSY` (`ResourceBusy`) when the kernel itself uses it; otherwise why it cannot be opened.
    fn claim(&mut self, path: &Path) -> io::Result<File>;
}

/// The kernel that this program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// A file that should have been read or written, and why it was not.
#[derive(Debug)]
pub struct Trouble {
    path: PathBuf,
    doing: Doing,
    reason: io::Error,
}

/// What failed.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Reading,
    Writing,
    Opening,
}

impl Machine {
    /// The machine that this program runs on.
    #[must_use]
    pub fn this() -> Self {
        Self::at("/", Box::new(System))
    }

    /// The machine whose `/sys`, `/proc` and `/dev` lie in `root`, changed through `kernel`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>, kernel: Box<dyn Kernel>) -> Self {
        Self { root: root.into(), kernel }
    }

    /// Where a file of the kernel lies under this root.
    pub(in crate::tune) fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether something is at `path`. A link that leads nowhere is not.
    pub(in crate::tune) fn has(&self, path: &str) -> Result<bool, Trouble> {
        self.place(path).try_exists().map_err(|reason| Trouble::reading(path, reason))
    }

    /// The contents, without blanks at the ends; `None` if there is no such file.
    pub(in crate::tune) fn text(&self, path: &str) -> Result<Option<String>, Trouble> {
        let Some(file) = there(File::open(self.place(path))).map_err(|why| Trouble::reading(path, why))?
        else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|why| Trouble::reading(path, why))?;
        Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// The number in a file, decimal, or hexadecimal behind `0x`; `None` if there is no such file.
    pub(in crate::tune) fn number(&self, path: &str) -> Result<Option<u64>, Trouble> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, format!("\"{text}\" is not a number"));
        number.map(Some).map_err(|problem| Trouble::reading(path, wrong(problem)))
    }

    /// The last name of what a link leads to; `None` if there is no such link.
    pub(in crate::tune) fn link_name(&self, path: &str) -> Result<Option<String>, Trouble> {
        let target = there(fs::read_link(self.place(path))).map_err(|why| Trouble::reading(path, why))?;
        Ok(target.and_then(|target| target.file_name().map(|name| name.to_string_lossy().into_owned())))
    }

    /// Names in a folder, sorted; none if there is no such folder.
    pub(in crate::tune) fn names(&self, path: &str) -> Result<Vec<String>, Trouble> {
        let trouble = |reason| Trouble::reading(path, reason);
        let Some(entries) = there(fs::read_dir(self.place(path))).map_err(trouble)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(trouble)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Changes a file of sysfs.
    pub(super) fn write(&mut self, path: &str, text: &str) -> Result<(), Trouble> {
        self.kernel.write(Path::new(path), text).map_err(|reason| Trouble::new(path, Doing::Writing, reason))
    }

    /// Loads a module of the kernel.
    pub(super) fn load_module(&mut self, name: &str) -> io::Result<()> {
        self.kernel.load_module(name)
    }

    /// Takes a block device for this program alone; `None` when the kernel itself uses it.
    pub(super) fn claim(&mut self, path: &str) -> Result<Option<File>, Trouble> {
        match self.kernel.claim(Path::new(path)) {
            Ok(file) => Ok(Some(file)),
            Err(reason) if reason.kind() == io::ErrorKind::ResourceBusy => Ok(None),
            Err(reason) => Err(Trouble::new(path, Doing::Opening, reason)),
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Machine").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Kernel for System {
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        // Neither created nor truncated: a file of sysfs that is missing is an error.
        let mut file = OpenOptions::new().write(true).open(path)?;
        // One write is one value to sysfs.
        io::Write::write_all(&mut file, text.as_bytes())
    }

    fn load_module(&mut self, name: &str) -> io::Result<()> {
        let mut command = Command::new("modprobe");
        command.arg(name).env("PATH", MODPROBE_PATH).stdin(Stdio::null());
        let ended = command.output()?;
        if ended.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr).trim().replace('\n', "; ");
        Err(io::Error::other(if said.is_empty() { format!("modprobe: {}", ended.status) } else { said }))
    }

    fn claim(&mut self, path: &Path) -> io::Result<File> {
        // On a block device, without O_CREAT, O_EXCL claims it as a mount does: open(2).
        OpenOptions::new().read(true).custom_flags(libc::O_EXCL | libc::O_CLOEXEC).open(path)
    }
}

impl Trouble {
    fn new(path: impl Into<PathBuf>, doing: Doing, reason: io::Error) -> Self {
        Self { path: path.into(), doing, reason }
    }

    pub(super) fn reading(path: impl Into<PathBuf>, reason: io::Error) -> Self {
        Self::new(path, Doing::Reading, reason)
    }

    /// Whether more privileges would help.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.reason.kind() == io::ErrorKind::PermissionDenied
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, doing, reason } = self;
        let doing = match doing {
            Doing::Reading => "cannot be read",
            Doing::Writing => "cannot be written",
            Doing::Opening => "cannot be opened",
        };
        // Names of files come from the kernel, and those of devices from whoever named them.
        let path = String::from_utf8_lossy(path.as_os_str().as_bytes()).escape_debug().to_string();
        match reason.kind() {
            io::ErrorKind::PermissionDenied => {
                write!(formatter, "{path} {doing}: permission denied; run as root")
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                write!(
                    formatter,
                    "{path} {doing}: its file system is read-only; run it outside of the container"
                )
            }
            _ => write!(formatter, "{path} {doing}: {reason}"),
        }
    }
}

impl std::error::Error for Trouble {}

/// Makes "not found" a `None`. ENODEV and ESRCH are the kernel's words for a device or process that went away.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(reason) if matches!(reason.raw_os_error(), Some(libc::ENODEV | libc::ESRCH)) => Ok(None),
        Err(reason) => Err(reason),
    }
}
