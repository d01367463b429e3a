//! Write protection, from one host's Set Features to what another core does with another host's writes.

pub(crate) mod cached;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use corelane::bdev::{Bdev, Delay, Delays, Hang};
use corelane::initiator::command;
use corelane::spec::feature::{FeatureId, WriteProtectionState};
use corelane::spec::nvm::DatasetAttributes;
use corelane::spec::opcode::AdminOpcode;
use corelane::spec::sqe::Sqe;
use corelane::spec::status::Status;
use corelane_reactors::clock::{Clock, Time};

use crate::fence_rig::{FenceRig, HostIndex, acquire, clear, preempt_and_abort, record_path, register};
use crate::log::warnings;
use crate::reservations::report;
use crate::rig::{block, memory, settings};
use cached::Cached;

const PROTECTED: Status = Status::WRITE_PROTECTED.with_dnr();
const KEY: [u64; 2] = [0xa, 0xb];
/// CID of Set Features.
const SET: u16 = 9;

/// I/O queues of two hosts, on two I/O reactors; the admin queue of each is the one before.
const A: HostIndex = 1;
const B: HostIndex = 3;
const fn admin(host: HostIndex) -> HostIndex {
    host - 1
}

fn two_hosts(seed: u64, bdev: impl FnOnce(&Clock) -> Arc<dyn Bdev>) -> FenceRig {
    println!("seed {seed}");
    let mut rig = FenceRig::new(seed, |clock| vec![(1, bdev(clock)), (2, memory()), (3, memory())]);
    assert_eq!([1, 2].map(|number| rig.connect(number)), [A, B]);
    rig
}

fn ask(rig: &mut FenceRig, host: HostIndex, nsid: u32, protected: bool) {
    let state = if protected { WriteProtectionState::PROTECTED } else { WriteProtectionState::NONE };
    rig.hosts[admin(host)].plain(SET, command::write_protection(nsid, state));
}

fn set(rig: &mut FenceRig, host: HostIndex, nsid: u32, protected: bool) -> Status {
    ask(rig, host, nsid, protected);
    answer(rig, host)
}

fn answer(rig: &mut FenceRig, host: HostIndex) -> Status {
    let (cid, status) = rig.completion(admin(host));
    assert_eq!(cid, SET);
    status
}

/// The first byte of a block as it lies in memory.
fn byte(bdev: &Arc<dyn Bdev>, lba: u64) -> u8 {
    block(bdev, lba)[0]
}

/// The status of each command that needs nothing, alone on its queue.
fn harmless(rig: &mut FenceRig, host: HostIndex, nsid: u32) -> [Status; 6] {
    let mut one = |submit: &dyn Fn(&mut crate::host::Host)| {
        submit(&mut rig.hosts[host]);
        rig.completion(host).1
    };
    let hint = || {
        let mut sqe = command::deallocate(nsid, 1);
        sqe.cdw11.set(DatasetAttributes::new().with_ad(false).into_bits());
        sqe
    };
    [
        one(&|host| host.read(1, command::read(nsid, 0, 1), 512)),
        one(&|host| host.in_capsule(1, command::compare(nsid, 640, 1), &[0; 512])),
        one(&|host| host.plain(1, command::verify(nsid, 0, 1))),
        one(&|host| host.plain(1, command::flush(nsid))),
        one(&|host| host.in_capsule(1, hint(), &command::dataset_range(0, 1))),
        one(&|host| host.read(1, report(nsid, 64, true), 256)),
    ]
}

/// The status of each command that changes something.
fn harmful(rig: &mut FenceRig, host: HostIndex, nsid: u32) -> [Status; 7] {
    let mut one = |submit: &dyn Fn(&mut crate::host::Host)| {
        submit(&mut rig.hosts[host]);
        rig.completion(host).1
    };
    [
        one(&|host| host.in_capsule(1, command::write(nsid, 8, 1, false), &[0xaa; 512])),
        one(&|host| host.on_request(1, command::write(nsid, 8, 64, true), &[0xaa; 32 << 10])),
        one(&|host| host.plain(1, command::write_zeroes(nsid, 8, 1, false))),
        one(&|host| host.plain(1, command::write_zeroes(nsid, 8, 1, true))),
        one(&|host| host.in_capsule(1, command::deallocate(nsid, 1), &command::dataset_range(8, 1))),
        one(&|host| host.in_capsule(1, command::copy(nsid, 16, 1, false), &command::copy_range(0, 1))),
        one(&|host| host.plain(1, command::write_uncorrectable(nsid, 700, 1))),
    ]
}

