//! How much the kernel takes for a socket whose peer has not shown yet that it reads.
//!
//! Without a bound of its own, a socket that is written to grows to megabytes, which are copied for a peer that may never
//! read them, and freed when it leaves. With a low bound for good, one that reads as fast as it can has to be written to more
//! often than it would be. So the bound is for the first bytes only: what a peer can have copied for nothing is no
//! more than what it has taken before, and little at first.
//!
//! The bound is the kernel's (TCP_NOTSENT_LOWAT, tcp(7)): it is what may wait behind the peer's window and the congestion
//! window, and writable means that half of it is gone.

use std::net::TcpStream;

use rustix::io::Errno;
use socket2::SockRef;

/// The mark with which a socket has the one of the system, which is none unless somebody has set it.
const OF_THE_SYSTEM: u32 = 0;

/// What the kernel takes for a peer until it has taken enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probation {
    /// Bytes that may wait in the kernel beyond those that it has sent, less than a segment more or less. Not 0.
    pub unsent_bytes: u32,
    /// Bytes sent after which the kernel takes as much as it likes. Not 0.
    pub ends_after_bytes: usize,
}

/// What is left of the probation of one socket.
#[derive(Debug)]
pub(super) struct Trial {
    /// Bytes; 0 when it is over, or there never was one.
    left: usize,
}

impl Trial {
    /// Begins that of `stream`, if there is to be one.
    pub(super) fn begin(stream: &TcpStream, probation: Option<Probation>) -> Result<Self, Errno> {
        let Some(Probation { unsent_bytes, ends_after_bytes }) = probation else {
            return Ok(Self { left: 0 });
        };
        let set = SockRef::from(stream).set_tcp_notsent_lowat(unsent_bytes);
        set.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
        Ok(Self { left: ends_after_bytes })
    }

    /// The kernel has taken `bytes` more; ends when they are enough.
    #[inline]
    pub(super) fn taken(&mut self, stream: &TcpStream, bytes: usize) {
        if self.left > 0 {
            self.spend(stream, bytes);
        }
    }

    #[cold]
    #[inline(never)]
    fn spend(&mut self, stream: &TcpStream, bytes: usize) {
        if bytes < self.left {
            self.left -= bytes;
        } else {
            self.end(stream);
        }
    }

    /// Ends it before its time, or not at all when it is over.
    pub(super) fn end(&mut self, stream: &TcpStream) {
        if self.left > 0 {
            self.left = 0;
            // Cannot fail for a socket with which it has begun; if it did, that would be slower, and right all the same.
            let _ = SockRef::from(stream).set_tcp_notsent_lowat(OF_THE_SYSTEM);
        }
    }
}
