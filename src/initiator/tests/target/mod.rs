//! A small target on a thread: one subsystem, one namespace in a `Vec`, the target's end of the real connection; and
//! whatever misdeed the test asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::connection::controller::{Connection, Event, Options};
use crate::connection::{Payload, Piece};
use crate::pdu::digest;
use crate::pdu::term_req::Termination;
use crate::spec::ana::AnaState;
use crate::spec::cqe::Cqe;
use crate::spec::event::AsyncEvent;
use crate::spec::identify::Cns;
use crate::spec::opcode::{FabricsType, NvmOpcode};
use crate::spec::register::Cc;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

mod admin;
mod io;

/// How often a connection looks for events, and whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(2);
pub(crate) const BLOCK_BYTES: usize = 512;
pub(crate) const BLOCKS: u64 = 4096;
pub(crate) const CNTLID: u16 = 7;
pub(crate) const NSID: u32 = 1;

/// What the target does that a good one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    None,
    /// Flips a bit of the data of every read on I/O queues.
    DamageReads,
    /// Closes the connection when a read comes.
    CloseOnRead,
    /// Never answers a read.
    IgnoreReads,
    /// Completes a read without its data.
    ReadNothing,
    /// Asks for the data of a write and completes it at once.
    CompleteWritesEarly,
    /// Completes a write without asking for its data.
    PretendWrites,
    /// Asks for the data of a write and fails it at once.
    FailWritesEarly,
    /// Fails a write without asking for its data.
    FailWritesUnasked,
    /// Closes the connection when a Connect comes on an I/O queue.
    CloseOnConnect,
    /// Never answers a Connect on an I/O queue.
    IgnoreConnect,
    /// Closes the connection when it is to shut down.
    CloseOnShutdown,
    /// Answers a read with bytes that are no PDU.
    SendGarbage,
}

/// How the target is.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) misdeed: Misdeed,
    /// Refuses Connect on this queue with this status and DW0.
    pub(crate) refuse: Option<(u16, Status, u32)>,
    /// Keeps SQ flow control whatever the host asks for.
    pub(crate) keep_flow_control: bool,
    /// CSTS is read so often before RDY is set.
    pub(crate) ready_after: u32,
    /// I/O queues that it gives at most.
    pub(crate) queues: u16,
    /// MDTS.
    pub(crate) mdts: u8,
    /// The discovery log changes so often.
    pub(crate) log_changes: u64,
    /// ANA: the state of the only group.
    pub(crate) ana: Option<AnaState>,
    /// NSZE.
    pub(crate) blocks: u64,
    /// The LBA format in use, 1 to 63, and its bytes of metadata.
    pub(crate) format: (u8, u16),
    /// The first byte of the namespace's UUID.
    pub(crate) uuid: u8,
    /// Connections are closed as soon as they are made.
    pub(crate) closed: bool,
    /// Reports asynchronous events.
    pub(crate) events: bool,
    /// Answers I/O commands with this, as often as it says.
    pub(crate) fail: Option<(Status, u32)>,
    /// Answers this Identify with this, as often as it says.
    pub(crate) fail_identify: Option<(Cns, Status, u32)>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            misdeed: Misdeed::None,
            refuse: None,
            keep_flow_control: false,
            ready_after: 0,
            queues: 4,
            mdts: 3,
            log_changes: 0,
            ana: None,
            blocks: BLOCKS,
            format: (1, 0),
            uuid: 1,
            closed: false,
            events: true,
            fail: None,
            fail_identify: None,
        }
    }
}

/// What happened, for the test to look at.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Every command in order: QID and opcode (FCTYPE for fabrics).
    pub(crate) commands: Vec<(u16, u8)>,
    pub(crate) in_capsule_writes: usize,
    pub(crate) requested_writes: usize,
    /// Read commands.
    pub(crate) reads: usize,
    /// H2CTermReqs of the host.
    pub(crate) terminations: Vec<Termination>,
}

/// What several targets may have in common: bytes, and blocks that cannot be read.
type Disk = Arc<Mutex<(Vec<u8>, BTreeSet<u64>)>>;

struct Shared {
    script: Script,
    seen: Seen,
    disk: Disk,
    /// Counts cuts: connections of before end.
    cuts: u32,
    /// Events that no connection has reported yet.
    events: Vec<AsyncEvent>,
    cc: Cc,
    csts_reads: u32,
    log_reads: u64,
}

