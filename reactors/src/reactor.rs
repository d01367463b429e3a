//! One reactor: its pollers, the order of a turn, and how it sleeps.
//!
//! A turn polls every poller once, in the order of the phases, then passes the quiescent point.
//! Invariants: a [`Turn`] exists only inside [`Reactor::turn`], while the reactor's counter is odd;
//! `parked` is up only between [`Reactor::settle`] and the next turn, while the counter is even.

mod turn;

use std::{
    cell::Cell,
    fmt, io,
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

use crate::{
    clock::{Clock, Time},
    idle::{IdlePolicy, Idleness},
    poller::{Phase, Poll, Poller, Wake},
    quiescence::Presence,
    seat::Seat,
    stats::{Mode, PollerCounters},
};

pub use turn::{Activity, Turn};

/// The number of a reactor within its group, from 0.
pub type ReactorIndex = usize;

/// What the eventfd is known by in the epoll; pollers are known by their identifiers from 1.
const EVENTFD: u64 = 0;

/// Events fetched at the end of one sleep. They are not looked at one by one, since every poller is
/// polled anyhow; level triggered ones that did not fit show up again.
const EVENTS_MAX: usize = 8;

/// One of as many busy turns is timed poller by poller. Idle turns cost nothing, whatever this is. Two clock
/// readings of 10 to 30 ns in each busy turn would be a hundredth of a short one; a prime number is no
/// multiple of a period that a load may have.
const TIMED_EVERY: u32 = 7;

/// No place of a poller.
const NOBODY: usize = usize::MAX;

/// Runs pollers on the thread it was made on. Made by [`crate::group::Group::spawn`] or
/// [`crate::group::Group::local`].
pub struct Reactor {
    presence: Presence,
    seat: Arc<Seat>,
    clock: Clock,
    idle: IdlePolicy,
    /// Sorted by phase.
    pollers: Vec<Entry>,
    /// Polls the eventfd and the descriptors of the pollers; for sleeping only.
    epoll: OwnedFd,
    ids: u64,
    ordinal: u64,
    /// When the last turn began.
    now: Time,
    /// What became of the last turn, and of the time since.
    mode: Mode,
    /// The earliest time that a poller waited for in the last turn, which was still to come.
    due: Time,
    /// Busy turns until one is timed.
    untimed: u32,
    /// Place of the poller that is being polled, or that panicked; `NOBODY` between turns.
    polled: usize,
    /// Between `settle` and `rise`: `parked` is or was up, the counter is even.
    settled: bool,
}

struct Entry {
    phase: Phase,
    id: PollerId,
    has_descriptor: bool,
    counters: Arc<PollerCounters>,
    poller: Box<dyn Poller>,
}

/// Names a poller of one reactor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PollerId(u64);

/// A poller, as told to people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Polled {
    /// What [`Poller::name`] says.
    pub name: String,
    /// The phase it was added to.
    pub phase: Phase,
}

/// All a reactor is made of that may cross threads.
pub(crate) struct Parts {
    pub(crate) presence: Presence,
    pub(crate) seat: Arc<Seat>,
    pub(crate) clock: Clock,
    pub(crate) idle: IdlePolicy,
    pub(crate) epoll: OwnedFd,
}

/// The epoll of a reactor that does not exist yet.
pub(crate) fn sleep_epoll(seat: &Seat) -> io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // Edge triggered: each write is one event, and the eventfd need never be read.
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, seat.eventfd(), epoll::EventData::new_u64(EVENTFD), flags)?;
    Ok(epoll)
}

