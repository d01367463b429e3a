//! Reservations, from one host's command to what another core does with another host's.

use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Bdev, Delay, Delays, Memory};
use corelane::initiator::command;
use corelane::spec::opcode::NvmOpcode;
use corelane::spec::reservation::{ReportEntry, ReportHeader};
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use zerocopy::FromBytes;

use crate::fence_rig::{
    FenceRig, HostIndex, acquire, clear, preempt, preempt_and_abort, record_path, register, reservation,
};
use crate::manual::Manual;
use crate::rig::{block, memory};

pub(crate) const CONFLICT: Status = Status::RESERVATION_CONFLICT.with_dnr();
const OUT_OF_SERVICE: Status = Status::INTERNAL_ERROR.with_dnr();
const WRITE_EXCLUSIVE: u32 = 1;
const REGISTRANTS_ONLY: u32 = 3;
const SLOW: Duration = Duration::from_secs(50);
/// As long as a victim may take to read what was queued for it.
const PATIENCE: Duration = Duration::from_secs(1);
const KEY: [u64; 2] = [u64::MAX, 0xb];

/// Two hosts on two I/O reactors, registered with namespace 1, and a rig over `bdev`.
fn two_hosts(seed: u64, bdev: impl FnOnce(&corelane_reactors::clock::Clock) -> Arc<dyn Bdev>) -> FenceRig {
    println!("seed {seed}");
    let mut rig = FenceRig::new(seed, |clock| vec![(1, bdev(clock)), (2, memory()), (3, memory())]);
    for (number, key) in [1, 2].into_iter().zip(KEY) {
        let io = rig.connect(number);
        assert_eq!(rig.run(io, &register(1, key, 0)), Status::SUCCESS);
    }
    rig
}

const A: HostIndex = 1;
const B: HostIndex = 3;

/// Writes of B, as fast as they go, until A's command is complete; then some more, each of which must be refused.
fn fence(rig: &mut FenceRig, bdev: &Arc<dyn Bdev>, round: u8, command: &crate::fence_rig::Reservation) {
    let late = 32;
    rig.submit(A, 1, command);
    let mut cid = 0;
    while rig.hosts[A].completions.is_empty() {
        if cid < 100 && rig.below(4) == 0 {
            rig.write(B, cid, 1, 1, round);
            cid += 1;
        }
        rig.turn();
    }
    assert_eq!(rig.completion(A), (1, Status::SUCCESS));
    for extra in 0..late {
        rig.write(B, cid + extra, 1, 2, round);
        for _ in 0..rig.below(3) {
            rig.turn();
        }
    }
    let mut refused = false;
    for expected in 0..cid + late {
        let (found, status) = rig.completion(B);
        assert_eq!(found, expected);
        assert!(status == CONFLICT || !refused && expected < cid && status == Status::SUCCESS, "{status:?}");
        refused = status == CONFLICT;
    }
    assert_eq!(block(bdev, 2), [0; 512], "a write that was started later reached the media");
}

#[test]
fn no_command_that_another_core_starts_later_is_judged_by_the_old_state() {
    for seed in 0..12 {
        let bdev = memory();
        let mut rig = two_hosts(seed, |_| Arc::clone(&bdev));
        for round in 1..6 {
            fence(&mut rig, &bdev, round, &acquire(1, WRITE_EXCLUSIVE, KEY[0]));
            assert_eq!(rig.run(A, &clear(1, KEY[0])), Status::SUCCESS);
            rig.write(B, 7, 1, 3, round);
            assert_eq!(rig.completion(B), (7, Status::SUCCESS), "cleared: everybody writes");
            for (host, key) in [A, B].into_iter().zip(KEY) {
                assert_eq!(
                    rig.run(host, &register(1, key, if round % 2 == 0 { 3 } else { 2 })),
                    Status::SUCCESS
                );
            }
            assert_eq!(rig.run(B, &acquire(1, REGISTRANTS_ONLY, KEY[1])), Status::SUCCESS);
            fence(&mut rig, &bdev, round, &preempt(1, REGISTRANTS_ONLY, KEY[0], KEY[1]));
            assert_eq!(rig.run(B, &register(1, KEY[1], 0)), Status::SUCCESS);
            assert_eq!(rig.run(A, &clear(1, KEY[0])), Status::SUCCESS);
            for (host, key) in [A, B].into_iter().zip(KEY) {
                assert_eq!(rig.run(host, &register(1, key, 0)), Status::SUCCESS);
            }
        }
    }
}

