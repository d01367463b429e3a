//! The io_uring engine: each socket has one receive armed, which brings bytes again and again until its chunk is full, and
//! at most one send in flight. A turn in which nothing happens makes no system call; one in which many sockets send makes
//! one for all of them. What few sockets send goes out at once, and through the ring only where a socket is full.
//!
//! A receive for many times cannot bring bytes to where they are wanted. When the handler wants large ones, it is
//! cancelled; after its last completion the socket is received from singly, where the bytes are wanted, whenever the
//! kernel says that there are some; until nothing has been wanted for a while.
//!
//! Invariants: a socket is at most once in `ready`, and in `starved` when and only when its intake says so; a stream is
//! dropped only when nothing of it is in flight, and lost otherwise: what the kernel was given belongs to the kernel.

use std::{collections::VecDeque, io, mem, net::TcpStream, os::fd::BorrowedFd, time::Duration};

use rustix::io::Errno;

use super::{
    AddError, Handler, Options, Probation, Refusal, SERVED_DEFAULT, Sent, SocketId, StartError,
    slots::Slots,
    socket::{self, Intake, Socket, Supply, WANTED_MIN_DIVISOR},
    stream::{Gear, Kind, Stream, id_of, kind_of},
};
use crate::{
    buffer::{Chunks, Gather, Segment},
    ring::{Message, OPERATIONS_MAX, Ring, RingError, User},
};

/// Completions of receives that find room in the inbox.
const BACKLOG: u32 = 1024;

/// Most waits of [`WAIT`] for the kernel to let go of a socket. One is enough for one that is not stuck.
const WAITS_MAX: u32 = 16;

/// One wait for the kernel to let go of a socket.
const WAIT: Duration = Duration::from_millis(1);

/// Sockets in one poll for which a system call each is cheaper than what the ring adds to a send: measured, see
/// `benches/README.md`.
const AT_ONCE_MAX: usize = 4;

/// Sockets on one io_uring.
pub(super) struct Engine {
    ring: Ring,
    user: User,
    slots: Slots<Stream>,
    /// What sockets use to receive and send, by index, while no socket has it.
    gears: Box<[Option<Gear>]>,
    supply: Supply,
    /// Sockets to be served, first come, first served.
    ready: VecDeque<SocketId>,
    /// Sockets that wait for a chunk.
    starved: VecDeque<SocketId>,
    /// What `Chunks::releases` was when `starved` was looked through last.
    releases_seen: u64,
    wanted_min: usize,
    probation: Option<Probation>,
    /// Most sockets served in one poll.
    served_max: usize,
    /// Sockets served in the last poll that served any.
    served: usize,
    /// Sends are tried at once in polls that served at most so many.
    at_once_max: usize,
}

