//! A port with a disk in memory, whose misdeeds are numbered by the commands that they strike.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poller::Phase as TurnPhase;
use corelane_reactors::sim::Simulation;

use crate::initiator::{End, Fault, QueueName};
use crate::mem::{self, Extent};
use crate::perf::generator::Generator;
use crate::perf::lane::Lane;
use crate::perf::share::{CoreShared, Phase, Shared, Standing};
use crate::perf::{Failure, Io, Outage, Pattern, Plan, Port, Report, Sink, Space, Submission};
use crate::spec::status::Status;

pub(super) const SPACE: Space = Space { nsid: 3, block_size: 512, blocks: 4096, transfer_bytes_max: 1 << 17 };
/// From one turn to the next.
const TURN: Duration = Duration::from_micros(10);
const TURNS_MAX: usize = 4_000_000;

/// What a command meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misdeed {
    /// One bit of what it brings is flipped: that of this byte.
    FlipBit(usize),
    /// It is acknowledged and not written.
    ForgetWrite,
    /// It brings the block behind the one asked for.
    WrongPlace,
    /// It fails with this status.
    Fail(Status),
    /// It, and all that are under way, go down with the connection; half of the writes were carried out.
    Outage,
    /// As `Outage`, for good.
    End,
    /// It is never answered.
    Silence,
    /// It is answered so long after it came.
    Late(Duration),
    /// It is answered then.
    LateUntil(Time),
}

/// What a fake does, and what it was asked.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) misdeeds: BTreeMap<u64, Misdeed>,
    /// What every other command meets.
    pub(super) habit: Option<Misdeed>,
    pub(super) blocks: BTreeMap<u64, Vec<u8>>,
    pub(super) asked: u64,
    /// Commands under way, at most.
    pub(super) most: usize,
    pub(super) left: bool,
    /// It has time limits of its own.
    pub(super) minds_time: bool,
    under_way: VecDeque<(usize, u16, Io, Option<Misdeed>)>,
    back_at: Option<Time>,
    up: bool,
}

impl Disk {
    /// One that holds these blocks, and has this habit.
    pub(super) fn holding(blocks: BTreeMap<u64, Vec<u8>>, habit: Option<Misdeed>) -> Self {
        Self { blocks, habit, ..Self::default() }
    }

    /// One that answers command number `at` late, and minds the time itself.
    pub(super) fn slow(at: u64, after: Duration) -> Self {
        Self { misdeeds: BTreeMap::from([(at, Misdeed::Late(after))]), minds_time: true, ..Self::default() }
    }
}

pub(super) struct Fake {
    disk: Rc<RefCell<Disk>>,
    lanes: usize,
}

const CUT: Outage = Outage::Association(Fault::Ended { queue: QueueName(1), end: End::ClosedByPeer });

impl Fake {
    fn finish(disk: &mut Disk, io: &Io, misdeed: Option<Misdeed>) -> Result<(), Failure> {
        let bytes = SPACE.block_size as usize;
        let shift = u64::from(misdeed == Some(Misdeed::WrongPlace));
        for index in 0..io.blocks {
            let start = index as usize * bytes;
            let range = start..start + bytes;
            let lba = io.lba + u64::from(index);
            if io.write {
                let mut block = vec![0; bytes];
                mem::copy_out(io.memory.read_only().slice(range), &mut block);
                if misdeed != Some(Misdeed::ForgetWrite) {
                    disk.blocks.insert(lba, block);
                }
            } else {
                let mut block = disk.blocks.get(&(lba + shift)).cloned().unwrap_or(vec![0; bytes]);
                if let Some(Misdeed::FlipBit(byte)) = misdeed {
                    block[byte] ^= 0x10;
                }
                mem::copy_in(&block, io.memory.slice(range));
            }
        }
        if let Some(Misdeed::Fail(status)) = misdeed { Err(Failure::Status(status)) } else { Ok(()) }
    }

    fn cut(disk: &mut Disk) {
        for (index, (_, _, io, _)) in std::mem::take(&mut disk.under_way).into_iter().enumerate() {
            if io.write && index % 2 == 0 {
                let _ = Self::finish(disk, &io, None);
            }
        }
        disk.up = false;
    }
}

impl Port for Fake {
    fn poll(&mut self, now: Time, sink: &mut impl Sink) -> bool {
        let disk = &mut *self.disk.borrow_mut();
        let lanes: Range<usize> = 0..self.lanes;
        if !disk.up && disk.back_at.is_none_or(|at| now >= at) {
            (disk.up, disk.back_at) = (true, None);
            sink.up(lanes.clone());
        }
        // The newest first: nothing says that they end in order.
        for _ in 0..disk.under_way.len() {
            let Some((lane, tag, io, misdeed)) = disk.under_way.pop_back() else { break };
            match misdeed {
                Some(Misdeed::Outage | Misdeed::End) => {
                    disk.under_way.push_back((lane, tag, io, None));
                    Self::cut(disk);
                    let over = misdeed == Some(Misdeed::End);
                    disk.back_at = Some(if over { Time::MAX } else { now + Duration::from_millis(3) });
                    sink.down(lanes.clone(), CUT, over);
                    return true;
                }
                Some(Misdeed::Late(after)) => {
                    disk.under_way.push_front((lane, tag, io, Some(Misdeed::LateUntil(now + after))));
                }
                Some(Misdeed::LateUntil(at)) if now < at => {
                    disk.under_way.push_front((lane, tag, io, misdeed))
                }
                Some(Misdeed::Silence) => disk.under_way.push_front((lane, tag, io, misdeed)),
                _ => sink.done(lane, tag, Self::finish(disk, &io, misdeed)),
            }
        }
        true
    }

