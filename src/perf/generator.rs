//! The poller that keeps one core's lanes busy.
//!
//! ```text
//!   Connecting --all lanes up--> Loading --the run ends--> Draining --> ReadingBack --> Draining --> Leaving --> Over
//!        |                          |                     (verify only: what was written is read once more)
//!        +----- given up -----------+--------------------> Draining ------------------> Leaving
//! ```
//!
//! Invariants: a lane that could take a command is in `hungry`, or has none to give until one of its own ends; every
//! command that was chosen is told to `Outcome` or to the histogram of its lane, once.

use std::collections::VecDeque;
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::poller::{Poll, Poller, Wake};
use corelane_reactors::reactor::Turn;
use corelane_reactors::stats::Sample;

use crate::perf::lane::Lane;
use crate::perf::share::{CoreShared, Outcome, Phase, Shared, Standing};
use crate::perf::{Failure, Outage, Plan, Port, Sink, Submission};

/// How often commands are looked at that take too long.
const WATCH_EVERY: Duration = Duration::from_millis(50);
/// Beyond the time limit of a command, how long those under way may take when the run ends.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// The same for a port that minds the time itself; whoever cannot wait asks for the end twice.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// How long reading back may take.
const READ_BACK_MAX: Duration = Duration::from_secs(60);
/// How long an orderly end may take.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// With a rate, how far the load may be behind before the rest is given up.
const BEHIND_MAX: Duration = Duration::from_millis(100);
/// Different errors that are counted apart; the others are counted together.
const ERRORS_MAX: usize = 64;
const OTHERS: &str = "other errors";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Loading,
    Draining { until: Time },
    ReadingBack { until: Time },
    Leaving { until: Time },
    Over,
}

/// One core's load.
pub(super) struct Generator<P> {
    port: P,
    lanes: Box<[Lane]>,
    hungry: VecDeque<usize>,
    is_hungry: Box<[bool]>,
    shared: Arc<Shared>,
    core: Arc<CoreShared>,
    clock: Clock,
    stage: Stage,
    phase: Phase,
    ups: usize,
    rate: Option<Pace>,
    timeout: Duration,
    verify: bool,
    read_back: bool,
    watch: Time,
    began: Time,
    preempted: Option<u64>,
    outcome: Outcome,
}

/// When the next command is due.
struct Pace {
    interval: Duration,
    next: Time,
}

impl Pace {
    fn take(&mut self, now: Time) -> bool {
        if now.since(self.next) > BEHIND_MAX {
            self.next = now;
        }
        let due = now >= self.next;
        if due {
            self.next = self.next + self.interval;
        }
        due
    }
}

/// The port, and all else as its [`Sink`].
macro_rules! split {
    ($generator:expr) => {{
        let generator = $generator;
        let sink = Sinking {
            lanes: &mut generator.lanes,
            hungry: &mut generator.hungry,
            is_hungry: &mut generator.is_hungry,
            core: &generator.core,
            clock: &generator.clock,
            ups: &mut generator.ups,
            outcome: &mut generator.outcome,
            measuring: generator.phase == Phase::Measuring,
        };
        (&mut generator.port, sink)
    }};
}
impl<P: Port> Generator<P> {
    pub(super) fn new(
        port: P,
        lanes: Box<[Lane]>,
        plan: &Plan,
        shared: Arc<Shared>,
        core: Arc<CoreShared>,
        clock: Clock,
    ) -> Self {
        let count = lanes.len();
        let interval = |rate: u64| {
            let nanoseconds = 1_000_000_000_u64.saturating_mul(plan.connections.into());
            Duration::from_nanos(nanoseconds / rate.saturating_mul(count as u64).max(1))
        };
        Self {
            port,
            lanes,
            hungry: VecDeque::with_capacity(count),
            is_hungry: vec![false; count].into(),
            shared,
            core,
            clock,
            stage: Stage::Connecting,
            phase: Phase::Connecting,
            ups: 0,
            rate: plan.rate.map(|rate| Pace { interval: interval(rate), next: Time::ORIGIN }),
            timeout: plan.timeout,
            verify: plan.verify,
            read_back: false,
            watch: Time::ORIGIN,
            began: Time::ORIGIN,
            preempted: None,
            outcome: Outcome::default(),
        }
    }

    /// Follows the phase of the run.
    fn follow(&mut self, now: Time) {
        let phase = self.shared.phase();
        if phase == self.phase {
            return;
        }
        let before = std::mem::replace(&mut self.phase, phase);
        if phase == Phase::Measuring {
            (self.began, self.preempted) = (now, preemptions());
            self.core.set_standing(Standing::Measuring);
        } else if before == Phase::Measuring {
            self.measured(now);
        }
        match self.stage {
            Stage::Connecting | Stage::Loading if phase >= Phase::Ending => {
                self.stage = self.draining(now);
            }
            Stage::ReadingBack { .. } if phase == Phase::Abandoning => {
                self.stage = Stage::ReadingBack { until: now }
            }
            Stage::Draining { until } if phase == Phase::Abandoning => {
                self.stage = Stage::Draining { until: until.min(now + self.timeout + DRAIN_GRACE) }
            }
            _ => {}
        }
    }