#[test]
fn what_changes_blocks_is_refused_for_everybody_and_the_rest_goes_on() {
    let media = memory();
    let mut rig = two_hosts(1, |_| Arc::clone(&media));
    for (protector, lifter) in [(A, B), (B, A)] {
        assert_eq!(set(&mut rig, protector, 1, true), Status::SUCCESS);
        assert_eq!(set(&mut rig, lifter, 1, true), Status::SUCCESS, "it is so already");
        for host in [A, B] {
            assert_eq!(harmless(&mut rig, host, 1), [Status::SUCCESS; 6]);
            assert_eq!(harmful(&mut rig, host, 1), [PROTECTED; 7]);
            assert_eq!(harmful(&mut rig, host, 2), [Status::SUCCESS; 7], "another namespace");
        }
        // Reservations are registered and held; who has no right is told that nobody may write.
        for (host, key) in [A, B].into_iter().zip(KEY) {
            assert_eq!(rig.run(host, &register(1, key, 0)), Status::SUCCESS);
        }
        assert_eq!(rig.run(A, &acquire(1, 1, KEY[0])), Status::SUCCESS);
        for host in [A, B] {
            assert_eq!(harmless(&mut rig, host, 1), [Status::SUCCESS; 6]);
            assert_eq!(harmful(&mut rig, host, 1), [PROTECTED; 7]);
        }
        assert_eq!(set(&mut rig, lifter, 1, false), Status::SUCCESS);
        let conflict = Status::RESERVATION_CONFLICT.with_dnr();
        assert_eq!(harmful(&mut rig, B, 1), [conflict; 7], "the reservation has outlived it");
        assert_eq!(rig.run(A, &clear(1, KEY[0])), Status::SUCCESS);
        assert_eq!(harmful(&mut rig, A, 1), [Status::SUCCESS; 7]);
    }
    // Both ends of a copy are on one namespace.
    rig.write(A, 1, 1, 0, 0x11);
    assert_eq!(rig.completion(A).1, Status::SUCCESS);
    assert_eq!(set(&mut rig, A, 1, true), Status::SUCCESS);
    harmful(&mut rig, A, 1);
    assert_eq!((byte(&media, 0), byte(&media, 16)), (0x11, 0), "no copy was made of it");
}

#[test]
fn the_second_half_of_a_fused_pair_is_refused_and_the_first_has_its_own_status() {
    let media = memory();
    let mut rig = two_hosts(1, |_| Arc::clone(&media));
    assert_eq!(set(&mut rig, A, 1, true), Status::SUCCESS);
    let failed = Status::FAILED_FUSED.with_dnr();
    for (expected, answers) in
        [(0, [Status::SUCCESS, PROTECTED]), (1, [Status::COMPARE_FAILURE.with_dnr(), failed])]
    {
        let (mut compare, mut write) = (command::compare(1, 5, 1), command::write(1, 5, 1, false));
        command::fuse(&mut compare, &mut write);
        rig.hosts[B].in_capsule(1, compare, &[expected; 512]);
        rig.hosts[B].in_capsule(2, write, &[0xbb; 512]);
        let statuses = [rig.completion(B), rig.completion(B)];
        assert_eq!(statuses, [(1, answers[0]), (2, answers[1])]);
        assert_eq!(byte(&media, 5), 0);
    }
}

