//! One socket of a group: what it holds, whether it may receive, and one receive. Knows no other socket and no list.
//!
//! ```text
//! intake:  Open --Taken.pause--> Paused --resume--> Open
//!          Open --no chunk or credit--> Starved --a chunk came back--> Open
//!          Open --end of stream, error--> Over
//! output:  Open --short or refused send--> Blocked --writable event--> Announce --Handler::writable--> Open
//! ```
//!
//! Invariants: there are unread bytes in `chunk` or in `carried`, never in both; while the room of the chunk is lent, the
//! chunk is kept and what is in it stays where it is.

use std::{net::TcpStream, os::fd::AsFd};

use rustix::{io::Errno, net::sockopt};

use super::{Closed, Handler, Probation, Sent, SocketId, Taken, probation::Trial};
use crate::buffer::{self, Chunk, Chunks, Received, Segment, SegmentMut};

/// Unread bytes up to this many are moved to the front of a chunk that has no lease, which keeps receives in the part
/// of the chunk that is in the cache. About the size of a protocol header: more is cheaper left where it is.
const MOVE_BYTES_MAX: usize = 512;

/// Most bytes that are received behind a large payload, by the same call or the next: a few protocol headers, which say
/// where more is wanted.
/// Whatever else came would have to be copied there.
const BEHIND_WANTED_MAX: usize = 512;

/// A wanted segment, or the payload that it ends, is large and worth a receive of its own when it is at least this part of
/// a chunk.
pub(super) const WANTED_MIN_DIVISOR: usize = 16;

/// A chunk is left when less than this part of it can still be received into.
const ROOM_MIN_DIVISOR: usize = 4;

/// Most calls that one send makes; each takes `SEGMENTS_MAX` segments.
const SEND_CALLS_MAX: usize = 16;

/// A socket of a group.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    /// The chunk being filled.
    chunk: Option<Chunk>,
    /// Bytes that came with the socket, until there is a chunk for them.
    carried: Vec<u8>,
    pub(super) intake: Intake,
    readable: Readable,
    output: Output,
    trial: Trial,
    /// Whether unread bytes are to be shown before more are received.
    show: bool,
    /// The kernel receives into the room of the chunk by itself.
    lent: bool,
    /// How the stream ended, until the user is told.
    ended: Option<Closed>,
    /// Whether the last receive, since that was asked last, could go where it was wanted.
    direct: Option<bool>,
    /// The last receive was into a large payload.
    after_large: bool,
    /// Whether the socket is in the ready list.
    pub(super) queued: bool,
}

/// Whether bytes are received and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    Open,
    /// Until the user resumes it.
    Paused,
    /// In the list of those that wait for a chunk.
    Starved,
    /// The end was reported.
    Over,
}

/// What the kernel holds for us, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readable {
    /// Nothing; an event will tell.
    Nothing,
    /// Perhaps bytes; a receive that leaves room shows that there are no more.
    Bytes,
    /// The end, perhaps after bytes: a receive that leaves room is followed by one more.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Open,
    /// The kernel takes nothing; an event will tell.
    Blocked,
    /// More can be sent, or an error be learnt; the user is to be told.
    Announce,
}

/// Why a receive did not happen: no chunk free, or credit used up.
pub(super) struct Starved;

/// Sets the options of a stream that comes.
pub(super) fn prepare(stream: &TcpStream, probation: Option<Probation>) -> Result<Trial, Errno> {
    sockopt::set_tcp_nodelay(stream, true)?;
    Trial::begin(stream, probation)
}

impl Socket {
    /// A socket of which nothing is known but the bytes that came with it.
    pub(super) fn new(stream: TcpStream, unread: &[u8], trial: Trial) -> Self {
        Self {
            stream,
            chunk: None,
            carried: unread.to_vec(),
            intake: Intake::Open,
            readable: Readable::Nothing,
            output: Output::Open,
            trial,
            show: !unread.is_empty(),
            lent: false,
            ended: None,
            direct: None,
            after_large: false,
            queued: false,
        }
    }

    /// Notes that there may be something to receive; `end` when the peer, or the kernel, has ended the stream.
    pub(super) fn mark_readable(&mut self, end: bool) {
        if end {
            self.readable = Readable::End;
        } else if self.readable == Readable::Nothing {
            self.readable = Readable::Bytes;
        }
    }

    /// Notes that the kernel takes bytes again; returns whether it did not before.
    pub(super) fn mark_writable(&mut self) -> bool {
        let blocked = self.output == Output::Blocked;
        if blocked {
            self.output = Output::Announce;
        }
        blocked
    }

    /// Whether serving it would do something.
    pub(super) fn is_ready(&self) -> bool {
        let intake = self.intake == Intake::Open && !self.is_waiting();
        intake || self.output == Output::Announce
    }

    /// Whether it waits for bytes and for nothing else.
    pub(super) fn wants_bytes(&self) -> bool {
        self.intake == Intake::Open && self.is_waiting()
    }

