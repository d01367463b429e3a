//! The epoll engine: edge-triggered events, a list of ready sockets, plain non-blocking receives and sends.
//!
//! Each socket is registered once, when it is added, for everything; so an event is never asked for again, and what it
//! said is kept in the socket until a system call disproves it. A receive that leaves room, or a send that is short,
//! disproves it, and the kernel then reports the next change (epoll(7), questions 9 and 12).
//!
//! Invariant: a socket is at most once in `ready` (`queued`), and in `starved` when and only when its intake says so.
//! Both lists hold indices of present sockets only, so neither grows beyond `sockets_max`.

use std::{
    collections::VecDeque,
    io,
    net::TcpStream,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::epoll::{self, EventFlags},
    io::Errno,
};

use super::{
    AddError, Handler, Options, Probation, Refusal, SERVED_DEFAULT, Sent, SocketId,
    probation::Trial,
    ready::Ready,
    slots::Slots,
    socket::{self, Intake, Socket, Supply},
};
use crate::buffer::{Chunks, Segment};

/// Sockets watched by one epoll descriptor.
pub(super) struct Engine {
    epoll: OwnedFd,
    events: Ready,
    slots: Slots<Socket>,
    supply: Supply,
    /// Sockets to be served, first come, first served.
    ready: VecDeque<SocketId>,
    /// Sockets that wait for a chunk.
    starved: VecDeque<SocketId>,
    /// What `Chunks::releases` was when `starved` was looked through last.
    releases_seen: u64,
    probation: Option<Probation>,
    /// Most sockets served in one poll: at least 1.
    served_max: usize,
}

