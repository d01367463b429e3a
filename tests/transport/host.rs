//! A host: one connection on one socket, moved on by its test.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::rc::Rc;

use corelane::connection::host::{Connection, Data, Event, Options};
use corelane::connection::{Payload, Piece};
use corelane::pdu::digest;
use corelane::spec::cqe::Cqe;
use corelane::spec::fabrics::{Connect, ConnectAttributes, ConnectData, FabricsHeader};
use corelane::spec::opcode::FabricsType;
use corelane::spec::sgl::SglDescriptor;
use corelane::spec::sqe::Sqe;
use corelane::spec::text::nul_padded;
use zerocopy::{FromZeros, IntoBytes};

/// Commands that a host may have outstanding, the Connect command among them.
const ENTRIES: u16 = 256;

/// Data that goes to the target.
#[derive(Clone, Debug)]
pub(crate) struct Blob(pub(crate) Rc<[u8]>);

impl Payload for Blob {
    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn crc32c(&self, range: Range<usize>) -> u32 {
        digest::append(0, &self.0[range])
    }
}

const HOSTNQN: &str = "nqn.2014-08.org.nvmexpress:uuid:0d5f9d2e-7a0c-4f5e-8a0e-2f5b8f1c9a11";

/// What a host asks for when it connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) digests: bool,
    pub(crate) flow_control: bool,
    /// Entries of an I/O queue.
    pub(crate) entries: u16,
    /// Every byte of HOSTID.
    pub(crate) host: u8,
    /// HOSTNQN.
    pub(crate) name: &'static str,
}

impl Default for Wish {
    fn default() -> Self {
        Self { digests: false, flow_control: true, entries: 128, host: 7, name: HOSTNQN }
    }
}

/// One queue of a host.
pub(crate) struct Host {
    stream: Option<TcpStream>,
    connection: Connection<Blob>,
    /// Bytes that arrived and are not taken.
    arrived: Vec<u8>,
    /// Data of reads, by CID.
    pub(crate) reads: HashMap<u16, Vec<u8>>,
    pub(crate) completions: VecDeque<Cqe>,
    pub(crate) opened: bool,
    /// The target closed the connection, or broke it.
    pub(crate) closed: bool,
    /// Bytes that are read at a time: nothing, for a host that does not read.
    pub(crate) appetite: usize,
    /// Send H2CData and everything else; a host that does not send keeps what it has queued.
    pub(crate) talkative: bool,
}

impl Host {
    pub(crate) fn new(address: SocketAddr, wish: &Wish) -> Self {
        let stream = TcpStream::connect(address).expect("a listening target");
        stream.set_nonblocking(true).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let connection = Connection::new(&Options {
            entries: ENTRIES,
            header_digest: wish.digests,
            data_digest: wish.digests,
            transfer_bytes_max: 1 << 20,
            ..Options::default()
        });
        Self {
            stream: Some(stream),
            connection,
            arrived: Vec::new(),
            reads: HashMap::new(),
            completions: VecDeque::new(),
            opened: false,
            closed: false,
            appetite: usize::MAX,
            talkative: true,
        }
    }

    /// Submits a command under `cid` without data.
    pub(crate) fn plain(&mut self, cid: u16, mut sqe: Sqe) {
        sqe.cid.set(cid);
        self.connection.submit(&sqe, Data::None);
    }

    /// Submits a command that brings `bytes` bytes.
    pub(crate) fn read(&mut self, cid: u16, mut sqe: Sqe, bytes: usize) {
        sqe.cid.set(cid);
        sqe.dptr = SglDescriptor::transport(length(bytes));
        self.reads.insert(cid, vec![0; bytes]);
        self.connection.submit(&sqe, Data::Read(length(bytes)));
    }

    /// Submits a command with data in its capsule.
    pub(crate) fn in_capsule(&mut self, cid: u16, mut sqe: Sqe, data: &[u8]) {
        sqe.cid.set(cid);
        sqe.dptr = SglDescriptor::in_capsule(0, length(data.len()));
        self.connection.submit(&sqe, Data::InCapsule(Blob(data.into())));
    }