    /// Lends at most `bytes` of the room of the chunk to the kernel, which receives into it until `take_back`.
    pub(super) fn lend(
        &mut self,
        id: SocketId,
        supply: &Supply,
        bytes: usize,
    ) -> Result<SegmentMut, Starved> {
        assert!(!self.lent);
        self.make_room(id, supply)?;
        let Some(chunk) = &mut self.chunk else { return Err(Starved) };
        self.lent = true;
        Ok(chunk.offer(bytes))
    }

    /// `bytes` came to the front of what was lent.
    pub(super) fn arrived(&mut self, bytes: usize) {
        assert!(self.lent);
        let Some(chunk) = &mut self.chunk else { return };
        chunk.arrived(bytes);
        self.show = true;
    }

    /// The kernel receives no more into what was lent.
    pub(super) fn take_back(&mut self) {
        self.lent = false;
        self.give_back();
    }

    /// The stream has ended; the user is told when all bytes were shown.
    pub(super) fn mark_ended(&mut self, reason: Closed) {
        self.ended = Some(reason);
    }

    /// Whether there was a receive since this was asked last, and if so, whether it could go where it was wanted.
    pub(super) fn last_receive(&mut self) -> Option<bool> {
        self.direct.take()
    }

    /// Notes that the kernel takes nothing for now.
    pub(super) fn mark_blocked(&mut self) {
        self.output = Output::Blocked;
    }

    /// Shows and tells nothing any more.
    pub(super) fn mute(&mut self) {
        self.intake = Intake::Over;
        self.output = Output::Open;
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self) {
        if self.intake == Intake::Paused {
            self.intake = Intake::Open;
            self.show = self.unread() > 0;
        }
    }

    /// The stream and all that was received and not taken.
    pub(super) fn into_parts(mut self) -> (TcpStream, Vec<u8>) {
        self.trial.end(&self.stream);
        let unread = match &self.chunk {
            Some(chunk) => chunk.lease().as_ref().to_vec(),
            None => self.carried,
        };
        (self.stream, unread)
    }

    /// Tells the user what is to be told, and receives or shows bytes at most once. Afterwards `intake` says whether
    /// the socket has to wait for a chunk.
    pub(super) fn serve(&mut self, id: SocketId, supply: &Supply, handler: &mut impl Handler) {
        if self.output == Output::Announce {
            self.output = Output::Open;
            handler.writable(id);
        }
        if self.intake != Intake::Open {
            return;
        }
        let result = if self.show {
            self.show_again(id, supply, handler)
        } else if let Some(reason) = self.ended.take() {
            self.end(id, reason, handler);
            Ok(())
        } else if self.readable != Readable::Nothing {
            self.receive(id, supply, handler)
        } else {
            Ok(())
        };
        if let Err(Starved) = result {
            self.intake = Intake::Starved;
        }
        self.give_back();
    }

    /// Gives the chunk back if nobody needs it. A chunk that has leases is kept and filled on.
    pub(super) fn give_back(&mut self) {
        if !self.lent && self.chunk.as_ref().is_some_and(|chunk| chunk.unread() == 0 && chunk.is_sole()) {
            self.chunk = None;
        }
    }

    /// Sends as much of `segments` as the kernel takes. When that is not all of them, the user will be told to go on.
    pub(super) fn send(&mut self, segments: &[Segment]) -> Sent {
        if self.output == Output::Blocked {
            return Sent::Blocked;
        }
        let mut sent = 0;
        let mut batches = segments.chunks(buffer::SEGMENTS_MAX);
        for batch in batches.by_ref().take(SEND_CALLS_MAX) {
            let bytes: usize = batch.iter().map(Segment::len).sum();
            let taken = match buffer::send(self.stream.as_fd(), batch) {
                Ok(taken) => taken,
                Err(Errno::AGAIN) => 0,
                Err(errno) if sent == 0 => return Sent::Failed(errno),
                Err(_) => {
                    // The next send tells the error.
                    self.output = Output::Announce;
                    return Sent::Bytes(sent);
                }
            };
            self.trial.taken(&self.stream, taken);
            sent += taken;
            if taken < bytes {
                self.output = Output::Blocked;
                return if sent == 0 { Sent::Blocked } else { Sent::Bytes(sent) };
            }
        }
        if batches.next().is_some() {
            self.output = Output::Announce;
        }
        Sent::Bytes(sent)
    }

    /// Notes that the kernel has taken so many bytes of what was sent otherwise.
    pub(super) fn note_sent(&mut self, bytes: usize) {
        self.trial.taken(&self.stream, bytes);
    }

    pub(super) fn shutdown(&self) {
        // A connection that is broken already needs no farewell, and its end is reported by the next receive.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    pub(super) fn shutdown_both(&self) {
        // As above.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    pub(super) fn unread(&self) -> usize {
        self.carried.len() + self.chunk.as_ref().map_or(0, Chunk::unread)
    }

    fn is_waiting(&self) -> bool {
        !self.show && self.ended.is_none() && self.readable == Readable::Nothing
    }

