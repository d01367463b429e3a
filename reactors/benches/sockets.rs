//! What the seam to the sockets costs: requests of 72 bytes are answered with 24 + 4096 bytes of a 64 MiB region, 1 to 128
//! at a time, on one TCP connection over loopback, by one pinned thread for another. `bare` does the same with nothing but
//! recv and writev. Both also print the system calls that the
//! serving side made per request, and how busy it was.

use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use core_affinity::CoreId;
use corelane_reactors::{
    buffer::{Lease, Segment},
    poll_group::{Closed, Handler, Options, PollGroup, Sent, SocketId, Taken},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const REQUEST_BYTES: usize = 72;
const HEADER_BYTES: usize = 24;
const BLOCK_BYTES: usize = 4096;
const ANSWER_BYTES: usize = HEADER_BYTES + BLOCK_BYTES;
const BLOCKS: usize = 16 * 1024;
const DEPTH_MAX: usize = 128;
const DEPTHS: [usize; 3] = [1, 16, DEPTH_MAX];

/// Requests per iteration: enough for the depth to be reached whatever number of iterations is chosen.
const BATCH: u64 = 4096;

/// The answers that are owed, and how much of the first was sent.
struct Answers {
    region: &'static [u8],
    owed: VecDeque<u32>,
    sent: usize,
    /// Turns in which requests came or answers went, and the system calls made in them.
    busy_turns: u64,
    busy_calls: u64,
    /// All other turns: the asking side was slower.
    idle_turns: u64,
    /// Requests answered so far.
    answered: u64,
}

impl Answers {
    fn new() -> Self {
        let region = vec![1; BLOCKS * BLOCK_BYTES].leak();
        Self {
            region,
            owed: VecDeque::with_capacity(2 * DEPTH_MAX),
            sent: 0,
            busy_turns: 0,
            busy_calls: 0,
            idle_turns: 0,
            answered: 0,
        }
    }

    /// Reads whole requests, each of which names a block in its first word; returns the bytes they took.
    fn take_requests(&mut self, bytes: &[u8]) -> usize {
        let (requests, rest) = bytes.as_chunks::<REQUEST_BYTES>();
        for request in requests {
            let [a, b, c, d, ..] = *request;
            self.owed.push_back(u32::from_le_bytes([a, b, c, d]));
        }
        bytes.len() - rest.len()
    }

    /// The pieces of all owed answers, less what was sent of the first.
    fn pieces(&self) -> impl Iterator<Item = &'static [u8]> {
        static HEADER: [u8; HEADER_BYTES] = [7; HEADER_BYTES];
        let region = self.region;
        let mut skip = self.sent;
        let pieces = self.owed.iter().flat_map(move |&block| {
            let at = block as usize % BLOCKS * BLOCK_BYTES;
            [&HEADER[..], &region[at..at + BLOCK_BYTES]]
        });
        pieces.map(move |piece| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            &piece[skipped..]
        })
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        let whole = self.sent / ANSWER_BYTES;
        self.owed.drain(..whole);
        self.sent %= ANSWER_BYTES;
        self.answered += whole as u64;
    }

    /// Counts a turn of so many system calls, in which `moved` bytes came or went.
    fn count_turn(&mut self, calls: u64, moved: bool) {
        if moved {
            self.busy_turns += 1;
            self.busy_calls += calls;
        } else {
            self.idle_turns += 1;
        }
    }

    fn report(&self, name: &str) {
        let requests = self.answered.max(1) as f64;
        let busy = self.busy_turns as f64 / (self.busy_turns + self.idle_turns).max(1) as f64;
        eprintln!(
            "{name}: {} requests, {:.4} system calls per request in turns that moved bytes, which were {:.1} % of all",
            self.answered,
            self.busy_calls as f64 / requests,
            100.0 * busy
        );
    }
}

/// The serving side on a poll group.
struct Server {
    answers: Answers,
    over: bool,
}

impl Handler for Server {
    fn received(&mut self, _: SocketId, bytes: &Lease) -> Taken {
        Taken::bytes(self.answers.take_requests(bytes.as_ref()))
    }

    fn writable(&mut self, _: SocketId) {}

    fn closed(&mut self, _: SocketId, _: Closed) {
        self.over = true;
    }
}