impl Reactor {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { presence, seat, clock, idle, epoll } = parts;
        let now = clock.now();
        Reactor {
            presence,
            seat,
            clock,
            idle,
            pollers: Vec::new(),
            epoll,
            ids: EVENTFD,
            ordinal: 0,
            now,
            mode: Mode::Idle,
            due: Time::MAX,
            untimed: 0,
            polled: NOBODY,
            settled: false,
        }
    }

    /// The number of this reactor within its group.
    pub fn index(&self) -> ReactorIndex {
        self.presence.index()
    }

    /// The clock that turns are timed by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Adds a poller at the end of its phase. It is polled from the next turn on. Allocates; there is no limit but memory,
    /// and each poller costs every turn a call.
    ///
    /// # Errors
    ///
    /// When the poller's descriptor cannot be watched: it does not support polling, another poller of
    /// this reactor has it already, or the kernel's limits are reached. The poller is dropped.
    pub fn add_poller(&mut self, phase: Phase, poller: Box<dyn Poller>) -> io::Result<PollerId> {
        self.ids += 1;
        let id = PollerId(self.ids);
        if let Some(descriptor) = poller.descriptor() {
            let data = epoll::EventData::new_u64(id.0);
            epoll::add(&self.epoll, descriptor, data, epoll::EventFlags::IN)?;
        }
        let has_descriptor = poller.descriptor().is_some();
        let place = self.pollers.partition_point(|entry| entry.phase <= phase);
        let turns = self.seat.counters.turns.read();
        let counters = Arc::new(PollerCounters::new(poller.name(), phase, turns));
        self.seat.registry.add_poller(&counters);
        self.pollers.insert(place, Entry { phase, id, has_descriptor, counters, poller });
        Ok(id)
    }

    /// Takes a poller out; `None` when it is gone already.
    pub fn remove_poller(&mut self, id: PollerId) -> Option<Box<dyn Poller>> {
        let place = self.pollers.iter().position(|entry| entry.id == id)?;
        let Entry { poller, counters, .. } = self.pollers.remove(place);
        self.seat.registry.remove_poller(&counters);
        if let Some(descriptor) = poller.descriptor() {
            // A descriptor that was closed has left the epoll by itself.
            let _ = epoll::delete(&self.epoll, descriptor);
        }
        Some(poller)
    }

    /// Polls every poller once, in the order of the phases. Never blocks, and may be called from a
    /// loop that is not ours.
    ///
    /// # Panics
    ///
    /// When a poller does, see [`Reactor::polled`], or answers [`Wake::Descriptor`] without having one.
    pub fn turn(&mut self) -> Activity {
        self.wake_up();
        // A counter that steps back, after a virtual machine was moved for instance, holds the time of turns still.
        self.begin(self.now.max(self.clock.now()));
        let turn = Turn {
            now: self.now,
            ordinal: self.ordinal,
            reactor: self.presence.index(),
            quiescence: self.presence.quiescence(),
            done: Cell::new(0),
            on_its_thread: PhantomData,
        };
        let mut watch = Stopwatch { clock: (self.untimed == 0).then_some(&self.clock), last: self.now };
        let mut busy = false;
        let mut until: Option<Time> = None;
        let mut may_park = true;
        for (place, entry) in self.pollers.iter_mut().enumerate() {
            self.polled = place;
            match entry.poller.poll(&turn) {
                Poll::Busy => {
                    busy = true;
                    let done = turn.done.replace(0).max(1);
                    entry.counters.busy(done);
                    self.seat.counters.batches.record(done);
                    watch.lap(&entry.counters);
                }
                Poll::Idle(Wake::Never) => {}
                Poll::Idle(Wake::At(time)) => until = Some(until.map_or(time, |until| until.min(time))),
                Poll::Idle(Wake::Descriptor) => assert!(entry.has_descriptor, "{}", entry.poller.name()),
                Poll::Idle(Wake::Soon) => may_park = false,
            }
        }
        self.polled = NOBODY;
        self.presence.turn_ended();
        self.seat.counters.turns.add(1);
        self.due = until.filter(|until| *until > self.now).unwrap_or(Time::MAX);
        if busy {
            self.seat.counters.busy_turns.add(1);
            self.mode = Mode::Busy;
            self.untimed = self.untimed.checked_sub(1).unwrap_or(TIMED_EVERY - 1);
            return Activity::Busy;
        }
        self.mode = Mode::Idle;
        Activity::Idle { until, may_park }
    }

    /// Prepares to sleep: the first half of [`Reactor::park`], for loops that wait by themselves.
    ///
    /// True: the reactor counts as parked, and its [`Reactor::descriptor`] becomes readable when it
    /// has to take a turn; the caller waits for that, or until the time `until`, and calls
    /// [`Reactor::turn`]. False: there is something to do already. To be called only after a turn
    /// that came out as [`Activity::Idle`] with `may_park`, with its `until`.
    #[must_use = "when false, the reactor must not sleep"]
    pub fn settle(&mut self, until: Option<Time>) -> bool {
        if self.settled {
            return true;
        }
        let look_again = || {
            self.seat.stopping()
                || self.has_ready_poller()
                || until.is_some_and(|until| until <= self.clock.now())
        };
        if !self.seat.flag().settle(look_again) {
            return false;
        }
        self.rest();
        self.settled = true;
        self.mode = Mode::Parked;
        self.seat.counters.park(self.now);
        true
    }

    /// Sleeps in the kernel until a message, a poller's descriptor, a stop or the time `until`. Returns
    /// at once when there is something to do already. The same condition as for [`Reactor::settle`].
    ///
    /// # Errors
    ///
    /// When the kernel's wait fails, which only a closed descriptor or lack of memory can cause.
    ///
    /// # Panics
    ///
    /// On a simulated clock, whose time does not pass while a thread sleeps.
    pub fn park(&mut self, until: Option<Time>) -> io::Result<()> {
        assert!(!self.clock.is_simulated());
        if !self.settle(until) {
            return Ok(());
        }
        let timeout = until.map(|until| until.since(self.clock.now()));
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let waited = self.wait(timeout.as_ref());
        self.rise();
        waited
    }

    /// Takes turns, and sleeps as the idle policy says, until the reactor is told to stop. Blocks until then.
    ///
    /// # Errors
    ///
    /// [`RunError`] when the kernel's wait fails.
    ///
    /// # Panics
    ///
    /// On a simulated clock: see [`Reactor::park`].
    pub fn run(&mut self) -> Result<(), RunError> {
        assert!(!self.clock.is_simulated());
        let mut idleness = Idleness::new(self.idle);
        while !self.seat.stopping() {
            let activity = self.turn();
            if idleness.should_park(activity, self.now) {
                self.park(activity.until()).map_err(RunError::Wait)?;
            } else if activity != Activity::Busy {
                std::hint::spin_loop();
            }
        }
        self.rest();
        Ok(())
    }

    /// Readable when a settled reactor has to take a turn: to be watched by another loop.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Whether the reactor was told to stop.
    pub fn stopping(&self) -> bool {
        self.seat.stopping()
    }

    /// The poller that a turn has called and that has not returned: whose panic it was, for a loop of one's own that
    /// catches one. `None` between turns.
    ///
    /// A reactor in which a poller panicked is only good to be asked this, and to be dropped.
    pub fn polled(&self) -> Option<Polled> {
        let entry = self.pollers.get(self.polled)?;
        Some(Polled { name: entry.poller.name().to_owned(), phase: entry.phase })
    }

    pub(crate) fn has_ready_poller(&self) -> bool {
        self.pollers.iter().any(|entry| entry.poller.ready())
    }

    /// Settled, and woken since by a sender.
    pub(crate) fn is_woken(&self) -> bool {
        self.settled && !self.seat.flag().is_parked()
    }

    /// Ends what `settle` began, except for the counter: the next turn sees to that.
    pub(crate) fn rise(&mut self) {
        self.seat.flag().rise();
        self.settled = false;
    }

    /// Does not hold up any publisher until the next turn.
    pub(crate) fn rest(&mut self) {
        if self.presence.is_running() {
            self.presence.leave();
        }
    }

    /// Whether a publisher has to wait for its next turn's end.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) fn is_running(&self) -> bool {
        self.presence.is_running()
    }

    /// A turn begins: sees to whom the time since the last one belongs, and whether a poller had to wait.
    fn begin(&mut self, now: Time) {
        let counters = &self.seat.counters;
        counters.begin(self.mode, now.since(self.now));
        if self.due <= now {
            counters.lateness.record_time(now.since(self.due));
        }
        self.now = now;
        self.ordinal += 1;
    }

    fn wake_up(&mut self) {
        if self.settled {
            self.rise();
            // The caller waited, not we: take the eventfd's event away. An error would only leave it.
            let _ = self.wait(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        }
        if !self.presence.is_running() {
            self.presence.enter();
        }
    }

    fn wait(&self, timeout: Option<&Timespec>) -> io::Result<()> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS_MAX];
        match epoll::wait(&self.epoll, &mut events, timeout) {
            Ok((events, _)) => {
                if events.iter().any(|event| event.data.u64() == EVENTFD) {
                    self.seat.counters.wakes.add(1);
                }
                Ok(())
            }
            // A signal: its handler may have given us something to do.
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pollers: Vec<_> = self.pollers.iter().map(|entry| (entry.phase, entry.poller.name())).collect();
        f.debug_struct("Reactor")
            .field("index", &self.index())
            .field("pollers", &pollers)
            .finish_non_exhaustive()
    }
}

/// Times the busy pollers of a turn, if there is a clock: from one to the next, so that each costs one reading.
struct Stopwatch<'a> {
    clock: Option<&'a Clock>,
    last: Time,
}

impl Stopwatch<'_> {
    fn lap(&mut self, counters: &PollerCounters) {
        let Some(clock) = self.clock else { return };
        let now = clock.now();
        counters.took(now.since(self.last));
        self.last = now;
    }
}

/// Why a reactor ended without having been told to.
#[derive(Debug)]
pub enum RunError {
    /// The kernel's wait failed.
    Wait(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Wait(error) => write!(f, "waiting for events failed: {error}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::Wait(error) => Some(error),
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
