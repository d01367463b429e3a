//! Both ends of a connection, joined by two pipes in memory. The target answers from a pattern, the host checks it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use zerocopy::{FromBytes, IntoBytes};

use crate::connection::{Outbox, Payload, Piece, controller, host};
use crate::pdu::digest;
use crate::spec::cqe::Cqe;
use crate::spec::sqe::Sqe;

/// Data that both ends can share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Rc<[u8]>);

impl Payload for Blob {
    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn crc32c(&self, range: Range<usize>) -> u32 {
        digest::append(0, &self.0[range])
    }
}

/// SplitMix64: the same seed gives the same run.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }
}

/// `bytes` that differ from command to command and from place to place.
pub(super) fn pattern(cid: u16, bytes: u32) -> Blob {
    let mut random = Random(u64::from(cid));
    Blob((0..bytes).map(|_| random.next().to_le_bytes()[0]).collect())
}

pub(super) const FLUSH: u8 = 0;
pub(super) const WRITE: u8 = 1;
pub(super) const READ: u8 = 2;

/// A command whose CDW10 is its length in bytes, and whose CDW11 is 1 where SUCCESS may replace the response.
pub(super) fn sqe(opcode: u8, cid: u16, bytes: u32, success: bool) -> Sqe {
    let mut entry = [0; 64];
    entry[0] = opcode;
    entry[2..4].copy_from_slice(&cid.to_le_bytes());
    entry[40..44].copy_from_slice(&bytes.to_le_bytes());
    entry[44] = u8::from(success);
    Sqe::read_from_bytes(&entry).unwrap()
}

pub(super) fn cqe(cid: u16) -> Cqe {
    Cqe { cid: cid.into(), ..Cqe::default() }
}

/// A target that agrees to all digests.
pub(super) const TARGET: controller::Options = controller::Options {
    entries: 32,
    capsule_bytes_max: 8192,
    h2c_data_bytes_max: 4096,
    header_digest: true,
    data_digest: true,
    alignment: 4,
};

/// All bytes that wait in an outbox.
pub(super) fn queued(outbox: &Outbox<Blob>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in outbox.pieces() {
        match piece {
            Piece::Bytes(header) => bytes.extend_from_slice(header),
            Piece::Data(data, range) => bytes.extend_from_slice(&data.0[range]),
        }
    }
    bytes
}

/// How many bytes move at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flow {
    /// Always so many.
    Bytes(usize),
    /// 1 to so many.
    Random(usize),
}

/// One direction of the wire.
#[derive(Debug, Default)]
struct Pipe {
    flying: VecDeque<u8>,
    /// What the receiver was shown and has not taken.
    inbox: Vec<u8>,
    sent: usize,
    /// Place in the stream, in bytes, where one bit flips.
    flip: Option<usize>,
}

impl Pipe {
    fn carry(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let flipped = if self.flip == Some(self.sent) { byte ^ 0x10 } else { byte };
            self.flying.push_back(flipped);
            self.sent += 1;
        }
    }

    fn arrive(&mut self, bytes: usize) -> Vec<u8> {
        self.flying.drain(..bytes.min(self.flying.len())).collect()
    }
}

/// A command that the host saw completed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) cid: u16,
    pub(super) intact: bool,
    /// What a read brought.
    pub(super) data: Vec<u8>,
}

/// Data that the target got for a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) cid: u16,
    pub(super) intact: bool,
    pub(super) data: Vec<u8>,
}

pub(super) struct Pair {
    pub(super) host: host::Connection<Blob>,
    pub(super) controller: controller::Connection<Blob>,
    pub(super) completions: Vec<Completion>,
    pub(super) written: Vec<Written>,
    pub(super) flow: Flow,
    /// Receive in place where the connection wants it, every other time.
    pub(super) direct: bool,
    to_controller: Pipe,
    to_host: Pipe,
    random: Random,
    buffers: BTreeMap<u16, Vec<u8>>,
    transfers: BTreeMap<u16, (u16, Vec<u8>)>,
    unanswered: VecDeque<Sqe>,
}

