//! A socket and the connection on it: what the queues of every kind have in common.
//!
//! ```text
//!   Live --end (a terminate request is queued, or was read)--> Ending --peer closed, or linger over--> Dead
//!     +------------- socket closed or failed -----------------------------------------------------------^
//! ```
//!
//! `Dead` is kept until no command of the queue is left in a bdev; then the socket is closed and its index is free.
//!
//! Invariants: while a send is pending, nothing leaves the outbox: the kernel reads it. A dead link gets it back from the
//! poll group before it is given up. Where a send that is not pending ended inside a block of lent memory, [`Link::freeze`]
//! comes before anything else on this reactor.

use std::net::SocketAddr;
use std::ops::Range;

use corelane_reactors::buffer::{Gather, GatherList};
use corelane_reactors::poll_group::{Errno, PollGroup, Sent, SocketId};
use corelane_reactors::timer::Key;

use crate::connection::controller::Connection;
use crate::transport::data::Data;
use crate::transport::frozen::Frozen;
use crate::transport::message::Counted;
use crate::transport::queues::Alarm;

/// Sends that one flush of one socket makes; the rest waits for the next turn.
const SENDS_PER_FLUSH: usize = 4;
/// Payloads of one send that are looked at for memory that may be far away: what one list takes, each with its header.
const ANNOUNCED_MAX: usize = 256;

/// Where a link is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// In use.
    Live,
    /// Nothing more is taken; what is queued is sent, then the socket is shut down.
    Ending {
        /// Everything is sent and the peer was told.
        shut: bool,
    },
    /// The socket is of no use any more.
    Dead,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing is left to send.
    All,
    /// The socket takes no more for now; the poll group will say when it does.
    Blocked,
    /// The batch is over.
    More,
}

/// A socket and its connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: SocketId,
    pub(super) connection: Connection<Data>,
    pub(super) peer: SocketAddr,
    pub(super) life: Life,
    /// In the endpoint's list of queues to look after.
    pub(super) marked: bool,
    /// The one alarm that is set for it, and its place in the wheel.
    pub(super) alarm: Option<(Alarm, Key)>,
    /// The poll group was told to stop receiving.
    pub(super) paused: bool,
    /// The poll group has what is to be sent first.
    sending: bool,
    /// What is sent in place of the first bytes of the outbox.
    frozen: Frozen,
    pub(super) counted: Counted,
}

impl Link {
    pub(super) fn new(
        socket: SocketId,
        connection: Connection<Data>,
        peer: SocketAddr,
        counted: Counted,
    ) -> Self {
        Self {
            socket,
            connection,
            peer,
            life: Life::Live,
            marked: false,
            alarm: None,
            paused: false,
            sending: false,
            frozen: Frozen::default(),
            counted,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.life == Life::Live
    }

    /// Takes nothing more; what is queued still goes out.
    pub(super) fn end(&mut self) {
        if self.life == Life::Live {
            self.life = Life::Ending { shut: false };
        }
    }

    /// Sends what is queued, as far as the socket takes it, at most one batch; payloads that are through go to `done`.
    pub(super) fn flush(
        &mut self,
        group: &mut PollGroup,
        list: &mut GatherList,
        mut done: impl FnMut(Data),
    ) -> Flushed {
        if self.life == Life::Dead {
            if self.sending && !group.halt(self.socket) {
                return Flushed::More;
            }
            self.sending = false;
            self.connection.abandon(done);
            return Flushed::All;
        }
        if self.sending {
            return Flushed::Blocked;
        }
        for _ in 0..SENDS_PER_FLUSH {
            if self.connection.outbox().is_empty() {
                return Flushed::All;
            }
            let (sent, asked) = self.send(group, list);
            match sent {
                Sent::Bytes(bytes) => {
                    self.connection.sent(bytes, &mut done);
                    if bytes < asked {
                        return Flushed::Blocked;
                    }
                }
                Sent::Pending => {
                    self.sending = true;
                    return Flushed::Blocked;
                }
                Sent::Blocked => return Flushed::Blocked,
                Sent::Failed(_) => {
                    self.life = Life::Dead;
                    self.connection.abandon(done);
                    return Flushed::All;
                }
            }
        }
        if self.connection.outbox().is_empty() { Flushed::All } else { Flushed::More }
    }

    /// Makes room to freeze blocks of so many bytes. May allocate: belongs to Connect.
    pub(super) fn make_room(&mut self, block_bytes: usize) {
        self.frozen.make_room(block_bytes);
    }

    /// To be called when a flush was blocked: where the kernel has a part of a block of lent memory, the rest goes out as it
    /// is now. Every block that is lent is a part of `block_bytes`.
    pub(super) fn freeze(&mut self, block_bytes: usize) {
        // The kernel reads memory as it will be: a device that minds does not lend it to such a socket.
        if self.sending {
            return;
        }
        let outbox = self.connection.outbox();
        if let Some((_, Some((Data::Lent(lent), range)))) = outbox.parts().next() {
            self.frozen.keep(*lent, range.start, outbox.gone(), block_bytes);
        }
    }

    /// The pending send is done; payloads that are through go to `done`.
    pub(super) fn sent(&mut self, result: Result<usize, Errno>, done: impl FnMut(Data)) {
        assert!(self.sending);
        self.sending = false;
        match result {
            Ok(bytes) => self.connection.sent(bytes, done),
            Err(_) => self.life = Life::Dead,
        }
    }

    fn send(&self, group: &mut PollGroup, list: &mut GatherList) -> (Sent, usize) {
        // One after the other at once, so that the processor translates many addresses at a time: the kernel copies them one
        // by one. Between other work, each of these hints takes as long as its translation.
        for (_, data) in self.connection.outbox().parts().take(ANNOUNCED_MAX) {
            if let Some((data, _)) = data {
                data.expect();
            }
        }
        let mut gather = Gather::new(list);
        let outbox = self.connection.outbox();
        if self.frozen.is_left(outbox.gone()) {
            self.gather_behind_frozen(&mut gather);
        } else {
            fill(&mut gather, outbox.parts());
        }
        (group.send_gathered(self.socket, &gather), gather.len())
    }

    /// Gathers what is frozen in place of the bytes for which it stands, and what follows them.
    #[cold]
    fn gather_behind_frozen<'a>(&'a self, gather: &mut Gather<'_, 'a>) {
        let outbox = self.connection.outbox();
        let frozen = self.frozen.left(outbox.gone());
        gather.bytes(frozen);
        let mut parts = outbox.parts();
        if let Some((_, Some((data, range)))) = parts.next()
            && range.len() > frozen.len()
        {
            data.gather(range.start + frozen.len()..range.end, gather);
        }
        fill(gather, parts);
    }
}

/// Gathers as many headers, each with its payload, as there is room for. Inlined because it is the loop of every send, and
/// has a second caller that is cold.
#[inline(always)]
fn fill<'a>(
    gather: &mut Gather<'_, 'a>,
    parts: impl Iterator<Item = (&'a [u8], Option<(&'a Data, Range<usize>)>)>,
) {
    for (bytes, data) in parts {
        if gather.room() < 2 {
            break;
        }
        if !bytes.is_empty() {
            gather.bytes(bytes);
        }
        if let Some((data, range)) = data {
            data.gather(range, gather);
        }
    }
}
