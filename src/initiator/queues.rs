//! The queue pairs on the sockets of one poll group, of which they have all.
//!
//! Invariants: a queue pair stands at the index of its socket, from `open` to `close`. Whichever may have something to send, and a
//! socket that takes it, is in `marked`, once: what nobody uses costs a flush nothing. A queue that has a completion to tell
//! since something was sent is in `late`, once, until the next poll.

use std::net::TcpStream;

use corelane_reactors::buffer::{Gather, GatherList, Lease, SegmentMut};
use corelane_reactors::poll_group::{AddError, Closed, Errno, Handler, PollGroup, Sent, SocketId, Taken};

use crate::initiator::{Completion, End, Identity, QueueOptions, QueuePair};

/// Stretches that one send takes.
const STRETCHES_MAX: usize = 512;
/// Sends that one flush of one queue makes; the rest waits for the next.
const SENDS_PER_FLUSH: usize = 4;

/// The queue pairs of one poll group.
#[derive(Debug)]
pub struct Queues {
    entries: Box<[Option<Entry>]>,
    list: GatherList,
    /// Queues that may have something to send.
    marked: Vec<SocketId>,
    /// Queues that ended, and whose commands were not told yet.
    ended: Vec<SocketId>,
    /// Queues that have something to tell without having received anything.
    late: Vec<SocketId>,
}

#[derive(Debug)]
struct Entry {
    socket: SocketId,
    pair: QueuePair,
    /// It is in `marked`.
    marked: bool,
    /// It is in `ended`, or was.
    told: bool,
    /// The socket takes nothing until it says that it does.
    blocked: bool,
    /// The socket has what is to be sent first.
    sending: bool,
}

impl Queues {
    /// For a poll group of at most `sockets_max` sockets.
    pub fn new(sockets_max: usize) -> Self {
        Self {
            entries: (0..sockets_max).map(|_| None).collect(),
            list: GatherList::new(STRETCHES_MAX),
            marked: Vec::with_capacity(sockets_max * 2),
            ended: Vec::with_capacity(sockets_max),
            late: Vec::with_capacity(sockets_max),
        }
    }

    /// Takes over a connected stream as a queue that is to be connected. It is named by its socket from now on.
    ///
    /// # Errors
    /// What [`PollGroup::add`] refuses.
    ///
    /// # Panics
    /// If the poll group has more sockets than this was made for, or the depth is not possible.
    pub fn open(
        &mut self,
        group: &mut PollGroup,
        stream: TcpStream,
        identity: &Identity,
        options: &QueueOptions,
    ) -> Result<SocketId, AddError> {
        let socket = group.add(stream, &[])?;
        let pair = QueuePair::new(identity, options);
        let place = &mut self.entries[socket.index()];
        assert!(place.is_none(), "a queue is forgotten by close, and by nothing else");
        let entry = Entry { socket, pair, marked: true, told: false, blocked: false, sending: false };
        *place = Some(entry);
        self.marked.push(socket);
        Ok(socket)
    }

    /// The queue on `socket`; `None` if it is closed.
    pub fn pair(&self, socket: SocketId) -> Option<&QueuePair> {
        let entry = self.entries.get(socket.index())?.as_ref()?;
        (entry.socket == socket).then_some(&entry.pair)
    }

    /// The queue on `socket`, to submit to; `None` if it is closed.
    pub fn pair_mut(&mut self, socket: SocketId) -> Option<&mut QueuePair> {
        let entry = find(&mut self.entries, socket)?;
        mark(entry, &mut self.marked);
        Some(&mut entry.pair)
    }

    /// Does one batch of receiving; tells which commands completed. Returns the number of sockets served.
    pub fn poll(&mut self, group: &mut PollGroup, mut done: impl FnMut(SocketId, Completion)) -> usize {
        let Self { entries, marked, ended, .. } = self;
        let mut serving = Serving { entries, marked, ended, done: &mut done };
        let served = group.poll(&mut serving);
        while let Some(socket) = self.late.pop() {
            let Some(entry) = find(&mut self.entries, socket) else { continue };
            entry.pair.received(&[], |completion| done(socket, completion));
        }
        while let Some(socket) = self.ended.pop() {
            let Some(entry) = find(&mut self.entries, socket) else { continue };
            // A terminate request may be among it, behind what makes no difference any more.
            flush(entry, group, &mut self.list);
            group.shutdown(socket);
            if entry.sending && !group.halt(socket) {
                self.ended.push(socket);
                break;
            }
            entry.sending = false;
            entry.pair.abandon(|completion| done(socket, completion));
        }
        served
    }

    /// Sends what was submitted, as far as the sockets take it. True if more can be sent at once: do not sleep.
    pub fn flush(&mut self, group: &mut PollGroup) -> bool {
        let mut more = false;
        // Those that can send more stand behind these, and wait for the next flush.
        let looked_at = self.marked.len();
        for index in 0..looked_at {
            let Some(entry) = find(&mut self.entries, self.marked[index]) else { continue };
            entry.marked = false;
            if entry.pair.has_unsent() && !entry.blocked && !entry.told {
                if flush(entry, group, &mut self.list) {
                    mark(entry, &mut self.marked);
                    more = true;
                }
                if entry.pair.is_late() && !self.late.contains(&entry.socket) {
                    self.late.push(entry.socket);
                }
                note_end(entry, &mut self.ended);
            }
        }
        self.marked.drain(..looked_at);
        group.flush();
        more || !self.ended.is_empty() || !self.late.is_empty()
    }

