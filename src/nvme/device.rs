//! The seam under the driver: a function with NVMe registers that reaches memory of this process.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::mem::Extent;

/// An address as a device uses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Iova(pub u64);

/// A function with NVMe registers: a PCIe device behind an IOMMU, or an emulated one.
///
/// Registers are little-endian and reached in whole, aligned words (NVMe base 2.1, section 3.1.4; doorbells: NVMe over
/// PCIe transport 1.1, section 3.1.2). Invariants that the driver relies on:
///
/// - what this thread stored to memory that is mapped is seen by the device before a register that it writes later;
/// - an extent stays mapped, and alive, from a successful [`Device::map`] until [`Device::unmap`] or the end of the
///   device value;
/// - a device that is gone answers every read with ones and ignores every write; no call panics because of that.
pub trait Device: Send + Sync + 'static {
    /// What messages call it: for a PCI function its address, such as `0000:00:05.0`.
    fn name(&self) -> &str;

    /// Bytes of registers that can be reached, doorbells included.
    fn register_bytes(&self) -> usize;

    /// Reads a 32-bit register; all ones from a device that is gone.
    ///
    /// # Panics
    /// If the register is not inside or not at a multiple of 4.
    fn read_u32(&self, offset: usize) -> u32;

    /// Reads a 64-bit register, as one access or as two halves, the lower first.
    ///
    /// # Panics
    /// If the register is not inside or not at a multiple of 8.
    fn read_u64(&self, offset: usize) -> u64;

    /// Writes a 32-bit register.
    ///
    /// # Panics
    /// If the register is not inside or not at a multiple of 4.
    fn write_u32(&self, offset: usize, value: u32);

    /// Writes a 64-bit register, as one access or as two halves, the lower first.
    ///
    /// # Panics
    /// If the register is not inside or not at a multiple of 8.
    fn write_u64(&self, offset: usize, value: u64);

    /// Lets the device read and write all of `extent`, which it keeps alive. One call for each extent, at start: buffers
    /// are parts of extents, and lie at the same distance from the result as from the extent's first byte.
    ///
    /// # Errors
    /// [`MapError`], and nothing is mapped.
    fn map(&self, extent: &Arc<Extent>) -> Result<Iova, MapError>;

    /// Ends what [`Device::map`] began for the extent at `iova`: afterwards the device reaches none of it. Nothing happens
    /// if there is no such extent.
    fn unmap(&self, iova: Iova);

    /// Resets the whole function, whatever state it is in; its registers are as after power-up, afterwards. Blocks for as
    /// long as the bus demands, 100 ms for a PCIe function.
    ///
    /// # Errors
    /// [`ResetError`].
    fn reset(&self) -> Result<(), ResetError>;

    /// The device was taken away. `false` proves nothing: whoever reads all ones from a register that cannot hold them
    /// knows it earlier.
    fn is_gone(&self) -> bool;

    /// A descriptor that becomes readable when the device signals interrupt vector 0; `None` where there are no
    /// interrupts. Reading eight bytes makes it silent again.
    fn interrupt(&self) -> Option<BorrowedFd<'_>>;
}

/// Why a device cannot be given memory.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The limit on locked memory is too low.
    #[error(
        "{bytes} bytes cannot be locked for the device: the limit on locked memory is {limit} bytes; raise it with \
         `ulimit -l`, LimitMEMLOCK= of the service, or run as root"
    )]
    LockedMemory {
        /// Bytes of the extent.
        bytes: usize,
        /// RLIMIT_MEMLOCK, in bytes.
        limit: u64,
    },
    /// The IOMMU has no room, or none that suits.
    #[error(
        "the IOMMU has no free range of {bytes} bytes for the device: give it fewer or smaller memory extents"
    )]
    NoRoom {
        /// Bytes of the extent.
        bytes: usize,
    },
    /// The kernel refused.
    #[error("the kernel does not let the device reach {bytes} bytes: {reason}")]
    Refused {
        /// Bytes of the extent.
        bytes: usize,
        /// What the kernel says.
        reason: std::io::Error,
    },
    /// The device is no longer there.
    #[error("the device is gone")]
    Gone,
}

/// Why a function was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// It has no way to be reset alone.
    #[error("the function cannot be reset alone")]
    Unsupported,
    /// The kernel refused, or the reset failed.
    #[error("the reset failed: {0}")]
    Failed(std::io::Error),
    /// The device is no longer there.
    #[error("the device is gone")]
    Gone,
}
