//! A run from its start to its report: starts a reactor on each core, and leads all of them through the phases.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use corelane_reactors::clock::Clock;
use corelane_reactors::group::{Group, JoinError, Layout, LayoutError};
use corelane_reactors::idle::IdlePolicy;
use corelane_reactors::poller::Phase as TurnPhase;
use uuid::Uuid;

use crate::mem::{Extent, ExtentError};
use crate::perf::generator::Generator;
use crate::perf::lane::Lane;
use crate::perf::share::{CoreShared, Phase, Shared, Standing};
use crate::perf::{Plan, PlanError, Report, Space, Target};

/// How often the waiting thread looks at the cores.
const TICK: Duration = Duration::from_millis(10);
/// Between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Who waits for a run.
pub trait Watch {
    /// Waits for `at_most`, or until somebody asks for the end. Returns how often somebody has asked so far: the first
    /// time ends the load, the second everything.
    fn wait(&mut self, at_most: Duration) -> usize;

    /// Is told once in a second how it goes.
    fn progress(&mut self, progress: &Progress);
}

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What it does, in words.
    pub activity: &'static str,
    /// Since the run began.
    pub elapsed: Duration,
    /// Commands in a second that succeeded, since the last report.
    pub iops: f64,
    /// Bytes in a second of those.
    pub bytes_per_second: f64,
    /// Commands that failed so far.
    pub errors: u64,
    /// Associations that were lost so far.
    pub outages: u64,
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Plan and namespace do not go together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The cores cannot be used.
    #[error("cannot use the cores")]
    Layout(#[from] LayoutError),
    /// No memory for the data.
    #[error("cannot take the memory for the data of commands")]
    Memory(#[from] ExtentError),
    /// A reactor cannot be started.
    #[error("cannot start the reactor on core {core}")]
    Start {
        /// Its core.
        core: usize,
        /// Why.
        source: io::Error,
    },
    /// A reactor failed.
    #[error("a reactor failed")]
    Failed(#[from] JoinError),
}

/// Puts the load on the target, and measures.
///
/// # Errors
/// [`RunError`] when there was no run; what goes wrong in a run is in its report.
pub fn run<T: Target>(
    target: T,
    plan: &Plan,
    space: &Space,
    watch: &mut dyn Watch,
) -> Result<Report, RunError> {
    plan.check(space)?;
    let layout = Layout { management: plan.cores[0], io: plan.cores.clone() };
    let group = Group::new(&layout, IdlePolicy::Spin, Clock::real())?;
    let shared = Arc::new(Shared::default());
    let target = Arc::new(target);
    // From the kernel's source of chance: no two runs write the same blocks, whatever their seeds.
    let (number_of_run, _) = Uuid::new_v4().as_u64_pair();
    let mut cores = Vec::new();
    for (index, &reactor) in group.io().iter().enumerate() {
        let lanes: Vec<usize> = plan.lanes(index).collect();
        let core = Arc::new(CoreShared::new(lanes.len()));
        cores.push(Arc::clone(&core));
        let (stride, lane_bytes) = (plan.stride(), plan.lane_bytes());
        let memory = target.memory(plan.memory_bytes(index))?;
        let (target, shared, plan, space) = (Arc::clone(&target), Arc::clone(&shared), plan.clone(), *space);
        let clock = group.clock().clone();
        let name = format!("perf-{index}");
        let number = plan.cores[index];
        let started = group.spawn(reactor, &name, move |reactor| {
            let port = target.port(reactor, lanes.len(), &memory)?;
            let made = lanes.iter().enumerate().map(|(index, &lane)| {
                let place: (&Arc<Extent>, usize, usize) = (&memory, index * lane_bytes, stride);
                Lane::new(&plan, &space, (number_of_run, lane), place, Arc::clone(&core.lanes[index]))
            });
            let made = made.collect();
            let generator = Generator::new(port, made, &plan, shared, core, clock);
            reactor.add_poller(TurnPhase::Ingress, Box::new(generator))?;
            Ok(())
        });
        if let Err(source) = started {
            group.stop();
            return Err(RunError::Start { core: number, source });
        }
    }
    let interrupted = Conductor { plan, shared: &shared, cores: &cores, watch, last: Look::new() }.conduct();
    group.stop();
    group.join()?;
    Ok(Report::new(plan, &cores, interrupted))
}

/// Leads the cores through the phases.
struct Conductor<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    cores: &'a [Arc<CoreShared>],
    watch: &'a mut dyn Watch,
    last: Look,
}

/// What was seen when progress was last reported.
struct Look {
    began: Instant,
    at: Instant,
    done: u64,
}

impl Look {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, at: now, done: 0 }
    }
}