    fn submit(&mut self, lane: usize, tag: u16, io: &Io) -> Submission {
        let disk = &mut *self.disk.borrow_mut();
        assert!(disk.up, "no command goes to a lane that is down");
        let misdeed = disk.misdeeds.get(&disk.asked).copied().or(disk.habit);
        disk.asked += 1;
        disk.under_way.push_back((lane, tag, *io, misdeed));
        disk.most = disk.most.max(disk.under_way.len());
        Submission::Taken
    }

    fn flush(&mut self) -> bool {
        false
    }

    fn minds_time(&self) -> bool {
        self.disk.borrow().minds_time
    }

    fn unanswered(&mut self, now: Time, _lane: usize, after: Duration, sink: &mut impl Sink) {
        let disk = &mut *self.disk.borrow_mut();
        Self::cut(disk);
        disk.back_at = Some(now + Duration::from_millis(3));
        let fault = Fault::CommandTimedOut { queue: QueueName(1), after };
        sink.down(0..self.lanes, Outage::Association(fault), false);
    }

    fn leave(&mut self, _now: Time) {
        let disk = &mut *self.disk.borrow_mut();
        disk.left = true;
    }

    fn is_over(&self) -> bool {
        self.disk.borrow().left
    }
}

pub(super) fn plan() -> Plan {
    Plan {
        block_bytes: 1024,
        depth: 8,
        connections: 2,
        cores: vec![0],
        reads_percent: 50,
        pattern: Pattern::Random,
        duration: Duration::from_millis(40),
        warm_up: Duration::from_millis(5),
        rate: None,
        verify: true,
        seed: 7,
        timeout: Duration::from_millis(100),
    }
}

/// Runs a plan on a new disk with these misdeeds, in virtual time.
pub(super) fn run(plan: &Plan, misdeeds: &[(u64, Misdeed)]) -> (Report, Disk) {
    run_on(plan, 1, Disk { misdeeds: misdeeds.iter().copied().collect(), ..Disk::default() })
}

/// Runs a plan on a disk, as the run of this number.
pub(super) fn run_on(plan: &Plan, number: u64, disk: Disk) -> (Report, Disk) {
    plan.check(&SPACE).unwrap();
    let disk = Rc::new(RefCell::new(disk));
    let mut simulation = Simulation::new(1, plan.seed).unwrap();
    let clock = simulation.group().clock().clone();
    let (shared, core) = (Arc::new(Shared::default()), Arc::new(CoreShared::new(plan.connections.into())));
    let stride = plan.block_bytes as usize;
    let lane_bytes = stride * usize::from(plan.depth);
    let memory = Arc::new(Extent::ordinary(lane_bytes * usize::from(plan.connections)).unwrap());
    let lanes = (0..plan.connections.into())
        .map(|lane| {
            let place = (&memory, lane * lane_bytes, stride);
            Lane::new(plan, &SPACE, (number, lane), place, Arc::clone(&core.lanes[lane]))
        })
        .collect();
    let fake = Fake { disk: Rc::clone(&disk), lanes: plan.connections.into() };
    let generator = Generator::new(fake, lanes, plan, Arc::clone(&shared), Arc::clone(&core), clock);
    simulation.reactor(0).add_poller(TurnPhase::Ingress, Box::new(generator)).unwrap();

    let until = |simulation: &mut Simulation, time: Option<Duration>| {
        let end = time.map(|time| simulation.now() + time);
        for _ in 0..TURNS_MAX {
            let ready = end.is_none() && core.standing() == Standing::Ready;
            if ready || core.standing() == Standing::Over || end.is_some_and(|end| simulation.now() >= end) {
                return;
            }
            simulation.advance(TURN);
            let _ = simulation.reactor(0).turn();
        }
        panic!("nothing comes of it: seed {}", plan.seed);
    };
    until(&mut simulation, None);
    for (phase, time) in [(Phase::WarmUp, plan.warm_up), (Phase::Measuring, plan.duration)] {
        shared.set_phase(phase);
        until(&mut simulation, Some(time));
    }
    shared.set_phase(Phase::Ending);
    until(&mut simulation, Some(Duration::from_secs(300)));
    assert_eq!(core.standing(), Standing::Over, "the load ends");
    let report = Report::new(plan, &[core], false);
    drop(simulation);
    let disk = Rc::into_inner(disk).expect("the generator is gone").into_inner();
    (report, disk)
}
