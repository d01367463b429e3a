//! The share of a turn that each part of an endpoint gets.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::mailbox::Mailbox;
use corelane_reactors::poller::{Phase, Poll, Poller, Wake};
use corelane_reactors::reactor::{Reactor, Turn};

use crate::transport::{Endpoint, IoMail, ManagementMail};

/// How often a busy reactor looks for new connections and at admin queues where it serves I/O, too: often enough for
/// people, and seldom enough not to slow I/O down.
pub(super) const SHARED_MANAGEMENT_PACE: Duration = Duration::from_micros(100);

/// Keeps a poller from looking at its descriptor in every turn. A reactor that sleeps is woken by the descriptor all
/// the same, and then takes turns until the poller looks.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    next: Time,
}

impl Pace {
    /// Looks at most once in `every`.
    pub(super) fn every(every: Duration) -> Self {
        Self { every, next: Time::ORIGIN }
    }

    /// It is time to look; the next time is `every` from `now`.
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

/// What a reactor receives for its endpoint.
pub enum Mail {
    /// On an I/O reactor.
    Io(Mailbox<IoMail>),
    /// On the management reactor.
    Management(Mailbox<ManagementMail>),
}

/// Adds the pollers of `endpoint` to `reactor`.
///
/// # Errors
/// What the reactor says when it cannot watch a descriptor.
pub fn attach(reactor: &mut Reactor, endpoint: &Rc<RefCell<Endpoint>>, mail: Mail) -> io::Result<()> {
    endpoint.borrow_mut().set_clock(reactor.clock());
    let shared = || Rc::clone(endpoint);
    let receiver = shared();
    let pace = match mail {
        Mail::Io(_) => Pace::every(Duration::ZERO),
        Mail::Management(_) => Pace::every(endpoint.borrow().settings().management_pace),
    };
    let most = endpoint.borrow().settings().messages_per_turn;
    let mail = match mail {
        Mail::Io(mailbox) => {
            mailbox.into_poller("queue-mail", most, move |turn, mail| receiver.borrow_mut().mail(turn, mail))
        }
        Mail::Management(mailbox) => mailbox.into_poller("management-mail", most, move |turn, mail| {
            receiver.borrow_mut().management_mail(turn.now(), mail);
        }),
    };
    reactor.add_poller(Phase::Mailbox, mail)?;
    reactor.add_poller(Phase::Completions, Box::new(Completions(shared())))?;
    reactor.add_poller(Phase::Timers, Box::new(Timers(shared())))?;
    let descriptor = endpoint.borrow().group().descriptor().try_clone_to_owned()?;
    reactor.add_poller(Phase::Ingress, Box::new(Sockets { endpoint: shared(), descriptor, pace }))?;
    reactor.add_poller(Phase::Submit, Box::new(Submit(shared())))?;
    reactor.add_poller(Phase::Flush, Box::new(Flush(shared())))?;
    Ok(())
}

struct Completions(Rc<RefCell<Endpoint>>);

impl Poller for Completions {
    fn name(&self) -> &str {
        "bdev-completions"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let mut endpoint = self.0.borrow_mut();
        if endpoint.reap(turn) {
            return Poll::Busy;
        }
        if endpoint.outstanding() == 0 {
            return Poll::Idle(Wake::Never);
        }
        match endpoint.next_completion() {
            // The reactor's ring, which has a poller with this descriptor.
            Wake::Descriptor => Poll::Idle(Wake::Never),
            wake => Poll::Idle(wake),
        }
    }
}

struct Timers(Rc<RefCell<Endpoint>>);

impl Poller for Timers {
    fn name(&self) -> &str {
        "queue-timers"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let mut endpoint = self.0.borrow_mut();
        if endpoint.tick(turn) {
            return Poll::Busy;
        }
        Poll::Idle(endpoint.next_alarm().map_or(Wake::Never, Wake::At))
    }
}

struct Sockets {
    endpoint: Rc<RefCell<Endpoint>>,
    descriptor: OwnedFd,
    /// See [`Settings::management_pace`](crate::transport::Settings).
    pace: Pace,
}

impl Poller for Sockets {
    fn name(&self) -> &str {
        "sockets"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        let mut endpoint = self.endpoint.borrow_mut();
        if !endpoint.group().pending() && !self.pace.is_due(turn.now()) {
            return Poll::Idle(Wake::Descriptor);
        }
        if endpoint.receive(turn) { Poll::Busy } else { Poll::Idle(Wake::Descriptor) }
    }

    fn ready(&self) -> bool {
        self.endpoint.borrow().group().pending()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.descriptor.as_fd())
    }
}

struct Submit(Rc<RefCell<Endpoint>>);

impl Poller for Submit {
    fn name(&self) -> &str {
        "bdev-submit"
    }

    fn poll(&mut self, _turn: &Turn<'_>) -> Poll {
        if self.0.borrow_mut().commit() { Poll::Busy } else { Poll::Idle(Wake::Never) }
    }
}

struct Flush(Rc<RefCell<Endpoint>>);

impl Poller for Flush {
    fn name(&self) -> &str {
        "flush"
    }

    fn poll(&mut self, turn: &Turn<'_>) -> Poll {
        if self.0.borrow_mut().settle(turn) { Poll::Busy } else { Poll::Idle(Wake::Never) }
    }

    fn ready(&self) -> bool {
        self.0.borrow().has_marked()
    }
}