    fn show_again(
        &mut self,
        id: SocketId,
        supply: &Supply,
        handler: &mut impl Handler,
    ) -> Result<(), Starved> {
        if !self.carried.is_empty() {
            let mut chunk = supply.take(id)?;
            let appended = chunk.append(&self.carried);
            assert!(appended == self.carried.len());
            self.carried = Vec::new();
            self.chunk = Some(chunk);
        }
        self.show = false;
        self.show_unread(id, handler);
        Ok(())
    }

    /// One receive, and what came of it.
    fn receive(&mut self, id: SocketId, supply: &Supply, handler: &mut impl Handler) -> Result<(), Starved> {
        let wanted =
            if self.unread() == 0 { handler.wanted(id).filter(|wanted| !wanted.is_empty()) } else { None };
        self.direct = Some(wanted.is_some());
        let room = self.make_room(id, supply);
        if wanted.is_none() {
            room?;
        }
        let large = supply.chunks.chunk_bytes() / WANTED_MIN_DIVISOR;
        let is_large = wanted.map(|wanted| wanted.len().max(handler.wanted_whole(id)) >= large);
        let little = is_large.unwrap_or(self.after_large);
        self.after_large = is_large == Some(true);
        let behind = if little { BEHIND_WANTED_MAX } else { usize::MAX };
        let (result, capacity) = self.receive_once(wanted, behind);
        match result {
            Ok(Received { direct: 0, chunk: 0 }) => self.end(id, Closed::ByPeer, handler),
            Ok(received) => {
                if received.direct + received.chunk < capacity && self.readable == Readable::Bytes {
                    self.readable = Readable::Nothing;
                }
                if received.direct > 0 {
                    handler.received_direct(id, received.direct);
                }
                if received.chunk > 0 {
                    self.show_unread(id, handler);
                }
            }
            Err(Errno::AGAIN) => self.readable = Readable::Nothing,
            Err(Errno::INTR) => {}
            Err(errno) => self.end(id, Closed::Failed(errno), handler),
        }
        Ok(())
    }

    /// The system call, into what is wanted and at most `behind` bytes of what room there is; also says how much could have
    /// come.
    fn receive_once(
        &mut self,
        wanted: Option<SegmentMut>,
        behind: usize,
    ) -> (Result<Received, Errno>, usize) {
        let direct = wanted.map_or(0, |wanted| wanted.len());
        match (&mut self.chunk, wanted) {
            (Some(chunk), _) if chunk.room() > 0 => {
                let room = chunk.room().min(behind);
                (chunk.receive(self.stream.as_fd(), wanted, room), direct + room)
            }
            (_, Some(wanted)) => {
                let result = buffer::receive(self.stream.as_fd(), &[wanted]);
                (result.map(|direct| Received { direct, chunk: 0 }), direct)
            }
            (_, None) => unreachable!("a receive without a wanted segment has made room"),
        }
    }

    fn show_unread(&mut self, id: SocketId, handler: &mut impl Handler) {
        let Some(chunk) = &mut self.chunk else { return };
        let bytes = chunk.lease();
        let Taken { bytes: taken, pause } = handler.received(id, &bytes);
        drop(bytes);
        chunk.take(taken);
        // A full chunk of which nothing is taken would never change: the handler has to say when it can go on.
        let stuck = chunk.room() == 0 && chunk.taken() == 0;
        if pause || stuck {
            self.intake = Intake::Paused;
        }
    }

    /// Sees to it that there is a chunk with room, with the unread bytes at its front or where they were.
    fn make_room(&mut self, id: SocketId, supply: &Supply) -> Result<(), Starved> {
        let Some(chunk) = &mut self.chunk else {
            self.chunk = Some(supply.take(id)?);
            return Ok(());
        };
        let (unread, taken, room) = (chunk.unread(), chunk.taken(), chunk.room());
        let low = room < supply.chunks.chunk_bytes() / ROOM_MIN_DIVISOR;
        // Moving at most as many bytes as were taken before keeps the cost of moving below that of receiving.
        let moves = taken > 0 && (low && unread <= taken || room == 0);
        if chunk.is_sole() {
            if moves || taken > 0 && unread <= MOVE_BYTES_MAX {
                chunk.compact();
            }
        } else if moves {
            match supply.take(id) {
                Ok(mut fresh) => {
                    fresh.append(chunk.lease().as_ref());
                    *chunk = fresh;
                }
                Err(Starved) if room > 0 => {}
                Err(Starved) => return Err(Starved),
            }
        }
        Ok(())
    }

    fn end(&mut self, id: SocketId, reason: Closed, handler: &mut impl Handler) {
        self.intake = Intake::Over;
        handler.closed(id, reason);
    }
}

/// Where sockets get chunks from.
pub(super) struct Supply {
    pub(super) chunks: Chunks,
    /// Most chunks that one socket may hold.
    pub(super) chunks_per_socket: usize,
}

impl Supply {
    fn take(&self, id: SocketId) -> Result<Chunk, Starved> {
        if self.chunks.held(id.index()) >= self.chunks_per_socket {
            return Err(Starved);
        }
        self.chunks.take(id.index()).ok_or(Starved)
    }
}
