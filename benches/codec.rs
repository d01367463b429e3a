//! What one PDU costs in the codec: pure functions over bytes, with and without a header digest.

use std::hint::black_box;

use corelane::pdu::{Agreement, Role, capsule, data, header};
use corelane::spec::cqe::Cqe;
use corelane::spec::sqe::Sqe;
use criterion::{Criterion, criterion_group, criterion_main};
use zerocopy::FromZeros;

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pdu");
    for (name, digests) in [("plain", false), ("digests", true)] {
        let agreement = Agreement { header_digest: digests, data_digest: digests, ..Agreement::NONE };
        let mut bytes = [0; header::HEADER_BYTES_MAX];
        capsule::encode_command(&mut bytes, &Sqe::new_zeroed(), 0, &agreement);
        group.bench_function(format!("decode a command capsule/{name}"), |bencher| {
            bencher.iter(|| {
                let bytes = black_box(&bytes[..]);
                let layout = header::layout(header::common(bytes)?, Role::Host, &agreement).ok()?;
                header::check_digest(bytes, &layout).ok()?;
                Some(capsule::decode_command(bytes).ok()?.cid)
            });
        });
        let chunk = data::Chunk { cid: 7, ttag: 0, offset: 0, bytes: 4096, last: true, success: false };
        let cqe = Cqe::new_zeroed();
        let mut out = [0; 2 * header::HEADER_BYTES_MAX];
        group.bench_function(format!("encode C2HData and response/{name}"), |bencher| {
            bencher.iter(|| {
                let first = data::encode(&mut out, Role::Controller, black_box(&chunk), &agreement);
                first + capsule::encode_response(&mut out[first..], black_box(&cqe), &agreement)
            });
        });
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
