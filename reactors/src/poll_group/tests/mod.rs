//! The poll group on real loopback connections. Nothing sleeps: a bounded number of polls has to bring what is expected.

use std::{
    cell::Cell,
    io,
    net::{TcpListener, TcpStream},
    ops::{Deref, DerefMut},
    thread,
};

use super::{Closed, Engine, Errno, Handler, Options, PollGroup, Sent, SocketId, Taken};
use crate::{
    buffer::{Lease, Segment, SegmentMut},
    ring::{self, Ring},
};

/// Runs each of these tests on each engine, and on io_uring in each of its ways.
macro_rules! on_both_engines {
    ($($test:ident,)+) => {
        mod epoll {
            $(#[test]
            fn $test() {
                crate::poll_group::tests::on_epoll(super::$test);
            })+
        }
        mod uring {
            $(#[test]
            fn $test() {
                crate::poll_group::tests::on_ring(super::$test);
            })+
        }
        mod uring_sending_at_once {
            $(#[test]
            fn $test() {
                crate::poll_group::tests::on_ring_sending_at_once(super::$test);
            })+
        }
        mod uring_without_windows {
            $(#[test]
            fn $test() {
                crate::poll_group::tests::on_ring_without_windows(super::$test);
            })+
        }
    };
}

mod chunks;
mod ends;
mod life;
mod probation;
mod receiving;
mod ring_only;
mod sending;
mod silence;
mod transfer;

/// Polls after which something that should have come is held to be lost.
const POLLS_MAX: usize = 2_000_000;

/// Polls after which something that should not come is held to be absent.
const POLLS_QUIET: usize = 200;

/// Waits of a millisecond after which a send counts as blocked.
const WAITS_MAX: usize = 200;

/// What the groups of a test are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Epoll,
    /// All sends go through the ring.
    Ring,
    /// Sends are tried at once.
    SendingAtOnce,
    /// As `Ring`, and no memory may be locked.
    WithoutWindows,
}

thread_local! {
    /// Of the test on this thread.
    static KIND: Cell<Kind> = const { Cell::new(Kind::Epoll) };
}

fn on_epoll(test: fn()) {
    on(Kind::Epoll, test);
}

fn on_ring(test: fn()) {
    on(Kind::Ring, test);
}

fn on_ring_sending_at_once(test: fn()) {
    on(Kind::SendingAtOnce, test);
}

fn on_ring_without_windows(test: fn()) {
    on(Kind::WithoutWindows, test);
}

fn on(kind: Kind, test: fn()) {
    KIND.set(kind);
    test();
    KIND.set(Kind::Epoll);
}

/// A group, and what a reactor would do for it.
struct Group {
    group: PollGroup,
    ring: Option<Ring>,
}

impl Deref for Group {
    type Target = PollGroup;

    fn deref(&self) -> &PollGroup {
        &self.group
    }
}

impl DerefMut for Group {
    fn deref_mut(&mut self) -> &mut PollGroup {
        &mut self.group
    }
}

impl Group {
    fn poll(&mut self, handler: &mut impl Handler) -> usize {
        let served = self.group.poll(handler);
        self.group.flush();
        served
    }

    /// As every engine: waits for the end of a pending send, and takes it away from the handler.
    fn send(&mut self, id: SocketId, segments: &[Segment]) -> Sent {
        let sent = self.group.send(id, segments);
        let Engine::Uring(engine) = &mut self.group.engine else { return sent };
        if sent != Sent::Pending {
            return sent;
        }
        match engine.wait_for_send(id, WAITS_MAX) {
            Some(Ok(bytes)) => Sent::Bytes(bytes),
            Some(Err(errno)) => Sent::Failed(errno),
            None => Sent::Pending,
        }
    }

    /// Has sends be tried at once, or go through the ring all of them.
    fn send_at_once(&mut self, at_once: bool) {
        if let Engine::Uring(engine) = &mut self.group.engine {
            engine.send_at_once_to(if at_once { usize::MAX } else { 0 });
        }
    }

    fn prepare_for_sleep(&self) {
        if let Some(ring) = &self.ring {
            assert!(!ring.prepare_for_sleep());
        }
    }
}

/// A group on the engine of this test.
fn make(options: &Options) -> io::Result<Group> {
    let kind = KIND.get();
    if kind == Kind::Epoll {
        return Ok(Group { group: PollGroup::new(options)?, ring: None });
    }
    let ring = Ring::open(&ring::Options::default()).expect("io_uring on the machine that runs the tests");
    let group = PollGroup::on_ring(options, &ring).map_err(io::Error::other)?;
    let mut group = Group { group, ring: Some(ring) };
    group.send_at_once(kind == Kind::SendingAtOnce);
    if kind == Kind::WithoutWindows
        && let Engine::Uring(engine) = &mut group.group.engine
    {
        engine.without_windows();
    }
    Ok(group)
}

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
    /// Bytes of the payload that they end.
    whole: usize,
    direct: Vec<usize>,
    writable: usize,
    sent: Vec<Result<usize, Errno>>,
    closed: Vec<(SocketId, Closed)>,
}

impl Recorder {
    fn new(policy: impl FnMut(SocketId, &Lease) -> Taken + 'static) -> Self {
        Self {
            policy: Box::new(policy),
            taken: Vec::new(),
            shown: Vec::new(),
            wanted: None,
            whole: 0,
            direct: Vec::new(),
            writable: 0,
            sent: Vec::new(),
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

    fn wanted_whole(&mut self, _: SocketId) -> usize {
        self.whole
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

    fn sent(&mut self, _: SocketId, result: Result<usize, Errno>) {
        self.sent.push(result);
    }

    fn closed(&mut self, id: SocketId, reason: Closed) {
        assert!(self.closed.iter().all(|&(closed, _)| closed != id), "closed twice");
        self.closed.push((id, reason));
    }
}

/// A group of small chunks.
fn group(chunks: usize, chunks_per_socket: usize) -> Group {
    make(&Options { chunk_bytes: 4096, chunks, sockets_max: 8, chunks_per_socket }).unwrap()
}

/// Both ends of a connection: the far one, which blocks, and the one for the group.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    far.set_nodelay(true).unwrap();
    (far, listener.accept().unwrap().0)
}

/// A group with one socket, and the far end of it.
fn connected(chunks: usize) -> (Group, SocketId, TcpStream) {
    let mut group = group(chunks, chunks.max(2));
    let (far, near) = pair();
    let id = group.add(near, &[]).unwrap();
    (group, id, far)
}

/// Polls until `done`.
#[track_caller]
fn drive<H: Handler>(group: &mut Group, handler: &mut H, mut done: impl FnMut(&H) -> bool) {
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
fn drive_quiet(group: &mut Group, handler: &mut Recorder) {
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
