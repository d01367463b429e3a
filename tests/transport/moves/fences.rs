//! Queues that move while their hosts are preempted: nobody escapes, and nobody is waited for twice.

use std::sync::Arc;
use std::time::Duration;

use corelane::spec::status::Status;

use super::{Bdev, Delay, Delays, FenceRig, Ground, TURN, grounds, memory};
use crate::fence_rig::{acquire, preempt_and_abort, register};
use crate::reservations::CONFLICT;
use crate::rig::block;

const EXCLUSIVE: u32 = 2;
const BLOCKS: u64 = 64;
const KEYS: [u64; 2] = [0xa, 0xb];

/// The first bytes of the blocks that the hosts write to.
fn medium(bdev: &Arc<dyn Bdev>) -> Vec<u8> {
    (0..BLOCKS).map(|lba| block(bdev, lba)[0]).collect()
}

/// A turn in which the victim writes, if it may still have room, and a queue may be asked to move.
fn turn(rig: &mut FenceRig, victim: usize, cid: &mut u16, value: u8) {
    if *cid < 100 && rig.below(4) == 0 {
        let lba = rig.below(usize::try_from(BLOCKS).expect("few")) as u64;
        rig.write(victim, *cid, 1, lba, value);
        *cid += 1;
    }
    if rig.below(20) == 0 {
        rig.nudge();
    }
    rig.turn();
}

/// Two hosts preempt each other by turns, over a device that takes its time, while queues move.
fn preempt_each_other(ground: &Ground, seed: u64) -> u64 {
    println!("seed {seed}, ring {}", ground.ring);
    let media = memory();
    let mut rig = FenceRig::on(ground, seed, |clock| {
        let delays = Delays { fixed: Duration::from_micros(200), ..Delays::default() };
        let slow = Arc::new(Delay::new(Arc::clone(&media), clock.clone(), delays));
        vec![(1, slow), (2, memory()), (3, memory())]
    });
    rig.turn = TURN;
    let hosts = [1, 2].map(|number| rig.connect(number));
    let register_again = |rig: &mut FenceRig, side: usize| {
        assert_eq!(rig.run(hosts[side], &register(1, KEYS[side], 0)), Status::SUCCESS);
    };
    (0..2).for_each(|side| register_again(&mut rig, side));
    assert_eq!(rig.run(hosts[0], &acquire(1, EXCLUSIVE, KEYS[0])), Status::SUCCESS);
    for round in 1..12u8 {
        let (victim, winner) = (usize::from(round + 1) % 2, usize::from(round) % 2);
        let mut cid = 0;
        for _ in 0..400 {
            turn(&mut rig, hosts[victim], &mut cid, round);
        }
        let command = preempt_and_abort(1, EXCLUSIVE, KEYS[winner], KEYS[victim]);
        rig.submit(hosts[winner], 200, &command);
        while rig.hosts[hosts[winner]].completions.is_empty() {
            turn(&mut rig, hosts[victim], &mut cid, round);
        }
        assert_eq!(rig.completion(hosts[winner]), (200, Status::SUCCESS));
        // From here on, nothing of the victim reaches the medium, wherever its queue is.
        let fenced = medium(&media);
        let late = cid;
        for _ in 0..600 {
            turn(&mut rig, hosts[victim], &mut cid, round);
        }
        let mut statuses = vec![None; usize::from(cid)];
        for _ in 0..cid {
            let (cid, status) = rig.completion(hosts[victim]);
            assert_eq!(statuses[usize::from(cid)].replace(status), None, "answered twice");
        }
        assert_eq!(medium(&media), fenced, "a write escaped in round {round}");
        assert!(statuses[usize::from(late)..].iter().all(|status| *status == Some(CONFLICT)), "{statuses:?}");
        register_again(&mut rig, victim);
    }
    rig.moved()
}

#[test]
fn a_preempted_host_escapes_on_no_way() {
    for ground in grounds() {
        let mut moved = 0;
        for seed in 0..6 {
            moved += preempt_each_other(&ground, seed);
        }
        assert!(moved > 30, "only {moved} moves");
    }
}
