//! A reservation command against an I/O reactor that stalls in the midst of its turn, and has read the old rules: the
//! command waits for the end of that turn, however far everybody else gets meanwhile.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::sync::Arc;

use corelane::bdev::Bdev;
use corelane::spec::status::Status;

use crate::fence_rig::{FenceRig, HostIndex, Reservation, acquire, clear, preempt, register};
use crate::stall::{self, Stall};

const SEEDS: u64 = 240;
const CONFLICT: Status = Status::RESERVATION_CONFLICT.with_dnr();
const WRITE_EXCLUSIVE: u32 = 1;
const REGISTRANTS_ONLY: u32 = 3;
/// The reactor that stalls, with the queues of [`B`] and [`C`].
const STALLING: usize = 2;
/// Turns of the others meanwhile: enough for the command to come as far as it can.
const MEANWHILE: usize = 400;
/// Turns in which it comes to the stall.
const STALLING_TURNS_MAX: usize = 10;
/// Writes of each host that its reactor finds in one turn: more than there are buffers for.
const EARLY: u16 = 24;
const LATE: u16 = 8;
/// CID of the first late write.
const LATE_CID: u16 = 100;

/// Sends the reservation command.
const A: HostIndex = 1;
/// May write only before the command, or, where it is a Clear, only after it.
const B: HostIndex = 3;
/// As B, but for Clear: it may write all the time.
const C: HostIndex = 7;
const KEY: [u64; 3] = [0xa, 0xb, 0xc];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Acquire,
    Preempt,
    Clear,
}

/// What was seen of the command.
#[derive(Default)]
struct Watch {
    /// Commands that the device had when it was complete.
    complete: Option<usize>,
    /// It was complete before the turn that stalled was over.
    early: bool,
    /// Commands that the device had when the turn stalled.
    stalled: usize,
    /// The new record was on disk before that turn was over.
    saved: bool,
}

/// What a round showed.
#[derive(Default)]
struct Shown {
    /// Commands that the reactor handed over in its turn after it had stalled.
    by_old_rules: usize,
    saved: bool,
}

impl Command {
    /// Brings the namespace to where the command has something to change; the command.
    fn prepare(self, rig: &mut FenceRig, cptpl: u32) -> Reservation {
        let mut run = |host, command: Reservation| assert_eq!(rig.run(host, &command), Status::SUCCESS);
        run(A, register(1, KEY[0], cptpl));
        match self {
            Self::Acquire => acquire(1, WRITE_EXCLUSIVE, KEY[0]),
            Self::Preempt => {
                run(B, register(1, KEY[1], 0));
                run(C, register(1, KEY[2], 0));
                run(B, acquire(1, REGISTRANTS_ONLY, KEY[1]));
                preempt(1, WRITE_EXCLUSIVE, KEY[0], KEY[1])
            }
            Self::Clear => {
                run(C, register(1, KEY[2], 0));
                run(A, acquire(1, REGISTRANTS_ONLY, KEY[0]));
                clear(1, KEY[0])
            }
        }
    }

    /// What B's writes are answered before and after the command.
    fn statuses(self) -> [Status; 2] {
        match self {
            Self::Acquire | Self::Preempt => [Status::SUCCESS, CONFLICT],
            Self::Clear => [CONFLICT, Status::SUCCESS],
        }
    }
}

/// Looks whether A's command is complete; if so, B begins its late writes.
fn look(rig: &mut FenceRig, bdev: &Stall, watch: &mut Watch) {
    if watch.complete.is_none() && !rig.hosts[A].completions.is_empty() {
        watch.complete = Some(bdev.submitted());
        (0..LATE).for_each(|cid| rig.write(B, LATE_CID + cid, 1, 1, 0xbb));
    }
}

/// A command of A's while the reactor of B and C stalls with their writes in its hands.
fn stall(seed: u64) -> Shown {
    let command = match seed % 3 {
        0 => Command::Acquire,
        1 => Command::Preempt,
        _ => Command::Clear,
    };
    let pends = seed / 3 % 2 == 1;
    let bdev = Stall::new(pends);
    let device = Arc::clone(&bdev);
    let mut rig = FenceRig::new(seed, |_| vec![(1, device as Arc<dyn Bdev>)]);
    // Queues go to the I/O reactors by turns, so the third is only there to have the fourth beside B's.
    assert_eq!([1, 2, 3, 4].map(|number| rig.connect(number)), [A, B, 5, C]);
    let request = command.prepare(&mut rig, if seed / 6 % 2 == 1 { 3 } else { 0 });
    for host in [C, B] {
        (0..EARLY).for_each(|cid| rig.write(host, cid, 1, 0, 0xcc));
        while rig.hosts[host].has_queued() {
            rig.hosts[host].pump();
        }
    }
    let before = fs::read(rig.record(1)).ok();
    rig.submit(A, 9, &request);
    let watch = Rc::new(RefCell::new(Watch::default()));
    for turn in 0.. {
        assert!(turn < STALLING_TURNS_MAX, "the reactor never stalled");
        let (seen, device, before) = (Rc::clone(&watch), Arc::clone(&bdev), before.clone());
        let during = move |rig: &mut FenceRig| {
            let watch = &mut *seen.borrow_mut();
            watch.stalled = device.submitted();
            for _ in 0..MEANWHILE {
                rig.turn();
                look(rig, &device, watch);
            }
            watch.early = watch.complete.is_some();
            watch.saved = fs::read(rig.record(1)).ok() != before;
        };
        let calls = if pends { 0 } else { rig.below(usize::from(EARLY) / 2) };
        rig = rig.stalled(STALLING, |during| stall::arm(calls, during), during);
        if stall::disarm() {
            break;
        }
    }
    let by_old_rules = bdev.submitted() - watch.borrow().stalled;
    while watch.borrow().complete.is_none() {
        rig.turn();
        look(&mut rig, &bdev, &mut watch.borrow_mut());
    }
    assert_eq!(rig.completion(A), (9, Status::SUCCESS));
    check(&mut rig, command, &bdev, &watch.borrow());
    Shown { by_old_rules, saved: watch.borrow().saved }
}

/// Nothing was judged by the old rules after A's command was complete, and that was not before the turn was over.
fn check(rig: &mut FenceRig, command: Command, bdev: &Stall, watch: &Watch) {
    let [before, after] = command.statuses();
    let mut changed = false;
    for _ in 0..EARLY + LATE {
        let (cid, status) = rig.completion(B);
        assert!(status == after || !changed && status == before, "{command:?} {cid}: {status:?}");
        changed = status == after;
        assert!(changed || cid < LATE_CID, "{command:?}: write {cid} was judged by the old rules");
    }
    rig.quiet();
    if command != Command::Clear {
        assert_eq!(Some(bdev.submitted()), watch.complete, "{command:?}: a write was handed over too late");
    }
    assert!(!watch.early, "{command:?} was complete in the midst of a turn that had the old rules");
}

#[test]
fn a_reservation_command_waits_for_a_reactor_that_stalls_in_its_turn() {
    let mut shown = Shown::default();
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let round = stall(seed);
        shown.by_old_rules += round.by_old_rules;
        shown.saved |= round.saved;
    }
    assert!(shown.by_old_rules > 0, "no command was judged by the old rules after the stall");
    assert!(shown.saved, "no command had come as far as it could");
}
