//! Accepts connections on one address, for the management reactor.
//!
//! A listener that cannot accept for lack of descriptors or memory waits a little: the kernel keeps the connections.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poller::{Poll, Poller, Wake};
use corelane_reactors::reactor::Turn;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::transport::message::Counted;
use crate::transport::pollers::Pace;
use crate::transport::{Endpoint, Settings};

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;
/// How long a connection may be silent before the kernel asks whether its host is still there, how long it waits for an
/// answer, and how often it asks: a host that lost its power is noticed after two minutes, and one that has nothing to say
/// is not disturbed. Keep Alive (KATO) is of no use here, since hosts may do without.
const SILENCE: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(10);
const PROBES: u32 = 6;
/// How long a listener waits that cannot accept for lack of resources.
const PATIENCE: Duration = Duration::from_millis(100);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another socket has it.
    #[error("{0} is in use by another process; choose another port, or stop what listens there (`ss -ltnp`)")]
    InUse(SocketAddr),
    /// No interface has this address.
    #[error("no network interface has the address of {0}")]
    NoSuchAddress(SocketAddr),
    /// A port below 1024 without the right to it.
    #[error("no permission to listen on {0}; ports below 1024 need CAP_NET_BIND_SERVICE")]
    Permission(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {error}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        error: io::Error,
    },
}

/// Listens on `address`; port 0 lets the kernel choose one. Nothing is accepted before a [`Listener`] polls it.
///
/// # Errors
/// [`ListenError`], with what to do.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        io::ErrorKind::AddrNotAvailable => ListenError::NoSuchAddress(address),
        io::ErrorKind::PermissionDenied => ListenError::Permission(address),
        _ => ListenError::Other { address, error },
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait for the last connections to time out.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // "::" means every address, the IPv4 ones included, whatever the machine's default is.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // Connections inherit these.
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(&socket, PROBE)?;
    sockopt::set_tcp_keepcnt(&socket, PROBES)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Accepts connections and hands them to the management endpoint.
pub struct Listener {
    name: String,
    socket: TcpListener,
    endpoint: Rc<RefCell<Endpoint>>,
    connections_max: usize,
    accepts_per_turn: usize,
    patient_until: Option<Time>,
    pace: Pace,
    /// The log says already that connections are refused.
    full: bool,
}

impl Listener {
    /// Accepts on `socket`, at most `connections_max` live connections over all listeners of the endpoint.
    ///
    /// # Errors
    /// What the kernel says when it is asked for the socket's address.
    pub fn new(
        socket: TcpListener,
        endpoint: Rc<RefCell<Endpoint>>,
        connections_max: usize,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let Settings { accepts_per_turn, management_pace, .. } = *endpoint.borrow().settings();
        let name = format!("listener {}", socket.local_addr()?);
        Ok(Self {
            name,
            socket,
            endpoint,
            connections_max,
            accepts_per_turn,
            patient_until: None,
            pace: Pace::every(management_pace),
            full: false,
        })
    }

    /// True if a connection was taken off the queue.
    fn accept(&mut self) -> io::Result<bool> {
        let (stream, peer) = match self.socket.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // The peer has gone already, or a signal came: the next one may be there.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) =>
            {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let mut endpoint = self.endpoint.borrow_mut();
        let Some(live) = endpoint.live() else { return Ok(true) };
        let Some(counted) = Counted::new(&live, self.connections_max) else {
            // Said once, however many there are: whoever floods us shall not fill the log, too.
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!(%peer, max = self.connections_max, "refusing connections: all are in use");
            }
            return Ok(true);
        };
        self.full = false;
        stream.set_nonblocking(true)?;
        let local = stream.local_addr()?;
        tracing::debug!(%peer, %local, "accepted a connection");
        endpoint.accepted(stream, (local, peer), counted);
        Ok(true)
    }
}

impl Poller for Listener {
    fn name(&self) -> &str {
        &self.name
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        if let Some(until) = self.patient_until {
            if turn.now() < until {
                return Poll::Idle(Wake::At(until));
            }
            self.patient_until = None;
        }
        if !self.pace.is_due(turn.now()) {
            return Poll::Idle(Wake::Descriptor);
        }
        for accepted in 0..self.accepts_per_turn {
            match self.accept() {
                Ok(true) => {}
                Ok(false) if accepted == 0 => return Poll::Idle(Wake::Descriptor),
                Ok(false) => return Poll::Busy,
                Err(error) => {
                    tracing::warn!(listener = %self.name, %error, "cannot accept a connection; trying again soon");
                    let until = turn.now() + PATIENCE;
                    self.patient_until = Some(until);
                    return Poll::Idle(Wake::At(until));
                }
            }
        }
        Poll::Busy
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}
