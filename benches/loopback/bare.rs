//! Two sockets and nothing else: what the machine can do with messages of these shapes.
//!
//! A message is its header (72 bytes: a request; 24 bytes: everything else), whose first byte says what it is, whose
//! second word is the length of the whole message, as in NVMe/TCP, then a block and the number of a request; then its
//! payload. Payloads go from where they lie: blocks of the server's region, buffers of the client's requests. What is
//! received comes into one buffer, and is dropped there, or copied to where it belongs.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use corelane_reactors::cpu;
use memmap2::{Advice, MmapMut, MmapOptions};

use crate::workload::{BLOCK_BYTES, Figure, Kind, Latencies, Places, REGION_BYTES, Workload};

const REQUEST_BYTES: usize = 72;
const HEADER_BYTES: usize = 24;
const RECEIVE_BYTES: usize = 256 << 10;
const STRETCHES_MAX: usize = 512;

/// What a message is.
mod message {
    pub(crate) const REQUEST: u8 = 4;
    pub(crate) const ANSWER: u8 = 5;
    pub(crate) const DATA_TO_SERVER: u8 = 6;
    pub(crate) const DATA_TO_CLIENT: u8 = 7;
    pub(crate) const READY: u8 = 9;
}

/// What becomes of payloads that were received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payloads {
    /// They are passed over.
    Dropped,
    /// They are copied to their block of the region, or to the buffer of their request.
    Placed,
}

/// The bare exchange, with the memory of its server.
pub(crate) struct Bare {
    core: usize,
    cores: Vec<usize>,
    region: Option<MmapMut>,
}

impl Bare {
    /// The server will run on `core`, one of `cores`.
    pub(crate) fn new(core: usize, cores: &[usize]) -> Result<Self, Box<dyn Error>> {
        Ok(Self { core, cores: cores.to_vec(), region: Some(memory(usize::try_from(REGION_BYTES)?)?) })
    }

    /// Asks for as much as it gets, for `time`, over one connection.
    pub(crate) fn run(
        &mut self,
        workload: &Workload,
        payloads: Payloads,
        time: Duration,
    ) -> Result<Figure, Box<dyn Error>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        let (core, cores, workload) = (self.core, self.cores.clone(), *workload);
        let region = self.region.take().ok_or("an earlier run failed")?;
        let thread = thread::Builder::new().name("bare".to_owned()).spawn(move || {
            cpu::pin(core, &cores).expect("the core is allowed");
            End::new(server, region, payloads, BLOCK_BYTES).serve(workload)
        })?;
        let buffers = memory(workload.bytes * workload.depth)?;
        let figure = End::new(client, buffers, payloads, workload.bytes).ask(workload, time);
        // The client is closed, so the server ends.
        self.region = Some(thread.join().map_err(|_| "the bare server failed")?);
        Ok(figure)
    }
}

/// Memory as target and initiator have it: hugepages, else ordinary pages that may become huge; written once.
fn memory(bytes: usize) -> Result<MmapMut, Box<dyn Error>> {
    let mut options = MmapOptions::new();
    let mut map = match options.len(bytes).huge(Some(21)).map_anon() {
        Ok(map) => map,
        Err(_) => {
            let map = MmapOptions::new().len(bytes).map_anon()?;
            // A kernel without transparent hugepages refuses, and serves ordinary pages.
            let _ = map.advise(Advice::HugePage);
            map
        }
    };
    map.fill(0xa5);
    Ok(map)
}

/// A message to send: its header, and how many bytes of the memory follow from where.
struct Outgoing {
    header: [u8; REQUEST_BYTES],
    header_bytes: usize,
    start: usize,
    payload: usize,
}

/// A message that is under way: what it is, which block and which request it is about, and what was seen of its payload.
#[derive(Clone, Copy)]
struct Incoming {
    kind: u8,
    block: u64,
    request: u64,
    header_left: usize,
    payload_left: usize,
    payload_seen: usize,
}

/// One end of the connection.
struct End {
    stream: TcpStream,
    memory: MmapMut,
    payloads: Payloads,
    /// Bytes from one place of the memory to the next: the server's places are blocks, the client's requests.
    place_bytes: usize,
    queue: VecDeque<Outgoing>,
    /// Bytes of the first message that are sent.
    sent: usize,
    /// Whole pages, as a poll group has them: memory that starts 16 bytes into one, as a `Vec` would, is copied to
    /// several times more slowly by some processors.
    buffer: MmapMut,
    /// Bytes at the front of `buffer` that are no whole header.
    held: usize,
    current: Option<Incoming>,
}

impl End {
    fn new(stream: TcpStream, memory: MmapMut, payloads: Payloads, place_bytes: usize) -> Self {
        stream.set_nodelay(true).expect("it is a TCP socket");
        stream.set_nonblocking(true).expect("it is a socket");
        let buffer = MmapOptions::new().len(RECEIVE_BYTES).map_anon().expect("there is memory");
        let queue = VecDeque::with_capacity(1024);
        Self { stream, memory, payloads, place_bytes, queue, sent: 0, buffer, held: 0, current: None }
    }

