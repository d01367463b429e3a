//! Reads, comparisons and verifications with FUA: what they read is on the medium before.

use std::sync::Arc;

use corelane::initiator::command;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;

use crate::host::{Host, Wish};
use crate::protection::cached::Cached;
use crate::rig::{Rig, memory, settings};

const IO: usize = 1;
const FUA: u32 = 1 << 30;
const WRITTEN: [u8; 512] = [0xaa; 512];

fn with_fua(mut sqe: Sqe) -> Sqe {
    sqe.cdw12.set(sqe.cdw12.get() | FUA);
    sqe
}

type Submit = fn(&mut Host, u16);

const SUBMITS: [(&str, Submit); 3] = [
    ("read", |host, cid| host.read(cid, with_fua(command::read(1, 3, 1)), 512)),
    ("compare", |host, cid| host.in_capsule(cid, with_fua(command::compare(1, 3, 1)), &WRITTEN)),
    ("verify", |host, cid| host.plain(cid, with_fua(command::verify(1, 3, 1)))),
];

/// A rig over a device with a cache, in which a write is.
fn rig() -> (Rig, Arc<Cached>) {
    let device = Cached::new();
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| Arc::clone(&device) as _);
    rig.hosts[IO].in_capsule(1, command::write(1, 3, 1, false), &WRITTEN);
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
    (rig, device)
}

#[test]
fn what_is_read_with_fua_is_durable_before() {
    for (name, submit) in SUBMITS {
        let (mut rig, device) = rig();
        // Others do not wait for it.
        submit(&mut rig.hosts[IO], 2);
        rig.quiet();
        rig.hosts[IO].read(3, command::read(1, 3, 1), 512);
        assert_eq!(rig.completion(IO), (3, Status::SUCCESS), "{name}");
        assert_eq!((device.flushing(), device.cached()), (1, 1), "{name}");
        device.flushes(true);
        assert_eq!(rig.completion(IO), (2, Status::SUCCESS), "{name}");
        assert_eq!((device.flushed(), device.cached()), (1, 0), "{name}");
        if name == "read" {
            assert_eq!(rig.hosts[IO].reads[&2], WRITTEN);
        }
        rig.hosts[IO].in_capsule(4, with_fua(command::compare(1, 3, 1)), &[0; 512]);
        assert_eq!(rig.completion(IO), (4, Status::COMPARE_FAILURE.with_dnr()), "{name}");
        assert_eq!(device.flushed(), 2, "{name}");
    }
}

#[test]
fn a_flush_that_fails_is_the_end_of_a_read_with_fua_and_of_no_other() {
    for (name, submit) in SUBMITS {
        let (mut rig, device) = rig();
        device.flushes(false);
        submit(&mut rig.hosts[IO], 2);
        assert_eq!(rig.completion(IO), (2, Status::WRITE_FAULT), "{name}");
        rig.hosts[IO].read(3, command::read(1, 3, 1), 512);
        assert_eq!(rig.completion(IO), (3, Status::SUCCESS), "{name}");
        assert_eq!((device.flushing(), device.flushed()), (0, 0), "{name}");
    }
}

#[test]
fn a_fused_comparison_with_fua_is_flushed_for_and_its_write_follows() {
    let (mut rig, device) = rig();
    device.flushes(true);
    let (mut compare, mut write) = (with_fua(command::compare(1, 3, 1)), command::write(1, 3, 1, false));
    command::fuse(&mut compare, &mut write);
    rig.hosts[IO].in_capsule(2, compare, &WRITTEN);
    rig.hosts[IO].in_capsule(3, write, &[0xbb; 512]);
    assert_eq!([rig.completion(IO), rig.completion(IO)], [(2, Status::SUCCESS), (3, Status::SUCCESS)]);
    assert_eq!((device.flushed(), device.cached()), (1, 1));
}

#[test]
fn a_device_without_a_cache_needs_nothing() {
    let mut rig = Rig::connected(&settings(), &Wish::default(), |_| memory());
    rig.hosts[IO].in_capsule(1, command::write(1, 3, 1, false), &WRITTEN);
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
    for (name, submit) in SUBMITS {
        submit(&mut rig.hosts[IO], 2);
        assert_eq!(rig.completion(IO), (2, Status::SUCCESS), "{name}");
    }
}

#[test]
fn more_than_wait_for_a_flush_are_to_be_tried_again() {
    let (mut rig, device) = rig();
    let wish = Wish::default();
    let queues: Vec<usize> = [IO].into_iter().chain((2..=4).map(|qid| rig.open_queue(qid, &wish))).collect();
    for queue in &queues {
        (0..100).for_each(|cid| rig.hosts[*queue].plain(cid, with_fua(command::verify(1, 3, 1))));
    }
    rig.quiet();
    assert_eq!(device.flushing(), 256);
    device.flushes(true);
    let mut statuses = [0; 2];
    for queue in queues {
        for _ in 0..100 {
            let (_, status) = rig.completion(queue);
            assert!(status.is_success() || !status.dnr(), "{status}");
            statuses[usize::from(!status.is_success())] += 1;
        }
    }
    assert_eq!(statuses, [256, 144]);
}