    fn draining(&self, now: Time) -> Stage {
        let can_wait = self.port.minds_time() && self.phase != Phase::Abandoning;
        let limit = if can_wait { DRAIN_MAX } else { self.timeout + DRAIN_GRACE };
        Stage::Draining { until: now + limit }
    }

    fn measured(&mut self, now: Time) {
        self.outcome.measured = now.since(self.began);
        self.outcome.preemptions = self.preempted.and_then(|first| Some(preemptions()? - first));
    }

    /// Moves from stage to stage.
    fn proceed(&mut self, now: Time) {
        let under_way = |lanes: &[Lane]| lanes.iter().map(Lane::under_way).sum::<usize>();
        match self.stage {
            Stage::Connecting if self.ups == self.lanes.len() => {
                self.stage = Stage::Loading;
                self.core.set_standing(Standing::Ready);
            }
            Stage::Connecting | Stage::Loading | Stage::Over => {}
            Stage::Draining { until } => {
                let left = under_way(&self.lanes);
                if left > 0 && now < until {
                    return;
                }
                self.outcome.unfinished += left as u64;
                let may_read = self.verify && !self.read_back && self.outcome.gave_up.is_none();
                if left == 0 && may_read && self.phase != Phase::Abandoning {
                    self.read_back = true;
                    self.core.set_standing(Standing::ReadingBack);
                    self.stage = Stage::ReadingBack { until: now + READ_BACK_MAX };
                    (0..self.lanes.len())
                        .for_each(|lane| hunger(&mut self.hungry, &mut self.is_hungry, lane));
                } else {
                    self.leave(now);
                }
            }
            Stage::ReadingBack { until } => {
                let is_over = self.outcome.gave_up.is_some() || self.lanes.iter().all(Lane::has_read_back);
                if now >= until || is_over {
                    self.stage = self.draining(now);
                }
            }
            Stage::Leaving { until } => {
                if self.port.is_over() || now >= until {
                    self.finish(now);
                }
            }
        }
    }

    fn leave(&mut self, now: Time) {
        self.port.leave(now);
        self.stage = Stage::Leaving { until: now + LEAVE_MAX };
    }

    fn finish(&mut self, now: Time) {
        self.stage = Stage::Over;
        if self.phase == Phase::Measuring {
            self.measured(now);
        }
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.verified.unread = self.lanes.iter().map(Lane::unread).sum();
        self.core.set_outcome(outcome);
    }

    /// Gives hungry lanes new commands; true if any was.
    fn feed(&mut self, now: Time) -> bool {
        let mut fed = false;
        for _ in 0..self.hungry.len() {
            let Some(lane) = self.hungry.pop_front() else { break };
            self.is_hungry[lane] = false;
            if !self.lanes[lane].is_up {
                continue;
            }
            let stays = loop {
                match self.give(lane, now) {
                    Given::One => fed = true,
                    Given::NothingNow => break true,
                    Given::Nothing => break false,
                }
                // With a rate, every lane has its turn.
                if self.rate.is_some() {
                    break true;
                }
            };
            if stays {
                hunger(&mut self.hungry, &mut self.is_hungry, lane);
            }
        }
        fed
    }

    /// Gives one lane one command.
    fn give(&mut self, number: usize, now: Time) -> Given {
        let lane = &mut self.lanes[number];
        let tag = match lane.next_lost() {
            Some(tag) => tag,
            None => {
                let chosen = match self.stage {
                    Stage::Loading if self.phase >= Phase::WarmUp => {
                        if lane.is_full() {
                            return Given::Nothing;
                        }
                        if self.rate.as_mut().is_some_and(|pace| !pace.take(now)) {
                            return Given::NothingNow;
                        }
                        lane.choose(now)
                    }
                    Stage::Loading | Stage::Connecting => return Given::NothingNow,
                    Stage::ReadingBack { .. } => {
                        let chosen = lane.choose_read_back(now);
                        if chosen.is_none() && !lane.is_full() && !lane.has_read_back() {
                            return Given::NothingNow;
                        }
                        self.outcome.verified.read_back += u64::from(chosen.is_some());
                        chosen
                    }
                    Stage::Draining { .. } | Stage::Leaving { .. } | Stage::Over => None,
                };
                let Some(tag) = chosen else { return Given::Nothing };
                tag
            }
        };
        match self.port.submit(number, tag, &lane.io(tag)) {
            Submission::Taken => lane.taken(tag, now),
            Submission::Full => {
                lane.refused(tag);
                return Given::NothingNow;
            }
            Submission::Failed(failure) => {
                lane.ended(tag, false, now, &mut self.outcome.verified);
                count(&mut self.outcome.errors, &failure, &self.core);
            }
        }
        Given::One
    }

