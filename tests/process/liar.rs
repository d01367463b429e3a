//! A target that lies: it stands between a host and a real target, and changes what the target says, PDU by PDU, according to
//! a script.
//!
//! Everything that the host says is passed on as it is.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use corelane::spec::tcp::{CommonHeader, PduType};
use rustix::net::sockopt;
use zerocopy::FromBytes;

/// ICReq, and the command capsule of Connect up to the end of its SQE.
const GREETING_BYTES: usize = 128 + 8 + 64;
/// QID in the SQE of Connect.
const QID_AT: usize = 128 + 8 + 42;
/// Offsets in C2HData and R2T PDUs, which are alike there, and in CapsuleResp PDUs.
const DATA_CID_AT: usize = 8;
const DATA_OFFSET_AT: usize = 12;
const DATA_LENGTH_AT: usize = 16;
const RESPONSE_CID_AT: usize = 8 + 12;
const PLEN_AT: usize = 4;
const HLEN_AT: usize = 2;
/// Header of a C2HData PDU.
const DATA_HEADER_BYTES: usize = 24;

/// What is done to a PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// What belongs to a command that nobody sent.
    WrongCid,
    /// More data than was asked for, or a request for more.
    Oversized,
    /// Data from the middle first, or a request for it.
    OutOfOrder,
    /// The same once more.
    Twice,
    /// One bit of the data, with a digest that no longer matches if there is one.
    FlipDataBit,
    /// One bit of the header.
    FlipHeaderBit,
    /// Another PDU type, which no controller sends.
    WrongType,
    /// A header that says it is longer than its type has it.
    LongHeader,
    /// A PDU that has to have data and has none.
    Empty,
    /// A PDU of no bytes.
    NoLength,
    /// A completion instead of the data.
    NoData,
    /// Nothing more comes, and the connection stays.
    Stall,
    /// The connection is reset.
    Reset,
    /// The connection ends in the middle of the PDU.
    CutShort,
}

/// Where is lied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queues {
    Admin,
    Io,
}

/// A listening liar. Its threads end with the connections.
pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    told: Arc<AtomicUsize>,
}

impl Liar {
    /// Passes everything on to `target`, but tells `lie` in the place of the data PDU number `every` of each I/O queue,
    /// and of each one that is so many further on; `most` times at most.
    pub(crate) fn start(target: SocketAddr, lie: Lie, every: usize, most: usize) -> Self {
        Self::about(target, lie, (Queues::Io, PduType::C2H_DATA), every, most)
    }

    /// The same for PDUs of another type, or of other queues.
    pub(crate) fn about(
        target: SocketAddr,
        lie: Lie,
        on: (Queues, PduType),
        every: usize,
        most: usize,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        thread::spawn(move || {
            for host in listener.incoming().map_while(Result::ok) {
                let count = Arc::clone(&count);
                thread::spawn(move || serve(host, target, Script { lie, on, every, most, count }));
            }
        });
        Self { address, told }
    }

    /// How many lies were told.
    pub(crate) fn told(&self) -> usize {
        self.told.load(Ordering::Acquire)
    }
}

struct Script {
    lie: Lie,
    on: (Queues, PduType),
    every: usize,
    most: usize,
    count: Arc<AtomicUsize>,
}

/// One connection. Errors of sockets are ends of it.
fn serve(mut host: TcpStream, target: SocketAddr, script: Script) {
    let Ok(mut target) = TcpStream::connect(target) else { return };
    let both = (host.set_nodelay(true), target.set_nodelay(true));
    let (Ok(mut from_host), Ok(mut to_target)) = (host.try_clone(), target.try_clone()) else { return };
    assert!(both.0.is_ok() && both.1.is_ok());
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut greeting = [0; GREETING_BYTES];
        // The host waits for an ICResp in between.
        let read =
            from_host.read_exact(&mut greeting[..128]).and_then(|()| to_target.write_all(&greeting[..128]));
        if read.and_then(|()| from_host.read_exact(&mut greeting[128..])).is_ok() {
            let qid = u16::from_le_bytes([greeting[QID_AT], greeting[QID_AT + 1]]);
            let passed = to_target.write_all(&greeting[128..]);
            if sender.send(qid).is_ok() && passed.is_ok() {
                // Ends with either side.
                let _ = std::io::copy(&mut from_host, &mut to_target);
            }
        }
        let _ = to_target.shutdown(Shutdown::Both);
    });
    let icresp = pdu(&mut target);
    if icresp.is_some_and(|icresp| host.write_all(&icresp).is_ok())
        && let Ok(qid) = receiver.recv()
    {
        answer(&mut host, &mut target, qid, &script);
    }
    let _ = host.shutdown(Shutdown::Both);
    let _ = target.shutdown(Shutdown::Both);
}