/// Writes of B, as fast as they go, until A's command is complete; then some more, each of which must be refused.
#[test]
fn no_write_that_another_core_starts_later_reaches_the_medium() {
    for seed in 0..24 {
        let media = memory();
        let mut rig = two_hosts(seed, |_| Arc::clone(&media));
        for round in 1..5 {
            ask(&mut rig, A, 1, true);
            let mut cid = 0;
            while rig.hosts[admin(A)].completions.is_empty() {
                if cid < 100 && rig.below(4) == 0 {
                    rig.write(B, cid, 1, 1, round);
                    cid += 1;
                }
                rig.turn();
            }
            assert_eq!(answer(&mut rig, A), Status::SUCCESS);
            let before = byte(&media, 1);
            for extra in 0..20 {
                rig.write(B, cid + extra, 1, 2, round);
                for _ in 0..rig.below(3) {
                    rig.turn();
                }
            }
            let mut refused = false;
            for expected in 0..cid + 20 {
                let (found, status) = rig.completion(B);
                assert_eq!(found, expected);
                let early = !refused && expected < cid && status == Status::SUCCESS;
                assert!(status == PROTECTED || early, "{status:?}");
                refused = status == PROTECTED;
            }
            assert_eq!((byte(&media, 1), byte(&media, 2)), (before, 0), "a write landed afterwards");
            assert_eq!(set(&mut rig, A, 1, false), Status::SUCCESS);
            rig.write(B, 7, 1, 3, round);
            assert_eq!(rig.completion(B), (7, Status::SUCCESS), "everybody writes again");
        }
    }
}

/// Two hosts over a device in which commands wait so long.
fn slow(seed: u64, wait: Duration, media: &Arc<dyn Bdev>) -> (FenceRig, Arc<Delay>) {
    let kept = Arc::new(OnceLock::new());
    let rig = two_hosts(seed, |clock| {
        let delays = Delays { fixed: wait, ..Delays::default() };
        let delay = Delay::new(Arc::clone(media), clock.clone(), delays);
        Arc::clone(kept.get_or_init(|| Arc::new(delay))) as _
    });
    (rig, Arc::clone(kept.get().expect("a device that was made")))
}

#[test]
fn set_features_waits_for_writes_that_devices_have_and_for_nothing_else() {
    let wait = settings().abort_after / 2;
    for seed in 0..6 {
        let media = memory();
        let (mut rig, _) = slow(seed, wait, &media);
        (0..10).for_each(|cid| rig.write(B, cid, 1, u64::from(cid), 0xbb));
        rig.quiet();
        ask(&mut rig, A, 1, true);
        rig.quiet();
        rig.write(B, 20, 1, 20, 0xbb);
        assert_eq!(rig.completion(B), (20, PROTECTED), "nothing more is begun");
        rig.hosts[B].plain(22, command::flush(1));
        rig.hosts[B].read(21, command::read(1, 500, 1), 512);
        rig.write(A, 1, 2, 0, 0xaa);
        assert_eq!(rig.completion(A), (1, Status::SUCCESS), "another namespace");
        assert_eq!(
            (rig.hosts[admin(A)].completions.len(), byte(&media, 0)),
            (0, 0),
            "writes are in the device"
        );
        assert_eq!(answer(&mut rig, A), Status::SUCCESS);
        (0..10).for_each(|lba| assert_eq!(byte(&media, lba), 0xbb, "all of them are over"));
        let flushed = rig.hosts[B].completions.iter().any(|cqe| cqe.cid.get() == 22);
        assert!(!flushed, "what changes nothing is not waited for: hosts could go on for ever");
        let mut cids: Vec<u16> = (0..12)
            .map(|_| rig.completion(B))
            .map(|(cid, status)| {
                assert_eq!(status, Status::SUCCESS, "{cid}");
                cid
            })
            .collect();
        cids.sort_unstable();
        assert_eq!(cids, (0..10).chain([21, 22]).collect::<Vec<u16>>());
        assert_eq!(byte(&media, 20), 0);
    }
}

