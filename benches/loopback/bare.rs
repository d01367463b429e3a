//! Two sockets and nothing else: what the machine can do with messages of these shapes.
//!
//! A message is its header (72 bytes: a request; 24 bytes: everything else), whose first byte says what it is, whose
//! second word is the length of the whole message, as in NVMe/TCP, and whose third word is a block; then its payload.

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
/// Blocks of memory that the client sends from.
const CLIENT_BLOCKS: u64 = 128;

/// What a message is.
mod message {
    pub(crate) const REQUEST: u8 = 4;
    pub(crate) const ANSWER: u8 = 5;
    pub(crate) const DATA_TO_SERVER: u8 = 6;
    pub(crate) const DATA_TO_CLIENT: u8 = 7;
    pub(crate) const READY: u8 = 9;
}

/// The bare exchange, with the memory of its server.
pub(crate) struct Bare {
    core: usize,
    cores: Vec<usize>,
    region: &'static [u8],
}

impl Bare {
    /// The server will run on `core`, one of `cores`.
    pub(crate) fn new(core: usize, cores: &[usize]) -> Result<Self, Box<dyn Error>> {
        Ok(Self { core, cores: cores.to_vec(), region: Box::leak(Box::new(region()?)) })
    }

    /// Asks for as much as it gets, for `time`.
    pub(crate) fn run(&mut self, workload: &Workload, time: Duration) -> Result<Figure, Box<dyn Error>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        let (core, cores, region, workload) = (self.core, self.cores.clone(), self.region, *workload);
        let thread = thread::Builder::new().name("bare".to_owned()).spawn(move || {
            cpu::pin(core, &cores).expect("the core is allowed");
            End::new(server, region).serve(workload);
        })?;
        let figure = End::new(client, self.region).ask(workload, time);
        // The client is closed, so the server ends.
        thread.join().map_err(|_| "the bare server failed")?;
        Ok(figure)
    }
}

/// Memory as the target has it: hugepages, else ordinary pages that may become huge; written once.
fn region() -> Result<MmapMut, Box<dyn Error>> {
    let bytes = usize::try_from(REGION_BYTES)?;
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

/// A message to send: its header, and how many bytes of the region follow from where.
struct Outgoing {
    header: [u8; REQUEST_BYTES],
    header_bytes: usize,
    start: usize,
    payload: usize,
}

/// One end of the connection.
struct End {
    stream: TcpStream,
    region: &'static [u8],
    queue: VecDeque<Outgoing>,
    /// Bytes of the first message that are sent.
    sent: usize,
    /// Whole pages, as a poll group has them: memory that starts 16 bytes into one, as a `Vec` would, is copied to
    /// several times more slowly by some processors.
    buffer: MmapMut,
    /// Bytes at the front of `buffer` that are no whole header.
    held: usize,
    /// The message that is under way: what it is, and its block.
    current: Option<(u8, u64)>,
    /// Bytes of it that are still to come.
    skip: usize,
}

impl End {
    fn new(stream: TcpStream, region: &'static [u8]) -> Self {
        stream.set_nodelay(true).expect("it is a TCP socket");
        stream.set_nonblocking(true).expect("it is a socket");
        let buffer = MmapOptions::new().len(RECEIVE_BYTES).map_anon().expect("there is memory");
        Self {
            stream,
            region,
            queue: VecDeque::with_capacity(1024),
            sent: 0,
            buffer,
            held: 0,
            current: None,
            skip: 0,
        }
    }

    /// Answers until the other end is closed.
    fn serve(mut self, workload: Workload) {
        let bytes = workload.bytes;
        loop {
            let open = self.receive(|end, kind, block| match (kind, workload.kind) {
                (message::REQUEST, Kind::Read) => end.queue(message::DATA_TO_CLIENT, block, bytes),
                (message::REQUEST, Kind::WriteOnRequest) => end.queue(message::READY, block, 0),
                _ => end.queue(message::ANSWER, block, 0),
            });
            if !open {
                return;
            }
            self.send();
        }
    }

    /// Keeps `depth` requests under way for `time`.
    fn ask(mut self, workload: Workload, time: Duration) -> Figure {
        let mut places = Places::new(&workload);
        let in_request = if workload.kind == Kind::Write { workload.bytes } else { 0 };
        for _ in 0..workload.depth {
            self.queue(message::REQUEST, places.next(), in_request);
        }
        let start = Instant::now();
        let mut answered = 0_u64;
        let mut latencies = Latencies::default();
        let mut asked = start;
        while start.elapsed() < time {
            self.send();
            let open = self.receive(|end, kind, block| {
                if kind == message::READY {
                    return end.queue(message::DATA_TO_SERVER, block, workload.bytes);
                }
                answered += 1;
                if workload.depth == 1 {
                    let now = Instant::now();
                    latencies.add(now.duration_since(asked));
                    asked = now;
                }
                end.queue(message::REQUEST, places.next(), in_request);
            });
            assert!(open, "the server ends after the client");
        }
        let operations_per_second = answered as f64 / start.elapsed().as_secs_f64();
        Figure { operations_per_second, median_us: latencies.median_us() }
    }

    fn queue(&mut self, kind: u8, block: u64, payload: usize) {
        let header_bytes = if kind == message::REQUEST { REQUEST_BYTES } else { HEADER_BYTES };
        let mut header = [0; REQUEST_BYTES];
        header[0] = kind;
        let length = u32::try_from(header_bytes + payload).expect("less than 4 GiB");
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&block.to_le_bytes());
        // What the client sends lies in its few buffers, as it does with an initiator.
        let first = if kind == message::DATA_TO_CLIENT { block } else { block % CLIENT_BLOCKS };
        let start = usize::try_from(first).expect("a block of the region") * BLOCK_BYTES;
        self.queue.push_back(Outgoing { header, header_bytes, start, payload });
    }

    /// Receives once, and hands over kind and block of each message that is here to its end. False at the end of the
    /// stream.
    fn receive(&mut self, mut each: impl FnMut(&mut Self, u8, u64)) -> bool {
        let filled = match self.stream.read(&mut self.buffer[self.held..]) {
            Ok(0) => return false,
            Ok(bytes) => self.held + bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.held,
            Err(_) => return false,
        };
        let mut at = 0;
        loop {
            let skipped = self.skip.min(filled - at);
            self.skip -= skipped;
            at += skipped;
            if self.skip > 0 {
                break;
            }
            if let Some((kind, block)) = self.current.take() {
                each(self, kind, block);
            }
            let header = self.buffer[at..filled].first_chunk::<HEADER_BYTES>();
            let Some(&[kind, _, _, _, a, b, c, d, e, f, g, h, i, j, k, l, ..]) = header else { break };
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            self.skip = length;
            self.current = Some((kind, u64::from_le_bytes([e, f, g, h, i, j, k, l])));
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
            let payload = &self.region[message.start..message.start + message.payload];
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
