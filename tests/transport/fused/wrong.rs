//! Pairs that are none, halves that are wrong, and hosts that have no right or go away.

use std::sync::Arc;

use corelane::bdev::{Bdev, Memory};
use corelane::initiator::command;
use corelane::spec::sqe::{Fused, Sqe};
use corelane::spec::status::Status;

use super::{FAILED, MISCOMPARE, WAYS, Way, pair, stand, statuses};
use crate::fence_rig::{FenceRig, HostIndex, acquire, preempt_and_abort, register};
use crate::manual::Manual;
use crate::rig::memory;

const MISSING: Status = Status::MISSING_FUSED.with_dnr();
const INVALID: Status = Status::INVALID_FIELD.with_dnr();
const CONFLICT: Status = Status::RESERVATION_CONFLICT.with_dnr();

fn half(mut sqe: Sqe, fused: Fused) -> Sqe {
    sqe.set_fused(fused);
    sqe
}

fn compare(lba: u64, blocks: u32) -> Sqe {
    half(command::compare(1, lba, blocks), Fused::FIRST)
}

fn write(lba: u64, blocks: u32) -> Sqe {
    half(command::write(1, lba, blocks, false), Fused::SECOND)
}

/// Submits commands with blocks of zeros in their capsules, from CID 0 on; their statuses, by CID.
fn run(rig: &mut FenceRig, host: HostIndex, commands: &[Sqe]) -> Vec<Status> {
    for (cid, sqe) in (0..).zip(commands) {
        let bytes = if sqe.opcode == 0 { 0 } else { sqe.blocks() as usize * 512 };
        match bytes {
            0 => rig.hosts[host].plain(cid, *sqe),
            _ => rig.hosts[host].in_capsule(cid, *sqe, &vec![0; bytes]),
        }
    }
    let mut ended: Vec<_> = commands.iter().map(|_| rig.completion(host)).collect();
    ended.sort_unstable_by_key(|(cid, _)| *cid);
    ended.into_iter().map(|(_, status)| status).collect()
}

#[test]
fn each_wrong_pair_has_its_statuses() {
    let good = Status::SUCCESS;
    let beyond = Status::LBA_OUT_OF_RANGE.with_dnr();
    let plain = command::write(1, 3, 1, false);
    let of_another = half(command::write(2, 3, 1, false), Fused::SECOND);
    let rows: [(&str, &[Sqe], &[Status]); 14] = [
        ("right", &[compare(3, 1), write(3, 1)], &[good, good]),
        ("two in a row", &[compare(3, 1), write(3, 1), compare(4, 2), write(4, 2)], &[good; 4]),
        ("second alone", &[write(3, 1)], &[MISSING]),
        ("first before another command", &[compare(3, 1), plain], &[MISSING, good]),
        ("not adjacent", &[compare(3, 1), plain, write(3, 1)], &[MISSING, good, MISSING]),
        ("two firsts", &[compare(3, 1), compare(3, 1), write(3, 1)], &[MISSING, good, good]),
        ("a flush between", &[compare(3, 1), command::flush(1), write(3, 1)], &[MISSING, good, MISSING]),
        ("other blocks", &[compare(3, 1), write(4, 1)], &[INVALID, INVALID]),
        ("more blocks", &[compare(3, 1), write(3, 2)], &[INVALID, INVALID]),
        ("another namespace", &[compare(3, 1), of_another], &[INVALID, INVALID]),
        ("first beyond the end", &[compare(2048, 1), write(2048, 1)], &[beyond, FAILED]),
        ("second beyond the end", &[compare(3, 1), write(2048, 1)], &[FAILED, beyond]),
        ("read first", &[half(command::flush(1), Fused::FIRST), write(3, 1)], &[INVALID, FAILED]),
        ("write first", &[half(plain, Fused::FIRST), write(3, 1)], &[INVALID, FAILED]),
    ];
    let (mut rig, _, [host, _]) = stand(3);
    for (name, commands, expected) in rows {
        assert_eq!(run(&mut rig, host, commands), expected, "{name}");
    }
    // And nothing of it is left behind.
    assert_eq!(run(&mut rig, host, &[compare(3, 1), write(3, 1)]), [good, good]);
}

#[test]
fn each_half_is_judged_by_the_reservation() {
    let (mut rig, log, [holder, other]) = stand(4);
    assert_eq!(rig.run(holder, &register(1, 5, 0)), Status::SUCCESS);
    for (rtype, expected) in [(1, (Status::SUCCESS, CONFLICT)), (2, (CONFLICT, FAILED))] {
        assert_eq!(rig.run(holder, &acquire(1, rtype, 5)), Status::SUCCESS);
        for way in WAYS {
            pair(&mut rig, other, 0, 9, (0, 7), way);
            assert_eq!(statuses(&mut rig, other, 0), expected);
        }
        pair(&mut rig, holder, 0, 9, (0, 0), Way::InCapsule);
        assert_eq!(statuses(&mut rig, holder, 0), (Status::SUCCESS, Status::SUCCESS));
        let release = crate::fence_rig::reservation(
            corelane::spec::opcode::NvmOpcode::RESERVATION_RELEASE,
            1,
            rtype << 8,
            [5, 0],
        );
        assert_eq!(rig.run(holder, &release), Status::SUCCESS);
    }
    let written = log.lock().unwrap().iter().any(|(_, effect)| *effect == super::Effect::Written(7));
    assert!(!written, "a host without the right wrote");
}

