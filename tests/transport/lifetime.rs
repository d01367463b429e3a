//! How long registrations and reservations live: until the power goes, and no shorter, whatever happens to connections.

use std::time::Duration;

use corelane::initiator::command;
use corelane::spec::feature::FeatureId;
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::register::Property;
use corelane::spec::reservation::ReportHeader;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use zerocopy::FromBytes;

use crate::fence_rig::{FenceRig, HostIndex, acquire, register};
use crate::host::Wish;
use crate::log::warnings;
use crate::reservations::{CONFLICT, report};
use crate::rig::memory;

const A: HostIndex = 1;
const B: HostIndex = 3;
const KEY: u64 = 0xa;
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const WRITE_EXCLUSIVE: u32 = 1;

/// Ends something of host A's.
type End = fn(&mut FenceRig);

fn rig() -> FenceRig {
    FenceRig::new(1, |_| vec![(1, memory())])
}

/// Generation, type and registrants, as a host is told.
fn told(rig: &mut FenceRig, host: HostIndex) -> (u32, u8, u16) {
    rig.hosts[host].read(1, report(1, 64, true), 256);
    assert_eq!(rig.completion(host), (1, Status::SUCCESS));
    let whole = rig.hosts[host].reads.remove(&1).expect("data of the report");
    let (header, _) = ReportHeader::read_from_prefix(&whole).expect("a header");
    (header.generation.get(), header.rtype.0, header.regstrnt.get())
}

#[test]
fn reservations_outlive_connections_and_resets_with_and_without_ptpl() {
    let ends: [(&str, End); 4] = [
        ("a disconnect", |rig| {
            rig.hosts[A].hang_up();
            rig.hosts[A - 1].hang_up();
        }),
        ("a lost I/O queue", |rig| rig.hosts[A].hang_up()),
        ("a keep alive that does not come", |rig| {
            let mut timer = Sqe::of(AdminOpcode::SET_FEATURES.0, 0, 0);
            timer.cdw10.set(FeatureId::KEEP_ALIVE.0.into());
            timer.cdw11.set(u32::try_from(KEEP_ALIVE.as_millis()).expect("a short time"));
            rig.hosts[A - 1].plain(1, timer);
            assert_eq!(rig.completion(A - 1), (1, Status::SUCCESS));
            rig.pass(3 * KEEP_ALIVE);
            assert!(rig.hosts[A].closed);
        }),
        ("a controller level reset", |rig| {
            rig.hosts[A - 1].plain(1, command::property_set(Property::CC, 0x0046_0000));
            assert_eq!(rig.completion(A - 1), (1, Status::SUCCESS));
        }),
    ];
    for cptpl in [2, 3] {
        for (what, end) in ends {
            let mut rig = rig();
            assert_eq!([1, 2].map(|number| rig.connect(number)), [A, B]);
            assert_eq!(rig.run(A, &register(1, KEY, cptpl)), Status::SUCCESS);
            assert_eq!(rig.run(A, &acquire(1, WRITE_EXCLUSIVE, KEY)), Status::SUCCESS);
            end(&mut rig);
            rig.quiet();
            assert_eq!(told(&mut rig, B), (1, 1, 1), "{what}");
            rig.write(B, 2, 1, 0, 0xbb);
            assert_eq!(rig.completion(B), (2, CONFLICT), "{what}");
            let again = rig.connect(1);
            rig.write(again, 2, 1, 0, 0xaa);
            assert_eq!(rig.completion(again), (2, Status::SUCCESS), "{what}: it is the holder still");
        }
    }
}

#[test]
fn a_register_that_keeps_nothing_leaves_nothing_for_the_next_start_to_stumble_over() {
    let mut rig = rig();
    assert_eq!(rig.connect(1), A);
    // As nvme-cli does where nobody says otherwise: CPTPL is 00b.
    assert_eq!(rig.run(A, &register(1, KEY, 0)), Status::SUCCESS);
    assert_eq!(rig.run(A, &acquire(1, WRITE_EXCLUSIVE, KEY)), Status::SUCCESS);
    assert!(!rig.record(1).exists());
    let mut rig = rig.restarted(|_| vec![(1, memory())]);
    assert_eq!(rig.connect(2), A);
    assert_eq!(told(&mut rig, A), (0, 0, 0));
    rig.write(A, 2, 1, 0, 0xbb);
    assert_eq!(rig.completion(A), (2, Status::SUCCESS));
}

#[test]
fn what_was_kept_is_there_after_the_next_start_and_what_was_turned_off_is_not() {
    let mut rig = rig();
    assert_eq!(rig.connect(1), A);
    assert_eq!(rig.run(A, &register(1, KEY, 3)), Status::SUCCESS);
    assert_eq!(rig.run(A, &acquire(1, WRITE_EXCLUSIVE, KEY)), Status::SUCCESS);
    let mut rig = rig.restarted(|_| vec![(1, memory())]);
    assert_eq!([1, 2].map(|number| rig.connect(number)), [A, B]);
    assert_eq!(told(&mut rig, B), (1, 1, 1));
    rig.write(B, 2, 1, 0, 0xbb);
    assert_eq!(rig.completion(B), (2, CONFLICT));
    // The same key again, with CPTPL 10b.
    assert_eq!(rig.run(A, &register(1, KEY, 2)), Status::SUCCESS);
    let mut rig = rig.restarted(|_| vec![(1, memory())]);
    assert_eq!(rig.connect(2), A);
    assert_eq!(told(&mut rig, A), (0, 0, 0));
}

#[test]
fn one_identifier_under_two_names_is_a_warning_that_names_both() {
    let names = ["nqn.2026-11.io.corelane:one", "nqn.2026-11.io.corelane:two"];
    let lines = warnings(|| {
        let mut rig = rig();
        for name in names {
            rig.connect_as(&Wish { host: 9, name, ..Wish::default() });
        }
        assert_eq!(rig.connect(1), 5);
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(names.iter().all(|name| line.contains(name)), "{line}");
}