    /// Answers until the other end is closed; gives its memory back.
    fn serve(mut self, workload: Workload) -> MmapMut {
        let bytes = workload.bytes;
        loop {
            let open = self.receive(
                |message| message.block,
                |end, message| {
                    let (kind, payload) = match (message.kind, workload.kind) {
                        (message::REQUEST, Kind::Read) => (message::DATA_TO_CLIENT, bytes),
                        (message::REQUEST, Kind::WriteOnRequest) => (message::READY, 0),
                        _ => (message::ANSWER, 0),
                    };
                    end.queue(kind, message.block, message.request, message.block, payload);
                },
            );
            if !open {
                return self.memory;
            }
            self.send();
        }
    }

    /// Keeps `depth` requests under way for `time`.
    fn ask(mut self, workload: Workload, time: Duration) -> Figure {
        let mut places = Places::new(&workload);
        let in_request = if workload.kind == Kind::Write { workload.bytes } else { 0 };
        for request in 0..workload.depth as u64 {
            self.queue(message::REQUEST, places.next(), request, request, in_request);
        }
        let start = Instant::now();
        let mut answered = 0_u64;
        let mut latencies = Latencies::default();
        let mut asked = start;
        while start.elapsed() < time {
            self.send();
            let open = self.receive(
                |message| message.request,
                |end, Incoming { kind, block, request, .. }| {
                    if kind == message::READY {
                        return end.queue(message::DATA_TO_SERVER, block, request, request, workload.bytes);
                    }
                    answered += 1;
                    if workload.depth == 1 {
                        let now = Instant::now();
                        latencies.add(now.duration_since(asked));
                        asked = now;
                    }
                    end.queue(message::REQUEST, places.next(), request, request, in_request);
                },
            );
            assert!(open, "the server ends after the client");
        }
        let operations_per_second = answered as f64 / start.elapsed().as_secs_f64();
        Figure { operations_per_second, median_us: latencies.median_us() }
    }

    /// Queues a message with `payload` bytes of the memory from `place` on.
    fn queue(&mut self, kind: u8, block: u64, request: u64, place: u64, payload: usize) {
        let header_bytes = if kind == message::REQUEST { REQUEST_BYTES } else { HEADER_BYTES };
        let mut header = [0; REQUEST_BYTES];
        header[0] = kind;
        let length = u32::try_from(header_bytes + payload).expect("less than 4 GiB");
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&block.to_le_bytes());
        header[16..24].copy_from_slice(&request.to_le_bytes());
        let start = self.start_of(place);
        self.queue.push_back(Outgoing { header, header_bytes, start, payload });
    }

    fn start_of(&self, place: u64) -> usize {
        usize::try_from(place).expect("a place of the memory") * self.place_bytes
    }

    /// Receives once, and hands over each message that is here to its end; `place` says where the payload of one belongs.
    /// False at the end of the stream.
    fn receive(
        &mut self,
        place: impl Fn(&Incoming) -> u64,
        mut each: impl FnMut(&mut Self, Incoming),
    ) -> bool {
        let filled = match self.stream.read(&mut self.buffer[self.held..]) {
            Ok(0) => return false,
            Ok(bytes) => self.held + bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        };
        let mut at = 0;
        loop {
            if let Some(mut message) = self.current.take() {
                let skipped = message.header_left.min(filled - at);
                message.header_left -= skipped;
                at += skipped;
                let taken = message.payload_left.min(filled - at);
                if self.payloads == Payloads::Placed && taken > 0 {
                    let start = self.start_of(place(&message)) + message.payload_seen;
                    self.memory[start..start + taken].copy_from_slice(&self.buffer[at..at + taken]);
                }
                message.payload_left -= taken;
                message.payload_seen += taken;
                at += taken;
                if message.header_left + message.payload_left > 0 {
                    self.current = Some(message);
                    break;
                }
                each(self, message);
            }
            let header = self.buffer[at..filled].first_chunk::<HEADER_BYTES>();
            let Some(header) = header else { break };
            self.current = Some(incoming(header));
        }
        self.buffer.copy_within(at..filled, 0);
        self.held = filled - at;
        true
    }

    /// Sends once, as much as one call takes.
    fn send(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let mut list = [IoSlice::new(&[]); STRETCHES_MAX];
        let mut used = 0;
        let mut skip = self.sent;
        for message in self.queue.iter().take(STRETCHES_MAX / 2) {
            let header = &message.header[..message.header_bytes];
            let payload = &self.memory[message.start..message.start + message.payload];
            for stretch in [header, payload] {
                let skipped = skip.min(stretch.len());
                skip -= skipped;
                if skipped < stretch.len() {
                    list[used] = IoSlice::new(&stretch[skipped..]);
                    used += 1;
                }
            }
        }
        match self.stream.write_vectored(&list[..used]) {
            Ok(bytes) => self.sent += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // The reader finds out.
            Err(_) => return,
        }
        while let Some(first) = self.queue.front() {
            let length = first.header_bytes + first.payload;
            if self.sent < length {
                break;
            }
            self.sent -= length;
            self.queue.pop_front();
        }
    }
}

/// What a header says.
fn incoming(header: &[u8; HEADER_BYTES]) -> Incoming {
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
    let (kind, length) = (header[0], (word(0) >> 32) as usize);
    let header_left = if kind == message::REQUEST { REQUEST_BYTES } else { HEADER_BYTES };
    Incoming {
        kind,
        block: word(8),
        request: word(16),
        header_left,
        payload_left: length - header_left,
        payload_seen: 0,
    }
}
