//! A small target on a thread: one subsystem, one namespace in a `Vec`, the target's end of the real connection; and
//! whatever misdeed the test asks for.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::connection::controller::{Connection, Event, Options};
use crate::connection::{Payload, Piece};
use crate::pdu::digest;
use crate::pdu::term_req::Termination;
use crate::spec::cqe::Cqe;
use crate::spec::discovery::{DiscoveryEntry, DiscoveryHeader};
use crate::spec::feature::NumberOfQueues;
use crate::spec::identify::controller::IdentifyController;
use crate::spec::identify::namespace::IdentifyNamespace;
use crate::spec::identify::{Cns, IDENTIFY_BYTES};
use crate::spec::nvm::DatasetRange;
use crate::spec::opcode::{AdminOpcode, FabricsType, NvmOpcode};
use crate::spec::register::{Cap, Cc, Csts, Property, Shutdown, ShutdownStatus};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::text::{nul_padded, space_padded};

pub(super) const BLOCK_BYTES: usize = 512;
pub(super) const BLOCKS: u64 = 4096;
pub(super) const CNTLID: u16 = 7;
pub(super) const NSID: u32 = 1;

/// What the target does that a good one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misdeed {
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
    /// Answers a read with bytes that are no PDU.
    SendGarbage,
}

/// How the target is.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) misdeed: Misdeed,
    /// Refuses Connect on this queue with this status and DW0.
    pub(super) refuse: Option<(u16, Status, u32)>,
    /// Keeps SQ flow control whatever the host asks for.
    pub(super) keep_flow_control: bool,
    /// CSTS is read so often before RDY is set.
    pub(super) ready_after: u32,
    /// I/O queues that it gives at most.
    pub(super) queues: u16,
    /// MDTS.
    pub(super) mdts: u8,
    /// The discovery log changes so often.
    pub(super) log_changes: u64,
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
        }
    }
}

/// What happened, for the test to look at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Every command in order: QID and opcode (FCTYPE for fabrics).
    pub(super) commands: Vec<(u16, u8)>,
    pub(super) in_capsule_writes: usize,
    pub(super) requested_writes: usize,
    /// H2CTermReqs of the host.
    pub(super) terminations: Vec<Termination>,
}

struct Shared {
    script: Script,
    seen: Seen,
    disk: Vec<u8>,
    cc: Cc,
    csts_reads: u32,
    log_reads: u64,
}

