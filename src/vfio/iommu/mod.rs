//! The IOMMU before a device: which addresses it translates, and what memory stands behind them.
//!
//! Two ways lead to it: a Type1 container, which holds the device's IOMMU group, and, with the feature `iommufd`, the
//! kernel's newer interface. Both map at addresses that this process chooses.

#![expect(unsafe_code, reason = "memory is given to a device")]

mod info;
#[cfg(feature = "iommufd")]
mod iommufd;

use std::io;
use std::ptr;
use std::sync::Arc;

use vfio_ioctls::{VfioContainer, VfioError, VfioOps};

use crate::mem::Extent;
use crate::nvme::MapError;

use super::ioctl;
use super::ranges::Ranges;

/// How a device's IOMMU is reached.
pub(super) enum Iommu {
    /// Through a container of groups.
    Type1(Arc<VfioContainer>),
    /// Through `/dev/iommu`.
    #[cfg(feature = "iommufd")]
    Iommufd(Arc<vfio_ioctls::VfioIommufd>),
}

impl Iommu {
    /// A new address space. Where `cdev` says that the device has a file of its own and the kernel has `/dev/iommu`, it
    /// is one of those.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(cdev: bool) -> Result<Self, VfioError> {
        #[cfg(feature = "iommufd")]
        if cdev && let Some(iommufd) = iommufd::open()? {
            return Ok(Self::Iommufd(iommufd));
        }
        let _ = cdev;
        Ok(Self::Type1(Arc::new(VfioContainer::new(None)?)))
    }

    /// What `vfio-ioctls` opens a device with.
    pub(super) fn operations(&self) -> Arc<dyn VfioOps> {
        match self {
            Self::Type1(container) => Arc::clone(container) as Arc<dyn VfioOps>,
            #[cfg(feature = "iommufd")]
            Self::Iommufd(iommufd) => Arc::clone(iommufd) as Arc<dyn VfioOps>,
        }
    }

    /// The addresses that it translates, and its page sizes. Known once a device is attached.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn ranges(&self) -> io::Result<Ranges> {
        match self {
            Self::Type1(container) => {
                let info = info::Info::parse(&ioctl::iommu_info(container.as_ref())?);
                tracing::debug!(?info, "the IOMMU");
                Ok(Ranges::new(info.usable, info.page_sizes))
            }
            #[cfg(feature = "iommufd")]
            Self::Iommufd(iommufd) => iommufd::ranges(iommufd),
        }
    }

    /// Lets the device reach the `len` bytes from the beginning of `extent` at `iova`.
    ///
    /// # Errors
    /// [`MapError`], which tells what limits this process from what limits the IOMMU.
    pub(super) fn map(&self, extent: &Extent, iova: u64, len: u64) -> Result<(), MapError> {
        let bytes = extent.len();
        let Ok(len) = usize::try_from(len) else { return Err(MapError::NoRoom { bytes }) };
        let start = ptr::without_provenance_mut(extent.address());
        // SAFETY: the extent's memory is mapped, and no Rust reference to any of it exists, ever (invariant of extents);
        // `len` only rounds its length up to whole pages, which are the extent's own. The kernel pins the pages, so that
        // they are nobody else's even if the extent were dropped before it is unmapped.
        let mapped = unsafe { self.operations().vfio_dma_map(iova, len, start) };
        mapped.map_err(|error| refused(bytes, &error))
    }

    /// Ends what [`Iommu::map`] began.
    ///
    /// # Errors
    /// What the kernel says; the device may then reach the memory still.
    pub(super) fn unmap(&self, iova: u64, len: u64) -> io::Result<()> {
        let Ok(len) = usize::try_from(len) else { return Err(io::ErrorKind::InvalidInput.into()) };
        self.operations().vfio_dma_unmap(iova, len).map_err(io::Error::other)
    }
}

/// Why memory was not mapped. Type1 says `ENOMEM` when the limit on locked memory is reached, and `ENOSPC` when it has
/// no more entries.
fn refused(bytes: usize, error: &VfioError) -> MapError {
    let Some(number) = number(error) else {
        return MapError::Refused { bytes, reason: io::Error::other(error.to_string()) };
    };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    match (number, limit) {
        (libc::ENOMEM | libc::EPERM, Some(limit)) if !may_lock_all() => {
            MapError::LockedMemory { bytes, limit }
        }
        (libc::ENOSPC, _) => MapError::NoRoom { bytes },
        _ => MapError::Refused { bytes, reason: io::Error::from_raw_os_error(number) },
    }
}

/// What the kernel said, where the crate kept it.
fn number(error: &VfioError) -> Option<i32> {
    match error {
        VfioError::IommuDmaMap(error) => Some(error.errno()),
        #[cfg(feature = "iommufd")]
        VfioError::IommufdIoctlError(iommufd_ioctls::IommufdError::IommuIoasMap(error)) => {
            Some(error.errno())
        }
        _ => None,
    }
}

/// Whether the limit on locked memory does not hold for this process.
fn may_lock_all() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::IPC_LOCK))
}
