//! Reactors of one group on one thread, in an order drawn from a seed, on a clock that jumps.
//!
//! Messages, snapshots, the counters and the `parked` flags are the real ones; only the kernel's wait
//! is not entered, so descriptors of pollers wake nobody. The same seed and the same pollers
//! give the same run.

use std::{io, time::Duration};

use crate::{
    clock::{Clock, Time, VirtualClock},
    group::Group,
    reactor::{Activity, Reactor, ReactorIndex},
};

/// A group under a seeded scheduler.
#[derive(Debug)]
pub struct Simulation {
    group: Group,
    clock: VirtualClock,
    reactors: Vec<Simulated>,
    random: Random,
}

#[derive(Debug)]
struct Simulated {
    reactor: Reactor,
    state: State,
    /// What its last turn waited for.
    until: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Something happened since its last turn, or it has not had one.
    Fresh,
    /// Its last turn was idle and nothing has happened since; it goes on spinning.
    Idle { may_park: bool },
    /// It would wait in the kernel.
    Settled,
    /// It was told to stop.
    Ended,
}

/// What [`Simulation::step`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// One turn of one reactor.
    Turn {
        /// Whose turn it was.
        reactor: ReactorIndex,
        /// What came out of it.
        activity: Activity,
    },
    /// All reactors were idle: the clock jumped to the earliest time any of them waits for.
    Jumped {
        /// The time it is now.
        to: Time,
    },
    /// All reactors are idle and none waits for a time: nothing will ever happen by itself.
    Quiet,
}

impl Simulation {
    /// `reactors` reactors, at least one; all do I/O, and reactor 0 is also the management reactor.
    ///
    /// # Errors
    ///
    /// When the kernel gives no eventfd or epoll.
    ///
    /// # Panics
    ///
    /// When `reactors` is 0.
    pub fn new(reactors: usize, seed: u64) -> io::Result<Simulation> {
        let (clock, virtual_clock) = Clock::simulated();
        let group = Group::simulated(reactors, clock)?;
        let reactors = (0..reactors)
            .map(|index| Simulated { reactor: group.local(index), state: State::Fresh, until: None })
            .collect();
        Ok(Simulation { group, clock: virtual_clock, reactors, random: Random(seed) })
    }

    /// The group, for mailboxes and published values.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// One of the reactors, to add pollers to.
    ///
    /// # Panics
    ///
    /// When there is no reactor `index`.
    pub fn reactor(&mut self, index: ReactorIndex) -> &mut Reactor {
        &mut self.reactors[index].reactor
    }

    /// The group, its reactors and their clock, for a scheduler of one's own: one that takes turns of some reactors
    /// while another is in the midst of its own, for instance. Turns of [`Simulation::step`] never overlap.
    pub fn into_parts(self) -> (Group, Vec<Reactor>, VirtualClock) {
        let reactors = self.reactors.into_iter().map(|simulated| simulated.reactor).collect();
        (self.group, reactors, self.clock)
    }

    /// The time it is.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Lets time pass without a turn.
    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.stir();
    }

    /// Takes one turn of one reactor that is awake, or lets the clock jump when all are idle.
    pub fn step(&mut self) -> Step {
        let now = self.clock.now();
        self.reactors.iter_mut().for_each(|simulated| simulated.look(now));
        if !self.is_fresh() {
            self.settle_all();
            if !self.is_fresh() {
                return self.jump();
            }
        }
        let awake = self.reactors.iter().filter(|simulated| simulated.is_awake()).count();
        let chosen = self.random.below(awake);
        let mut awake = self.reactors.iter_mut().enumerate().filter(|(_, simulated)| simulated.is_awake());
        let (reactor, simulated) = awake.nth(chosen).expect("one of those that were counted");
        let activity = simulated.reactor.turn();
        match activity {
            Activity::Busy => self.stir(),
            Activity::Idle { until, may_park } => {
                simulated.until = until;
                simulated.state = State::Idle { may_park };
                // Some idle reactors park at once and some spin on: both must work.
                if may_park && self.random.below(2) == 0 && simulated.reactor.settle(until) {
                    simulated.state = State::Settled;
                }
            }
        }
        Step::Turn { reactor, activity }
    }

    /// Steps until nothing will happen by itself, at most `steps_max` times; true when it came to that.
    pub fn run_until_quiet(&mut self, steps_max: usize) -> bool {
        (0..steps_max).any(|_| self.step() == Step::Quiet)
    }

    /// Steps until `condition` holds, at most `steps_max` times; true when it does. Ends early, with
    /// false, when nothing will happen by itself.
    pub fn run_until(&mut self, steps_max: usize, mut condition: impl FnMut() -> bool) -> bool {
        for _ in 0..steps_max {
            if condition() {
                return true;
            }
            if self.step() == Step::Quiet {
                break;
            }
        }
        condition()
    }

    fn is_fresh(&self) -> bool {
        self.reactors.iter().any(|simulated| simulated.state == State::Fresh)
    }

    /// Nothing happens any more, so whoever may park does. That is itself an event, for graces, to
    /// those who may not.
    fn settle_all(&mut self) {
        let mut settled = false;
        for simulated in &mut self.reactors {
            if simulated.state == (State::Idle { may_park: true }) {
                settled = true;
                let asleep = simulated.reactor.settle(simulated.until);
                simulated.state = if asleep { State::Settled } else { State::Fresh };
            }
        }
        if settled {
            self.stir();
        }
    }

    fn jump(&mut self) -> Step {
        let running = self.reactors.iter().filter(|simulated| simulated.state != State::Ended);
        let Some(to) = running.filter_map(|simulated| simulated.until).min() else { return Step::Quiet };
        self.clock.advance_to(to);
        self.stir();
        Step::Jumped { to: self.clock.now() }
    }

    /// Something happened: idle reactors have to look again.
    fn stir(&mut self) {
        for simulated in &mut self.reactors {
            if matches!(simulated.state, State::Idle { .. }) {
                simulated.state = State::Fresh;
            }
        }
    }
}

impl Simulated {
    fn is_awake(&self) -> bool {
        matches!(self.state, State::Fresh | State::Idle { .. })
    }

    /// What a reactor notices by itself: a stop, a wake-up, its time, work given to it meanwhile.
    fn look(&mut self, now: Time) {
        if self.state != State::Ended && self.reactor.stopping() {
            self.reactor.rest();
            self.state = State::Ended;
        }
        match self.state {
            State::Settled => {
                if self.reactor.is_woken() || self.until.is_some_and(|until| until <= now) {
                    self.reactor.rise();
                    self.state = State::Fresh;
                }
            }
            State::Idle { .. } => {
                if self.reactor.has_ready_poller() || self.until.is_some_and(|until| until <= now) {
                    self.state = State::Fresh;
                }
            }
            State::Fresh | State::Ended => {}
        }
    }
}

/// SplitMix64: small, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let wide = u128::from(bits) * bound as u128;
        usize::try_from(wide >> 64).expect("less than the bound")
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
