//! What reservations cost, with 0, 1 and 256 registrants: where they are decided (the rights of a host, one command), and
//! what a read or a write pays for rights that were worked out before.

use std::hint::black_box;

use corelane::nvmf::fence::{Rules, Snapshot};
use corelane::reservation::{
    Acquire, Key, Kind, Options, Register, Registrant, Request, State, report, rights, transition,
};
use corelane::spec::host::{Host, HostId};
use corelane::spec::nqn::Nqn;
use corelane::spec::reservation::ReservationType;
use criterion::{Criterion, criterion_group, criterion_main};

const OPTIONS: Options = Options { ptpl: true };

fn host(number: u32) -> Host {
    let mut id = [0x5a; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Host { nqn: Nqn::discovery(), id: HostId(id) }
}

/// Hosts 0 to `count` registered with key 1; where there are any, all of them hold a reservation.
fn state(count: u32) -> State {
    let registrant = || Registrant { key: Key(1), nqn: Some(Nqn::discovery()) };
    let registrants = (0..count).map(|number| (host(number).id, registrant()));
    let kind = (count > 0).then_some(Kind::WriteExclusiveAllRegistrants);
    State::restore(0, true, registrants, kind, None).expect("a state that can be")
}

fn reservation(criterion: &mut Criterion) {
    let preempt = Request::Acquire {
        current: Key(1),
        action: Acquire::Preempt {
            rtype: ReservationType::WRITE_EXCLUSIVE_ALL_REGISTRANTS,
            victim: Key::ZERO,
            abort: true,
        },
    };
    let register = Request::Register { action: Register::Register { new: Key(1) }, ptpl: Some(true) };
    for count in [0, 1, 256] {
        let state = state(count);
        let (member, stranger) = (host(count / 2), host(1000));
        let mut group = criterion.benchmark_group(format!("reservation/{count} registrants"));
        for (name, host) in [("a registrant", &member), ("another host", &stranger)] {
            group.bench_function(format!("rights of {name}"), |bencher| {
                bencher.iter(|| rights(black_box(&state), black_box(host.id)));
            });
        }
        // What a read or a write pays at its hand-over, on the I/O path: two loads and a bit test. Goal: 2 ns.
        let hosts: Vec<HostId> = (0..count.max(1)).map(|number| host(number).id).collect();
        let snapshot = Snapshot::new([(1, Rules::of(&state, false, &hosts))]);
        for (name, slot) in [("a registrant", count / 2), ("another host", 1000)] {
            group.bench_function(format!("judge a write of {name}"), |bencher| {
                bencher.iter(|| black_box(&snapshot).judge(black_box(1), black_box(slot), black_box(true)));
            });
        }
        group.bench_function("register", |bencher| {
            bencher.iter(|| transition(black_box(&state), &stranger, &register, OPTIONS));
        });
        group.bench_function("preempt everybody else", |bencher| {
            bencher.iter(|| transition(black_box(&state), &member, &preempt, OPTIONS));
        });
        group.bench_function("report", |bencher| {
            bencher.iter(|| report::encode(black_box(&state), u64::MAX, |_| None));
        });
    }
}

criterion_group!(benches, reservation);
criterion_main!(benches);
