//! What the transport counts of commands, how long they took by the clock of the reactors, and what hosts read of it.

use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Delay, Delays};
use corelane::initiator::command;
use corelane::spec::log_page::Smart;
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane::trace::{Class, CommandCounts, Kind};

use zerocopy::FromBytes;

use crate::host::{Host, Wish};
use crate::rig::{Rig, memory, settings};

const ADMIN: usize = 0;
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

/// The SMART / Health Information page: data units read and written, host read and write commands, media errors.
fn smart(rig: &mut Rig) -> [u128; 5] {
    let mut sqe = Sqe::of(AdminOpcode::GET_LOG_PAGE.0, 0, u32::MAX);
    sqe.cdw10.set(2 | 127 << 16);
    rig.hosts[ADMIN].read(9, sqe, 512);
    assert_eq!(rig.completion(ADMIN), (9, Status::SUCCESS));
    let page = Smart::read_from_bytes(&rig.hosts[ADMIN].reads[&9]).expect("a page");
    [
        page.data_units_read.get(),
        page.data_units_written.get(),
        page.host_read_commands.get(),
        page.host_write_commands.get(),
        page.media_errors.get(),
    ]
}

#[test]
fn the_smart_page_counts_what_it_is_defined_to_count() {
    const MISCOMPARE: Status = Status::COMPARE_FAILURE.with_dnr();
    const BEYOND: Status = Status::LBA_OUT_OF_RANGE.with_dnr();
    const OK: Status = Status::SUCCESS;
    // 1 MiB is 2,048 units of 512 bytes: between 2,001 and 3,000.
    const MIB: u32 = 2048;
    type Submit = fn(&mut Host);
    #[rustfmt::skip]
    let rows: [(&str, Submit, Status, [u128; 5]); 11] = [
        //                                                                    units read, written, commands, media errors
        ("read", |host| host.read(1, command::read(1, 0, 1), 512), OK,                                [1, 0, 1, 0, 0]),
        ("read beyond the end", |host| host.read(1, command::read(1, 1 << 40, 1), 512), BEYOND,       [0, 0, 1, 0, 0]),
        ("read of what is lost", |host| host.read(1, command::read(1, 9000, 1), 512),
            Status::UNRECOVERED_READ_ERROR,                                                           [0, 0, 1, 0, 1]),
        ("verify of what is lost", |host| host.plain(1, command::verify(1, 9000, 1)),
            Status::UNRECOVERED_READ_ERROR,                                                           [0, 0, 0, 0, 1]),
        ("compare", |host| host.in_capsule(1, command::compare(1, 0, 1), &[0; 512]), OK,              [1, 0, 1, 0, 0]),
        ("compare with other data", |host| host.in_capsule(1, command::compare(1, 0, 1), &[1; 512]), MISCOMPARE,
                                                                                                      [0, 0, 1, 0, 0]),
        ("verify", |host| host.plain(1, command::verify(1, 0, MIB)), OK,                              [3, 0, 0, 0, 0]),
        ("copy", |host| host.in_capsule(1, command::copy(1, 4096, 1, false), &command::copy_range(0, MIB)), OK,
                                                                                                      [0, 3, 1, 1, 0]),
        ("copy from beyond the end", |host| host.in_capsule(1, command::copy(1, 0, 1, false), &command::copy_range(1 << 40, 1)),
            BEYOND,                                                                                   [0, 0, 1, 1, 0]),
        ("write beyond the end", |host| host.in_capsule(1, command::write(1, 1 << 40, 1, false), &[0; 512]), BEYOND,
                                                                                                      [0, 0, 0, 1, 0]),
        ("write zeroes", |host| host.plain(1, command::write_zeroes(1, 0, 8, false)), OK,             [0, 0, 0, 0, 0]),
    ];
    for (name, submit, status, expected) in rows {
        let mut rig = Rig::connected(&settings(), &Wish::default(), |_| memory());
        rig.hosts[IO].plain(1, command::write_uncorrectable(1, 9000, 1));
        assert_eq!(rig.completion(IO), (1, Status::SUCCESS));
        assert_eq!(smart(&mut rig), [0; 5]);
        submit(&mut rig.hosts[IO]);
        assert_eq!(rig.completion(IO), (1, status), "{name}");
        assert_eq!(smart(&mut rig), expected, "{name}");
    }
}