/// A holds the reservation, and B has writes in a device that is slow, or hangs.
fn preempt_over(seed: u64, hangs: bool) {
    let media = memory();
    let kept = Arc::new(std::sync::OnceLock::new());
    let mut rig = two_hosts(seed, |clock| {
        let delay =
            Delay::new(Arc::clone(&media), clock.clone(), Delays { fixed: SLOW, ..Delays::default() });
        Arc::clone(kept.get_or_init(|| Arc::new(delay))) as _
    });
    let delay: &Arc<Delay> = kept.get().expect("a device that was made");
    assert_eq!(rig.run(A, &acquire(1, REGISTRANTS_ONLY, KEY[0])), Status::SUCCESS);
    if hangs {
        delay.hang();
    }
    for cid in 0..20 {
        rig.write(B, cid, 1, u64::from(cid), 0xbb);
    }
    rig.write(B, 20, 2, 0, 0xbb);
    assert_eq!(rig.completion(B), (20, Status::SUCCESS), "another namespace");
    for cid in 0..4 {
        rig.write(A, cid, 1, 100 + u64::from(cid), 0xaa);
    }
    rig.quiet();
    rig.submit(A, 9, &preempt_and_abort(1, REGISTRANTS_ONLY, KEY[0], KEY[1]));
    let answer = rig.completion(A);
    assert_eq!(answer, (9, Status::SUCCESS), "A's own writes go on meanwhile");
    let mut aborted: Vec<u16> = (0..20)
        .map(|_| {
            let (cid, status) = rig.completion(B);
            assert_eq!(status, Status::ABORTED_PREEMPT, "{cid}");
            cid
        })
        .collect();
    aborted.sort_unstable();
    assert_eq!(aborted, (0..20).collect::<Vec<u16>>());
    delay.release();
    rig.pass(2 * SLOW);
    for lba in 0..20 {
        assert_eq!(block(&media, lba), [0; 512], "a victim's write reached the media at {lba}");
    }
    for cid in 0..4 {
        assert_eq!(rig.completion(A), (cid, Status::SUCCESS));
        assert_eq!(block(&media, 100 + u64::from(cid)), [0xaa; 512]);
    }
    rig.write(B, 30, 1, 0, 0xbb);
    assert_eq!(rig.completion(B), (30, CONFLICT));
}

#[test]
fn preempt_and_abort_takes_the_victims_writes_out_of_a_slow_device() {
    (0..6).for_each(|seed| preempt_over(seed, false));
}

#[test]
fn preempt_and_abort_takes_the_victims_writes_out_of_a_device_that_hangs() {
    (10..16).for_each(|seed| preempt_over(seed, true));
}

#[test]
fn preempt_and_abort_waits_as_long_as_a_device_keeps_the_victims_writes() {
    for seed in 0..4 {
        let bdev = Manual::new(Memory::Own);
        let device = Arc::clone(&bdev);
        let mut rig = two_hosts(seed, |_| device);
        for cid in 0..5 {
            rig.write(B, cid, 1, 0, 0xbb);
        }
        rig.quiet();
        rig.submit(A, 9, &preempt_and_abort(1, WRITE_EXCLUSIVE, KEY[0], KEY[1]));
        rig.quiet();
        assert_eq!((bdev.held(), bdev.aborts()), (5, 5));
        for left in (1..=5).rev() {
            rig.pass(100 * PATIENCE);
            // Each was aborted at once, and those that were left once more.
            assert_eq!((bdev.held(), bdev.aborts()), (left, 10));
            assert!(rig.hosts[A].completions.is_empty(), "{left} writes are still in the device");
            bdev.complete(1);
        }
        assert_eq!(rig.completion(A), (9, Status::SUCCESS));
        assert_eq!(bdev.held(), 0);
        for cid in 0..5 {
            assert_eq!(rig.completion(B), (cid, Status::SUCCESS), "what the device did is told");
        }
    }
}

#[test]
fn preempt_and_abort_waits_for_the_writes_of_a_victim_that_has_hung_up() {
    let bdev = Manual::new(Memory::Own);
    let device = Arc::clone(&bdev);
    let mut rig = two_hosts(1, |_| device);
    rig.write(B, 1, 1, 0, 0xbb);
    rig.quiet();
    rig.hosts[B].hang_up();
    rig.hosts[B - 1].hang_up();
    rig.quiet();
    rig.submit(A, 9, &preempt_and_abort(1, WRITE_EXCLUSIVE, KEY[0], KEY[1]));
    rig.pass(100 * PATIENCE);
    assert_eq!((bdev.held(), rig.hosts[A].completions.len()), (1, 0));
    bdev.complete(1);
    assert_eq!(rig.completion(A), (9, Status::SUCCESS));
}

