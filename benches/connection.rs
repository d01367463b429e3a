//! What one command costs in the target's end of a connection, sockets and bdevs left out: 128 commands are taken in one
//! piece and answered, all that is queued is walked over and called sent. Throughput is in commands.

use std::hint::black_box;
use std::ops::Range;

use corelane::connection::Payload;
use corelane::connection::controller::{Connection, Event, Options};
use corelane::pdu::{Agreement, capsule, digest, header, icreq};
use corelane::spec::{cqe::Cqe, sqe::Sqe};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zerocopy::FromZeros;

const DEPTH: u16 = 128;
static DATA: [u8; 4096] = [0x5a; 4096];

/// A block that lies somewhere else.
struct Block;

impl Payload for Block {
    fn bytes(&self) -> usize {
        DATA.len()
    }

    fn crc32c(&self, range: Range<usize>) -> u32 {
        digest::append(0, &DATA[range])
    }
}

/// A command capsule for each CID, with `data` in it.
fn commands(data: &[u8], digests: bool) -> Vec<u8> {
    let agreement = Agreement { header_digest: digests, data_digest: digests, ..Agreement::NONE };
    let digest = digest::data(digest::append(0, data));
    let mut stream = Vec::new();
    for cid in 0..DEPTH {
        let mut out = [0; header::HEADER_BYTES_MAX];
        let sqe = Sqe { cid: cid.into(), ..Sqe::new_zeroed() };
        let length = capsule::encode_command(&mut out, &sqe, data.len(), &agreement);
        let digest = if digests && !data.is_empty() { digest.as_slice() } else { &[] };
        stream.extend([&out[..length], data, digest].concat());
    }
    stream
}

fn opened(digests: bool) -> Connection<Block> {
    let mut connection = Connection::new(&Options {
        entries: DEPTH,
        capsule_bytes_max: 8192,
        h2c_data_bytes_max: 1 << 17,
        header_digest: true,
        data_digest: true,
        alignment: 4,
    });
    let request = icreq::Request { header_digest: digests, data_digest: digests, alignment: 4, r2t_max: 1 };
    let mut bytes = [0; 128];
    icreq::encode(&mut bytes, &request);
    connection.next(&bytes).expect("the request is right");
    connection.sent(128, |_| ());
    connection
}

/// Takes all commands of `stream`, answers each with `answer`, and sends what is queued.
fn round(connection: &mut Connection<Block>, stream: &[u8], answer: impl Fn(&mut Connection<Block>, u16)) {
    let mut from = 0;
    while let Ok((taken, Event::Command { sqe, intact: true, .. })) = connection.next(&stream[from..]) {
        from += taken;
        answer(connection, sqe.cid.get());
    }
    assert_eq!(from, stream.len());
    let waiting = connection.outbox().pieces().map(|piece| black_box(piece).len()).sum();
    connection.sent(waiting, |_| ());
}

fn respond(connection: &mut Connection<Block>, cid: u16) {
    connection.respond(&Cqe { cid: cid.into(), ..Cqe::new_zeroed() });
}

fn connection(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connection");
    group.throughput(Throughput::Elements(u64::from(DEPTH)));
    for (name, digests) in [("plain", false), ("digests", true)] {
        let mut connection = opened(digests);
        let reads = commands(&[], digests);
        for (kind, success) in [("response", false), ("SUCCESS", true)] {
            let answer = |connection: &mut Connection<Block>, cid| {
                assert!(connection.send_data(cid, Block, success).is_none());
                if !success {
                    respond(connection, cid);
                }
            };
            let id = format!("128 reads of 4 KiB, {kind}/{name}");
            group.bench_function(id, |bencher| bencher.iter(|| round(&mut connection, &reads, answer)));
        }
        let writes = commands(&DATA, digests);
        let id = format!("128 writes of 4 KiB in their capsules/{name}");
        group.bench_function(id, |bencher| bencher.iter(|| round(&mut connection, &writes, respond)));
    }
}

criterion_group!(benches, connection);
criterion_main!(benches);