#[test]
fn writes_that_do_not_end_are_ended_and_their_hosts_try_again() {
    let after = [(Hang::Abort, settings().abort_after), (Hang::Reset, settings().reset_after)];
    for (seed, (hang, after)) in (0..3).flat_map(|seed| after.map(|row| (seed, row))) {
        let media = memory();
        let (mut rig, delay) = slow(seed, Duration::ZERO, &media);
        for (host, key) in [A, B].into_iter().zip(KEY) {
            assert_eq!(rig.run(host, &register(1, key, 0)), Status::SUCCESS);
        }
        delay.hang_until(hang);
        (0..10).for_each(|cid| rig.write(B, cid, 1, u64::from(cid), 0xbb));
        rig.quiet();
        let began = rig.now();
        ask(&mut rig, A, 1, true);
        rig.quiet();
        // What comes behind it on the namespace is not held up for longer.
        rig.submit(A, 50, &preempt_and_abort(1, 3, KEY[0], KEY[1]));
        let log = warnings(|| {
            assert_eq!(answer(&mut rig, A), Status::SUCCESS);
        });
        assert!(rig.now() >= began + after && rig.now() < began + 2 * after, "{hang:?}");
        assert!(
            log.iter().any(|line| line.contains("writes to a namespace that is to be write protected")),
            "{log:?}"
        );
        for cid in 0..10 {
            assert_eq!(rig.completion(B), (cid, Status::NAMESPACE_NOT_READY), "to be tried again");
        }
        assert_eq!(rig.completion(A), (50, Status::SUCCESS));
        delay.release();
        rig.write(B, 0, 1, 0, 0xbb);
        assert_eq!(rig.completion(B), (0, PROTECTED));
        rig.quiet();
        (0..10).for_each(|lba| assert_eq!(byte(&media, lba), 0, "nothing landed afterwards"));
    }
}

#[test]
fn what_devices_have_cached_is_durable_before_the_answer() {
    for (seed, gone) in (0..4).flat_map(|seed| [(seed, false), (seed, true)]) {
        let device = Cached::new();
        let mut rig = two_hosts(seed, |_| Arc::clone(&device) as _);
        for host in [A, B] {
            rig.write(host, 1, 1, 0, 0xaa);
            assert_eq!(rig.completion(host), (1, Status::SUCCESS));
        }
        if gone {
            [A, B].into_iter().for_each(|host| rig.hosts[host].hang_up());
            rig.quiet();
        }
        ask(&mut rig, A, 1, true);
        rig.quiet();
        assert_eq!((device.cached(), device.flushing()), (2, 2), "each reactor asks for it");
        assert!(rig.hosts[admin(A)].completions.is_empty());
        device.flushes(true);
        assert_eq!(answer(&mut rig, A), Status::SUCCESS);
        assert_eq!(device.cached(), 0);
        assert_eq!(set(&mut rig, A, 1, false), Status::SUCCESS, "lifting it flushes nothing");
        assert_eq!(device.flushing(), 0);
    }
}

#[test]
fn what_cannot_be_made_durable_fails_the_command_and_hosts_may_write_as_before() {
    let device = Cached::new();
    let mut rig = two_hosts(1, |_| Arc::clone(&device) as _);
    rig.write(B, 1, 1, 0, 0xaa);
    assert_eq!(rig.completion(B), (1, Status::SUCCESS));
    device.flushes(false);
    let log = warnings(|| assert_eq!(set(&mut rig, A, 1, true), Status::INTERNAL_ERROR));
    assert!(log.iter().any(|line| line.contains("cannot be made durable")), "{log:?}");
    rig.write(B, 2, 1, 0, 0xaa);
    assert_eq!(rig.completion(B), (2, Status::SUCCESS));
    assert_eq!(protection(&mut rig, B), 0);
    let mut rig = rig.restarted(|_| vec![(1, Arc::clone(&device) as _)]);
    assert_eq!([1, 2].map(|number| rig.connect(number)), [A, B]);
    rig.write(B, 2, 1, 0, 0xaa);
    assert_eq!(rig.completion(B), (2, Status::SUCCESS), "nor does a restart find it protected");
    device.flushes(true);
    assert_eq!(set(&mut rig, A, 1, true), Status::SUCCESS);
    assert_eq!(protection(&mut rig, B), 1);
}

/// What Get Features says of namespace 1.
fn protection(rig: &mut FenceRig, host: HostIndex) -> u32 {
    let mut sqe = Sqe::of(AdminOpcode::GET_FEATURES.0, 0, 1);
    sqe.cdw10.set(FeatureId::WRITE_PROTECTION.0.into());
    rig.hosts[admin(host)].plain(8, sqe);
    rig.until("an answer", |rig| !rig.hosts[admin(host)].completions.is_empty());
    let cqe = rig.hosts[admin(host)].completions.pop_front().expect("waited for");
    assert_eq!((cqe.cid.get(), cqe.status()), (8, Status::SUCCESS));
    cqe.dw0.get()
}