fn serve_poll_group(stream: TcpStream) -> Answers {
    let options = Options { chunk_bytes: 256 * 1024, chunks: 8, sockets_max: 4, chunks_per_socket: 4 };
    let mut group = PollGroup::new(&options).expect("the options are valid");
    let id = group.add(stream, &[]).expect("there is room");
    let mut server = Server { answers: Answers::new(), over: false };
    let mut segments = Vec::with_capacity(4 * DEPTH_MAX);
    while !server.over {
        let owed = server.answers.owed.len();
        let served = group.poll(&mut server) as u64;
        let came = server.answers.owed.len() > owed;
        if server.answers.owed.is_empty() {
            server.answers.count_turn(1 + served, came);
            continue;
        }
        segments.clear();
        segments.extend(server.answers.pieces().map(Segment::of));
        let sent = match group.send(id, &segments) {
            Sent::Bytes(bytes) => bytes,
            Sent::Blocked => 0,
            Sent::Failed(_) | Sent::Pending => break,
        };
        server.answers.sent(sent);
        server.answers.count_turn(1 + served + u64::from(sent > 0), came || sent > 0);
    }
    server.answers
}

fn serve_bare(mut stream: TcpStream) -> Answers {
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_nonblocking(true).expect("a TCP socket");
    let mut answers = Answers::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut filled = 0;
    let mut slices = Vec::with_capacity(4 * DEPTH_MAX);
    loop {
        let got = match stream.read(&mut buffer[filled..]) {
            Ok(0) => return answers,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return answers,
        };
        filled += got;
        let taken = answers.take_requests(&buffer[..filled]);
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        if answers.owed.is_empty() {
            answers.count_turn(1, got > 0);
            continue;
        }
        slices.clear();
        slices.extend(answers.pieces().map(IoSlice::new));
        let sent = match stream.write_vectored(&slices) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return answers,
        };
        answers.sent(sent);
        answers.count_turn(2, got + sent > 0);
    }
}

/// The asking side: keeps `depth` requests under way until `count` were answered.
fn ask(stream: &mut TcpStream, buffer: &mut [u8], seed: &mut u32, depth: usize, count: u64) -> Duration {
    let count = usize::try_from(count).expect("64-bit machine");
    let mut requests = [0; DEPTH_MAX * REQUEST_BYTES];
    let start = Instant::now();
    let (mut asked, mut answered, mut bytes) = (0, 0, 0);
    while answered < count {
        let more = (count - asked).min(depth - (asked - answered));
        for request in requests.chunks_exact_mut(REQUEST_BYTES).take(more) {
            *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            request[..4].copy_from_slice(&(*seed >> 8).to_le_bytes());
        }
        if more > 0 {
            // At most 9 KiB, for which an idle socket always has room.
            stream.write_all(&requests[..more * REQUEST_BYTES]).expect("the server reads");
            asked += more;
        }
        match stream.read(buffer) {
            Ok(0) => panic!("the server closed"),
            Ok(got) => bytes += got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        answered = bytes / ANSWER_BYTES;
    }
    start.elapsed()
}

fn compare(c: &mut Criterion) {
    let cores = core_affinity::get_core_ids().expect("the kernel tells the cores");
    let [asking, serving] = [cores[0], cores[1 % cores.len()]];
    core_affinity::set_for_current(asking);
    let mut group = c.benchmark_group("answer_72_with_4120");
    group.throughput(Throughput::Elements(BATCH));
    for depth in DEPTHS {
        measure(&mut group, "bare", depth, serving, serve_bare);
        measure(&mut group, "poll_group", depth, serving, serve_poll_group);
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn measure(
    group: &mut Group<'_>,
    name: &'static str,
    depth: usize,
    core: CoreId,
    serve: fn(TcpStream) -> Answers,
) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback exists");
    let mut asking = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (stream, _) = listener.accept().expect("one has connected");
    let server = thread::spawn(move || {
        core_affinity::set_for_current(core);
        serve(stream)
    });
    asking.set_nodelay(true).expect("a TCP socket");
    asking.set_nonblocking(true).expect("a TCP socket");
    let (mut buffer, mut seed) = (vec![0; 512 * 1024], 1);
    group.bench_function(BenchmarkId::new(name, depth), |b| {
        b.iter_custom(|count| ask(&mut asking, &mut buffer, &mut seed, depth, count * BATCH));
    });
    drop(asking);
    server.join().expect("the server does not panic").report(name);
}

criterion_group!(benches, compare);
criterion_main!(benches);