    /// Closes a queue. Commands that are under way are forgotten: the memory of their data is free. A queue that is
    /// closed already is ignored.
    pub fn close(&mut self, group: &mut PollGroup, socket: SocketId) {
        if find(&mut self.entries, socket).is_some() {
            self.entries[socket.index()] = None;
            self.marked.retain(|&marked| marked != socket);
            self.late.retain(|&late| late != socket);
            group.close(socket);
        }
    }

    /// Whoever has something to send will be looked at: now, or when its socket takes more.
    #[cfg(test)]
    pub(super) fn forgets_nobody(&self) -> bool {
        self.entries.iter().flatten().all(|entry| {
            let waits = !entry.pair.has_unsent() || entry.blocked || entry.told;
            let places = self.marked.iter().filter(|socket| **socket == entry.socket).count();
            (entry.marked || waits) && places == usize::from(entry.marked)
        })
    }

    /// Closes all queues.
    pub fn close_all(&mut self, group: &mut PollGroup) {
        self.marked.clear();
        self.late.clear();
        for place in &mut self.entries {
            if let Some(entry) = place.take() {
                group.close(entry.socket);
            }
        }
    }
}

/// The queues as the poll group sees them.
struct Serving<'a, F> {
    entries: &'a mut [Option<Entry>],
    marked: &'a mut Vec<SocketId>,
    ended: &'a mut Vec<SocketId>,
    done: F,
}

impl<F: FnMut(SocketId, Completion)> Serving<'_, F> {
    fn with<T>(&mut self, socket: SocketId, act: impl FnOnce(&mut Entry, &mut F) -> T) -> Option<T> {
        let entry = find(self.entries, socket)?;
        let result = act(entry, &mut self.done);
        if entry.pair.has_unsent() && !entry.blocked {
            mark(entry, self.marked);
        }
        note_end(entry, self.ended);
        Some(result)
    }
}

impl<F: FnMut(SocketId, Completion)> Handler for Serving<'_, F> {
    fn received(&mut self, socket: SocketId, bytes: &Lease) -> Taken {
        let taken = self.with(socket, |entry, done| {
            entry.pair.received(bytes.as_ref(), |completion| done(socket, completion))
        });
        Taken::bytes(taken.unwrap_or(bytes.len()))
    }

    fn wanted(&mut self, socket: SocketId) -> Option<SegmentMut> {
        find(self.entries, socket)?.pair.wanted()
    }

    fn wanted_whole(&mut self, socket: SocketId) -> usize {
        find(self.entries, socket).map_or(0, |entry| entry.pair.wanted_whole())
    }

    fn received_direct(&mut self, socket: SocketId, bytes: usize) {
        self.with(socket, |entry, done| {
            entry.pair.received_direct(bytes, |completion| done(socket, completion))
        });
    }

    fn writable(&mut self, socket: SocketId) {
        self.with(socket, |entry, _| entry.blocked = false);
    }

    fn sent(&mut self, socket: SocketId, result: Result<usize, Errno>) {
        self.with(socket, |entry, done| {
            (entry.sending, entry.blocked) = (false, false);
            match result {
                Ok(bytes) => {
                    entry.pair.sent(bytes);
                    if entry.pair.is_late() {
                        entry.pair.received(&[], |completion| done(socket, completion));
                    }
                }
                Err(errno) => entry.pair.ended(End::Broken(errno)),
            }
        });
    }

    fn closed(&mut self, socket: SocketId, reason: Closed) {
        self.with(socket, |entry, _| entry.pair.ended(End::from(reason)));
    }
}

fn find(entries: &mut [Option<Entry>], socket: SocketId) -> Option<&mut Entry> {
    entries.get_mut(socket.index())?.as_mut().filter(|entry| entry.socket == socket)
}

/// Remembers a queue that may have something to send, once.
#[inline]
fn mark(entry: &mut Entry, marked: &mut Vec<SocketId>) {
    if !entry.marked {
        entry.marked = true;
        marked.push(entry.socket);
    }
}

/// Remembers a queue that has ended, once.
fn note_end(entry: &mut Entry, ended: &mut Vec<SocketId>) {
    if !entry.told && entry.pair.end().is_some() {
        entry.told = true;
        ended.push(entry.socket);
    }
}

/// Sends one batch; true if more can be sent at once.
fn flush(entry: &mut Entry, group: &mut PollGroup, list: &mut GatherList) -> bool {
    if entry.sending {
        return false;
    }
    for _ in 0..SENDS_PER_FLUSH {
        if !entry.pair.has_unsent() {
            return false;
        }
        let mut gather = Gather::new(list);
        entry.pair.gather(&mut gather);
        let asked = gather.len();
        match group.send_gathered(entry.socket, &gather) {
            Sent::Bytes(bytes) => {
                entry.pair.sent(bytes);
                entry.blocked = bytes < asked;
            }
            Sent::Blocked => entry.blocked = true,
            Sent::Pending => (entry.sending, entry.blocked) = (true, true),
            Sent::Failed(errno) => {
                entry.pair.ended(End::Broken(errno));
                return false;
            }
        }
        if entry.blocked {
            return false;
        }
    }
    entry.pair.has_unsent()
}
