//! One socket of the io_uring engine: what of it is in flight, and what comes of what completes. Knows no other socket.
//!
//! ```text
//! receiving:  Nothing --arm--> Many --last completion--> Nothing
//!             Many --no room left: last completion--> Nothing, and receives are made until one leaves room
//!             Many --something large is wanted: cancel--> Many, ending --last completion--> Nothing
//!             Nothing --arm, singly--> Once --readable--> Nothing, and one receive is made
//! sending:    None --send--> Some --completion--> None, and the user is told
//!             None --send at once--> None; once the socket is full, the next one waits in the ring
//! ```
//!
//! Invariant: the room of the chunk is lent when and only when `Many` is in flight.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{
    Closed, Handler, Sent, SocketId,
    socket::{Intake, Socket, Starved, Supply},
};
use crate::{
    buffer::Segment,
    ring::{Message, Operation, OperationId, User, Window},
};

/// Bytes of a chunk that are lent at a time: as many as one receive may bring, and few enough to stay in the cache.
const LENT_MAX: usize = 64 << 10;

/// Receives that are made singly after the last one that could go where it was wanted.
const SINGLE_RECEIVES: u8 = 8;

/// Where the kind of an operation stands in its token.
const KIND_SHIFT: u32 = 30;

/// What a socket needs for receiving and sending; outlives it, for the next one with its index.
pub(super) struct Gear {
    /// Without one, the socket is received from singly.
    pub(super) window: Option<Window>,
    pub(super) message: Message,
}

/// A socket of the engine.
pub(super) struct Stream {
    pub(super) socket: Socket,
    pub(super) gear: Gear,
    receiving: Receiving,
    pub(super) sending: Option<OperationId>,
    /// What became of the last send, until the user is told.
    sent: Option<Result<usize, Errno>>,
    /// Receives to be made singly.
    singly: u8,
    /// The user shut its direction down while a send was in flight.
    shut: bool,
    /// The last send at once left something, for which the next one waits.
    full: bool,
}

/// What is in flight for receiving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receiving {
    Nothing,
    /// Brings bytes until the chunk is full, or it was cancelled.
    Many {
        operation: OperationId,
        ending: bool,
    },
    /// Tells that there are bytes.
    Once(OperationId),
}

/// What a token stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Receive,
    Readable,
    Send,
}

/// Names an operation of a socket.
fn token(id: SocketId, kind: Kind) -> u64 {
    u64::from(id.generation) << 32 | (kind as u64) << KIND_SHIFT | u64::from(id.index)
}

/// The socket of a token.
#[expect(clippy::cast_possible_truncation, reason = "the parts that `token` joined")]
pub(super) fn id_of(token: u64) -> SocketId {
    SocketId { index: token as u32 & ((1 << KIND_SHIFT) - 1), generation: (token >> 32) as u32 }
}

/// The kind of a token.
pub(super) fn kind_of(token: u64) -> Kind {
    match token >> KIND_SHIFT & 3 {
        0 => Kind::Receive,
        1 => Kind::Readable,
        _ => Kind::Send,
    }
}

impl Stream {
    pub(super) fn new(socket: Socket, gear: Gear) -> Self {
        Self {
            socket,
            gear,
            receiving: Receiving::Nothing,
            sending: None,
            sent: None,
            singly: 0,
            shut: false,
            full: false,
        }
    }

    /// Whether serving it would do something.
    pub(super) fn is_ready(&self) -> bool {
        let unarmed = self.receiving == Receiving::Nothing && self.socket.wants_bytes();
        self.sent.is_some() || unarmed || self.socket.is_ready()
    }

