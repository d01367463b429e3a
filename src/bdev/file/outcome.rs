//! What the kernel's errors mean to whoever sent the command.

use corelane_reactors::ring::Errno;

use crate::bdev::{Access, BdevError};

/// The failure of an operation on the medium.
pub(super) fn failure(errno: Errno, access: Access) -> BdevError {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => BdevError::NoSpace,
        Errno::NODEV | Errno::NXIO | Errno::STALE | Errno::NOTCONN | Errno::SHUTDOWN | Errno::BADF => {
            BdevError::Gone
        }
        // The kernel opens a block device for writing that takes none, or takes none any more.
        Errno::PERM | Errno::ACCESS | Errno::ROFS if access == Access::Write => BdevError::WriteProtected,
        Errno::CANCELED => BdevError::Aborted,
        // The machine is short of memory; later it may not be.
        Errno::NOMEM | Errno::AGAIN => BdevError::Busy,
        _ => BdevError::Media { access },
    }
}