impl Pair {
    pub(super) fn new(host: &host::Options, controller: &controller::Options, flow: Flow, seed: u64) -> Self {
        println!("seed {seed:#x}");
        Self {
            host: host::Connection::new(host),
            controller: controller::Connection::new(controller),
            completions: Vec::new(),
            written: Vec::new(),
            flow,
            direct: false,
            to_controller: Pipe::default(),
            to_host: Pipe::default(),
            random: Random(seed),
            buffers: BTreeMap::new(),
            transfers: BTreeMap::new(),
            unanswered: VecDeque::new(),
        }
    }

    /// Two ends that agree on these digests, already open.
    pub(super) fn open(header_digest: bool, data_digest: bool, flow: Flow, seed: u64) -> Self {
        let mut pair = Self::new(
            &host::Options {
                entries: 32,
                header_digest,
                data_digest,
                transfer_bytes_max: 1 << 20,
                ..host::Options::default()
            },
            &TARGET,
            flow,
            seed,
        );
        pair.run();
        assert!(pair.host.is_open() && pair.controller.is_open());
        pair
    }

    pub(super) fn read(&mut self, cid: u16, bytes: u32, success: bool) {
        self.buffers.insert(cid, vec![0; bytes as usize]);
        self.host.submit(&sqe(READ, cid, bytes, success), host::Data::Read(bytes));
    }

    pub(super) fn write(&mut self, cid: u16, bytes: u32, in_capsule: bool) {
        let data = pattern(cid, bytes);
        let data = if in_capsule { host::Data::InCapsule(data) } else { host::Data::OnRequest(data) };
        self.host.submit(&sqe(WRITE, cid, bytes, false), data);
    }

    pub(super) fn flush(&mut self, cid: u16) {
        self.host.submit(&sqe(FLUSH, cid, 0, false), host::Data::None);
    }

    /// The target has asked for data that has not all arrived.
    pub(super) fn transfer_under_way(&self) -> bool {
        !self.transfers.is_empty()
    }

    /// Bytes that the host has sent so far, or sends next.
    pub(super) fn host_position(&self) -> usize {
        self.to_controller.sent + queued(self.host.outbox()).len()
    }

    pub(super) fn controller_position(&self) -> usize {
        self.to_host.sent + queued(self.controller.outbox()).len()
    }

    /// Flips a bit of the byte at `position` of what the host sends.
    pub(super) fn flip_from_host(&mut self, position: usize) {
        self.to_controller.flip = Some(position);
    }

    pub(super) fn flip_from_controller(&mut self, position: usize) {
        self.to_host.flip = Some(position);
    }

    /// Until nothing moves any more.
    pub(super) fn run(&mut self) {
        while self.turn() {}
    }

    /// Moves some bytes each way; false if there were none.
    pub(super) fn turn(&mut self) -> bool {
        let count = self.count();
        let bytes = queued(self.host.outbox());
        let from_host = count.min(bytes.len());
        self.to_controller.carry(&bytes[..from_host]);
        self.host.sent(from_host);
        let bytes = queued(self.controller.outbox());
        let from_controller = count.min(bytes.len());
        self.to_host.carry(&bytes[..from_controller]);
        self.controller.sent(from_controller, drop);

        let busy = from_host + from_controller > 0
            || !self.to_controller.flying.is_empty()
            || !self.to_host.flying.is_empty();
        self.controller_receives();
        self.host_receives();
        let answered = self.answer();
        busy || answered
    }

    fn count(&mut self) -> usize {
        match self.flow {
            Flow::Bytes(bytes) => bytes,
            Flow::Random(bytes) => 1 + self.random.below(bytes),
        }
    }

