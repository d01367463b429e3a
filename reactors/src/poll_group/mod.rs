//! The sockets of one reactor: the seam between a byte stream and what is made of it. Knows nothing of protocols,
//! listens on nothing and connects to nothing.
//!
//! A [`PollGroup`] receives, and hands to a [`Handler`] all bytes of a socket that the handler has not taken yet, in
//! order and contiguous. Sending is asked for by the user, between two polls, with a list of segments.
//!
//! What must hold:
//! - A handler takes something, or pauses, once it is shown half a chunk: longer contiguous runs are not promised.
//! - [`Handler::closed`] comes once, after all bytes of the stream.
//! - Of a socket that is paused nothing is shown, and no more is received than its chunk has room for. A socket that has
//!   used up its credit or for which no chunk is free is not received from; that ends by itself when a lease is dropped.
//! - Nothing is allocated after [`PollGroup::new`] but by `add` and `detach`.

mod epoll;
mod probation;
mod ready;
mod slots;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod uring;

use std::{fmt, io, net::TcpStream, os::fd::BorrowedFd};

pub use self::probation::Probation;
pub use rustix::io::Errno;

use crate::{
    buffer::{Gather, Lease, Segment, SegmentMut},
    ring::{Ring, RingError},
};

/// Smallest size of a receive chunk.
pub const CHUNK_BYTES_MIN: usize = 4096;

/// Largest size of a receive chunk, which one receive can fill.
pub const CHUNK_BYTES_MAX: usize = 1 << 30;

/// Most sockets served in one poll, unless the user says otherwise.
const SERVED_DEFAULT: usize = 64;

/// Sizes of a poll group, fixed at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of one receive chunk: 4096 to 2^30, a multiple of 4096. One receive brings at most that many; a handler
    /// can count on half of it being contiguous.
    pub chunk_bytes: usize,
    /// Number of receive chunks that all sockets share. A socket holds one while it has untaken bytes or leases, so
    /// with fewer than `sockets_max` slow peers can make the others wait. Their memory is only used once it
    /// was received into.
    pub chunks: usize,
    /// Most sockets at a time, and the bound of [`SocketId::index`].
    pub sockets_max: usize,
    /// Credit: most chunks that leases of one socket may keep, the one being filled included; at least 2. A handler
    /// that keeps leases while it waits for more bytes must need fewer chunks than this at a time.
    pub chunks_per_socket: usize,
}

/// Why a group on an io_uring cannot be made.
#[derive(Debug)]
pub enum StartError {
    /// A number of the options is out of its range, or there is no memory.
    Options(io::Error),
    /// The io_uring cannot serve sockets.
    Ring(RingError),
}

/// Names a socket of one poll group until it is closed or detached; never reused for another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId {
    index: u32,
    generation: u32,
}

/// What a handler did with the bytes it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes from the front that are not to be shown again.
    pub bytes: usize,
    /// Whether to stop receiving from, and showing bytes of, this socket until [`PollGroup::resume`].
    pub pause: bool,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer sent all it had to send. It may still receive.
    ByPeer,
    /// The connection broke, by a reset or a time-out for instance.
    Failed(Errno),
}

/// What became of a send.
#[must_use = "bytes that were not sent have to be sent again"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// This many bytes from the front were copied; their memory is free. When they are not all,
    /// [`Handler::writable`] will be called.
    Bytes(usize),
    /// Nothing was taken; [`Handler::writable`] will be called.
    Blocked,
    /// The engine keeps the segments until it calls [`Handler::sent`]; until then their memory must not change, unless
    /// [`PollGroup::halt`] or [`PollGroup::close`] ends it first. The epoll engine never answers this.
    Pending,
    /// The connection is broken (or `BADF`: the id is stale). Nothing was taken.
    Failed(Errno),
}

/// A stream that was not added, and why.
#[derive(Debug)]
pub struct AddError {
    /// The stream, as it came.
    pub stream: TcpStream,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// Why a stream was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are `sockets_max` sockets already.
    Full,
    /// More unread bytes came with it than one chunk holds.
    TooMuchUnread,
    /// The kernel refused it: no TCP socket, or no memory to watch it.
    System(Errno),
}

/// The user of the sockets of a poll group. Each method is called from within [`PollGroup::poll`] and must not block.
pub trait Handler {
    /// All bytes of the socket that were received and not taken, contiguous; never none. What is not taken is shown
    /// again, together with what follows. Clones and slices of the lease may be kept.
    fn received(&mut self, id: SocketId, bytes: &Lease) -> Taken;

    /// Where the next bytes of the stream should go, if not into a chunk. Asked before a receive when no untaken
    /// bytes are held. The bytes received beyond its length are shown as usual. An engine may take the answer as a hint
    /// for what follows, and receive into a chunk all the same; nothing is received into it after this call and the
    /// `received_direct` that may follow at once.
    fn wanted(&mut self, id: SocketId) -> Option<SegmentMut> {
        let _ = id;
        None
    }