/// A running target; stops when it is dropped.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Target {
    pub(super) fn start(script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let disk = vec![0; usize::try_from(BLOCKS).unwrap() * BLOCK_BYTES];
        let (cc, seen) = (Cc::new(), Seen::default());
        let shared = Arc::new(Mutex::new(Shared { script, seen, disk, cc, csts_reads: 0, log_reads: 0 }));
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
    pub(super) fn stop(mut self) -> Seen {
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

    /// Looks at what happened.
    pub(super) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
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
    transfers: BTreeMap<u16, (Sqe, Vec<u8>)>,
    damage: bool,
}

impl Queue {
    fn new(stream: TcpStream, shared: Arc<Mutex<Shared>>) -> Self {
        stream.set_nodelay(true).unwrap();
        let connection = Connection::new(&Options {
            entries: 256,
            capsule_bytes_max: 8192,
            h2c_data_bytes_max: 4096,
            header_digest: true,
            data_digest: true,
        });
        let transfers = BTreeMap::new();
        Self { stream, shared, connection, qid: 0, flow_control: true, sqhd: 0, transfers, damage: false }
    }

    fn serve(mut self) {
        let (mut inbox, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let bytes = self.stream.read(&mut buffer).unwrap_or(0);
            if bytes == 0 {
                return;
            }
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
                        let (_, data) = self.transfers.get_mut(&ttag).unwrap();
                        data[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                        true
                    }
                    Event::Transferred { ttag, intact } => {
                        assert!(intact);
                        let (sqe, data) = self.transfers.remove(&ttag).unwrap();
                        let answer = self.execute(&sqe, &data);
                        self.answer(&sqe, answer)
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
            shared.seen.in_capsule_writes +=
                usize::from(sqe.fabrics_type().is_none() && sqe.dptr.is_in_capsule());
            shared.script.misdeed
        };
        let to_controller = sqe.opcode & 1 == 1 && sqe.fabrics_type().is_none();
        if to_controller && sqe.dptr.is_transport() && sqe.dptr.length.get() > 0 {
            self.shared.lock().unwrap().seen.requested_writes += 1;
            let (ttag, bytes) = (sqe.cid.get(), sqe.dptr.length.get());
            self.connection.request_data(ttag, ttag, bytes);
            self.transfers.insert(ttag, (*sqe, vec![0; bytes as usize]));
            if misdeed == Misdeed::CompleteWritesEarly {
                self.connection.respond(&Cqe::of(sqe.cid.get(), Status::SUCCESS));
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

    fn execute(&mut self, sqe: &Sqe, data: &[u8]) -> Answer {
        let shared = Arc::clone(&self.shared);
        let shared = &mut *shared.lock().unwrap();
        match sqe.fabrics_type() {
            Some(FabricsType::CONNECT) => self.connect(shared, sqe),
            Some(FabricsType::PROPERTY_GET) => {
                property_get(shared, Property(sqe.as_property_get().ofst.get()))
            }
            Some(FabricsType::PROPERTY_SET) => {
                let set = sqe.as_property_set();
                assert_eq!(set.ofst.get(), Property::CC.0);
                shared.cc = Cc::from_bits(u32::try_from(set.value.get()).unwrap());
                DONE
            }
            Some(_) => Answer::Complete(Status::INVALID_OPCODE, 0, 0),
            None if self.qid == 0 => admin(shared, sqe),
            None => self.io(shared, sqe, data),
        }
    }

    fn connect(&mut self, shared: &Shared, sqe: &Sqe) -> Answer {
        let connect = sqe.as_connect();
        self.flow_control = shared.script.keep_flow_control || !connect.attributes().flow_control_disabled();
        match shared.script.refuse {
            Some((qid, status, dw0)) if qid == self.qid => Answer::Complete(status, dw0, 0),
            _ => Answer::Complete(Status::SUCCESS, CNTLID.into(), 0),
        }
    }

    fn io(&mut self, shared: &mut Shared, sqe: &Sqe, data: &[u8]) -> Answer {
        if sqe.nvm_opcode() == NvmOpcode::DATASET_MANAGEMENT {
            for range in <[DatasetRange]>::ref_from_bytes(data).unwrap() {
                let bytes = bytes_of(range.starting_lba.get(), range.blocks.get());
                shared.disk[bytes].fill(0);
            }
            return DONE;
        }
        if sqe.nvm_opcode() == NvmOpcode::FLUSH {
            return DONE;
        }
        if sqe.starting_lba() + u64::from(sqe.blocks()) > BLOCKS {
            return Answer::Complete(Status::LBA_OUT_OF_RANGE.with_dnr(), 0, 0);
        }
        let place = &mut shared.disk[bytes_of(sqe.starting_lba(), sqe.blocks())];
        match (sqe.nvm_opcode(), shared.script.misdeed) {
            (NvmOpcode::READ, Misdeed::CloseOnRead) => return Answer::Close,
            (NvmOpcode::READ, Misdeed::IgnoreReads) => return Answer::Nothing,
            (NvmOpcode::READ, Misdeed::ReadNothing) => {}
            (NvmOpcode::READ, Misdeed::SendGarbage) => return Answer::Garbage,
            (NvmOpcode::READ, misdeed) => {
                self.damage = misdeed == Misdeed::DamageReads;
                return Answer::Data(place.to_vec());
            }
            (NvmOpcode::WRITE, _) => place.copy_from_slice(data),
            (NvmOpcode::WRITE_ZEROES, _) => place.fill(0),
            (NvmOpcode::COMPARE, _) if place != data => {
                return Answer::Complete(Status::COMPARE_FAILURE, 0, 0);
            }
            (NvmOpcode::COMPARE, _) => {}
            _ => return Answer::Complete(Status::INVALID_OPCODE.with_dnr(), 0, 0),
        }
        DONE
    }
}

fn bytes_of(lba: u64, blocks: u32) -> Range<usize> {
    let start = usize::try_from(lba).unwrap() * BLOCK_BYTES;
    start..start + blocks as usize * BLOCK_BYTES
}

fn property_get(shared: &mut Shared, property: Property) -> Answer {
    match property {
        Property::CAP => {
            let [low, high]: [u32; 2] =
                zerocopy::transmute!(Cap::new().with_mqes_z(127).with_to(1).into_bits());
            Answer::Complete(Status::SUCCESS, low, high)
        }
        Property::CSTS => {
            shared.csts_reads += 1;
            let ready = shared.cc.en() && shared.csts_reads > shared.script.ready_after;
            let shut = shared.cc.shn() == Shutdown::NORMAL;
            let shst = if shut { ShutdownStatus::COMPLETE } else { ShutdownStatus::NORMAL };
            let csts = Csts::new().with_rdy(ready).with_shst(shst);
            Answer::Complete(Status::SUCCESS, csts.into_bits(), 0)
        }
        _ => Answer::Complete(Status::INVALID_FIELD, 0, 0),
    }
}

fn admin(shared: &mut Shared, sqe: &Sqe) -> Answer {
    match sqe.admin_opcode() {
        AdminOpcode::IDENTIFY => identify(&shared.script, Cns(sqe.identify().cns())),
        AdminOpcode::SET_FEATURES => {
            let asked = NumberOfQueues::from_bits(sqe.cdw11.get());
            let queues_z = asked.submission_z().min(shared.script.queues - 1);
            let given = NumberOfQueues::new().with_submission_z(queues_z).with_completion_z(queues_z);
            Answer::Complete(Status::SUCCESS, given.into_bits(), 0)
        }
        AdminOpcode::GET_LOG_PAGE => discovery(shared, sqe),
        AdminOpcode::KEEP_ALIVE => DONE,
        _ => Answer::Complete(Status::INVALID_OPCODE.with_dnr(), 0, 0),
    }
}

fn identify(script: &Script, cns: Cns) -> Answer {
    let mut list = vec![0; IDENTIFY_BYTES];
    match cns {
        Cns::CONTROLLER => {
            let mut page = IdentifyController::new_zeroed();
            page.mdts = script.mdts;
            page.ioccsz = ((64 + 4096) / 16).into();
            list.copy_from_slice(page.as_bytes());
        }
        Cns::NAMESPACE => {
            let mut page = IdentifyNamespace::new_zeroed();
            page.nsze = BLOCKS.into();
            page.flbas = 1;
            page.lbaf[1].lbads = 9;
            list.copy_from_slice(page.as_bytes());
        }
        Cns::ACTIVE_NAMESPACES => list[..4].copy_from_slice(&NSID.to_le_bytes()),
        _ => return Answer::Complete(Status::INVALID_FIELD.with_dnr(), 0, 0),
    }
    Answer::Data(list)
}

fn discovery(shared: &mut Shared, sqe: &Sqe) -> Answer {
    let mut header = DiscoveryHeader::new_zeroed();
    header.genctr = shared.log_reads.min(shared.script.log_changes).into();
    header.numrec = 2.into();
    shared.log_reads += u64::from(sqe.log_page_offset() == 0);
    let mut log = header.as_bytes().to_vec();
    for port in ["4420", "8009"] {
        let mut entry = DiscoveryEntry::new_zeroed();
        entry.subnqn = nul_padded("nqn.2026-11.io.corelane:test");
        entry.traddr = space_padded("192.0.2.1");
        entry.trsvcid = space_padded(port);
        log.extend_from_slice(entry.as_bytes());
    }
    let start = usize::try_from(sqe.log_page_offset()).unwrap();
    Answer::Data(log[start..][..usize::try_from(sqe.log_page_bytes()).unwrap()].to_vec())
}