    /// Submits a command whose data the target has to ask for.
    pub(crate) fn on_request(&mut self, cid: u16, mut sqe: Sqe, data: &[u8]) {
        sqe.cid.set(cid);
        sqe.dptr = SglDescriptor::transport(length(data.len()));
        self.connection.submit(&sqe, Data::OnRequest(Blob(data.into())));
    }

    /// Submits Connect for queue `qid` of the controller `cntlid`.
    pub(crate) fn connect(&mut self, cid: u16, subnqn: &str, cntlid: u16, qid: u16, wish: &Wish) {
        let (command, data) = connect(subnqn, cntlid, qid, wish);
        self.in_capsule(cid, command, data.as_bytes());
    }

    /// Something waits to be sent.
    pub(crate) fn has_queued(&self) -> bool {
        !self.connection.outbox().is_empty()
    }

    /// Sends bytes that are no business of the connection; nothing may be queued.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        assert!(self.connection.outbox().is_empty());
        let sent = self.stream.as_mut().map(|stream| stream.write(bytes).expect("room in the socket"));
        assert_eq!(sent, Some(bytes.len()));
    }

    /// Closes the socket.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    /// Moves what can be moved; true if there was anything.
    pub(crate) fn pump(&mut self) -> bool {
        let sent = self.talkative && self.send();
        let received = self.appetite > 0 && self.receive();
        self.take();
        sent || received
    }

    fn send(&mut self) -> bool {
        let Some(stream) = self.stream.as_mut() else { return false };
        let mut any = false;
        while !self.connection.outbox().is_empty() {
            let mut bytes = Vec::new();
            for piece in self.connection.outbox().pieces() {
                match piece {
                    Piece::Bytes(header) => bytes.extend_from_slice(header),
                    Piece::Data(data, range) => bytes.extend_from_slice(&data.0[range]),
                }
            }
            match stream.write(&bytes) {
                Ok(sent) => self.connection.sent(sent),
                Err(_) => return any,
            }
            any = true;
        }
        any
    }

    fn receive(&mut self) -> bool {
        let Some(stream) = self.stream.as_mut() else { return false };
        let mut buffer = vec![0; self.appetite.min(256 << 10)];
        match stream.read(&mut buffer) {
            Ok(0) => {
                let news = !self.closed;
                self.closed = true;
                news
            }
            Ok(count) => {
                self.arrived.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                let news = !self.closed;
                self.closed = true;
                news
            }
        }
    }

    fn take(&mut self) {
        let mut taken = 0;
        loop {
            let (used, event) = self.connection.next(&self.arrived[taken..]).expect("a target that is right");
            taken += used;
            match event {
                Event::Incomplete | Event::Terminated(_) => break,
                Event::Taken => {}
                Event::Opened(_) => self.opened = true,
                Event::Data { cid, offset, bytes } => {
                    let read = self.reads.get_mut(&cid).expect("data of a read");
                    read[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
                }
                Event::Completed { cqe, intact } => {
                    assert!(intact || !cqe.status().is_success());
                    self.completions.push_back(cqe);
                }
            }
        }
        self.arrived.drain(..taken);
    }
}

/// A Connect command and its data.
pub(crate) fn connect(subnqn: &str, cntlid: u16, qid: u16, wish: &Wish) -> (Sqe, ConnectData) {
    let command = Connect {
        header: FabricsHeader::of(FabricsType::CONNECT, 0, SglDescriptor::in_capsule(0, 1024)),
        recfmt: 0.into(),
        qid: qid.into(),
        sqsize_z: (if qid == 0 { 31 } else { wish.entries - 1 }).into(),
        cattr: ConnectAttributes::new().with_flow_control_disabled(!wish.flow_control).into_bits(),
        reserved: 0,
        kato: 0.into(),
        reserved_end: [0; 12],
    };
    let mut data = ConnectData::new_zeroed();
    data.hostid = [wish.host; 16];
    data.cntlid.set(cntlid);
    data.subnqn = nul_padded(subnqn);
    data.hostnqn = nul_padded(wish.name);
    (command.into(), data)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a short transfer")
}