    /// Bytes of the whole payload of which `wanted` has just named what is left; what follows is taken to be of the same
    /// kind. Where that is large, little is received beyond the segment: the rest may be wanted elsewhere. 0 where nobody
    /// knows; then the segment itself tells.
    fn wanted_whole(&mut self, id: SocketId) -> usize {
        let _ = id;
        0
    }

    /// This many bytes, at least one, came to the front of the segment that `wanted` named just before.
    fn received_direct(&mut self, id: SocketId, bytes: usize) {
        let _ = (id, bytes);
    }

    /// A send that was short or blocked can go on.
    fn writable(&mut self, id: SocketId);

    /// A send that was pending is done: the number of bytes that were taken from the front.
    fn sent(&mut self, id: SocketId, result: Result<usize, Errno>) {
        let _ = (id, result);
    }

    /// Nothing more will be received. Called once; the id stays valid, and sending possible if the peer only ended
    /// its own direction, until [`PollGroup::close`].
    fn closed(&mut self, id: SocketId, reason: Closed);
}

/// The sockets of one reactor. Stays on the thread that made it.
pub struct PollGroup {
    engine: Engine,
}

/// What moves the bytes. Chosen once; a match on it costs less than a system call by far.
enum Engine {
    Epoll(epoll::Engine),
    Uring(uring::Engine),
}

impl PollGroup {
    /// A group without sockets, which asks epoll what is ready and makes a system call for each receive and send; takes
    /// the memory of its chunks and lists.
    ///
    /// # Errors
    /// `InvalidInput` when a number of `options` is out of its range; the error of mmap(2) or epoll_create1(2).
    pub fn new(options: &Options) -> io::Result<Self> {
        check(options)?;
        Ok(Self { engine: Engine::Epoll(epoll::Engine::new(options)?) })
    }

