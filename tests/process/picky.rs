//! A target that is particular about data: it stands between a host and a real target, and wants what the host writes aligned,
//! in short PDUs, and in parts, several of which it asks for at a time.
//!
//! What the host does wrong makes it hang up, and is counted.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use corelane::pdu::header::{self, Agreement, HEADER_BYTES_MAX, Layout, Role};
use corelane::pdu::{capsule, data, r2t};
use corelane::spec::tcp::{PduType, flags};

/// Offsets in ICReq and ICResp.
const ICREQ_MAXR2T_AT: usize = 12;
const ICRESP_CPDA_AT: usize = 10;
const ICRESP_MAXH2CDATA_AT: usize = 12;

/// What it wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// CPDA, in bytes.
    pub(crate) alignment: usize,
    /// MAXH2CDATA, in bytes.
    pub(crate) h2c_data_bytes_max: u32,
    /// Bytes of one R2T: 4 and up; the parts of a command grow by as much from one to the next.
    pub(crate) part_bytes: u32,
    /// It says SUCCESS with the last data of every command, whoever it is for.
    pub(crate) success: bool,
}

impl Default for Wish {
    /// What any target may want.
    fn default() -> Self {
        Self { alignment: 4, h2c_data_bytes_max: 128 << 10, part_bytes: 128 << 10, success: false }
    }
}

/// What it saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// R2Ts that it sent.
    pub(crate) parts: AtomicUsize,
    /// The most of one command that were outstanding.
    pub(crate) together: AtomicUsize,
    /// H2CData PDUs that came.
    pub(crate) pdus: AtomicUsize,
    /// Capsules with data that came.
    pub(crate) capsules: AtomicUsize,
    /// What hosts did wrong.
    pub(crate) wrong: AtomicUsize,
}

/// A listening target. Its threads end with the connections.
pub(crate) struct Picky {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

impl Picky {
    /// Has `target` do the work.
    pub(crate) fn start(target: SocketAddr, wish: Wish) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for host in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&shared);
                thread::spawn(move || serve(host, target, wish, seen));
            }
        });
        Self { address, seen }
    }
}

/// A command whose data the target wants.
struct Transfer {
    /// What the target asked for, and under which tag.
    ttag: u16,
    data: Vec<u8>,
    /// Up to where R2Ts were sent.
    asked: usize,
    /// Parts that are outstanding: tag, next byte, end.
    parts: VecDeque<(u16, usize, usize)>,
    next_part: usize,
}

struct Shared {
    host: TcpStream,
    writes: BTreeMap<u16, Transfer>,
    ttag: u16,
    r2t_max: usize,
}

/// One connection. Errors of sockets are ends of it.
fn serve(mut host: TcpStream, target: SocketAddr, wish: Wish, seen: Arc<Seen>) {
    let Ok(mut target) = TcpStream::connect(target) else { return };
    let both = (host.set_nodelay(true), target.set_nodelay(true));
    assert!(both.0.is_ok() && both.1.is_ok());
    let (Some(icreq), Ok(to_host)) = (pdu(&mut host), host.try_clone()) else { return };
    let r2t_max = number(&icreq, ICREQ_MAXR2T_AT) as usize + 1;
    let Some(mut icresp) = target.write_all(&icreq).ok().and_then(|()| pdu(&mut target)) else { return };
    icresp[ICRESP_CPDA_AT] = u8::try_from(wish.alignment / 4 - 1).expect("128 at most");
    icresp[ICRESP_MAXH2CDATA_AT..][..4].copy_from_slice(&wish.h2c_data_bytes_max.to_le_bytes());
    if host.write_all(&icresp).is_err() {
        return;
    }
    let shared = Shared { host: to_host, writes: BTreeMap::new(), ttag: 0, r2t_max };
    let shared = Arc::new(Mutex::new(shared));
    let (Ok(mut from_target), back) = (target.try_clone(), Arc::clone(&shared)) else { return };
    let counts = Arc::clone(&seen);
    thread::spawn(move || {
        while let Some(mut bytes) = pdu(&mut from_target) {
            if wish.success && bytes[0] == PduType::C2H_DATA.0 {
                bytes[1] |= flags::SUCCESS;
            }
            let mut shared = back.lock().expect("nobody panics with it");
            let passed = if bytes[0] == PduType::R2T.0 {
                shared.begin(&bytes, wish, &counts)
            } else {
                shared.host.write_all(&bytes).is_ok()
            };
            if !passed {
                break;
            }
        }
        let _ = back.lock().expect("nobody panics with it").host.shutdown(Shutdown::Both);
    });
    while let Some(bytes) = pdu(&mut host) {
        let passed = translate(&bytes, wish, &shared, &seen);
        if passed.is_none() {
            seen.wrong.fetch_add(1, Ordering::Relaxed);
        }
        if passed.is_none_or(|passed| target.write_all(&passed).is_err()) {
            break;
        }
    }
    let _ = host.shutdown(Shutdown::Both);
    let _ = target.shutdown(Shutdown::Both);
}