/// Two hosts over a device whose commands complete when they are told to.
fn by_hand(seed: u64, memory_of: Memory) -> (FenceRig, Arc<Manual>, [HostIndex; 2]) {
    let manual = Manual::new(memory_of);
    let bdev: Arc<dyn Bdev> = Arc::<Manual>::clone(&manual);
    let mut rig = FenceRig::new(seed, |_| vec![(1, bdev), (2, memory()), (3, memory())]);
    let hosts = [rig.connect(1), rig.connect(2)];
    (rig, manual, hosts)
}

#[test]
fn a_pair_waits_for_what_is_under_way_and_holds_back_what_comes() {
    for memory_of in [Memory::Own, Memory::Callers { alignment: 4 }] {
        for way in WAYS {
            let (mut rig, manual, [a, b]) = by_hand(5, memory_of);
            rig.write(b, 0, 1, 9, 1);
            rig.quiet();
            assert_eq!(manual.held(), 1);
            pair(&mut rig, a, 0, 9, (1, 2), way);
            rig.quiet();
            assert_eq!(manual.submitted(), 1, "the pair waits for the write of the other core");
            // What does not touch the block goes on; what does, waits, on both cores.
            rig.write(b, 1, 1, 10, 1);
            rig.write(b, 2, 1, 9, 1);
            rig.hosts[b].read(3, command::read(1, 9, 1), 512);
            rig.hosts[a].on_request(4, command::write(1, 8, 2, false), &[1; 1024]);
            rig.quiet();
            assert_eq!((manual.submitted(), manual.held()), (2, 2));
            manual.complete(2);
            rig.quiet();
            assert_eq!((manual.submitted(), manual.held()), (3, 1), "the Compare alone");
            manual.complete(1);
            rig.quiet();
            assert_eq!((manual.submitted(), manual.held()), (4, 1), "the Write alone");
            manual.complete(1);
            assert_eq!(statuses(&mut rig, a, 0), (Status::SUCCESS, Status::SUCCESS));
            rig.quiet();
            assert_eq!((manual.submitted(), manual.held()), (7, 3), "what was held back");
            manual.complete(3);
            assert_eq!(rig.completion(a), (4, Status::SUCCESS));
            let mut cids: Vec<_> = (0..4).map(|_| rig.completion(b).0).collect();
            cids.sort_unstable();
            assert_eq!(cids, [0, 1, 2, 3]);
        }
    }
}

#[test]
fn a_host_that_goes_away_holds_nobody_up() {
    // Before its second half, while it waits for its turn, and while its Compare is in the device.
    for step in 0..3 {
        let (mut rig, manual, [a, b]) = by_hand(6, Memory::Own);
        if step == 0 {
            rig.hosts[a].in_capsule(0, compare(9, 1), &[0; 512]);
        } else {
            if step == 1 {
                rig.write(b, 9, 1, 9, 1);
                rig.quiet();
            }
            pair(&mut rig, a, 0, 9, (0, 1), Way::InCapsule);
        }
        rig.quiet();
        assert_eq!(manual.held(), usize::from(step > 0));
        rig.hosts[a].hang_up();
        rig.quiet();
        manual.complete(manual.held());
        rig.quiet();
        let submitted = manual.submitted();
        pair(&mut rig, b, 0, 9, (0, 1), Way::OnRequest);
        rig.quiet();
        assert_eq!(manual.submitted(), submitted + 1, "step {step}");
        manual.complete(2);
        if step == 1 {
            assert_eq!(rig.completion(b), (9, Status::SUCCESS));
        }
        assert_eq!(statuses(&mut rig, b, 0), (Status::SUCCESS, Status::SUCCESS), "step {step}");
    }
}

#[test]
fn a_preempted_host_writes_no_second_half() {
    let (mut rig, manual, [a, b]) = by_hand(7, Memory::Own);
    for (host, key) in [(a, 5), (b, 6)] {
        assert_eq!(rig.run(host, &register(1, key, 0)), Status::SUCCESS);
    }
    assert_eq!(rig.run(a, &acquire(1, 3, 5)), Status::SUCCESS);
    pair(&mut rig, b, 0, 9, (0, 1), Way::InCapsule);
    rig.quiet();
    assert_eq!((manual.submitted(), manual.held()), (1, 1), "its Compare");
    rig.submit(a, 40, &preempt_and_abort(1, 3, 5, 6));
    rig.quiet();
    assert!(rig.hosts[a].completions.is_empty(), "it waits for the victim");
    manual.complete(1);
    assert_eq!(rig.completion(a), (40, Status::SUCCESS));
    assert_eq!(statuses(&mut rig, b, 0), (Status::SUCCESS, Status::ABORTED_PREEMPT));
    assert_eq!(manual.submitted(), 1, "its Write never came to the device");
}

#[test]
fn a_pair_that_differs_changes_nothing_and_gives_the_block_free() {
    let (mut rig, _, [a, b]) = stand(8);
    rig.write(a, 9, 1, 9, 3);
    assert_eq!(rig.completion(a), (9, Status::SUCCESS));
    for way in WAYS {
        pair(&mut rig, b, 0, 9, (4, 5), way);
        assert_eq!(statuses(&mut rig, b, 0), (MISCOMPARE, FAILED));
    }
    pair(&mut rig, a, 0, 9, (3, 5), Way::Mixed);
    assert_eq!(statuses(&mut rig, a, 0), (Status::SUCCESS, Status::SUCCESS));
}