impl Engine {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let slots = Slots::new(options.sockets_max).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Ready::new(),
            slots,
            supply: Supply {
                chunks: Chunks::new(options.chunks, options.chunk_bytes, options.sockets_max)?,
                chunks_per_socket: options.chunks_per_socket,
            },
            ready: VecDeque::with_capacity(options.sockets_max),
            starved: VecDeque::with_capacity(options.sockets_max),
            releases_seen: 0,
            probation: None,
            served_max: SERVED_DEFAULT,
        })
    }

    pub(super) fn serve_at_most(&mut self, sockets: usize) {
        self.served_max = sockets;
    }

    pub(super) fn put_on_probation(&mut self, probation: Probation) {
        self.probation = Some(probation);
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    pub(super) fn add(&mut self, stream: TcpStream, unread: &[u8]) -> Result<SocketId, AddError> {
        let refuse = |stream, refusal| Err(AddError { stream, refusal });
        let Some(id) = self.slots.next_id() else { return refuse(stream, Refusal::Full) };
        if unread.len() > self.supply.chunks.chunk_bytes() {
            return refuse(stream, Refusal::TooMuchUnread);
        }
        let trial = match watch(&self.epoll, &stream, id, self.probation) {
            Ok(trial) => trial,
            Err(errno) => return refuse(stream, Refusal::System(errno)),
        };
        self.slots.insert(Socket::new(stream, unread, trial));
        self.enqueue(id);
        Ok(id)
    }

    pub(super) fn detach(&mut self, id: SocketId) -> (TcpStream, Vec<u8>) {
        let socket = self.remove(id).expect("the id is not stale");
        socket.into_parts()
    }

    pub(super) fn close(&mut self, id: SocketId) {
        drop(self.remove(id));
    }

    pub(super) fn poll(&mut self, handler: &mut impl Handler) -> usize {
        self.release_starved();
        self.collect_events();
        let batch = self.ready.len().min(self.served_max);
        for _ in 0..batch {
            let Some(id) = self.ready.pop_front() else { break };
            let Some(socket) = self.slots.find(id) else { continue };
            socket.queued = false;
            socket.serve(id, &self.supply, handler);
            if socket.intake == Intake::Starved {
                assert!(self.starved.len() < self.starved.capacity());
                self.starved.push_back(id);
            }
            self.enqueue(id);
        }
        batch
    }

    pub(super) fn pending(&self) -> bool {
        !self.ready.is_empty() || self.chunks_were_released()
    }

    pub(super) fn send(&mut self, id: SocketId, segments: &[Segment]) -> Sent {
        let Some(socket) = self.slots.find(id) else { return Sent::Failed(Errno::BADF) };
        let sent = socket.send(segments);
        self.enqueue(id);
        sent
    }

    pub(super) fn shutdown(&mut self, id: SocketId) {
        if let Some(socket) = self.slots.find(id) {
            socket.shutdown();
        }
    }

    pub(super) fn resume(&mut self, id: SocketId) {
        if let Some(socket) = self.slots.find(id) {
            socket.resume();
            self.enqueue(id);
        }
    }

    pub(super) fn contains(&self, id: SocketId) -> bool {
        self.slots.contains(id)
    }

    /// Puts a socket that has something to do into the ready list, unless it is there.
    fn enqueue(&mut self, id: SocketId) {
        if let Some(socket) = self.slots.find(id)
            && !socket.queued
            && socket.is_ready()
        {
            socket.queued = true;
            assert!(self.ready.len() < self.ready.capacity());
            self.ready.push_back(id);
        }
    }

    /// Takes a socket out of the table, the lists and the epoll descriptor.
    fn remove(&mut self, id: SocketId) -> Option<Socket> {
        let socket = self.slots.remove(id)?;
        // Cannot fail for a descriptor that was added; if it did, the id in its events would be stale.
        let removed = epoll::delete(&self.epoll, &socket.stream);
        debug_assert!(removed.is_ok());
        if socket.queued {
            self.ready.retain(|&other| other != id);
        }
        if socket.intake == Intake::Starved {
            self.starved.retain(|&other| other != id);
        }
        Some(socket)
    }

    fn chunks_were_released(&self) -> bool {
        !self.starved.is_empty() && self.supply.chunks.releases() != self.releases_seen
    }

    /// Lets the sockets that waited for a chunk try again, in their order, once there may be one: it came back, or it
    /// lost its last lease while its socket has nothing to receive.
    fn release_starved(&mut self) {
        if !self.chunks_were_released() {
            return;
        }
        self.slots.all().for_each(Socket::give_back);
        self.releases_seen = self.supply.chunks.releases();
        for _ in 0..self.starved.len() {
            let Some(id) = self.starved.pop_front() else { break };
            if let Some(socket) = self.slots.find(id) {
                socket.intake = Intake::Open;
                self.enqueue(id);
            }
        }
    }

    /// Notes what the kernel reports in one look.
    fn collect_events(&mut self) {
        for at in 0..self.events.look(self.epoll.as_fd()) {
            let (flags, data) = self.events.event(at);
            let id = id_of(data);
            let Some(socket) = self.slots.find(id) else { continue };
            let broken = EventFlags::HUP | EventFlags::ERR;
            let ended = EventFlags::RDHUP | broken;
            if flags.intersects(EventFlags::IN | ended) {
                socket.mark_readable(flags.intersects(ended));
            }
            if flags.intersects(EventFlags::OUT | broken) {
                socket.mark_writable();
            }
            self.enqueue(id);
        }
    }
}

/// Prepares and registers a stream.
fn watch(
    epoll: &OwnedFd,
    stream: &TcpStream,
    id: SocketId,
    probation: Option<Probation>,
) -> Result<Trial, Errno> {
    let trial = socket::prepare(stream, probation)?;
    let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(epoll, stream, epoll_data(id), events)?;
    Ok(trial)
}

fn epoll_data(id: SocketId) -> epoll::EventData {
    epoll::EventData::new_u64(u64::from(id.generation) << 32 | u64::from(id.index))
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves that epoll_data joined")]
fn id_of(joined: u64) -> SocketId {
    SocketId { index: joined as u32, generation: (joined >> 32) as u32 }
}