/// A running target; stops when it is dropped.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Target {
    pub(crate) fn start(script: Script) -> Self {
        let disk = vec![0; usize::try_from(script.blocks.max(BLOCKS)).unwrap() * BLOCK_BYTES];
        Self::start_with(script, Arc::new(Mutex::new((disk, BTreeSet::new()))))
    }

    /// One more way to the namespace of this target.
    pub(crate) fn beside(&self, script: Script) -> Self {
        let disk = Arc::clone(&self.shared.lock().unwrap().disk);
        Self::start_with(script, disk)
    }

    fn start_with(script: Script, disk: Disk) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (cc, seen) = (Cc::new(), Seen::default());
        let shared =
            Shared { script, seen, disk, cuts: 0, events: Vec::new(), cc, csts_reads: 0, log_reads: 0 };
        let shared = Arc::new(Mutex::new(shared));
        let over = Arc::new(AtomicBool::new(false));
        let (of_thread, ends) = (Arc::clone(&shared), Arc::clone(&over));
        let thread = thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming() {
                if ends.load(Ordering::Acquire) {
                    break;
                }
                let shared = Arc::clone(&of_thread);
                connections.push(thread::spawn(move || Queue::new(stream.unwrap(), shared).serve()));
            }
            // The hosts are gone: every connection has ended or is about to.
            for connection in connections {
                connection.join().unwrap();
            }
        });
        Self { address, shared, over, thread: Some(thread) }
    }

    /// Stops; what happened until then. The hosts must be gone.
    pub(crate) fn stop(mut self) -> Seen {
        self.join();
        std::mem::take(&mut self.shared.lock().unwrap().seen)
    }

    fn join(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes the thread up.
        let _ = TcpStream::connect(self.address);
        let joined = self.thread.take().map_or(Ok(()), JoinHandle::join);
        if !thread::panicking() {
            joined.unwrap();
        }
    }

    /// Changes what it does from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.lock().unwrap().script);
    }

    /// Tells every host that waits for events.
    pub(crate) fn report(&self, event: AsyncEvent) {
        self.shared.lock().unwrap().events.push(event);
    }

    /// Ends every connection that there is.
    pub(crate) fn cut(&self) {
        self.shared.lock().unwrap().cuts += 1;
    }

    /// Looks at what happened.
    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.shared.lock().unwrap().seen)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.join();
    }
}

#[derive(Debug)]
struct Blob(Vec<u8>);

impl Payload for Blob {
    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn crc32c(&self, range: Range<usize>) -> u32 {
        digest::append(0, &self.0[range])
    }
}

/// What comes of a command.
enum Answer {
    Complete(Status, u32, u32),
    Data(Vec<u8>),
    Close,
    Nothing,
    Garbage,
}

const DONE: Answer = Answer::Complete(Status::SUCCESS, 0, 0);

struct Queue {
    stream: TcpStream,
    shared: Arc<Mutex<Shared>>,
    connection: Connection<Blob>,
    qid: u16,
    flow_control: bool,
    sqhd: u16,
    /// By TTAG: the command, its data so far, and whether it was answered before that came.
    transfers: BTreeMap<u16, (Sqe, Vec<u8>, bool)>,
    damage: bool,
    /// CIDs of Asynchronous Event Requests.
    requests: Vec<u16>,
    /// Cuts before it was made.
    cuts: u32,
}

impl Queue {
    fn new(stream: TcpStream, shared: Arc<Mutex<Shared>>) -> Self {
        stream.set_nodelay(true).unwrap();
        let connection = Connection::new(&Options {
            entries: 256,
            capsule_bytes_max: 8192,
            h2c_data_bytes_max: 4096,
            ..Options::default()
        });
        stream.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        let cuts = shared.lock().unwrap().cuts;
        Self {
            stream,
            shared,
            connection,
            qid: 0,
            flow_control: true,
            sqhd: 0,
            transfers: BTreeMap::new(),
            damage: false,
            requests: Vec::new(),
            cuts,
        }
    }