/// What the target gets for a PDU of the host, perhaps nothing yet; `None` if the host does not keep to what was agreed on.
fn translate(bytes: &[u8], wish: Wish, shared: &Mutex<Shared>, seen: &Seen) -> Option<Vec<u8>> {
    let agreement = Agreement {
        alignment: wish.alignment,
        capsule_bytes_max: 8192,
        data_bytes_max: wish.h2c_data_bytes_max,
        ..Agreement::NONE
    };
    let layout = header::layout(header::common(bytes)?, Role::Host, &agreement).ok()?;
    let payload = &bytes[layout.data_start..][..layout.data_bytes];
    match layout.pdu_type {
        PduType::CAPSULE_CMD => {
            seen.capsules.fetch_add(usize::from(!payload.is_empty()), Ordering::Relaxed);
            let mut out = vec![0; HEADER_BYTES_MAX];
            let sqe = capsule::decode_command(bytes).ok()?;
            let length = capsule::encode_command(&mut out, sqe, payload.len(), &Agreement::NONE);
            out.truncate(length);
            out.extend_from_slice(payload);
            Some(out)
        }
        PduType::H2C_DATA => {
            seen.pdus.fetch_add(1, Ordering::Relaxed);
            shared.lock().ok()?.take(bytes, &layout, payload, wish, seen)
        }
        _ => Some(bytes.to_vec()),
    }
}

impl Shared {
    /// The target asks for all data of a command; the host is asked for its first parts. False if it is gone.
    fn begin(&mut self, bytes: &[u8], wish: Wish, seen: &Seen) -> bool {
        let request = r2t::decode(bytes).expect("a good R2T");
        let write = Transfer {
            ttag: request.ttag,
            data: vec![0; request.bytes as usize],
            asked: 0,
            parts: VecDeque::new(),
            next_part: wish.part_bytes as usize,
        };
        assert!(self.writes.insert(request.cid, write).is_none(), "one R2T for each command");
        self.ask(request.cid, wish, seen)
    }

    /// Asks for as many parts as the host lets.
    fn ask(&mut self, cid: u16, wish: Wish, seen: &Seen) -> bool {
        let Some(write) = self.writes.get_mut(&cid) else { return true };
        while write.parts.len() < self.r2t_max && write.asked < write.data.len() {
            let end = write.data.len().min(write.asked + write.next_part);
            self.ttag = self.ttag.wrapping_add(0x0101);
            let request = r2t::Request {
                cid,
                ttag: self.ttag,
                offset: u32::try_from(write.asked).expect("below MDTS"),
                bytes: u32::try_from(end - write.asked).expect("below MDTS"),
            };
            let mut out = [0; 24];
            r2t::encode(&mut out, &request, &Agreement::NONE);
            write.parts.push_back((self.ttag, write.asked, end));
            (write.asked, write.next_part) = (end, write.next_part + wish.part_bytes as usize);
            seen.parts.fetch_add(1, Ordering::Relaxed);
            seen.together.fetch_max(write.parts.len(), Ordering::Relaxed);
            if self.host.write_all(&out).is_err() {
                return false;
            }
        }
        true
    }

    /// Data came: what the target gets, once it is all there.
    fn take(
        &mut self,
        bytes: &[u8],
        layout: &Layout,
        payload: &[u8],
        wish: Wish,
        seen: &Seen,
    ) -> Option<Vec<u8>> {
        let chunk = data::decode(bytes, layout).ok()?;
        let write = self.writes.get_mut(&chunk.cid)?;
        // R2Ts of a command are served in the order in which they came.
        let (ttag, next, end) = write.parts.front_mut()?;
        let offset = chunk.offset as usize;
        let right = chunk.ttag == *ttag && offset == *next && offset + payload.len() <= *end;
        if !right || chunk.last != (offset + payload.len() == *end) {
            return None;
        }
        *next += payload.len();
        write.data[offset..][..payload.len()].copy_from_slice(payload);
        if !chunk.last {
            return Some(Vec::new());
        }
        write.parts.pop_front();
        if write.asked < write.data.len() || !write.parts.is_empty() {
            return self.ask(chunk.cid, wish, seen).then(Vec::new);
        }
        let write = self.writes.remove(&chunk.cid)?;
        let whole = data::Chunk {
            cid: chunk.cid,
            ttag: write.ttag,
            offset: 0,
            bytes: u32::try_from(write.data.len()).ok()?,
            last: true,
            success: false,
        };
        let mut out = vec![0; HEADER_BYTES_MAX];
        let length = data::encode(&mut out, Role::Host, &whole, &Agreement::NONE);
        out.truncate(length);
        out.extend_from_slice(&write.data);
        Some(out)
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes"))
}

/// The next PDU; `None` at the end of the stream.
fn pdu(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; header::COMMON_BYTES];
    stream.read_exact(&mut bytes).ok()?;
    bytes.resize(header::common(&bytes)?.plen.get() as usize, 0);
    stream.read_exact(&mut bytes[header::COMMON_BYTES..]).ok()?;
    Some(bytes)
}
