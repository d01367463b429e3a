//! Preempt and Abort over devices that do not end commands when they are asked: ever harsher means are used, and it is
//! complete when every command of the victim has ended, and never before.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use corelane::bdev::{Bdev, Delay, Delays, Hang, Memory};
use corelane::spec::status::Status;
use corelane::transport::Settings;
use corelane_reactors::clock::Time;

use crate::fence_rig::{FenceRig, HostIndex, acquire, preempt_and_abort, register};
use crate::log::warnings;
use crate::manual::Manual;
use crate::rig::{block, memory, settings};

const SEEDS: u64 = 12;
const REGISTRANTS_ONLY: u32 = 3;
const SLOW: Duration = Duration::from_secs(100);
/// Less than between any two time limits, and more than a message takes.
const MOMENT: Duration = Duration::from_millis(500);
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// Preempts, on the first I/O reactor.
const A: HostIndex = 1;
/// Is preempted, on the second.
const B: HostIndex = 3;
/// Stays a registrant, on the second.
const C: HostIndex = 7;
const KEY: [u64; 3] = [0xa, 0xb, 0xc];
/// Writes of B, from block 0, one each.
const VICTIMS: u16 = 20;
/// Writes of A and C, from these blocks.
const INNOCENT: u16 = 4;
const FIRST: [(HostIndex, u64); 2] = [(A, 100), (C, 200)];
const PREEMPT: u16 = 90;
const GONE: Status = Status::INTERNAL_ERROR.with_dnr();

/// A rig in which all three have writes in a device that is slow, and A preempts B.
struct Scene {
    rig: FenceRig,
    delay: Arc<Delay>,
    media: Arc<dyn Bdev>,
    began: Time,
}

impl Scene {
    fn new(seed: u64, hang: Option<Hang>) -> Self {
        println!("seed {seed}, {hang:?}");
        let media = memory();
        let kept = Arc::new(OnceLock::new());
        let mut rig = FenceRig::new(seed, |clock| {
            let delays = Delays { fixed: SLOW, ..Delays::default() };
            let delay = Delay::new(Arc::clone(&media), clock.clone(), delays);
            let delay = Arc::clone(kept.get_or_init(|| Arc::new(delay)));
            vec![(1, delay as Arc<dyn Bdev>), (2, memory())]
        });
        let delay = Arc::clone(kept.get().expect("a device that was made"));
        // The third is only there to have the fourth beside the second.
        assert_eq!([1, 2, 3, 4].map(|number| rig.connect(number)), [A, B, 5, C]);
        for (host, key) in [A, B, C].into_iter().zip(KEY) {
            assert_eq!(rig.run(host, &register(1, key, 0)), Status::SUCCESS);
        }
        assert_eq!(rig.run(A, &acquire(1, REGISTRANTS_ONLY, KEY[0])), Status::SUCCESS);
        if let Some(means) = hang {
            delay.hang_until(means);
        }
        (0..VICTIMS).for_each(|cid| rig.write(B, cid, 1, u64::from(cid), 0xbb));
        for (host, first) in FIRST {
            (0..INNOCENT).for_each(|cid| rig.write(host, cid, 1, first + u64::from(cid), 0xaa));
        }
        rig.quiet();
        rig.submit(A, PREEMPT, &preempt_and_abort(1, REGISTRANTS_ONLY, KEY[0], KEY[1]));
        let began = rig.now();
        rig.quiet();
        Self { rig, delay, media, began }
    }

    /// Lets time pass until so long after the preempting command was sent.
    fn until(&mut self, after: Duration) {
        let by = (self.began + after).since(self.rig.now());
        self.rig.pass(by);
    }

    /// Completions that wait: of the preempting command and A's writes, of the victim, of the innocent host.
    fn answers(&self) -> [usize; 3] {
        [A, B, C].map(|host| self.rig.hosts[host].completions.len())
    }