    fn serve(mut self) {
        let (mut inbox, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            if !self.look() {
                return;
            }
            let bytes = match self.stream.read(&mut buffer) {
                Ok(bytes) if bytes > 0 => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Ok(_) | Err(_) => return,
            };
            inbox.extend_from_slice(&buffer[..bytes]);
            let mut taken = 0;
            loop {
                let (used, event) = self.connection.next(&inbox[taken..]).unwrap();
                let open = match event {
                    Event::Incomplete => break,
                    Event::Taken | Event::Opened => true,
                    Event::Command { sqe, data, intact } => {
                        assert!(intact);
                        self.command(&{ *sqe }, data)
                    }
                    Event::Data { ttag, offset, bytes } => {
                        let (_, data, _) = self.transfers.get_mut(&ttag).unwrap();
                        data[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                        true
                    }
                    Event::Transferred { ttag, intact } => {
                        assert!(intact);
                        let (sqe, data, is_answered) = self.transfers.remove(&ttag).unwrap();
                        is_answered || {
                            let answer = self.execute(&sqe, &data);
                            self.answer(&sqe, answer)
                        }
                    }
                    Event::Terminated(termination) => {
                        self.shared.lock().unwrap().seen.terminations.push(termination);
                        false
                    }
                };
                if !open {
                    return;
                }
                taken += used;
            }
            inbox.drain(..taken);
            if !self.send() {
                return;
            }
        }
    }

    /// Reports events, and looks whether the connection is to end: then it says false.
    fn look(&mut self) -> bool {
        let event = {
            let shared = &mut *self.shared.lock().unwrap();
            if shared.script.closed || shared.cuts > self.cuts {
                return false;
            }
            if self.requests.is_empty() { None } else { shared.events.pop() }
        };
        let Some(event) = event else { return true };
        let mut cqe = Cqe::of(self.requests.remove(0), Status::SUCCESS);
        cqe.dw0 = event.into_bits().into();
        self.connection.respond(&cqe);
        self.send()
    }

    /// False if the host is gone.
    fn send(&mut self) -> bool {
        let mut bytes = Vec::new();
        for piece in self.connection.outbox().pieces() {
            match piece {
                Piece::Bytes(header) => bytes.extend_from_slice(header),
                Piece::Data(data, range) => {
                    bytes.extend_from_slice(&data.0[range]);
                    if std::mem::take(&mut self.damage) {
                        *bytes.last_mut().unwrap() ^= 1;
                    }
                }
            }
        }
        self.connection.sent(bytes.len(), drop);
        self.stream.write_all(&bytes).is_ok()
    }

    /// False to close the connection.
    fn command(&mut self, sqe: &Sqe, data: &[u8]) -> bool {
        self.sqhd = (self.sqhd + 1) % 256;
        let kind = sqe.fabrics_type().map_or(sqe.opcode, |kind| kind.0);
        let misdeed = {
            let shared = &mut *self.shared.lock().unwrap();
            if sqe.fabrics_type() == Some(FabricsType::CONNECT) {
                self.qid = sqe.as_connect().qid.get();
            }
            shared.seen.commands.push((self.qid, kind));
            shared.seen.reads += usize::from(self.qid > 0 && kind == NvmOpcode::READ.0);
            shared.seen.in_capsule_writes +=
                usize::from(sqe.fabrics_type().is_none() && sqe.dptr.is_in_capsule());
            shared.script.misdeed
        };
        let to_controller = sqe.opcode & 1 == 1 && sqe.fabrics_type().is_none();
        if to_controller && sqe.dptr.is_transport() && sqe.dptr.length.get() > 0 {
            self.shared.lock().unwrap().seen.requested_writes += 1;
            let (ttag, bytes) = (sqe.cid.get(), sqe.dptr.length.get());
            let (asks, status) = match misdeed {
                Misdeed::CompleteWritesEarly => (true, Some(Status::SUCCESS)),
                Misdeed::PretendWrites => (false, Some(Status::SUCCESS)),
                Misdeed::FailWritesEarly => (true, Some(Status::TRANSIENT_TRANSPORT_ERROR)),
                Misdeed::FailWritesUnasked => (false, Some(Status::TRANSIENT_TRANSPORT_ERROR)),
                _ => (true, None),
            };
            if asks {
                self.connection.request_data(ttag, ttag, bytes);
                self.transfers.insert(ttag, (*sqe, vec![0; bytes as usize], status.is_some()));
            }
            if let Some(status) = status {
                self.connection.respond(&Cqe::of(sqe.cid.get(), status));
            }
            return true;
        }
        let answer = self.execute(sqe, data);
        self.answer(sqe, answer)
    }

    fn answer(&mut self, sqe: &Sqe, answer: Answer) -> bool {
        let mut cqe = Cqe::of(sqe.cid.get(), Status::SUCCESS);
        cqe.sqhd = if self.flow_control { self.sqhd } else { 0xffff }.into();
        match answer {
            Answer::Complete(status, dw0, dw1) => {
                cqe.status_wire = status.to_wire().into();
                (cqe.dw0, cqe.dw1) = (dw0.into(), dw1.into());
                self.connection.respond(&cqe);
            }
            Answer::Data(data) => {
                let success = !self.flow_control;
                assert!(self.connection.send_data(sqe.cid.get(), Blob(data), success).is_none());
                if !success {
                    self.connection.respond(&cqe);
                }
            }
            Answer::Close => return false,
            Answer::Nothing => {}
            Answer::Garbage => {
                self.send();
                return self.stream.write_all(&[0xee; 24]).is_ok();
            }
        }
        true
    }
}
