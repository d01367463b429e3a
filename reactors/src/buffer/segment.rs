//! A run of bytes by address and length, as the kernel takes it. Owns nothing, keeps nothing alive, reads nothing.
//!
//! Invariant: what the maker of a segment promised in `from_raw` holds for every copy and every part of it.
#![expect(unsafe_code, reason = "the promise about the memory can only be made by an unsafe constructor")]

use std::ops::Range;

/// Bytes to be read, by the kernel or by a kernel of `mem`, never through a Rust reference: they may change while
/// they are held. The layout is that of `struct iovec`, so a slice of segments is handed to the kernel as it is.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Segment(
    /// `base..base + len` is mapped and readable for as long as this value or a copy of it is used.
    libc::iovec,
);

/// Bytes to be written, and perhaps read, under the same rules as a [`Segment`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct SegmentMut(
    /// `base..base + len` is mapped and writable for as long as this value or a copy of it is used, and no Rust
    /// reference to any of it exists meanwhile.
    libc::iovec,
);

impl Segment {
    /// The `len` bytes from `pointer` on.
    ///
    /// # Safety
    /// The bytes stay mapped and readable for as long as the segment, a copy or a part of it is used. They may
    /// change meanwhile, unless somebody else was promised that they do not.
    #[must_use]
    pub const unsafe fn from_raw(pointer: *const u8, len: usize) -> Self {
        Self(libc::iovec { iov_base: pointer.cast_mut().cast(), iov_len: len })
    }

    /// Bytes that live as long as the process, such as constant headers and padding.
    #[must_use]
    pub const fn of(bytes: &'static [u8]) -> Self {
        Self(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() })
    }

    /// No bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self::of(&[])
    }

    /// Address of the first byte.
    #[must_use]
    pub const fn pointer(&self) -> *const u8 {
        self.0.iov_base.cast_const().cast()
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.iov_len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.iov_len == 0
    }

    /// The bytes at `range` of this segment.
    ///
    /// # Panics
    /// If `range` is reversed or ends beyond the segment.
    #[must_use]
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self(part(self.0, range))
    }
}

impl SegmentMut {
    /// The `len` bytes from `pointer` on.
    ///
    /// # Safety
    /// The bytes stay mapped and writable for as long as the segment, a copy or a part of it is used, and no Rust
    /// reference to any of them exists meanwhile. Others may read and write them at the same time.
    #[must_use]
    pub const unsafe fn from_raw(pointer: *mut u8, len: usize) -> Self {
        Self(libc::iovec { iov_base: pointer.cast(), iov_len: len })
    }

    /// Bytes that are given away for as long as the process lives.
    #[must_use]
    pub const fn of(bytes: &'static mut [u8]) -> Self {
        Self(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() })
    }

    /// No bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self(libc::iovec { iov_base: Segment::empty().0.iov_base, iov_len: 0 })
    }

    /// Address of the first byte.
    #[must_use]
    pub const fn pointer(&self) -> *mut u8 {
        self.0.iov_base.cast()
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.iov_len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.iov_len == 0
    }

    /// The bytes at `range` of this segment.
    ///
    /// # Panics
    /// If `range` is reversed or ends beyond the segment.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self(part(self.0, range))
    }

    /// The same bytes, to be read only.
    #[must_use]
    pub const fn read_only(&self) -> Segment {
        Segment(self.0)
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({:p}, {})", self.pointer(), self.len())
    }
}

impl std::fmt::Debug for SegmentMut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SegmentMut({:p}, {})", self.pointer(), self.len())
    }
}

// SAFETY: an address and a length; what `from_raw` was promised says nothing of threads, and nothing is reached through
// a segment but by the kernel and by code that lets other threads read and write the same bytes meanwhile.
unsafe impl Send for Segment {}

// SAFETY: as for `Segment`.
unsafe impl Send for SegmentMut {}

#[inline]
fn part(whole: libc::iovec, range: Range<usize>) -> libc::iovec {
    assert!(range.start <= range.end);
    assert!(range.end <= whole.iov_len);
    libc::iovec {
        iov_base: whole.iov_base.cast::<u8>().wrapping_add(range.start).cast(),
        iov_len: range.end - range.start,
    }
}