#[test]
fn it_survives_the_end_of_the_target_with_and_without_reservations_that_do() {
    for cptpl in [0, 3] {
        let mut rig = two_hosts(1, |_| memory());
        assert_eq!(rig.run(A, &register(1, KEY[0], cptpl)), Status::SUCCESS);
        assert_eq!(set(&mut rig, A, 1, true), Status::SUCCESS);
        let registrants = |rig: &mut FenceRig| {
            rig.hosts[A].read(3, report(1, 64, true), 256);
            assert_eq!(rig.completion(A), (3, Status::SUCCESS));
            rig.hosts[A].reads[&3][5]
        };
        for _ in 0..2 {
            rig = rig.restarted(|_| vec![(1, memory()), (2, memory()), (3, memory())]);
            assert_eq!([1, 2].map(|number| rig.connect(number)), [A, B]);
            assert_eq!(protection(&mut rig, B), 1);
            assert_eq!(harmful(&mut rig, B, 1), [PROTECTED; 7]);
            assert_eq!(registrants(&mut rig), u8::from(cptpl == 3), "reservations as they were to be kept");
        }
        assert_eq!(set(&mut rig, B, 1, false), Status::SUCCESS);
        assert_eq!(rig.record(1).exists(), cptpl == 3, "nothing is left where nothing is to survive");
        rig = rig.restarted(|_| vec![(1, memory()), (2, memory()), (3, memory())]);
        assert_eq!([1, 2].map(|number| rig.connect(number)), [A, B]);
        assert_eq!(harmful(&mut rig, B, 1), [Status::SUCCESS; 7]);
        assert_eq!(registrants(&mut rig), u8::from(cptpl == 3));
    }
}

#[test]
fn what_an_operator_protects_is_protected_from_the_next_turns_on_until_he_lifts_it() {
    let media = memory();
    let (mut rig, _) = slow(1, Duration::from_millis(100), &media);
    rig.write(B, 1, 1, 1, 0xbb);
    rig.quiet();
    let change = |rig: &mut FenceRig, protected: bool| {
        rig.change(move |target| {
            let mut policy = target.policy(0).clone();
            policy.protected = if protected { [1].into() } else { [].into() };
            target.set_policy(Time::ORIGIN, 0, policy);
        });
        rig.quiet();
    };
    change(&mut rig, true);
    rig.write(A, 1, 1, 2, 0xaa);
    assert_eq!(rig.completion(A), (1, PROTECTED));
    assert_eq!(protection(&mut rig, A), 0, "hosts are told when the writes are over");
    assert_eq!(rig.completion(B), (1, Status::SUCCESS));
    rig.quiet();
    assert_eq!(protection(&mut rig, A), 1);
    assert_eq!(set(&mut rig, A, 1, false), Status::FEATURE_NOT_CHANGEABLE.with_dnr());
    assert_eq!(set(&mut rig, A, 1, true), Status::SUCCESS, "hosts want it, too");
    change(&mut rig, false);
    assert_eq!(harmful(&mut rig, A, 1), [PROTECTED; 7]);
    assert_eq!(set(&mut rig, A, 1, false), Status::SUCCESS);
    assert_eq!(harmful(&mut rig, A, 1), [Status::SUCCESS; 7]);
    change(&mut rig, true);
    change(&mut rig, false);
    assert_eq!(harmful(&mut rig, B, 1), [Status::SUCCESS; 7]);
}

#[test]
fn a_namespace_out_of_service_is_not_protected_by_anybody() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(record_path(&directory, 1), b"{ torn").expect("a record");
    let mut rig = FenceRig::over(directory, 1, |_| vec![(1, memory()), (2, memory())]);
    rig.connect(1);
    for protected in [true, false] {
        assert_eq!(set(&mut rig, A, 1, protected), Status::INTERNAL_ERROR.with_dnr());
    }
    rig.write(A, 1, 1, 0, 0xaa);
    assert_eq!(rig.completion(A), (1, Status::INTERNAL_ERROR.with_dnr()));
    assert_eq!(set(&mut rig, A, 2, true), Status::SUCCESS);
}
