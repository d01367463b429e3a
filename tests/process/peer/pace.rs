//! How fast a peer sends, how it ends, and how little it reads. What a script sees of the target beside its answers: whether
//! the connection still stands.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use corelane::pdu::header::Agreement;
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{ANSWER_MAX, Peer};

/// Receive memory of a peer that hardly reads, in bytes: the kernel doubles it, and takes no less.
const RECEIVE_BYTES_MIN: usize = 2304;

/// So many bytes in so much time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Bytes at a time.
    pub(crate) bytes: usize,
    /// From one time to the next.
    pub(crate) every: Duration,
}

/// How a peer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Says that it will send nothing more, and reads on.
    Half,
    /// Closes: a reset if it has not read everything.
    Closes,
    /// Resets the connection, whatever is under way.
    Resets,
}

impl Leaves {
    pub(crate) const ALL: [Self; 3] = [Self::Half, Self::Closes, Self::Resets];
}

impl Peer {
    /// Connects with the least memory for what it receives, and says nothing.
    pub(crate) fn narrow(address: SocketAddr) -> Self {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = rustix::net::socket(family, SocketType::STREAM, None).expect("a socket");
        // Before it connects: the window is told then.
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BYTES_MIN).expect("a small buffer");
        rustix::net::connect(&socket, &address).expect("connecting to the target");
        Self::over(TcpStream::from(socket))
    }

    /// A peer on a socket that is connected.
    pub(super) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket without delay");
        stream.set_read_timeout(Some(ANSWER_MAX)).expect("a limit on waiting");
        stream.set_write_timeout(Some(ANSWER_MAX)).expect("a limit on waiting");
        Self { stream, agreement: Agreement::NONE }
    }

    /// Sends `bytes` at this pace, until all are sent, or the target closes; how many were sent.
    pub(crate) fn send_slowly(&mut self, bytes: &[u8], pace: Pace) -> usize {
        let mut sent = 0;
        for part in bytes.chunks(pace.bytes) {
            if !self.stands_for(pace.every) || self.stream.write_all(part).is_err() {
                return sent;
            }
            sent += part.len();
        }
        sent
    }

    /// Sends as much of `bytes` as goes into the socket, and does not wait; how much that was.
    pub(crate) fn send_without_waiting(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_nonblocking(true).expect("a socket that does not block");
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(more) => sent += more,
                Err(_) => break,
            }
        }
        self.stream.set_nonblocking(false).expect("a socket that blocks");
        sent
    }

    /// Leaves in this way; after [`Leaves::Half`] it can still read.
    pub(crate) fn leave(mut self, how: Leaves) -> Option<Self> {
        match how {
            Leaves::Half => {
                self.finish();
                Some(self)
            }
            Leaves::Closes => None,
            Leaves::Resets => {
                sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("a socket");
                None
            }
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        // The target may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The connection stands for all of this time, and nothing is answered in it.
    pub(crate) fn stands_for(&mut self, time: Duration) -> bool {
        if time.is_zero() {
            return true;
        }
        let deadline = Instant::now() + time;
        self.stream.set_read_timeout(Some(time)).expect("a limit on waiting");
        let mut byte = [0];
        let stands = match self.stream.read(&mut byte) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Ok(_) | Err(_) => false,
        };
        if stands {
            // The kernel's clock for a socket is coarse.
            thread::sleep(deadline.saturating_duration_since(Instant::now()));
        }
        self.stream.set_read_timeout(Some(ANSWER_MAX)).expect("a limit on waiting");
        stands
    }
}
