//! How extents come to be: of which pages, private to this process or in a file that can be handed on.

#![expect(unsafe_code, reason = "hugepages come as raw pointers")]

use std::{alloc::Layout, io, mem, os::fd::OwnedFd, ptr::NonNull};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::hugepages::Hugepages;
use super::{Backing, Extent, ExtentError, PAGE_BYTES, PageSize};

impl Extent {
    /// `len` bytes of hugepages of the system's default size. They are reserved now, so that touching them
    /// later cannot fail (a hugetlb limit of the control group excepted), and zeroed when first touched.
    ///
    /// # Errors
    ///
    /// [`ExtentError`], which says how many pages are missing.
    pub fn hugepages(len: usize) -> Result<Self, ExtentError> {
        Self::hugepages_of(len, PageSize::System)
    }

    /// As [`Extent::hugepages`], of pages of a certain size.
    ///
    /// # Errors
    ///
    /// [`ExtentError`], which says how many pages are missing.
    pub fn hugepages_of(len: usize, page_size: PageSize) -> Result<Self, ExtentError> {
        let page_bytes = Hugepages::read(page_size, None)?.page_bytes;
        let mapped = rounded(len, page_bytes)?;
        let start = match page_size.bytes() {
            None => allocate(mapped, page_bytes),
            Some(_) => {
                let bits = u8::try_from(page_bytes.trailing_zeros()).expect("less than 64");
                let map = MmapOptions::new().len(mapped).huge(Some(bits)).map_anon();
                map.map(|map| forget(map.into()))
            }
        };
        let start = start.map_err(|reason| refused(mapped, page_size, reason))?;
        let extent = Self::of(start, len, mapped, Backing::Hugepages { page_bytes });
        extent.keep_private();
        Ok(extent)
    }

    /// `len` bytes of ordinary memory, all zeros, none of it used before it is written.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] when the kernel refuses.
    pub fn ordinary(len: usize) -> Result<Self, ExtentError> {
        let mapped = rounded(len, PAGE_BYTES)?;
        let map = MmapOptions::new()
            .len(mapped)
            .no_reserve_swap()
            .map_anon()
            .map_err(|reason| ExtentError::Refused { bytes: mapped, reason })?;
        // Without transparent hugepages it works as well, only slower.
        let _ = map.advise(memmap2::Advice::HugePage);
        let extent = Self::of(forget(map.into()), len, mapped, Backing::Ordinary);
        extent.keep_private();
        Ok(extent)
    }

    /// [`Extent::hugepages`] when there are enough, otherwise [`Extent::ordinary`]; [`Extent::backing`]
    /// says which.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] of the ordinary memory.
    pub fn best(len: usize) -> Result<Self, ExtentError> {
        Self::hugepages(len).or_else(|_| Self::ordinary(len))
    }

    /// `len` bytes that other processes can share: they get [`Extent::descriptor`] and map it. Hugepages of a certain
    /// size, reserved now, or ordinary memory, none of it used before it is written. The file can neither grow
    /// nor shrink, so that nobody can pull pages out from under a device.
    ///
    /// # Errors
    ///
    /// [`ExtentError`], which says how many pages are missing.
    pub fn shared(len: usize, page_size: Option<PageSize>) -> Result<Self, ExtentError> {
        let (backing, page_bytes, kind) = match page_size {
            None => (Backing::Ordinary, PAGE_BYTES, MemfdFlags::empty()),
            Some(page_size) => {
                let page_bytes = Hugepages::read(page_size, None)?.page_bytes;
                let size = match page_size {
                    PageSize::System => MemfdFlags::empty(),
                    PageSize::Mib2 => MemfdFlags::HUGE_2MB,
                    PageSize::Gib1 => MemfdFlags::HUGE_1GB,
                };
                (Backing::Hugepages { page_bytes }, page_bytes, MemfdFlags::HUGETLB | size)
            }
        };
        let mapped = rounded(len, page_bytes)?;
        let (file, map) = share(mapped, kind).map_err(|reason| match page_size {
            Some(page_size) => refused(mapped, page_size, reason),
            None => ExtentError::Refused { bytes: mapped, reason },
        })?;
        let mut extent = Self::of(forget(map), len, mapped, backing);
        extent.file = Some(file);
        extent.keep_private();
        Ok(extent)
    }

    /// `len` bytes of zeros, for lending: they use no memory and cannot be written.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] when the kernel refuses.
    pub fn zeros(len: usize) -> Result<Self, ExtentError> {
        let mapped = rounded(len, PAGE_BYTES)?;
        let map = MmapOptions::new()
            .len(mapped)
            .no_reserve_swap()
            .map_anon()
            .and_then(memmap2::MmapMut::make_read_only)
            .map_err(|reason| ExtentError::Refused { bytes: mapped, reason })?;
        Ok(Self::of(forget(map.into()), len, mapped, Backing::Zeros))
    }

    fn of(start: NonNull<u8>, len: usize, mapped: usize, backing: Backing) -> Self {
        assert!(len <= mapped);
        Self { start, len, mapped, backing, file: None, populated: false, node: None }
    }
}

/// Maps hugepages of the default size.
fn allocate(mapped: usize, page_bytes: usize) -> io::Result<NonNull<u8>> {
    assert!(mapped > 0);
    let layout = Layout::from_size_align(mapped, page_bytes).map_err(io::Error::other)?;
    // SAFETY: the size of the layout is not zero, as asserted.
    let start = unsafe { hugepage_rs::alloc(layout) };
    NonNull::new(start).ok_or_else(io::Error::last_os_error)
}

/// Takes a mapping over from its owner, who would unmap it.
fn forget(map: MmapRaw) -> NonNull<u8> {
    let start = NonNull::new(map.as_mut_ptr()).expect("a mapping is never at address zero");
    mem::forget(map);
    start
}

/// Makes a file in memory and maps it. Mapping a file of hugepages reserves them; they are found when they are
/// touched, on the node that the mapping is then bound to.
fn share(mapped: usize, kind: MemfdFlags) -> io::Result<(OwnedFd, MmapRaw)> {
    let file = memfd_create("corelane", kind | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, mapped as u64)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    let map = MmapOptions::new().len(mapped).map_raw(&file)?;
    Ok((file, map))
}

/// Why so many bytes of hugepages were refused: the pages that are missing, if any are.
fn refused(mapped: usize, page_size: PageSize, reason: io::Error) -> ExtentError {
    let missing = Hugepages::read(page_size, None)
        .ok()
        .and_then(|there| there.missing(mapped / there.page_bytes, None));
    missing.unwrap_or(ExtentError::Refused { bytes: mapped, reason })
}

/// `len` rounded up to whole pages; refuses nothing and too much.
fn rounded(len: usize, page_bytes: usize) -> Result<usize, ExtentError> {
    match len.checked_next_multiple_of(page_bytes) {
        Some(bytes) if bytes > 0 && isize::try_from(bytes).is_ok() => Ok(bytes),
        _ => Err(ExtentError::Size { bytes: len }),
    }
}
