//! Messages between cores: a client on one reactor asks a server on another, through mailboxes that are far smaller than
//! the number of questions.
//! A request carries the slot for its reply, so the answer always has room and two full mailboxes never wait for each
//! other. A request that finds no room comes back to the client, who tries again: nothing is lost.

use std::error::Error;
use std::sync::mpsc;

use corelane_reactors::clock::Clock;
use corelane_reactors::cpu;
use corelane_reactors::group::{Group, Layout};
use corelane_reactors::idle::IdlePolicy;
use corelane_reactors::mailbox::{Mailbox, Sender, Slot};
use corelane_reactors::poller::{Phase, Poll, Poller, Wake};
use corelane_reactors::reactor::{Reactor, Turn};

const QUESTIONS: u64 = 10_000;
const REQUESTS_MAX: usize = 8;
const REPLIES_MAX: usize = 16;
const BATCH: usize = 4;

struct Request(u64, Slot<u64>);

struct Client {
    requests: Sender<Request>,
    replies: Mailbox<u64>,
    asked: u64,
    answered: u64,
    refused: u64,
    done: mpsc::Sender<u64>,
}

impl Client {
    /// Asks once. False when there is no room, for the reply or for the request.
    fn ask(&mut self) -> bool {
        let Some(reply) = self.replies.sender().reserve() else { return false };
        // A refused request is handed back; dropping it gives the slot in it back.
        let sent = self.requests.send(Request(self.asked, reply)).is_ok();
        self.asked += u64::from(sent);
        sent
    }
}

impl Poller for Client {
    fn name(&self) -> &str {
        "client"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        let before = (self.asked, self.answered);
        for _ in 0..BATCH {
            let Some(reply) = self.replies.receive() else { break };
            assert_eq!(reply, 2 * self.answered, "replies come in the order of the questions");
            self.answered += 1;
            if self.answered == QUESTIONS {
                self.done.send(self.refused).expect("somebody waits for the end");
            }
        }
        while self.asked < QUESTIONS && self.ask() {}
        self.refused += u64::from(self.asked < QUESTIONS);
        // Whoever found no room has questions under way: a reply wakes.
        if before == (self.asked, self.answered) { Poll::Idle(Wake::Never) } else { Poll::Busy }
    }

    fn ready(&self) -> bool {
        !self.replies.is_empty()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cores = cpu::allowed();
    let (&first, &last) = cores.first().zip(cores.last()).ok_or("no core to run on")?;
    // With one core the two are one reactor, and all of this works the same.
    let layout = Layout { management: first, io: vec![last] };
    let group = Group::new(&layout, IdlePolicy::default(), Clock::real())?;
    let (asking, serving) = (group.management(), group.io()[0]);
    let (requests, inbox) = group.mailbox::<Request>(serving, REQUESTS_MAX);
    let (_, replies) = group.mailbox::<u64>(asking, REPLIES_MAX);
    let (done, finished) = mpsc::channel();

    let serve = move |reactor: &mut Reactor| {
        let answer = |_: &Turn<'_>, Request(number, reply): Request| reply.send(2 * number);
        reactor.add_poller(Phase::Mailbox, inbox.into_poller("server", BATCH, answer)).map(drop)
    };
    let ask = move |reactor: &mut Reactor| {
        let client = Client { requests, replies, asked: 0, answered: 0, refused: 0, done };
        reactor.add_poller(Phase::Mailbox, Box::new(client)).map(drop)
    };
    if asking == serving {
        group.spawn(asking, "both", |reactor| serve(reactor).and_then(|()| ask(reactor)))?;
    } else {
        group.spawn(serving, "server", serve)?;
        group.spawn(asking, "client", ask)?;
    }
    let refused = finished.recv()?;
    println!("{QUESTIONS} questions answered; the client had to wait for room in {refused} turns");

    group.stop();
    Ok(group.join()?)
}