    /// So many completions of a queue, all with this status, in any order.
    fn expect(&mut self, host: HostIndex, count: u16, expected: Status) {
        let mut cids: Vec<u16> = (0..count)
            .map(|_| {
                let (cid, status) = self.rig.completion(host);
                assert_eq!(status, expected, "{cid}");
                cid
            })
            .collect();
        cids.sort_unstable();
        assert_eq!(cids, (0..count).collect::<Vec<u16>>());
    }

    fn byte(&self, lba: u64) -> u8 {
        block(&self.media, lba)[0]
    }

    /// Whatever the device does from now on, no write of the victim reaches the medium. Those of these hosts do.
    fn settle(&mut self, carried_out: &[HostIndex]) {
        self.delay.release();
        self.rig.pass(2 * SLOW);
        carried_out.iter().for_each(|host| self.expect(*host, INNOCENT, Status::SUCCESS));
        for lba in 0..VICTIMS {
            assert_eq!(self.byte(lba.into()), 0, "a victim's write reached block {lba}");
        }
        for (host, first) in FIRST {
            let expected = if carried_out.contains(&host) { 0xaa } else { 0 };
            for cid in 0..INNOCENT {
                assert_eq!(self.byte(first + u64::from(cid)), expected, "host {host}, write {cid}");
            }
        }
        // Another namespace has noticed nothing.
        for host in [A, B, C] {
            self.rig.write(host, 99, 2, 0, 0xcc);
            assert_eq!(self.rig.completion(host), (99, Status::SUCCESS));
        }
    }
}

#[test]
fn what_can_be_aborted_is_over_before_anything_harsher() {
    for (seed, hang) in (0..SEEDS).flat_map(|seed| [(seed, None), (seed, Some(Hang::Abort))]) {
        let mut scene = Scene::new(seed, hang);
        assert_eq!(scene.rig.completion(A), (PREEMPT, Status::SUCCESS));
        assert!(scene.rig.now() < scene.began + settings().abort_after);
        scene.expect(B, VICTIMS, Status::ABORTED_PREEMPT);
        scene.until(2 * settings().retire_after);
        assert_eq!(scene.answers(), [0; 3], "others' commands were left alone");
        scene.settle(&[A, C]);
    }
}

#[test]
fn a_device_that_refuses_aborts_is_reset_and_other_hosts_may_try_again() {
    let Settings { reset_after, retire_after, .. } = settings();
    for seed in 0..SEEDS {
        let mut scene = Scene::new(seed, Some(Hang::Reset));
        scene.until(reset_after - MOMENT);
        assert_eq!(scene.answers(), [0; 3]);
        scene.until(reset_after + MOMENT);
        assert_eq!(scene.answers(), [1, VICTIMS.into(), INNOCENT.into()]);
        assert_eq!(scene.rig.completion(A), (PREEMPT, Status::SUCCESS));
        scene.expect(B, VICTIMS, Status::ABORTED_PREEMPT);
        scene.expect(C, INNOCENT, Status::NAMESPACE_NOT_READY);
        for cid in 0..INNOCENT {
            scene.rig.write(C, cid, 1, 200 + u64::from(cid), 0xaa);
        }
        scene.until(2 * retire_after);
        assert_eq!(scene.answers(), [0; 3], "the other reactor's channel was left alone");
        scene.settle(&[A, C]);
    }
}

#[test]
fn a_device_that_refuses_a_reset_is_taken_out_of_service() {
    let Settings { retire_after, .. } = settings();
    for seed in 0..SEEDS {
        let mut scene = Scene::new(seed, Some(Hang::Retire));
        scene.until(retire_after - MOMENT);
        assert_eq!(scene.answers(), [0; 3]);
        scene.until(retire_after + MOMENT);
        scene.expect(B, VICTIMS, Status::ABORTED_PREEMPT);
        scene.expect(C, INNOCENT, GONE);
        let mut answers: Vec<_> = (0..=INNOCENT).map(|_| scene.rig.completion(A)).collect();
        answers.sort_unstable_by_key(|(cid, _)| *cid);
        assert_eq!(answers.pop(), Some((PREEMPT, Status::SUCCESS)));
        assert!(answers.iter().all(|(_, status)| *status == GONE), "{answers:?}");
        scene.rig.write(C, 50, 1, 0, 0xaa);
        assert_eq!(scene.rig.completion(C), (50, GONE));
        scene.settle(&[]);
    }
}

