//! A TCP connection that is being made, without waiting for it.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use corelane_reactors::poll_group::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// Looks, and does not wait.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A socket on its way to be connected; dropping it gives the attempt up.
#[derive(Debug)]
pub struct Dial(OwnedFd);

impl Dial {
    /// Begins to connect to `address`.
    ///
    /// # Errors
    /// What the system says at once, for instance that there is no way to the address.
    pub fn start(address: SocketAddr) -> Result<Self, Errno> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self(socket)),
            Err(errno) => Err(errno),
        }
    }

    /// Whether there is an answer: then [`Dial::into_stream`] has the connection, or says why there is none.
    pub fn is_answered(&self) -> bool {
        let mut watched = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::OUT)];
        // An error is an answer, too: the next call tells it.
        poll(&mut watched, Some(&AT_ONCE)) != Ok(0)
    }

    /// The connection; to be called when it is answered.
    ///
    /// # Errors
    /// Why there is none.
    pub fn into_stream(self) -> Result<TcpStream, Errno> {
        sockopt::socket_error(&self.0)??;
        Ok(TcpStream::from(self.0))
    }
}
