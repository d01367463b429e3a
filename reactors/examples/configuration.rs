//! A published configuration: one core replaces it, the others read it with one load a turn, and the one that replaced it
//! learns when nobody uses the old one any more.

use std::error::Error;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use corelane_reactors::clock::Clock;
use corelane_reactors::cpu;
use corelane_reactors::group::{Group, Layout};
use corelane_reactors::idle::IdlePolicy;
use corelane_reactors::mailbox::Mailbox;
use corelane_reactors::poller::{Phase, Poll, Poller, Wake};
use corelane_reactors::published::{Grace, Publisher};
use corelane_reactors::reactor::{Reactor, Turn};

/// How long a change may go unnoticed after the last reactor has observed it.
const LOOK_EVERY: Duration = Duration::from_micros(20);

#[derive(Debug)]
struct Settings {
    version: u64,
    rate_max: u64,
}

/// Takes new settings, on the management reactor, and says when they are in force everywhere.
struct Manager {
    changes: Mailbox<Settings>,
    publisher: Publisher<Settings>,
    waiting: Option<Grace>,
    in_force: mpsc::Sender<u64>,
}

impl Poller for Manager {
    fn name(&self) -> &str {
        "manager"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        if let Some(grace) = &self.waiting {
            // Nobody is woken for it: a reactor that sleeps reads the new settings when it wakes.
            if !grace.passed() {
                return Poll::Idle(Wake::At(turn.now() + LOOK_EVERY));
            }
            self.waiting = None;
            self.publisher.reclaim();
            let version = self.publisher.current().version;
            self.in_force.send(version).expect("somebody waits for it");
            return Poll::Busy;
        }
        let Some(settings) = self.changes.receive() else { return Poll::Idle(Wake::Never) };
        self.waiting = Some(self.publisher.publish(settings));
        Poll::Busy
    }

    fn ready(&self) -> bool {
        self.waiting.is_none() && !self.changes.is_empty()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cores = cpu::allowed();
    let layout = Layout { management: *cores.first().ok_or("no core to run on")?, io: cores };
    let group = Group::new(&layout, IdlePolicy::default(), Clock::real())?;
    let (publisher, settings) = group.published(Settings { version: 0, rate_max: 100 });
    let (change, changes) = group.mailbox(group.management(), 4);
    let (in_force, version) = mpsc::channel();
    let mut manager = Some(Manager { changes, publisher, waiting: None, in_force });

    // Every reactor answers questions by what it reads in the turn in which it is asked.
    let mut questions = Vec::new();
    for index in 0..group.reactors() {
        let (ask, asked) = group.mailbox::<mpsc::Sender<u64>>(index, 4);
        questions.push(ask);
        let (settings, manager) = (settings.clone(), manager.take());
        group.spawn(index, &format!("reactor-{index}"), move |reactor: &mut Reactor| -> io::Result<()> {
            if let Some(manager) = manager {
                reactor.add_poller(Phase::Timers, Box::new(manager))?;
            }
            let poller = asked.into_poller("questions", 4, move |turn, asker| {
                asker.send(settings.read(turn).rate_max).expect("the asker waits");
            });
            reactor.add_poller(Phase::Mailbox, poller).map(drop)
        })?;
    }

    for (number, rate_max) in (1..).zip([200, 50, 75]) {
        change.send(Settings { version: number, rate_max }).expect("there is room");
        assert_eq!(version.recv()?, number);
        for ask in &questions {
            let (asker, answer) = mpsc::channel();
            ask.send(asker).expect("there is room");
            assert_eq!(answer.recv()?, rate_max);
        }
        println!("version {number}, at most {rate_max}: in force on {} reactors", group.reactors());
    }
    group.stop();
    Ok(group.join()?)
}