/// Passes answers on, and lies.
fn answer(host: &mut TcpStream, target: &mut TcpStream, qid: u16, script: &Script) {
    let mut seen = 0;
    while let Some(mut pdu) = pdu(target) {
        let here = (script.on.0 == Queues::Io) == (qid > 0) && pdu[0] == script.on.1.0;
        seen += usize::from(here);
        if here && seen % script.every == 0 && script.take() {
            match script.lie {
                Lie::Stall => {
                    // The host gives up; until then what the target says is swallowed.
                    let _ = std::io::copy(target, &mut std::io::sink());
                    return;
                }
                Lie::Reset => {
                    sockopt::set_socket_linger(&*host, Some(Duration::ZERO)).expect("a socket");
                    return;
                }
                Lie::CutShort => {
                    let _ = host.write_all(&pdu[..pdu.len() / 2]);
                    return;
                }
                lie => twist(&mut pdu, lie),
            }
        }
        if host.write_all(&pdu).is_err() {
            return;
        }
    }
}

impl Script {
    fn take(&self) -> bool {
        let more = |count| (count < self.most).then_some(count + 1);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }
}

fn twist(pdu: &mut Vec<u8>, lie: Lie) {
    match lie {
        Lie::WrongCid => {
            let at = if pdu[0] == PduType::CAPSULE_RESP.0 { RESPONSE_CID_AT } else { DATA_CID_AT };
            pdu[at..at + 2].copy_from_slice(&0xfff0_u16.to_le_bytes());
        }
        Lie::Oversized if pdu[0] == PduType::R2T.0 => add(pdu, DATA_LENGTH_AT, 512),
        Lie::Oversized => {
            add(pdu, PLEN_AT, 512);
            add(pdu, DATA_LENGTH_AT, 512);
            pdu.extend([0; 512]);
        }
        Lie::Twice => pdu.extend_from_within(..),
        Lie::OutOfOrder => add(pdu, DATA_OFFSET_AT, 512),
        Lie::FlipDataBit => {
            let middle = pdu.len() / 2;
            pdu[middle] ^= 4;
        }
        Lie::FlipHeaderBit => pdu[DATA_LENGTH_AT] ^= 4,
        Lie::WrongType => pdu[0] = PduType::H2C_DATA.0,
        Lie::LongHeader => pdu[HLEN_AT] = u8::MAX,
        Lie::Empty => {
            pdu.truncate(DATA_HEADER_BYTES);
            pdu[PLEN_AT..PLEN_AT + 4].copy_from_slice(&[24, 0, 0, 0]);
            pdu[DATA_LENGTH_AT..DATA_LENGTH_AT + 4].fill(0);
        }
        Lie::NoLength => pdu[PLEN_AT..PLEN_AT + 4].fill(0),
        Lie::NoData => {
            let cid = [pdu[DATA_CID_AT], pdu[DATA_CID_AT + 1]];
            let mut response = vec![0; 24];
            (response[0], response[2]) = (PduType::CAPSULE_RESP.0, 24);
            response[PLEN_AT] = 24;
            response[RESPONSE_CID_AT..RESPONSE_CID_AT + 2].copy_from_slice(&cid);
            *pdu = response;
        }
        Lie::Stall | Lie::Reset | Lie::CutShort => unreachable!("these are no changes of a PDU"),
    }
}

fn add(pdu: &mut [u8], at: usize, more: u32) {
    let field = pdu[at..].first_chunk_mut::<4>().expect("a field of the header");
    *field = (u32::from_le_bytes(*field) + more).to_le_bytes();
}

/// The next PDU; `None` at the end of the stream.
fn pdu(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; size_of::<CommonHeader>()];
    stream.read_exact(&mut bytes).ok()?;
    let (header, _) = CommonHeader::ref_from_prefix(&bytes).expect("eight bytes");
    bytes.resize(header.plen.get() as usize, 0);
    stream.read_exact(&mut bytes[size_of::<CommonHeader>()..]).ok()?;
    Some(bytes)
}