    /// A group without sockets, which receives and sends through the io_uring of its reactor. To be made, as every user
    /// of the ring, after [`Ring::attach`]; who drives a ring by itself calls [`PollGroup::flush`]. Each socket that is
    /// received from holds a chunk, idle or not. Linux 6.12 is needed. A socket for which no more memory may be locked is
    /// told of by the ring, and received from by system calls.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn on_ring(options: &Options, ring: &Ring) -> Result<Self, StartError> {
        check(options)?;
        Ok(Self { engine: Engine::Uring(uring::Engine::new(options, ring)?) })
    }

    /// Whether sockets are received from and sent to through an io_uring.
    #[must_use]
    pub fn is_on_ring(&self) -> bool {
        matches!(self.engine, Engine::Uring(_))
    }

    /// Serves at most so many sockets in one poll; 64 unless this is called.
    ///
    /// # Panics
    /// When `sockets` is 0.
    pub fn serve_at_most(&mut self, sockets: usize) {
        assert!(sockets > 0, "a poll that serves nobody never ends");
        match &mut self.engine {
            Engine::Epoll(engine) => engine.serve_at_most(sockets),
            Engine::Uring(engine) => engine.serve_at_most(sockets),
        }
    }

    /// Has the kernel take little for each socket that is added from now on, until its peer has taken enough. Not called, it
    /// takes as much as it likes at once. One that is detached is without a bound.
    ///
    /// # Panics
    /// When a number of `probation` is 0.
    pub fn put_on_probation(&mut self, probation: Probation) {
        let Probation { unsent_bytes, ends_after_bytes } = probation;
        assert!(unsent_bytes > 0, "0 means that there is no bound");
        assert!(ends_after_bytes > 0, "a probation that ends before it begins is none");
        match &mut self.engine {
            Engine::Epoll(engine) => engine.put_on_probation(probation),
            Engine::Uring(engine) => engine.put_on_probation(probation),
        }
    }

    /// Readable when a socket has something to do that `poll` has not seen yet; to be watched level-triggered by a
    /// sleeper that found `pending` false.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.engine {
            Engine::Epoll(engine) => engine.descriptor(),
            Engine::Uring(engine) => engine.descriptor(),
        }
    }

    /// Takes a connected stream over, switches its delay of small segments off (TCP_NODELAY) and watches it.
    /// `unread` was received from it already and is shown first.
    ///
    /// # Errors
    /// Gives the stream back: see [`Refusal`].
    pub fn add(&mut self, stream: TcpStream, unread: &[u8]) -> Result<SocketId, AddError> {
        match &mut self.engine {
            Engine::Epoll(engine) => engine.add(stream, unread),
            Engine::Uring(engine) => engine.add(stream, unread),
        }
    }

    /// Gives the stream of a socket back, with the bytes that were received and not taken. To move a socket: detach
    /// it here, add both there. Leases stay valid.
    ///
    /// # Panics
    /// If the id is stale.
    #[must_use = "the stream closes when it is dropped"]
    pub fn detach(&mut self, id: SocketId) -> (TcpStream, Vec<u8>) {
        match &mut self.engine {
            Engine::Epoll(engine) => engine.detach(id),
            Engine::Uring(engine) => engine.detach(id),
        }
    }

    /// Closes a socket and forgets its untaken bytes. Leases stay valid. A stale id is ignored.
    pub fn close(&mut self, id: SocketId) {
        match &mut self.engine {
            Engine::Epoll(engine) => engine.close(id),
            Engine::Uring(engine) => engine.close(id),
        };
    }

    /// Does one batch: looks for events and serves the ready sockets, a bounded number of them, with at most one
    /// receive each. Returns the number of sockets served. Never blocks; panics only when `handler` does.
    pub fn poll(&mut self, handler: &mut impl Handler) -> usize {
        match &mut self.engine {
            Engine::Epoll(engine) => engine.poll(handler),
            Engine::Uring(engine) => engine.poll(handler),
        }
    }

    /// Whether sockets are ready that the last `poll` has not served: do not sleep.
    #[must_use]
    pub fn pending(&self) -> bool {
        match &self.engine {
            Engine::Epoll(engine) => engine.pending(),
            Engine::Uring(engine) => engine.pending(),
        }
    }

    /// Sends the bytes of `segments`, in order, as far as the socket takes them now.
    pub fn send(&mut self, id: SocketId, segments: &[Segment]) -> Sent {
        match &mut self.engine {
            Engine::Epoll(engine) => engine.send(id, segments),
            Engine::Uring(engine) => engine.send(id, segments),
        }
    }

    /// As [`PollGroup::send`], for a list that mixes borrowed bytes and segments. An engine that does not finish inside
    /// the call copies the borrowed bytes.
    pub fn send_gathered(&mut self, id: SocketId, gather: &Gather<'_, '_>) -> Sent {
        match &mut self.engine {
            Engine::Epoll(engine) => engine.send(id, gather.segments()),
            Engine::Uring(engine) => engine.send_gathered(id, gather),
        }
    }

    /// Hands the kernel what was asked for since the last poll; a turn ends with it.
    pub fn flush(&mut self) {
        if let Engine::Uring(engine) = &mut self.engine {
            engine.flush();
        }
    }

    /// Gives up a socket that has a pending send: both directions end, and nothing is told of it any more. True when the
    /// kernel has none of the memory that was sent from; false, which nothing but a kernel that is stuck brings about: ask
    /// again. Waits for the kernel, but not for the peer. A stale id is true.
    pub fn halt(&mut self, id: SocketId) -> bool {
        match &mut self.engine {
            Engine::Epoll(_) => true,
            Engine::Uring(engine) => engine.halt(id),
        }
    }

    /// Tells the peer that nothing more will be sent; what it sends is still received. A stale id is ignored.
    pub fn shutdown(&mut self, id: SocketId) {
        match &mut self.engine {
            Engine::Epoll(engine) => engine.shutdown(id),
            Engine::Uring(engine) => engine.shutdown(id),
        };
    }

    /// Ends a pause: untaken bytes are shown again in the next `poll`, then receiving goes on. A stale id, or one that
    /// is not paused, is ignored.
    pub fn resume(&mut self, id: SocketId) {
        match &mut self.engine {
            Engine::Epoll(engine) => engine.resume(id),
            Engine::Uring(engine) => engine.resume(id),
        };
    }

    /// Whether the id names a socket of this group.
    #[must_use]
    pub fn contains(&self, id: SocketId) -> bool {
        match &self.engine {
            Engine::Epoll(engine) => engine.contains(id),
            Engine::Uring(engine) => engine.contains(id),
        }
    }
}

/// Refuses sizes that are out of their ranges.
fn check(options: &Options) -> io::Result<()> {
    let sizes = CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX;
    let valid = sizes.contains(&options.chunk_bytes)
        && options.chunk_bytes.is_multiple_of(CHUNK_BYTES_MIN)
        && options.chunks > 0
        && options.sockets_max > 0
        && options.chunks_per_socket >= 2;
    if valid { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

impl SocketId {
    /// Below `sockets_max`, and different for all sockets that a group has at a time: an index for tables of its user.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl Taken {
    /// `bytes` were taken; go on.
    #[must_use]
    pub fn bytes(bytes: usize) -> Self {
        Self { bytes, pause: false }
    }

    /// `bytes` were taken; pause.
    #[must_use]
    pub fn pause(bytes: usize) -> Self {
        Self { bytes, pause: true }
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({}, {})", self.index, self.generation)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Options(error)
    }
}

impl From<RingError> for StartError {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refusal {
            Refusal::Full => f.write_str("the poll group has all the sockets it may have"),
            Refusal::TooMuchUnread => f.write_str("more unread bytes than one chunk holds"),
            Refusal::System(errno) => write!(f, "the kernel refused the socket: {errno}"),
        }
    }
}

impl std::error::Error for AddError {}
