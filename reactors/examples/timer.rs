//! Timers: a heartbeat for each of many peers, in one wheel. The same poller runs on a real core, and through a whole day
//! in a simulation that takes no time.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::cpu;
use corelane_reactors::group::{Group, Layout};
use corelane_reactors::idle::IdlePolicy;
use corelane_reactors::poller::{Phase, Poll, Poller, Wake};
use corelane_reactors::reactor::{Activity, Turn};
use corelane_reactors::sim::Simulation;
use corelane_reactors::timer::Wheel;

/// Timers that one turn expires or moves, so that many due at once do not hold up the other pollers.
const BATCH: usize = 32;

/// Sends a heartbeat to each peer every so often; here it only counts them.
struct Heartbeats {
    wheel: Wheel<Duration>,
    due: Vec<Duration>,
    sent: Rc<Cell<u64>>,
}

impl Heartbeats {
    fn new(start: Time, intervals: &[Duration], sent: &Rc<Cell<u64>>) -> Box<Self> {
        let mut wheel = Wheel::with_capacity(intervals.len());
        for &interval in intervals {
            wheel.insert(start + interval, interval);
        }
        Box::new(Heartbeats { wheel, due: Vec::with_capacity(BATCH), sent: Rc::clone(sent) })
    }
}

impl Poller for Heartbeats {
    fn name(&self) -> &str {
        "heartbeats"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let due = &mut self.due;
        self.wheel.expire(turn.now(), BATCH, |interval| due.push(interval));
        if self.due.is_empty() {
            return Poll::Idle(self.wheel.next().map_or(Wake::Never, Wake::At));
        }
        for interval in self.due.drain(..) {
            self.sent.set(self.sent.get() + 1);
            // From now: a reactor that was held up does not send a burst afterwards.
            self.wheel.insert(turn.now() + interval, interval);
        }
        Poll::Busy
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let intervals = [1, 2, 5].map(Duration::from_millis);
    let sent = Rc::new(Cell::new(0));

    // For 20 ms, on this thread: a loop of one's own around turns and sleeps.
    let core = *cpu::allowed().first().ok_or("no core to run on")?;
    let layout = Layout { management: core, io: vec![core] };
    let group = Group::new(&layout, IdlePolicy::Park, Clock::real())?;
    let mut reactor = group.local(group.management());
    let start = reactor.clock().now();
    reactor.add_poller(Phase::Timers, Heartbeats::new(start, &intervals, &sent))?;
    while reactor.clock().now() < start + Duration::from_millis(20) {
        if let Activity::Idle { until, may_park: true } = reactor.turn() {
            reactor.park(until)?;
        }
    }
    println!("{} heartbeats in 20 ms, {} sleeps", sent.replace(0), group.stats(0).parks);

    // For a day: the clock jumps from one heartbeat to the next.
    let mut simulation = Simulation::new(1, 7)?;
    let day = Duration::from_secs(24 * 60 * 60);
    let intervals = intervals.map(|interval| interval * 10_000);
    let poller = Heartbeats::new(simulation.now(), &intervals, &sent);
    simulation.reactor(0).add_poller(Phase::Timers, poller)?;
    while simulation.now() <= Time::ORIGIN + day {
        simulation.step();
    }
    println!("{} heartbeats in a simulated day", sent.get());
    assert_eq!(sent.get(), 86_400 / 10 + 86_400 / 20 + 86_400 / 50);
    Ok(())
}