#[test]
fn a_victim_that_never_reads_loses_its_connection() {
    for seed in 0..3 {
        let mut rig = two_hosts(seed, |_| memory());
        rig.hosts[B].appetite = 0;
        for cid in 0..120 {
            rig.hosts[B].read(cid, command::read(1, 0, 256), 128 << 10);
        }
        rig.quiet();
        rig.submit(A, 9, &preempt_and_abort(1, WRITE_EXCLUSIVE, KEY[0], KEY[1]));
        rig.pass(PATIENCE / 2);
        assert!(rig.hosts[A].completions.is_empty(), "blocks of the namespace wait to be sent");
        rig.pass(PATIENCE);
        assert_eq!(rig.completion(A), (9, Status::SUCCESS));
        rig.hosts[B].appetite = usize::MAX;
        rig.until("the end of the victim's queue", |rig| rig.hosts[B].closed);
    }
}

#[test]
fn a_victim_that_reads_in_time_keeps_its_connection() {
    let mut rig = two_hosts(1, |_| memory());
    rig.hosts[B].appetite = 0;
    for cid in 0..120 {
        rig.hosts[B].read(cid, command::read(1, 0, 256), 128 << 10);
    }
    rig.quiet();
    rig.submit(A, 9, &preempt_and_abort(1, WRITE_EXCLUSIVE, KEY[0], KEY[1]));
    rig.quiet();
    assert!(rig.hosts[A].completions.is_empty());
    rig.hosts[B].appetite = usize::MAX;
    assert_eq!(rig.completion(A), (9, Status::SUCCESS));
    rig.pass(2 * PATIENCE);
    for cid in 0..120 {
        assert_eq!(rig.completion(B).0, cid);
    }
    assert!(!rig.hosts[B].closed);
}

/// Reservation Report of so many dwords.
pub(crate) fn report(nsid: u32, dwords: u32, extended: bool) -> Sqe {
    let mut sqe = Sqe::of(NvmOpcode::RESERVATION_REPORT.0, 0, nsid);
    sqe.cdw10.set(dwords - 1);
    sqe.cdw11.set(u32::from(extended));
    sqe
}

#[test]
fn a_report_tells_who_is_registered() {
    let mut rig = two_hosts(1, |_| memory());
    assert_eq!(rig.run(B, &acquire(1, REGISTRANTS_ONLY, KEY[1])), Status::SUCCESS);
    rig.hosts[A].read(1, report(1, 64, true), 256);
    assert_eq!(rig.completion(A), (1, Status::SUCCESS));
    let whole = rig.hosts[A].reads.remove(&1).unwrap();
    let (header, rest) = ReportHeader::read_from_prefix(&whole).unwrap();
    assert_eq!((header.generation.get(), header.rtype.0, header.regstrnt.get(), header.ptpls), (2, 3, 2, 0));
    for (index, holder) in [false, true].into_iter().enumerate() {
        let (entry, _) = ReportEntry::read_from_prefix(&rest[index * 64..]).unwrap();
        let number = u8::try_from(index + 1).unwrap();
        assert_eq!((entry.hostid.0, entry.rkey.get()), ([number; 16], KEY[index]));
        assert_eq!(entry.rcsts.holder(), holder);
        assert_ne!(entry.cntlid.get(), ReportEntry::NO_CONTROLLER);
    }
    assert_eq!(whole[192..], [0; 64], "what was asked for beyond the end");
    for bytes in [4u16, 64, 72, 188] {
        rig.hosts[A].read(bytes, report(1, u32::from(bytes / 4), true), usize::from(bytes));
        assert_eq!(rig.completion(A), (bytes, Status::SUCCESS));
        assert_eq!(rig.hosts[A].reads.remove(&bytes).unwrap(), whole[..usize::from(bytes)]);
    }
    rig.hosts[A].read(2, report(1, 64, false), 256);
    assert_eq!(rig.completion(A), (2, Status::HOST_ID_INCONSISTENT.with_dnr()));
}

#[test]
fn namespaces_that_are_not_there_are_told_apart() {
    // Namespace 3 is there, so 2 is inactive.
    let mut rig = FenceRig::new(1, |_| vec![(1, memory()), (3, memory())]);
    let io = rig.connect(1);
    let (inactive, invalid) = (Status::INVALID_FIELD.with_dnr(), Status::INVALID_NAMESPACE.with_dnr());
    let beyond = 1 << 20;
    for (nsid, expected) in [(2, inactive), (u32::MAX, inactive), (0, invalid), (beyond, invalid)] {
        for command in [register(nsid, 1, 0), acquire(nsid, 1, 1), clear(nsid, 1)] {
            assert_eq!(rig.run(io, &command), expected, "{nsid}");
        }
        rig.hosts[io].read(1, report(nsid, 64, true), 256);
        assert_eq!(rig.completion(io), (1, expected), "{nsid}");
    }
    assert_eq!(rig.run(io, &register(3, 1, 0)), Status::SUCCESS);
}

