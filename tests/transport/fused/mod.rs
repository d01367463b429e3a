//! Fused Compare and Write: nobody comes between its halves, on whatever core; and what a wrong pair is answered.

mod recorder;
mod wrong;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corelane::bdev::{Bdev, Delay, Delays};
use corelane::initiator::command;
use corelane::spec::status::Status;

use crate::fence_rig::{FenceRig, HostIndex};
use crate::rig::memory;
use recorder::{Effect, Log, Recorder};

const FAILED: Status = Status::FAILED_FUSED.with_dnr();
const MISCOMPARE: Status = Status::COMPARE_FAILURE.with_dnr();

/// How the data of a pair gets to the target.
#[derive(Clone, Copy)]
enum Way {
    InCapsule,
    OnRequest,
    Mixed,
}

const WAYS: [Way; 3] = [Way::InCapsule, Way::OnRequest, Way::Mixed];

/// Submits a pair under `cid` and the next one: where block `lba` holds `expected`, it is to hold `new`.
fn pair(rig: &mut FenceRig, host: HostIndex, cid: u16, lba: u64, (expected, new): (u8, u8), way: Way) {
    let (mut compare, mut write) = (command::compare(1, lba, 1), command::write(1, lba, 1, false));
    command::fuse(&mut compare, &mut write);
    let host = &mut rig.hosts[host];
    match way {
        Way::InCapsule | Way::Mixed => host.in_capsule(cid, compare, &[expected; 512]),
        Way::OnRequest => host.on_request(cid, compare, &[expected; 512]),
    }
    match way {
        Way::InCapsule => host.in_capsule(cid + 1, write, &[new; 512]),
        Way::OnRequest | Way::Mixed => host.on_request(cid + 1, write, &[new; 512]),
    }
}

/// The statuses of a pair that is alone on its queue.
fn statuses(rig: &mut FenceRig, host: HostIndex, cid: u16) -> (Status, Status) {
    let (first, second) = (rig.completion(host), rig.completion(host));
    assert_eq!((first.0, second.0), (cid, cid + 1), "the Compare is answered first");
    (first.1, second.1)
}

/// A rig over a device whose commands take different times, with two hosts on two I/O reactors.
fn stand(seed: u64) -> (FenceRig, Log, [HostIndex; 2]) {
    let recorder = Recorder::new();
    let log = Arc::clone(&recorder.log);
    let mut rig = FenceRig::new(seed, |clock| {
        let delays = Delays { fixed: Duration::ZERO, jitter: Duration::from_millis(1), seed };
        let slow: Arc<dyn Bdev> = Arc::new(Delay::new(recorder, clock.clone(), delays));
        vec![(1, slow), (2, memory()), (3, memory())]
    });
    let hosts = [rig.connect(1), rig.connect(2)];
    (rig, log, hosts)
}

/// A pair that was submitted.
struct Try {
    host: HostIndex,
    cid: u16,
    lba: u64,
    expected: u8,
    new: u8,
}

/// Some pairs, writes and reads of both hosts on two blocks, all at once; returns the pairs.
fn race(rig: &mut FenceRig, hosts: [HostIndex; 2], now: &BTreeMap<u64, u8>, fresh: &mut u8) -> Vec<Try> {
    let mut tries = Vec::new();
    let mut cids = [0, 0];
    for _ in 0..12 {
        let which = rig.below(2);
        let (host, cid) = (hosts[which], cids[which]);
        let lba = 8 + u64::try_from(rig.below(2)).expect("small");
        cids[which] += 2;
        *fresh += 1;
        match rig.below(6) {
            0 => rig.write(host, cid, 1, lba, *fresh),
            1 => rig.hosts[host].read(cid, command::read(1, lba, 1), 512),
            _ => {
                let expected = if rig.below(4) == 0 { *fresh - 1 } else { now[&lba] };
                let way = WAYS[rig.below(3)];
                pair(rig, host, cid, lba, (expected, *fresh), way);
                tries.push(Try { host, cid, lba, expected, new: *fresh });
            }
        }
        for _ in 0..rig.below(20) {
            rig.turn();
        }
    }
    tries
}

/// The place in the log of a pair that succeeded; and nothing else came between.
fn assert_atomic(log: &[(u64, Effect)], tried: &Try, statuses: (Status, Status)) {
    let Try { lba, expected, new, .. } = *tried;
    let written = log.iter().position(|entry| *entry == (lba, Effect::Written(new)));
    if statuses != (Status::SUCCESS, Status::SUCCESS) {
        assert_eq!(statuses, (MISCOMPARE, FAILED));
        return assert_eq!(written, None, "what was not equal was written");
    }
    let written = written.expect("a write that succeeded");
    let before = log[..written].iter().rev().find(|(other, _)| *other == lba);
    assert_eq!(before, Some(&(lba, Effect::Compared(expected, true))), "somebody came between: {log:?}");
}

#[test]
fn nobody_comes_between_the_halves() {
    let (mut won, mut lost) = (0, 0);
    for seed in 0..40 {
        println!("seed {seed}");
        let (mut rig, log, hosts) = stand(seed);
        let mut now: BTreeMap<u64, u8> = [(8, 0), (9, 0)].into();
        let mut fresh = 1;
        // 25 schedules a target: 1,000 in all.
        for round in 0..25 {
            if fresh > 200 {
                fresh = 1;
            }
            log.lock().unwrap().clear();
            let tries = race(&mut rig, hosts, &now, &mut fresh);
            rig.quiet();
            let mut ended: BTreeMap<(HostIndex, u16), Status> = BTreeMap::new();
            for host in hosts {
                for cqe in std::mem::take(&mut rig.hosts[host].completions) {
                    ended.insert((host, cqe.cid.get()), cqe.status());
                }
            }
            let log = log.lock().unwrap().clone();
            let mut winners = BTreeMap::new();
            for tried in &tries {
                let of = |cid: u16| *ended.get(&(tried.host, cid)).expect("an answer");
                let statuses = (of(tried.cid), of(tried.cid + 1));
                assert_atomic(&log, tried, statuses);
                if statuses.0 == Status::SUCCESS {
                    won += 1;
                    let before = winners.insert((tried.lba, tried.expected), tried.host);
                    assert_eq!(before, None, "two won the same race, in round {round}");
                } else {
                    lost += 1;
                }
            }
            for (lba, effect) in log {
                if let Effect::Written(value) = effect {
                    now.insert(lba, value);
                }
            }
        }
    }
    println!("{won} pairs won, {lost} lost");
    assert!(won > 1000 && lost > 1000);
}

#[test]
fn of_two_hosts_exactly_one_wins() {
    let (mut rig, _, hosts) = stand(77);
    for round in 0..100 {
        let way = WAYS[usize::from(round) % 3];
        for host in hosts {
            pair(&mut rig, host, 0, 5, (round, round + 1), way);
        }
        let ended = hosts.map(|host| statuses(&mut rig, host, 0));
        let won = ended.iter().filter(|statuses| **statuses == (Status::SUCCESS, Status::SUCCESS));
        assert_eq!(won.count(), 1, "round {round}: {ended:?}");
        assert!(ended.contains(&(MISCOMPARE, FAILED)));
    }
}