    /// Looks for commands that take too long.
    fn watch(&mut self, now: Time) {
        if now < self.watch || self.port.minds_time() {
            return;
        }
        self.watch = now + WATCH_EVERY;
        let elapsed = now.since(Time::ORIGIN);
        let Some(before) = elapsed.checked_sub(self.timeout) else { return };
        let before = Time::ORIGIN + before;
        for number in 0..self.lanes.len() {
            if self.lanes[number].is_up && self.lanes[number].is_overdue(before) {
                let after = self.timeout;
                let (port, mut sink) = split!(&mut *self);
                port.unanswered(now, number, after, &mut sink);
            }
        }
    }
}

/// What a lane got.
enum Given {
    One,
    /// Nothing, and it is to be asked again.
    NothingNow,
    /// Nothing, until one of its commands has ended.
    Nothing,
}

struct Sinking<'a> {
    lanes: &'a mut [Lane],
    hungry: &'a mut VecDeque<usize>,
    is_hungry: &'a mut [bool],
    core: &'a CoreShared,
    clock: &'a Clock,
    ups: &'a mut usize,
    outcome: &'a mut Outcome,
    measuring: bool,
}

impl Sink for Sinking<'_> {
    fn done(&mut self, number: usize, tag: u16, result: Result<(), Failure>) {
        let now = self.clock.now();
        let lane = &mut self.lanes[number];
        let (took, write) = lane.ended(tag, result.is_ok(), now, &mut self.outcome.verified);
        match result {
            Ok(()) => {
                lane.stats.done.add(1);
                if self.measuring {
                    lane.stats.latency.add(Sample::of_time(took));
                    let kind = if write { &lane.stats.writes } else { &lane.stats.reads };
                    kind.add(1);
                }
            }
            Err(failure) => count(&mut self.outcome.errors, &failure, self.core),
        }
        hunger(self.hungry, self.is_hungry, number);
    }

    fn up(&mut self, lanes: Range<usize>) {
        for number in lanes {
            if !self.lanes[number].is_up {
                self.lanes[number].is_up = true;
                *self.ups += 1;
            }
            hunger(self.hungry, self.is_hungry, number);
        }
    }

    fn down(&mut self, lanes: Range<usize>, outage: Outage, over: bool) {
        let was_up = self.lanes[lanes.clone()].iter().any(|lane| lane.is_up);
        let now = self.clock.now();
        for lane in &mut self.lanes[lanes] {
            if std::mem::take(&mut lane.is_up) {
                *self.ups -= 1;
            }
            let lost = lane.lost();
            if !over {
                self.outcome.repeated += lost;
                continue;
            }
            while let Some(tag) = lane.next_lost() {
                lane.ended(tag, false, now, &mut self.outcome.verified);
                count(&mut self.outcome.errors, &Failure::Lost, self.core);
            }
        }
        if was_up {
            self.core.outages.add(1);
        }
        let outages = &mut self.outcome.outages;
        match outages.iter().position(|(known, _)| *known == outage) {
            Some(place) => outages[place].1 += 1,
            None if outages.len() < ERRORS_MAX => outages.push((outage, 1)),
            None => {}
        }
        if over {
            self.outcome.gave_up.get_or_insert(outage);
        }
    }
}

impl<P: Port> Poller for Generator<P> {
    fn name(&self) -> &str {
        "load"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        if self.stage == Stage::Over {
            return Poll::Idle(Wake::Never);
        }
        let now = turn.now();
        self.follow(now);
        let (port, mut sink) = split!(&mut *self);
        let mut busy = port.poll(now, &mut sink);
        if self.outcome.gave_up.is_some() && matches!(self.stage, Stage::Connecting | Stage::Loading) {
            self.stage = self.draining(now);
        }
        busy |= self.feed(self.clock.now());
        busy |= self.port.flush();
        self.watch(now);
        self.proceed(now);
        if busy { Poll::Busy } else { Poll::Idle(Wake::Soon) }
    }
}

fn hunger(hungry: &mut VecDeque<usize>, is_hungry: &mut [bool], lane: usize) {
    if !std::mem::replace(&mut is_hungry[lane], true) {
        hungry.push_back(lane);
    }
}

/// Counts an error under its words.
#[cold]
fn count(errors: &mut Vec<(String, u64)>, failure: &Failure, core: &CoreShared) {
    core.errors.add(1);
    let mut words = failure.to_string();
    if errors.len() >= ERRORS_MAX && !errors.iter().any(|(known, _)| *known == words) {
        OTHERS.clone_into(&mut words);
    }
    match errors.iter_mut().find(|(known, _)| *known == words) {
        Some((_, times)) => *times += 1,
        None => errors.push((words, 1)),
    }
}

/// Times that the kernel took the core from this thread to give it to another; `None` where it does not say.
fn preemptions() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}
