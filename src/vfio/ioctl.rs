//! System calls of VFIO that `vfio-ioctls` does not make, or whose errors it drops.

#![expect(unsafe_code, reason = "system calls on structures of the kernel")]

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use vfio_bindings::bindings::vfio::{VFIO_BASE, VFIO_TYPE, vfio_iommu_type1_info, vfio_region_info};
use vmm_sys_util::ioctl::{_IOC_NONE, ioctl, ioctl_expr, ioctl_with_mut_ptr};

/// `VFIO_DEVICE_GET_REGION_INFO`.
const REGION_INFO: u32 = 8;
/// `VFIO_DEVICE_RESET`.
const RESET: u32 = 11;
/// `VFIO_IOMMU_GET_INFO`.
const IOMMU_INFO: u32 = 12;
/// No IOMMU has so much to say of itself, in bytes.
const IOMMU_INFO_BYTES_MAX: usize = 64 << 10;

/// Resets the function that `device` is the file of.
///
/// # Errors
/// What the kernel says: `EINVAL` when it has no way to reset the function alone.
pub(super) fn reset(device: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the call takes no argument, and fails on files that are no VFIO devices.
    let result = unsafe { ioctl(device, number(RESET)) };
    checked(result)
}

/// Size and place of a region of `device`.
///
/// # Errors
/// What the kernel says.
pub(super) fn region(device: &impl AsRawFd, index: u32) -> io::Result<vfio_region_info> {
    let mut info = vfio_region_info { argsz: bytes_of::<vfio_region_info>(), index, ..Default::default() };
    // SAFETY: the kernel writes at most `argsz` bytes, which are the structure's own.
    let result = unsafe { ioctl_with_mut_ptr(device, number(REGION_INFO), &raw mut info) };
    checked(result).map(|()| info)
}

/// What the Type1 IOMMU of `container` says of itself: a `vfio_iommu_type1_info` with its capabilities.
///
/// # Errors
/// What the kernel says.
pub(super) fn iommu_info(container: &impl AsRawFd) -> io::Result<Vec<u8>> {
    let mut bytes = size_of::<vfio_iommu_type1_info>();
    // The first answer says how long the whole one is; it may have grown when the second is asked for.
    loop {
        // Words, so that it is aligned as the structure is.
        let mut words = vec![0_u64; bytes.div_ceil(size_of::<u64>())];
        let info =
            vfio_iommu_type1_info { argsz: u32::try_from(bytes).unwrap_or(u32::MAX), ..Default::default() };
        let first = words.as_mut_ptr().cast::<vfio_iommu_type1_info>();
        // SAFETY: `words` is at least as long as the structure, and aligned for it: both consist of 64-bit words.
        unsafe { first.write(info) };
        // SAFETY: the kernel reads and writes at most `argsz` bytes, and `words` has at least so many.
        let result = unsafe { ioctl_with_mut_ptr(container, number(IOMMU_INFO), first) };
        checked(result)?;
        // SAFETY: written above, and by the kernel since.
        let wanted = unsafe { first.read() }.argsz as usize;
        if wanted <= bytes || wanted > IOMMU_INFO_BYTES_MAX {
            return Ok(words.iter().flat_map(|word| word.to_ne_bytes()).take(bytes).collect());
        }
        bytes = wanted;
    }
}

/// The request number of a call.
fn number(call: u32) -> libc::c_ulong {
    ioctl_expr(_IOC_NONE, VFIO_TYPE.into(), VFIO_BASE + call, 0)
}

fn bytes_of<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or_else(|_| unreachable!("structures of the kernel are small"))
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