    fn controller_receives(&mut self) {
        let count = self.count();
        let mut arrived = self.to_controller.arrive(count);
        if let Some(wanted) = self.controller.wanted()
            && self.direct
            && self.to_controller.inbox.is_empty()
            && self.random.next().is_multiple_of(2)
        {
            let bytes: Vec<u8> = arrived.drain(..arrived.len().min(wanted.bytes as usize)).collect();
            let (_, buffer) = self.transfers.get_mut(&wanted.tag).expect("a transfer is under way");
            buffer[wanted.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            self.controller.direct(bytes.len().try_into().unwrap(), |crc| digest::append(crc, &bytes));
        }
        self.to_controller.inbox.extend(arrived);
        let mut from = 0;
        loop {
            assert!(self.controller.has_room(self.unanswered.len() + self.transfers.len()));
            let shown = &self.to_controller.inbox[from..];
            let (taken, event) = self.controller.next(shown).unwrap();
            from += taken;
            match event {
                controller::Event::Incomplete => break assert_eq!(taken, 0),
                controller::Event::Taken | controller::Event::Opened => {}
                controller::Event::Command { sqe, data, intact } => {
                    if !data.is_empty() {
                        let cid = sqe.cid.get();
                        self.written.push(Written { cid, intact, data: data.to_vec() });
                    }
                    // The data of a write is here already where it came in the capsule.
                    let opcode = if data.is_empty() { sqe.as_bytes()[0] } else { FLUSH };
                    let mut entry = *sqe;
                    entry.as_mut_bytes()[0] = opcode;
                    self.unanswered.push_back(entry);
                }
                controller::Event::Data { ttag, offset, bytes } => {
                    let (_, buffer) = self.transfers.get_mut(&ttag).expect("a transfer is under way");
                    buffer[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
                controller::Event::Transferred { ttag, intact } => {
                    let (cid, data) = self.transfers.remove(&ttag).expect("a transfer is under way");
                    self.written.push(Written { cid, intact, data });
                    self.controller.respond(&cqe(cid));
                }
                controller::Event::Terminated(why) => panic!("{why:?}"),
            }
        }
        self.to_controller.inbox.drain(..from);
    }

    fn host_receives(&mut self) {
        let count = self.count();
        let mut arrived = self.to_host.arrive(count);
        if let Some(wanted) = self.host.wanted()
            && self.direct
            && self.to_host.inbox.is_empty()
            && self.random.next().is_multiple_of(2)
        {
            let bytes: Vec<u8> = arrived.drain(..arrived.len().min(wanted.bytes as usize)).collect();
            let buffer = self.buffers.get_mut(&wanted.tag).expect("a read is under way");
            buffer[wanted.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            self.host.direct(bytes.len().try_into().unwrap(), |crc| digest::append(crc, &bytes));
        }
        self.to_host.inbox.extend(arrived);
        let mut from = 0;
        loop {
            let shown = &self.to_host.inbox[from..];
            let (taken, event) = self.host.next(shown).unwrap();
            from += taken;
            match event {
                host::Event::Incomplete => break assert_eq!(taken, 0),
                host::Event::Taken | host::Event::Opened(_) => {}
                host::Event::Data { cid, offset, bytes } => {
                    let buffer = self.buffers.get_mut(&cid).expect("a read is under way");
                    buffer[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
                host::Event::Completed { cqe, intact } => {
                    let cid = cqe.cid.get();
                    let data = self.buffers.remove(&cid).unwrap_or_default();
                    self.completions.push(Completion { cid, intact, data });
                }
                host::Event::Terminated(why) => panic!("{why:?}"),
            }
        }
        self.to_host.inbox.drain(..from);
    }

    /// The target's part: answers one command in no particular order.
    fn answer(&mut self) -> bool {
        if self.unanswered.is_empty() {
            return false;
        }
        let index = self.random.below(self.unanswered.len());
        let entry = self.unanswered.remove(index).expect("the index is below the length");
        let (cid, bytes) = (entry.cid.get(), entry.cdw10.get());
        match entry.as_bytes()[0] {
            READ => {
                let success = entry.as_bytes()[44] == 1;
                assert_eq!(self.controller.send_data(cid, pattern(cid, bytes), success), None);
                if !success {
                    self.controller.respond(&cqe(cid));
                }
            }
            WRITE => {
                let ttag = (0..).find(|ttag| !self.transfers.contains_key(ttag)).expect("32 at most");
                self.transfers.insert(ttag, (cid, vec![0; bytes as usize]));
                self.controller.request_data(cid, ttag, bytes);
            }
            _ => self.controller.respond(&cqe(cid)),
        }
        true
    }
}
