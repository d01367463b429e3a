//! What a reservation lets through, command by command, from a host's queue to the device.

use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Delay, Delays};
use corelane::initiator::command;
use corelane::spec::nvm::DatasetRange;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use zerocopy::{FromZeros, IntoBytes};

use crate::fence_rig::{FenceRig, HostIndex, acquire, clear, register};
use crate::reservations::{CONFLICT, report};
use crate::rig::memory;

const HOLDER: HostIndex = 1;
const REGISTRANT: HostIndex = 3;
const OTHER: HostIndex = 5;
const WRITE_EXCLUSIVE: u32 = 1;
const KEY: [u64; 2] = [0xa, 0xb];
const DELAY: Duration = Duration::from_secs(1);

/// Three hosts, two of them registered with namespace 1.
fn three_hosts(seed: u64, delay: Duration) -> FenceRig {
    println!("seed {seed}");
    let mut rig = FenceRig::new(seed, |clock| {
        let delays = Delays { fixed: delay, ..Delays::default() };
        vec![(1, Arc::new(Delay::new(memory(), clock.clone(), delays)))]
    });
    assert_eq!([1, 2, 3].map(|number| rig.connect(number)), [HOLDER, REGISTRANT, OTHER]);
    for (host, key) in [HOLDER, REGISTRANT].into_iter().zip(KEY) {
        assert_eq!(rig.run(host, &register(1, key, 0)), Status::SUCCESS);
    }
    rig
}

/// The status of each command that reads, from one host.
fn reads(rig: &mut FenceRig, host: HostIndex) -> [Status; 2] {
    rig.hosts[host].read(1, command::read(1, 0, 1), 512);
    let read = rig.completion(host).1;
    rig.hosts[host].in_capsule(2, command::compare(1, 64, 1), &[0; 512]);
    [read, rig.completion(host).1]
}

/// The status of each command that writes, from one host.
fn writes(rig: &mut FenceRig, host: HostIndex) -> [Status; 5] {
    let mut range = DatasetRange::new_zeroed();
    range.blocks.set(1);
    rig.write(host, 1, 1, 0, 0xaa);
    let write = rig.completion(host).1;
    rig.hosts[host].on_request(2, command::write(1, 0, 32, false), &[0xaa; 16 << 10]);
    let large = rig.completion(host).1;
    rig.hosts[host].plain(3, command::write_zeroes(1, 0, 1, false));
    let zeroes = rig.completion(host).1;
    rig.hosts[host].in_capsule(4, command::deallocate(1, 1), range.as_bytes());
    let deallocate = rig.completion(host).1;
    rig.hosts[host].plain(5, command::flush(1));
    [write, large, zeroes, deallocate, rig.completion(host).1]
}

#[test]
fn every_command_is_judged_by_the_type_that_is_held() {
    let rows = [
        // type, registrant: reads, writes; other host: reads, writes
        (1, [true, false], [true, false]),
        (2, [false, false], [false, false]),
        (3, [true, true], [true, false]),
        (4, [true, true], [false, false]),
        (5, [true, true], [true, false]),
        (6, [true, true], [false, false]),
    ];
    let mut rig = three_hosts(1, Duration::ZERO);
    let told = |may: bool| if may { Status::SUCCESS } else { CONFLICT };
    for (rtype, registrant, other) in rows {
        assert_eq!(rig.run(HOLDER, &acquire(1, rtype, KEY[0])), Status::SUCCESS);
        for (host, [read, write]) in [(HOLDER, [true; 2]), (REGISTRANT, registrant), (OTHER, other)] {
            assert_eq!(reads(&mut rig, host), [told(read); 2], "type {rtype}, host {host}");
            assert_eq!(writes(&mut rig, host), [told(write); 5], "type {rtype}, host {host}");
            rig.hosts[host].read(6, report(1, 64, true), 256);
            assert_eq!(rig.completion(host), (6, Status::SUCCESS), "everybody may read the report");
            rig.hosts[host].plain(7, Sqe::of(0x70, 0, 1));
            let unknown = (7, Status::INVALID_OPCODE.with_dnr());
            assert_eq!(rig.completion(host), unknown, "an unknown opcode is that before all else");
        }
        assert_eq!(rig.run(HOLDER, &clear(1, KEY[0])), Status::SUCCESS);
        for (host, key) in [HOLDER, REGISTRANT].into_iter().zip(KEY) {
            assert_eq!(rig.run(host, &register(1, key, 0)), Status::SUCCESS);
        }
    }
    for host in [HOLDER, REGISTRANT, OTHER] {
        assert_eq!(
            (reads(&mut rig, host), writes(&mut rig, host)),
            ([Status::SUCCESS; 2], [Status::SUCCESS; 5])
        );
    }
}

#[test]
fn a_command_that_passed_gets_no_conflict_later() {
    for seed in 0..4 {
        let mut rig = three_hosts(seed, DELAY);
        (0..20).for_each(|cid| rig.write(OTHER, cid, 1, 0, 0xaa));
        rig.quiet();
        assert_eq!(rig.run(HOLDER, &acquire(1, WRITE_EXCLUSIVE, KEY[0])), Status::SUCCESS);
        assert!(rig.hosts[OTHER].completions.is_empty(), "the device has the writes");
        rig.write(OTHER, 20, 1, 0, 0xaa);
        assert_eq!(rig.completion(OTHER), (20, CONFLICT), "one that comes later");
        for cid in 0..20 {
            assert_eq!(rig.completion(OTHER), (cid, Status::SUCCESS));
        }
    }
}

#[test]
fn a_write_is_judged_when_its_data_is_there() {
    for seed in 0..4 {
        let mut rig = three_hosts(seed, Duration::ZERO);
        rig.hosts[OTHER].on_request(1, command::write(1, 0, 64, false), &[0xaa; 32 << 10]);
        rig.hosts[OTHER].pump();
        assert!(!rig.hosts[OTHER].has_queued());
        rig.hosts[OTHER].talkative = false;
        rig.until("a request for data", |rig| rig.hosts[OTHER].has_queued());
        assert_eq!(rig.run(HOLDER, &acquire(1, WRITE_EXCLUSIVE, KEY[0])), Status::SUCCESS);
        rig.hosts[OTHER].talkative = true;
        assert_eq!(rig.completion(OTHER), (1, CONFLICT));
        rig.hosts[HOLDER].in_capsule(2, command::compare(1, 0, 1), &[0; 512]);
        assert_eq!(rig.completion(HOLDER), (2, Status::SUCCESS), "nothing was written");
    }
}

#[test]
fn a_hopeless_write_is_refused_before_its_data_is_asked_for() {
    let mut rig = three_hosts(1, Duration::ZERO);
    assert_eq!(rig.run(HOLDER, &acquire(1, WRITE_EXCLUSIVE, KEY[0])), Status::SUCCESS);
    rig.hosts[OTHER].on_request(1, command::write(1, 0, 64, false), &[0xaa; 32 << 10]);
    rig.hosts[OTHER].pump();
    rig.hosts[OTHER].talkative = false;
    assert_eq!(rig.completion(OTHER), (1, CONFLICT));
    assert!(!rig.hosts[OTHER].has_queued(), "the target asked for data");
}