    /// Nothing of it is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.receiving == Receiving::Nothing && self.sending.is_none()
    }

    /// Tells the user what is to be told, and shows bytes at most once.
    pub(super) fn serve(&mut self, id: SocketId, supply: &Supply, handler: &mut impl Handler) {
        if let Some(result) = self.sent.take() {
            handler.sent(id, result);
        }
        self.socket.serve(id, supply, handler);
        match self.socket.last_receive() {
            Some(true) => self.singly = SINGLE_RECEIVES,
            Some(false) => self.singly = self.singly.saturating_sub(1),
            None => {}
        }
    }

    /// Sees to it that something brings the next bytes, if there can be more. Afterwards the intake says whether it has
    /// to wait for a chunk; it may also stay unarmed, because the submission queue is full.
    pub(super) fn arm(
        &mut self,
        id: SocketId,
        supply: &Supply,
        user: &User,
        handler: &mut impl Handler,
        wanted_min: usize,
    ) {
        if !self.socket.wants_bytes() {
            return;
        }
        let mut is_wanted = |socket: &Socket| {
            socket.unread() == 0 && handler.wanted(id).is_some_and(|wanted| wanted.len() >= wanted_min)
        };
        match self.receiving {
            Receiving::Nothing => {
                if self.singly == 0 && is_wanted(&self.socket) {
                    self.singly = SINGLE_RECEIVES;
                }
                if self.singly > 0 || self.gear.window.is_none() {
                    self.arm_once(id, user);
                } else if let Err(Starved) = self.arm_many(id, supply, user) {
                    self.socket.intake = Intake::Starved;
                }
            }
            Receiving::Many { operation, ending: false } => {
                if is_wanted(&self.socket) && user.cancel(operation) {
                    self.singly = SINGLE_RECEIVES;
                    self.receiving = Receiving::Many { operation, ending: true };
                }
            }
            Receiving::Many { ending: true, .. } | Receiving::Once(_) => {}
        }
    }

    /// A send is asked for; `write` puts it into the message.
    pub(super) fn send(
        &mut self,
        id: SocketId,
        user: &User,
        write: impl FnOnce(&mut Message) -> usize,
    ) -> Sent {
        if self.sending.is_some() || self.sent.is_some() {
            self.socket.mark_blocked();
            return Sent::Blocked;
        }
        if write(&mut self.gear.message) == 0 {
            return Sent::Bytes(0);
        }
        let send = Operation::Send { socket: self.socket.stream.as_fd(), message: &self.gear.message };
        match user.submit(token(id, Kind::Send), &send) {
            Ok(operation) => {
                self.sending = Some(operation);
                Sent::Pending
            }
            Err(_) => {
                self.socket.mark_blocked();
                self.socket.mark_writable();
                Sent::Blocked
            }
        }
    }

    /// Sends at once what the socket takes, if that is nothing that a send in flight or a full socket forbids.
    pub(super) fn send_at_once(&mut self, segments: &[Segment]) -> Option<Sent> {
        if self.full || self.sending.is_some() || self.sent.is_some() {
            return None;
        }
        let sent = self.socket.send(segments);
        // The next send, which the user is told to make, is one that waits for room.
        self.full = self.socket.mark_writable();
        Some(sent)
    }

    /// What the user would be told of the last send.
    #[cfg(test)]
    pub(super) fn take_sent(&mut self) -> Option<Result<usize, Errno>> {
        self.sent.take()
    }

    /// Nothing more will be sent.
    pub(super) fn shutdown(&mut self) {
        if self.sending.is_some() {
            self.shut = true;
        } else {
            self.socket.shutdown();
        }
    }

    /// Tells the user nothing any more.
    pub(super) fn mute(&mut self) {
        self.sent = None;
        self.socket.mute();
    }

    /// Asks that all that is in flight end.
    pub(super) fn cancel(&self, user: &User) {
        let receiving = match self.receiving {
            Receiving::Nothing => None,
            Receiving::Many { operation, .. } | Receiving::Once(operation) => Some(operation),
        };
        for operation in receiving.into_iter().chain(self.sending) {
            user.cancel(operation);
        }
    }

    /// The send in flight has completed.
    pub(super) fn sent(&mut self, result: Result<u32, Errno>) {
        self.sending = None;
        self.full = false;
        if let Ok(bytes) = result {
            self.socket.note_sent(bytes as usize);
        }
        self.sent = Some(result.map(|bytes| bytes as usize));
        self.socket.mark_writable();
        if self.shut {
            self.socket.shutdown();
        }
    }

    /// The receive in flight has brought something, or its end.
    pub(super) fn received(&mut self, result: Result<u32, Errno>, more: bool) {
        match result {
            Ok(0) => self.socket.mark_ended(Closed::ByPeer),
            Ok(bytes) => {
                if let Some(window) = &mut self.gear.window {
                    window.filled(bytes as usize);
                }
                self.socket.arrived(bytes as usize);
            }
            // There was no room for more, so there probably is more: a receive without a detour brings it.
            Err(Errno::NOBUFS) => self.socket.mark_readable(false),
            Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => self.socket.mark_ended(Closed::Failed(errno)),
        }
        if !more {
            self.receiving = Receiving::Nothing;
            self.socket.take_back();
        }
    }

    /// There are bytes, or an end; or nobody asks any more.
    pub(super) fn readable(&mut self, result: Result<u32, Errno>) {
        self.receiving = Receiving::Nothing;
        if result != Err(Errno::CANCELED) {
            self.socket.mark_readable(false);
        }
    }

    fn arm_once(&mut self, id: SocketId, user: &User) {
        let readable = Operation::Readable { socket: self.socket.stream.as_fd() };
        if let Ok(operation) = user.submit(token(id, Kind::Readable), &readable) {
            self.receiving = Receiving::Once(operation);
        }
    }

    fn arm_many(&mut self, id: SocketId, supply: &Supply, user: &User) -> Result<(), Starved> {
        let run = self.socket.lend(id, supply, LENT_MAX)?;
        let Some(window) = &mut self.gear.window else { unreachable!("it is received from singly") };
        window.offer(run);
        let receive = Operation::Receive { socket: self.socket.stream.as_fd(), window };
        match user.submit(token(id, Kind::Receive), &receive) {
            Ok(operation) => self.receiving = Receiving::Many { operation, ending: false },
            Err(_) => self.socket.take_back(),
        }
        Ok(())
    }
}
