//! What the transport counts of commands, and how long they took by the clock of the reactors.

use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Delay, Delays};
use corelane::initiator::command;
use corelane::spec::status::Status;
use corelane::trace::{Class, CommandCounts, Kind};

use crate::host::Wish;
use crate::rig::{Rig, memory, settings};

const IO: usize = 1;
const DELAY: Duration = Duration::from_millis(50);
/// More than the rounds between a time that has come and its turn.
const MOMENT: Duration = Duration::from_millis(20);

/// What was counted for the I/O queue of the rig, as the management reactor tells it.
fn counts(rig: &Rig) -> CommandCounts {
    let connections = rig.management.borrow().connections();
    let mut queues = connections.iter().filter(|connection| connection.qid == 1);
    let (Some(queue), None) = (queues.next(), queues.next()) else { panic!("{connections:?}") };
    assert_eq!((queue.lane, queue.cntlid), (Some(0), rig.cntlid()));
    queue.trace.as_ref().expect("an I/O queue counts").counts()
}

#[test]
fn a_command_takes_as_long_as_its_device() {
    let delays = Delays { fixed: DELAY, ..Delays::default() };
    let mut rig = Rig::connected(&settings(), &Wish::default(), |clock| {
        Arc::new(Delay::new(memory(), clock.clone(), delays))
    });
    rig.hosts[IO].read(1, command::read(1, 0, 8), 4096);
    rig.quiet();
    assert_eq!(counts(&rig).succeeded(Kind::Read), 0, "it is not answered yet");
    rig.pass(DELAY);
    assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
    let counts = counts(&rig);
    let latency = counts.latency(Class::Read);
    assert_eq!((counts.succeeded(Kind::Read), counts.bytes(Kind::Read), latency.count()), (1, 4096, 1));
    let took = Duration::from_nanos(latency.max());
    assert!(took >= DELAY && took < DELAY + MOMENT, "{took:?}");
}

#[test]
fn every_answer_is_counted_once() {
    for digests in [false, true] {
        let mut rig = Rig::connected(&settings(), &Wish { digests, ..Wish::default() }, |_| memory());
        let mut cid = 0;
        let mut next = || {
            cid = cid % 100 + 1;
            cid
        };
        for _ in 0..300 {
            let cid = next();
            rig.hosts[IO].read(cid, command::read(1, 0, 8), 4096);
            assert_eq!(rig.completion(IO), (cid, Status::SUCCESS));
        }
        rig.hosts[IO].in_capsule(next(), command::write(1, 0, 1, false), &[1; 512]);
        rig.hosts[IO].on_request(next(), command::write(1, 0, 32, false), &[1; 16 << 10]);
        rig.hosts[IO].read(next(), command::read(1, 1 << 40, 1), 512);
        rig.hosts[IO].plain(next(), command::flush(1));
        rig.hosts[IO].plain(next(), command::flush(9));
        for _ in 0..5 {
            rig.completion(IO);
        }
        let counts = counts(&rig);
        let told = |kind| (counts.succeeded(kind), counts.failed(kind), counts.bytes(kind));
        assert_eq!(told(Kind::Read), (300, 1, 300 * 4096), "digests: {digests}");
        assert_eq!(told(Kind::Write), (2, 0, 512 + (16 << 10)), "digests: {digests}");
        assert_eq!(told(Kind::Flush), (1, 1, 0), "digests: {digests}");
        let timed = Class::ALL.map(|class| counts.latency(class).count());
        assert_eq!(timed, [301, 2, 2], "digests: {digests}");
    }
}
