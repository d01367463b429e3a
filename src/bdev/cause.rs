//! What drivers and initiators say of a failure, in the words of block devices.

#[cfg(test)]
mod tests;

use super::{Access, BdevError};
use crate::nvme::Cause;

/// Each cause has an error of its own; a host may try again what found no path.
impl From<Cause> for BdevError {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::OutOfRange => Self::OutOfRange,
            Cause::Miscompare => Self::Miscompare,
            Cause::ReadFault => Self::Media { access: Access::Read },
            Cause::WriteFault => Self::Media { access: Access::Write },
            Cause::WriteProtected => Self::WriteProtected,
            Cause::NoSpace => Self::NoSpace,
            Cause::Unsupported => Self::Unsupported,
            Cause::Aborted => Self::Aborted,
            Cause::Gone => Self::Gone,
            Cause::NoPath => Self::Device { again: true },
            Cause::Device { again } => Self::Device { again },
        }
    }
}