#[test]
fn a_device_that_nothing_ends_keeps_the_preempting_command_for_ever() {
    for seed in 0..SEEDS {
        let mut scene = Scene::new(seed, Some(Hang::Nothing));
        scene.until(FOR_EVER);
        assert_eq!(scene.answers(), [0; 3]);
        scene.rig.write(A, 70, 2, 0, 0xcc);
        assert_eq!(scene.rig.completion(A), (70, Status::SUCCESS), "another namespace");
        // It was not gone after all: what it does is told, and then, and only then, it is over.
        scene.delay.release();
        let answered = loop {
            scene.rig.turn();
            if scene.rig.hosts[A].completions.iter().any(|cqe| cqe.cid.get() == PREEMPT) {
                break (0..VICTIMS).all(|lba| scene.byte(lba.into()) == 0xbb);
            }
        };
        assert!(answered, "a write of the victim was still to come");
        scene.expect(B, VICTIMS, Status::SUCCESS);
    }
}

#[test]
fn each_means_is_logged_and_the_last_line_says_what_to_do() {
    let refused = warnings(each_means_is_used_once);
    let parts =
        ["aborted once more", "cannot be reset", "cannot be taken out of service", "cut the device off"];
    assert_eq!(refused.len(), parts.len(), "{refused:?}");
    for (line, part) in refused.iter().zip(parts) {
        assert!(line.contains(part) && line.contains("bdev=\"manual\" nsid=1 left=5"), "{line}");
    }
    let followed = warnings(|| {
        Scene::new(1, Some(Hang::Reset)).until(2 * settings().retire_after);
    });
    assert_eq!(followed.len(), 2, "{followed:?}");
    assert!(followed[1].contains("WARN") && followed[1].contains("queue is reset"), "{followed:?}");
    let retired = warnings(|| {
        Scene::new(1, Some(Hang::Retire)).until(2 * settings().retire_after);
    });
    assert_eq!(retired.len(), 3, "{retired:?}");
    assert!(retired[2].contains("ERROR") && retired[2].contains("is taken out of service"), "{retired:?}");
}

#[test]
fn each_means_is_used_once() {
    let bdev = Manual::new(Memory::Own);
    let device = Arc::clone(&bdev);
    let mut rig = FenceRig::new(1, |_| vec![(1, device as Arc<dyn Bdev>)]);
    for (number, key) in [1, 2].into_iter().zip(KEY) {
        let io = rig.connect(number);
        assert_eq!(rig.run(io, &register(1, key, 0)), Status::SUCCESS);
    }
    (0..5).for_each(|cid| rig.write(B, cid, 1, 0, 0xbb));
    rig.quiet();
    rig.submit(A, PREEMPT, &preempt_and_abort(1, REGISTRANTS_ONLY, KEY[0], KEY[1]));
    let Settings { abort_after, reset_after, retire_after, .. } = settings();
    let rows = [
        (Duration::ZERO, (5, 0, 0)),
        (abort_after, (10, 0, 0)),
        (reset_after, (10, 1, 0)),
        (retire_after, (10, 1, 1)),
        (FOR_EVER, (10, 1, 1)),
    ];
    let began = rig.now();
    rig.quiet();
    for (after, expected) in rows {
        let by = (began + after + MOMENT).since(rig.now());
        rig.pass(by);
        assert_eq!((bdev.aborts(), bdev.resets(), bdev.retired()), expected, "{after:?}");
    }
    assert_eq!((rig.hosts[A].completions.len(), bdev.held()), (0, 5));
    bdev.complete(5);
    assert_eq!(rig.completion(A), (PREEMPT, Status::SUCCESS));
}