impl Engine {
    pub(super) fn new(options: &Options, ring: &Ring) -> Result<Self, StartError> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let slots = Slots::new(options.sockets_max).ok_or_else(invalid)?;
        // A receive and a send each.
        let operations = u32::try_from(options.sockets_max).ok().and_then(|count| count.checked_mul(2));
        let operations = operations.ok_or_else(invalid)?;
        if operations > OPERATIONS_MAX {
            return Err(RingError::Operations(operations).into());
        }
        // Says now what the first socket would say.
        drop(ring.window()?);
        Ok(Self {
            ring: ring.clone(),
            user: ring.stream_user(operations, BACKLOG)?,
            slots,
            gears: (0..options.sockets_max).map(|_| None).collect(),
            supply: Supply {
                chunks: Chunks::new(options.chunks, options.chunk_bytes, options.sockets_max)?,
                chunks_per_socket: options.chunks_per_socket,
            },
            ready: VecDeque::with_capacity(options.sockets_max),
            starved: VecDeque::with_capacity(options.sockets_max),
            releases_seen: 0,
            wanted_min: options.chunk_bytes / WANTED_MIN_DIVISOR,
            probation: None,
            served_max: SERVED_DEFAULT,
            served: 0,
            at_once_max: AT_ONCE_MAX,
        })
    }

    pub(super) fn serve_at_most(&mut self, sockets: usize) {
        self.served_max = sockets;
    }

    pub(super) fn put_on_probation(&mut self, probation: Probation) {
        self.probation = Some(probation);
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.ring.descriptor()
    }

    pub(super) fn add(&mut self, stream: TcpStream, unread: &[u8]) -> Result<SocketId, AddError> {
        let refuse = |stream, refusal| Err(AddError { stream, refusal });
        let Some(id) = self.slots.next_id() else { return refuse(stream, Refusal::Full) };
        if unread.len() > self.supply.chunks.chunk_bytes() {
            return refuse(stream, Refusal::TooMuchUnread);
        }
        let trial = match socket::prepare(&stream, self.probation) {
            Ok(trial) => trial,
            Err(errno) => return refuse(stream, Refusal::System(errno)),
        };
        let gear = match self.gears[id.index()].take() {
            Some(gear) => gear,
            // The limit on locked memory may be reached; that must not cost a connection.
            None => Gear { window: self.ring.window().ok(), message: Message::new() },
        };
        self.slots.insert(Stream::new(Socket::new(stream, unread, trial), gear));
        self.enqueue(id);
        Ok(id)
    }

    pub(super) fn detach(&mut self, id: SocketId) -> (TcpStream, Vec<u8>) {
        assert!(self.slots.find(id).expect("the id is not stale").sending.is_none());
        let quiet = self.quiesce(id);
        let stream = self.remove(id).expect("the id is not stale");
        assert!(quiet, "the kernel ends a receive that was cancelled");
        let Stream { socket, gear, .. } = stream;
        self.gears[id.index()] = Some(gear);
        socket.into_parts()
    }

    pub(super) fn close(&mut self, id: SocketId) {
        let quiet = self.quiesce(id);
        let Some(stream) = self.remove(id) else { return };
        if quiet {
            let Stream { gear, .. } = stream;
            self.gears[id.index()] = Some(gear);
        } else {
            stream.socket.shutdown_both();
            mem::forget(stream);
        }
    }

    pub(super) fn halt(&mut self, id: SocketId) -> bool {
        if !self.slots.contains(id) {
            return true;
        }
        // What fits into the socket still goes out.
        self.ring.submit();
        if let Some(stream) = self.slots.find(id) {
            stream.socket.shutdown_both();
        }
        let quiet = self.quiesce(id);
        if let Some(stream) = self.slots.find(id) {
            let starved = stream.socket.intake == Intake::Starved;
            stream.mute();
            if starved {
                self.starved.retain(|&other| other != id);
            }
        }
        quiet
    }

    pub(super) fn poll(&mut self, handler: &mut impl Handler) -> usize {
        // Finds nothing where the poller of the ring has just done it.
        self.ring.reap();
        self.collect();
        self.release_starved();
        let batch = self.ready.len().min(self.served_max);
        if batch > 0 {
            self.served = batch;
        }
        for _ in 0..batch {
            let Some(id) = self.ready.pop_front() else { break };
            let Some(stream) = self.slots.find(id) else { continue };
            stream.socket.queued = false;
            stream.serve(id, &self.supply, handler);
            stream.arm(id, &self.supply, &self.user, handler, self.wanted_min);
            if stream.socket.intake == Intake::Starved {
                assert!(self.starved.len() < self.starved.capacity());
                self.starved.push_back(id);
            }
            self.enqueue(id);
        }
        batch
    }

    pub(super) fn pending(&self) -> bool {
        !self.ready.is_empty() || self.user.has_completion() || self.chunks_were_released()
    }

    pub(super) fn flush(&mut self) {
        self.ring.submit();
    }

    pub(super) fn send(&mut self, id: SocketId, segments: &[Segment]) -> Sent {
        if let Some(sent) = self.send_at_once(id, segments) {
            return sent;
        }
        self.send_message(id, |message| message.write(segments))
    }

    pub(super) fn send_gathered(&mut self, id: SocketId, gather: &Gather<'_, '_>) -> Sent {
        if let Some(sent) = self.send_at_once(id, gather.segments()) {
            return sent;
        }
        self.send_message(id, |message| message.write_gathered(gather))
    }

    pub(super) fn shutdown(&mut self, id: SocketId) {
        if let Some(stream) = self.slots.find(id) {
            stream.shutdown();
        }
    }

    pub(super) fn resume(&mut self, id: SocketId) {
        if let Some(stream) = self.slots.find(id) {
            stream.socket.resume();
            self.enqueue(id);
        }
    }

    pub(super) fn contains(&self, id: SocketId) -> bool {
        self.slots.contains(id)
    }

    /// Sends with a system call of its own, where few sockets would share one; `None` where the ring is to do it.
    fn send_at_once(&mut self, id: SocketId, segments: &[Segment]) -> Option<Sent> {
        if self.served.max(1) > self.at_once_max {
            return None;
        }
        let sent = self.slots.find(id)?.send_at_once(segments);
        self.enqueue(id);
        sent
    }

    fn send_message(&mut self, id: SocketId, write: impl FnOnce(&mut Message) -> usize) -> Sent {
        let Some(stream) = self.slots.find(id) else { return Sent::Failed(Errno::BADF) };
        let sent = stream.send(id, &self.user, write);
        if sent == Sent::Blocked {
            // The submission queue may be full; it is empty when the user is told to go on.
            self.enqueue(id);
        }
        sent
    }

    /// Puts a socket that has something to do into the ready list, unless it is there.
    fn enqueue(&mut self, id: SocketId) {
        if let Some(stream) = self.slots.find(id)
            && !stream.socket.queued
            && stream.is_ready()
        {
            stream.socket.queued = true;
            assert!(self.ready.len() < self.ready.capacity());
            self.ready.push_back(id);
        }
    }

    /// Takes a socket out of the table and the lists.
    fn remove(&mut self, id: SocketId) -> Option<Stream> {
        let stream = self.slots.remove(id)?;
        if stream.socket.queued {
            self.ready.retain(|&other| other != id);
        }
        if stream.socket.intake == Intake::Starved {
            self.starved.retain(|&other| other != id);
        }
        Some(stream)
    }

    fn chunks_were_released(&self) -> bool {
        !self.starved.is_empty() && self.supply.chunks.releases() != self.releases_seen
    }

    /// Lets the sockets that waited for a chunk try again, in their order, once there may be one.
    fn release_starved(&mut self) {
        if !self.chunks_were_released() {
            return;
        }
        self.slots.all().for_each(|stream| stream.socket.give_back());
        self.releases_seen = self.supply.chunks.releases();
        for _ in 0..self.starved.len() {
            let Some(id) = self.starved.pop_front() else { break };
            if let Some(stream) = self.slots.find(id) {
                stream.socket.intake = Intake::Open;
                self.enqueue(id);
            }
        }
    }

    /// Notes what has completed: no more than the inbox has room for.
    fn collect(&mut self) {
        while let Some(completion) = self.user.take() {
            let id = id_of(completion.token);
            // An index is not given to another socket before everything of it has completed.
            let Some(stream) = self.slots.find(id) else { continue };
            match kind_of(completion.token) {
                Kind::Send => stream.sent(completion.result),
                Kind::Receive => stream.received(completion.result, completion.more),
                Kind::Readable => stream.readable(completion.result),
            }
            self.enqueue(id);
        }
    }

    /// Sends are tried at once in turns that serve at most so many sockets.
    #[cfg(test)]
    pub(super) fn send_at_once_to(&mut self, sockets: usize) {
        self.at_once_max = sockets;
    }

    /// The next sockets find no memory that may be locked.
    #[cfg(test)]
    pub(super) fn without_windows(&mut self) {
        self.gears.fill_with(|| Some(Gear { window: None, message: Message::new() }));
    }

    /// Waits for the end of the send in flight, and takes it away from the user.
    #[cfg(test)]
    pub(super) fn wait_for_send(&mut self, id: SocketId, waits_max: usize) -> Option<Result<usize, Errno>> {
        for _ in 0..waits_max {
            self.ring.wait(WAIT);
            self.collect();
            let result = self.slots.find(id)?.take_sent();
            if result.is_some() {
                return result;
            }
        }
        None
    }

    /// Cancels what is in flight for a socket, and waits until it has completed. True when it has.
    fn quiesce(&mut self, id: SocketId) -> bool {
        for _ in 0..WAITS_MAX {
            self.collect();
            let Some(stream) = self.slots.find(id) else { return true };
            if stream.is_quiet() {
                return true;
            }
            stream.cancel(&self.user);
            self.ring.wait(WAIT);
        }
        self.collect();
        self.slots.find(id).is_none_or(|stream| stream.is_quiet())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        while let Some(id) = self.slots.any() {
            self.close(id);
        }
    }
}
