//! The poll group on real loopback connections. Nothing sleeps: a bounded number of polls has to bring what is expected.

mod chunks;
mod ends;
mod life;
mod receiving;
mod sending;
mod transfer;

use std::{
    net::{TcpListener, TcpStream},
    thread,
};

use super::{Closed, Handler, Options, PollGroup, SocketId, Taken};
use crate::buffer::{Lease, SegmentMut};

/// Polls after which something that should have come is held to be lost.
const POLLS_MAX: usize = 2_000_000;

/// Polls after which something that should not come is held to be absent.
const POLLS_QUIET: usize = 200;

/// What is done with shown bytes.
type Policy = Box<dyn FnMut(SocketId, &Lease) -> Taken>;

/// Writes down what it is told, and takes what its policy says.
struct Recorder {
    policy: Policy,
    /// The bytes taken, of all sockets.
    taken: Vec<u8>,
    /// Each run of bytes that was shown.
    shown: Vec<Vec<u8>>,
    /// Where bytes go that are received directly.
    wanted: Option<SegmentMut>,
    direct: Vec<usize>,
    writable: usize,
    closed: Vec<(SocketId, Closed)>,
}

impl Recorder {
    fn new(policy: impl FnMut(SocketId, &Lease) -> Taken + 'static) -> Self {
        Self {
            policy: Box::new(policy),
            taken: Vec::new(),
            shown: Vec::new(),
            wanted: None,
            direct: Vec::new(),
            writable: 0,
            closed: Vec::new(),
        }
    }

    /// Takes all it is shown.
    fn greedy() -> Self {
        Self::new(|_, bytes| Taken::bytes(bytes.len()))
    }

    /// Takes nothing and does not pause.
    fn idle() -> Self {
        Self::new(|_, _| Taken::bytes(0))
    }

    fn last_shown(&self) -> &[u8] {
        self.shown.last().map_or(&[], Vec::as_slice)
    }
}

impl Handler for Recorder {
    fn received(&mut self, id: SocketId, bytes: &Lease) -> Taken {
        assert!(!bytes.is_empty());
        assert!(self.closed.iter().all(|&(closed, _)| closed != id), "bytes after the end");
        let taken = (self.policy)(id, bytes);
        self.shown.push(bytes.as_ref().to_vec());
        self.taken.extend_from_slice(&bytes.as_ref()[..taken.bytes]);
        taken
    }

    fn wanted(&mut self, _: SocketId) -> Option<SegmentMut> {
        self.wanted
    }

    fn received_direct(&mut self, _: SocketId, bytes: usize) {
        let wanted = self.wanted.expect("direct bytes were wanted");
        assert!(bytes > 0);
        self.direct.push(bytes);
        self.wanted = Some(wanted.slice(bytes..wanted.len())).filter(|rest| !rest.is_empty());
    }

    fn writable(&mut self, _: SocketId) {
        self.writable += 1;
    }

    fn closed(&mut self, id: SocketId, reason: Closed) {
        assert!(self.closed.iter().all(|&(closed, _)| closed != id), "closed twice");
        self.closed.push((id, reason));
    }
}

/// A group of small chunks.
fn group(chunks: usize, chunks_per_socket: usize) -> PollGroup {
    PollGroup::new(&Options { chunk_bytes: 4096, chunks, sockets_max: 8, chunks_per_socket }).unwrap()
}

/// Both ends of a connection: the far one, which blocks, and the one for the group.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    far.set_nodelay(true).unwrap();
    (far, listener.accept().unwrap().0)
}

/// A group with one socket, and the far end of it.
fn connected(chunks: usize) -> (PollGroup, SocketId, TcpStream) {
    let mut group = group(chunks, chunks.max(2));
    let (far, near) = pair();
    let id = group.add(near, &[]).unwrap();
    (group, id, far)
}

/// Polls until `done`.
#[track_caller]
fn drive<H: Handler>(group: &mut PollGroup, handler: &mut H, mut done: impl FnMut(&H) -> bool) {
    for _ in 0..POLLS_MAX {
        if done(handler) {
            return;
        }
        if group.poll(handler) == 0 {
            thread::yield_now();
        }
    }
    panic!("nothing came");
}

/// Polls for a while in which nothing is expected; at the end nothing is left to do.
#[track_caller]
fn drive_quiet(group: &mut PollGroup, handler: &mut Recorder) {
    let before = (handler.shown.len(), handler.direct.len(), handler.closed.len());
    for _ in 0..POLLS_QUIET {
        group.poll(handler);
        thread::yield_now();
    }
    assert_eq!((handler.shown.len(), handler.direct.len(), handler.closed.len()), before);
    assert!(!group.pending());
}

/// Bytes that tell their position.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(pattern_at).collect()
}

fn pattern_at(at: usize) -> u8 {
    let [a, b, c, ..] = at.to_le_bytes();
    a ^ b.wrapping_mul(31) ^ c.wrapping_mul(57)
}
