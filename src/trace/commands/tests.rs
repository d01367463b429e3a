//! What is counted is told, by kind, and adds up.

use super::*;

#[test]
fn every_kind_is_counted_apart() {
    let trace = CommandTrace::default();
    for (number, kind) in (1u64..).zip(Kind::ALL) {
        for _ in 0..number {
            trace.succeeded(kind, 1, 512);
            trace.took(kind.class(), Sample::of(number), 1);
        }
        trace.failed(kind, if kind == Kind::Read { Fault::Media } else { Fault::Other }, 1);
    }
    let counts = trace.counts();
    for (number, kind) in (1u64..).zip(Kind::ALL) {
        let told = (counts.succeeded(kind), counts.failed(kind), counts.bytes(kind));
        assert_eq!(told, (number, 1, number * 512), "{}", kind.name());
    }
    assert_eq!(counts.media_errors, 1);
    let latencies = Class::ALL.map(|class| (counts.latency(class).count(), counts.latency(class).max()));
    assert_eq!(latencies, [(1, 1), (2, 2), (63, 11)]);
}

#[test]
fn what_reactors_counted_adds_up() {
    let (one, other) = (CommandTrace::default(), CommandTrace::default());
    one.succeeded(Kind::Write, 1, 4096);
    one.took(Class::Write, Sample::of(7), 1);
    other.succeeded(Kind::Write, 1, 512);
    other.failed(Kind::Flush, Fault::Media, 1);
    let mut sum = CommandCounts::default();
    sum.merge(&one.counts());
    sum.merge(&other.counts());
    assert_eq!((sum.succeeded(Kind::Write), sum.bytes(Kind::Write)), (2, 4608));
    assert_eq!((sum.failed(Kind::Flush), sum.media_errors, sum.latency(Class::Write).count()), (1, 1, 1));
}

#[test]
fn names_are_different() {
    let mut names = Kind::ALL.map(Kind::name).to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Kind::ALL.len());
}