impl Conductor<'_> {
    /// True if somebody asked for the end before the time was over.
    fn conduct(&mut self) -> bool {
        let asked = self.until("connecting", None, |standing| standing == Standing::Connecting)
            || {
                self.shared.set_phase(Phase::WarmUp);
                self.until("warming up", Some(self.plan.warm_up), |_| true)
            }
            || {
                self.shared.set_phase(Phase::Measuring);
                // A core that the kernel has given to others may be late: its time begins when it does.
                self.until("measuring", None, |standing| standing < Standing::Measuring)
            }
            || { self.until("measuring", Some(self.plan.duration), |_| true) };
        self.shared.set_phase(Phase::Ending);
        let asked_before = usize::from(asked);
        while !self.all(|standing| standing == Standing::Over) && !self.is_broken() {
            if self.watch.wait(TICK) > asked_before {
                self.shared.set_phase(Phase::Abandoning);
            }
            let reading = self.cores.iter().any(|core| core.standing() == Standing::ReadingBack);
            self.report(if reading { "reading back" } else { "finishing" });
        }
        asked
    }

    /// Waits for `time`, or for as long as some core is as `lasts` says. True if somebody asks for the end; ends early,
    /// too, when a core is over.
    fn until(
        &mut self,
        activity: &'static str,
        time: Option<Duration>,
        lasts: impl Fn(Standing) -> bool,
    ) -> bool {
        let began = Instant::now();
        loop {
            let over = self.cores.iter().any(|core| core.standing() == Standing::Over);
            if over || self.is_broken() || self.all(|standing| !lasts(standing)) {
                return false;
            }
            let left = time.map_or(TICK, |time| time.saturating_sub(began.elapsed()));
            if left.is_zero() {
                return false;
            }
            if self.watch.wait(left.min(TICK)) > 0 {
                return true;
            }
            self.report(activity);
        }
    }

    fn all(&self, is: impl Fn(Standing) -> bool) -> bool {
        self.cores.iter().all(|core| is(core.standing()))
    }

    /// A reactor has ended without an outcome: the only other one that holds its part is this thread.
    fn is_broken(&self) -> bool {
        self.cores.iter().any(|core| Arc::strong_count(core) == 1 && core.standing() != Standing::Over)
    }

    fn report(&mut self, activity: &'static str) {
        let now = Instant::now();
        let since = now.duration_since(self.last.at);
        if since < PROGRESS_EVERY {
            return;
        }
        let lanes = self.cores.iter().flat_map(|core| &core.lanes);
        let done: u64 = lanes.map(|lane| lane.done.read()).sum();
        let iops = (done - self.last.done) as f64 / since.as_secs_f64();
        self.watch.progress(&Progress {
            activity,
            elapsed: now.duration_since(self.last.began),
            iops,
            bytes_per_second: iops * f64::from(self.plan.block_bytes),
            errors: self.cores.iter().map(|core| core.errors.read()).sum(),
            outages: self.cores.iter().map(|core| core.outages.read()).sum(),
        });
        (self.last.at, self.last.done) = (now, done);
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { activity, elapsed, iops, bytes_per_second, errors, outages } = self;
        let mebibytes = bytes_per_second / f64::from(1 << 20);
        write!(
            out,
            "{:>6.1} s  {activity:<12} {iops:>10.0} IOPS {mebibytes:>9.1} MiB/s",
            elapsed.as_secs_f64()
        )?;
        if *errors > 0 {
            write!(out, "  {errors} errors")?;
        }
        if *outages > 0 {
            write!(out, "  {outages} connections lost")?;
        }
        Ok(())
    }
}