#[test]
fn reservation_commands_are_described_by_sgls() {
    let mut rig = two_hosts(1, |_| memory());
    for flags in [0x00, 0xc0] {
        let mut command = register(1, KEY[0], 0);
        command.sqe.flags = flags;
        assert_eq!(rig.run(A, &command), Status::INVALID_FIELD.with_dnr(), "{flags:x}");
        let mut report = report(1, 64, true);
        report.flags = flags;
        rig.hosts[A].read(1, report, 256);
        assert_eq!(rig.completion(A), (1, Status::INVALID_FIELD.with_dnr()), "{flags:x}");
    }
}

#[test]
fn data_that_is_too_short_is_refused_and_longer_data_is_accepted() {
    let mut rig = two_hosts(1, |_| memory());
    let refused = Status::DATA_SGL_LENGTH_INVALID.with_dnr();
    for (opcode, bytes) in [
        (NvmOpcode::RESERVATION_REGISTER, 16),
        (NvmOpcode::RESERVATION_ACQUIRE, 16),
        (NvmOpcode::RESERVATION_RELEASE, 8),
    ] {
        let mut command = reservation(opcode, 1, 0x100, [KEY[0], KEY[0]]);
        command.data.truncate(bytes - 4);
        assert_eq!(rig.run(A, &command), refused, "{opcode:?}");
        for longer in [bytes, 16, 512] {
            command.data.resize(longer, 0);
            command.data[..8].copy_from_slice(&KEY[0].to_le_bytes());
            command.data[8..16.min(longer)].fill(0xff);
            assert_eq!(rig.run(A, &command), Status::SUCCESS, "{opcode:?} with {longer} bytes");
        }
    }
    // The target asks for the data of a Register that is not in its capsule.
    let command = register(1, KEY[0], 0);
    rig.hosts[A].on_request(3, command.sqe, &command.data);
    assert_eq!(rig.completion(A), (3, Status::SUCCESS));
}

#[test]
fn a_namespace_whose_record_cannot_be_read_is_out_of_service_and_the_others_serve() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(record_path(&directory, 2), b"{ torn").unwrap();
    let media = memory();
    let fenced = Arc::clone(&media);
    let mut rig = FenceRig::over(directory, 1, |_| vec![(1, memory()), (2, fenced), (3, memory())]);
    let io = rig.connect(1);
    for (nsid, expected) in [(2, OUT_OF_SERVICE), (1, Status::SUCCESS), (3, Status::SUCCESS)] {
        rig.write(io, 1, nsid, 0, 0xaa);
        assert_eq!(rig.completion(io), (1, expected), "{nsid}");
        rig.hosts[io].on_request(2, command::write(nsid, 8, 64, false), &[0xaa; 32 << 10]);
        assert_eq!(rig.completion(io), (2, expected), "{nsid}");
        rig.hosts[io].read(3, command::read(nsid, 0, 1), 512);
        assert_eq!(rig.completion(io), (3, expected), "{nsid}");
        rig.hosts[io].plain(4, command::flush(nsid));
        assert_eq!(rig.completion(io), (4, expected), "{nsid}");
        for command in [register(nsid, 1, 3), acquire(nsid, 1, 1), clear(nsid, 1)] {
            assert_eq!(rig.run(io, &command), expected, "{nsid}");
        }
        rig.hosts[io].read(5, report(nsid, 64, true), 256);
        assert_eq!(rig.completion(io), (5, expected), "{nsid}");
    }
    assert_eq!((block(&media, 0), block(&media, 8)), (vec![0; 512], vec![0; 512]));
    assert_eq!(std::fs::read(rig.record(2)).unwrap(), b"{ torn");
}

#[test]
fn a_degraded_namespace_serves_and_refuses_reservations_until_its_disk_is_back() {
    let mut rig = two_hosts(1, |_| memory());
    assert_eq!(rig.run(A, &acquire(1, WRITE_EXCLUSIVE, KEY[0])), Status::SUCCESS);
    // Nothing can be renamed to a directory.
    std::fs::create_dir(rig.record(1)).unwrap();
    for command in [register(1, KEY[0], 3), register(1, KEY[0], 0), clear(1, KEY[0])] {
        assert_eq!(rig.run(A, &command), Status::INTERNAL_ERROR);
    }
    rig.write(A, 1, 1, 0, 0xaa);
    assert_eq!(rig.completion(A), (1, Status::SUCCESS));
    rig.write(B, 1, 1, 0, 0xbb);
    assert_eq!(rig.completion(B), (1, CONFLICT), "the reservation holds");
    assert_eq!(rig.run(B, &register(2, KEY[1], 3)), Status::SUCCESS, "another namespace");
    std::fs::remove_dir(rig.record(1)).unwrap();
    assert_eq!(rig.run(A, &register(1, KEY[0], 3)), Status::SUCCESS);
    assert_eq!(rig.run(A, &clear(1, KEY[0])), Status::SUCCESS);
}
