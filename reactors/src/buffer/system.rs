//! The two system calls that take segments. Neither blocks, neither raises SIGPIPE, neither retries.
#![expect(unsafe_code, reason = "recvmsg and sendmsg take addresses that no Rust reference may cover")]

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::io::Errno;

use super::segment::{Segment, SegmentMut};

/// Most segments that one call can take: IOV_MAX of Linux.
pub(crate) const SEGMENTS_MAX: usize = 1024;
const _: () = assert!(SEGMENTS_MAX == libc::UIO_MAXIOV as usize);
const _: () = assert!(size_of::<Segment>() == size_of::<libc::iovec>());
const _: () = assert!(size_of::<SegmentMut>() == size_of::<libc::iovec>());

/// Receives into `into`, in order, what the socket holds; returns the number of bytes, 0 at the end of the stream.
///
/// Errors are those of recvmsg(2); `AGAIN` when the socket holds nothing.
pub(crate) fn receive(socket: BorrowedFd<'_>, into: &[SegmentMut]) -> Result<usize, Errno> {
    assert!(!into.is_empty());
    assert!(into.len() <= SEGMENTS_MAX);
    let descriptor = socket.as_raw_fd();
    let got = if let [only] = into {
        // SAFETY: the bytes of `only` are mapped, writable and behind no reference (its field invariant).
        unsafe { libc::recv(descriptor, only.pointer().cast(), only.len(), libc::MSG_DONTWAIT) }
    } else {
        let mut message = message(into.as_ptr().cast_mut().cast(), into.len());
        // SAFETY: `message` names `into.len()` iovecs, and the bytes of each are mapped, writable and behind no
        // reference (field invariant of `SegmentMut`).
        unsafe { libc::recvmsg(descriptor, &raw mut message, libc::MSG_DONTWAIT) }
    };
    usize::try_from(got).map_err(|_| last_error())
}

/// Sends the bytes of `from`, in order, as far as the socket takes them; returns their number.
///
/// Errors are those of sendmsg(2); `AGAIN` when the socket takes nothing.
pub(crate) fn send(socket: BorrowedFd<'_>, from: &[Segment]) -> Result<usize, Errno> {
    assert!(!from.is_empty());
    assert!(from.len() <= SEGMENTS_MAX);
    let descriptor = socket.as_raw_fd();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let sent = if let [only] = from {
        // SAFETY: the bytes of `only` are mapped and readable (its field invariant).
        unsafe { libc::send(descriptor, only.pointer().cast(), only.len(), flags) }
    } else {
        let message = message(from.as_ptr().cast_mut().cast(), from.len());
        // SAFETY: `message` names `from.len()` iovecs, which the kernel only reads, and the bytes of each are mapped
        // and readable (field invariant of `Segment`).
        unsafe { libc::sendmsg(descriptor, &raw const message, flags) }
    };
    usize::try_from(sent).map_err(|_| last_error())
}

/// A message of `count` iovecs at `segments`, without address and control data.
fn message(segments: *mut libc::iovec, count: usize) -> libc::msghdr {
    let zeroed = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: zero is a valid value of each field of `msghdr`: integers and raw pointers.
    let mut message = unsafe { zeroed.assume_init() };
    message.msg_iov = segments;
    message.msg_iovlen = count;
    message
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
