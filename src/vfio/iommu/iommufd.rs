//! The kernel's newer interface to IOMMUs: `/dev/iommu`, and a file for each device.

use std::io;
use std::sync::Arc;

use iommufd_bindings::iommufd::{
    IOMMUFD_CMD_IOAS_IOVA_RANGES, IOMMUFD_TYPE, iommu_ioas_iova_ranges, iommu_iova_range,
};
use iommufd_ioctls::{IommuFd, IommufdError};
use vfio_ioctls::{VfioError, VfioIommufd};
use vmm_sys_util::ioctl::{_IOC_NONE, ioctl_expr, ioctl_with_mut_ref};

use super::Ranges;

/// Ranges that one address space may consist of: x86 has two or three.
const RANGES_MAX: u32 = 256;

/// A new address space; `None` where the kernel has no `/dev/iommu`.
///
/// # Errors
/// What the kernel says.
pub(super) fn open() -> Result<Option<Arc<VfioIommufd>>, VfioError> {
    let iommufd = match IommuFd::new() {
        Ok(iommufd) => Arc::new(iommufd),
        Err(IommufdError::OpenIommufd(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(VfioError::NewVfioIommufd(error)),
    };
    VfioIommufd::new(iommufd, None, None).map(|iommufd| Some(Arc::new(iommufd)))
}

/// The addresses that can be mapped for the devices that are attached.
///
/// # Errors
/// What the kernel says.
pub(super) fn ranges(iommufd: &VfioIommufd) -> io::Result<Ranges> {
    let mut list = vec![iommu_iova_range::default(); RANGES_MAX as usize];
    let mut query = iommu_ioas_iova_ranges {
        size: u32::try_from(size_of::<iommu_ioas_iova_ranges>()).map_err(io::Error::other)?,
        ioas_id: iommufd.ioas().id(),
        num_iovas: RANGES_MAX,
        allowed_iovas: list.as_mut_ptr().expose_provenance() as u64,
        ..Default::default()
    };
    let number = ioctl_expr(_IOC_NONE, IOMMUFD_TYPE.into(), IOMMUFD_CMD_IOAS_IOVA_RANGES, 0);
    // SAFETY: the kernel writes the structure, and at most `num_iovas` entries of the list, which has so many.
    let result = unsafe { ioctl_with_mut_ref(iommufd.iommufd().as_ref(), number, &mut query) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    list.truncate(query.num_iovas as usize);
    let usable = list.iter().map(|range| range.start..=range.last).collect();
    // Large pages are found by the kernel itself; the alignment is that of the smallest.
    Ok(Ranges::new(usable, query.out_iova_alignment))
}
