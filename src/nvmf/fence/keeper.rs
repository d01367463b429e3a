//! One namespace's reservations, and the steps by which a command changes them. Does no step itself: it says which is
//! next, and is told how it went.
//!
//! ```text
//!            +--------------------------------------------------------------------------------+
//!            v                                                                                |
//!   Idle --submit--> Saving --ok--> Publishing --observed--> [Draining --drained-->] --> (notify, complete)
//!     |                |  \--failed before the rename--> (complete: refused, the old state stays)
//!     |                \--failed, and the disk may hold the new state--> Undoing --ok--> (complete: refused)
//!     |                                                                     \--failed--> (complete: refused) Degraded
//!     +--submit while Degraded--> Undoing --ok--> the command goes on; --failed--> (complete: refused) Degraded
//! ```
//!
//! Invariants: `state` is durable where it says that it survives power loss, and is the one that was published last or
//! is being published; one command is under way at a time, the others wait in order; each command is completed once.

use std::collections::VecDeque;

use crate::reservation::{self, Effects, Notice, Options, Outcome, Persist, Request, State};
use crate::spec::host::{Host, HostId};
use crate::spec::status::Status;

/// Commands that may wait on one namespace; more are answered Command Interrupted, to be tried again.
pub const WAITING_MAX: usize = 1024;

/// What is to be done to the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Save {
    /// Write this state.
    Write(State),
    /// Remove it: nothing survives power loss.
    Remove,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step<T> {
    /// Bring it to stable storage, then call [`Keeper::saved`].
    Save(Save),
    /// Publish what [`Keeper::state`] says; call [`Keeper::observed`] when every reactor has seen it.
    Publish,
    /// End the commands of these hosts on the namespace, but for the command of `origin`; call [`Keeper::drained`] when
    /// it is proven that none is left.
    Drain(Vec<HostId>),
    /// Tell the controllers of these hosts.
    Notify(Vec<Notice>),
    /// Complete the command.
    Complete(T, Status),
}

/// Why a save failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveFailure {
    /// The old record certainly stays.
    Before,
    /// The disk may hold the new one.
    Unknown,
}

/// What a command asks for.
#[derive(Clone, Debug)]
pub enum Wish {
    /// A Register, Acquire or Release of `host`.
    Request(Host, Request),
    /// Feature 83h.
    Persistence(bool),
}

#[derive(Debug)]
struct Accepted<T> {
    origin: T,
    next: State,
    effects: Effects,
}

#[derive(Debug)]
enum Stage<T> {
    Idle,
    Saving(Accepted<T>),
    /// The old state is being saved again; then `wish` goes on, or the command is refused where there is none.
    Undoing {
        origin: T,
        wish: Option<Wish>,
    },
    Publishing {
        origin: T,
        effects: Effects,
    },
    Draining {
        origin: T,
        notices: Vec<Notice>,
    },
}

/// The reservations of one namespace.
#[derive(Debug)]
pub struct Keeper<T> {
    state: State,
    options: Options,
    /// The disk may hold another state than ours.
    degraded: bool,
    /// The record could not be read: nothing is known, and nothing is done.
    fenced: bool,
    stage: Stage<T>,
    waiting: VecDeque<(T, Wish)>,
    steps: VecDeque<Step<T>>,
}

impl<T> Keeper<T> {
    /// Begins with what was found on disk.
    pub fn new(state: State, options: Options) -> Self {
        Self {
            state,
            options,
            degraded: false,
            fenced: false,
            stage: Stage::Idle,
            waiting: VecDeque::new(),
            steps: VecDeque::new(),
        }
    }

    /// Begins out of service: what is on disk could not be read.
    pub fn fenced(options: Options) -> Self {
        Self { fenced: true, ..Self::new(State::new(), options) }
    }

    /// What holds now, or is being published.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The namespace is out of service.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// A save failed in a way that leaves open what the disk holds.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// The next step, if there is one.
    pub fn next_step(&mut self) -> Option<Step<T>> {
        self.steps.pop_front()
    }

    /// A command arrives.
    pub fn submit(&mut self, origin: T, wish: Wish) {
        if self.fenced {
            return self.complete(origin, Status::INTERNAL_ERROR.with_dnr());
        }
        if self.waiting.len() >= WAITING_MAX {
            return self.complete(origin, Status::INTERRUPTED);
        }
        self.waiting.push_back((origin, wish));
        self.go_on();
    }

    /// A save is done.
    pub fn saved(&mut self, result: Result<(), SaveFailure>) {
        match (std::mem::replace(&mut self.stage, Stage::Idle), result) {
            (Stage::Saving(accepted), Ok(())) => self.publish(accepted),
            (Stage::Saving(accepted), Err(SaveFailure::Before)) => {
                self.complete(accepted.origin, Status::INTERNAL_ERROR);
            }
            (Stage::Saving(accepted), Err(SaveFailure::Unknown)) => self.undo(accepted.origin, None),
            (Stage::Undoing { origin, wish }, Ok(())) => {
                self.degraded = false;
                match wish {
                    Some(wish) => self.begin(origin, wish),
                    None => self.complete(origin, Status::INTERNAL_ERROR),
                }
            }
            (Stage::Undoing { origin, .. }, Err(_)) => self.complete(origin, Status::INTERNAL_ERROR),
            (Stage::Idle | Stage::Publishing { .. } | Stage::Draining { .. }, _) => {
                unreachable!("no save is under way")
            }
        }
        self.go_on();
    }

    /// Every reactor has observed what was published.
    pub fn observed(&mut self) {
        let Stage::Publishing { origin, effects } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            unreachable!("nothing is being published");
        };
        if effects.drain.is_empty() {
            self.finish(origin, effects.notices);
        } else {
            self.stage = Stage::Draining { origin, notices: effects.notices };
            self.steps.push_back(Step::Drain(effects.drain));
        }
        self.go_on();
    }

    /// It is proven that no command of the victims is left.
    pub fn drained(&mut self) {
        let Stage::Draining { origin, notices } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            unreachable!("nothing is being drained");
        };
        self.finish(origin, notices);
        self.go_on();
    }

    /// Takes the next command that waits, if none is under way.
    fn go_on(&mut self) {
        while matches!(self.stage, Stage::Idle) {
            let Some((origin, wish)) = self.waiting.pop_front() else { return };
            if self.degraded {
                self.undo(origin, Some(wish));
            } else {
                self.begin(origin, wish);
            }
        }
    }

    fn begin(&mut self, origin: T, wish: Wish) {
        let outcome = match wish {
            Wish::Request(host, request) => {
                reservation::transition(&self.state, &host, &request, self.options)
            }
            Wish::Persistence(ptpl) => reservation::set_persistence(&self.state, ptpl, self.options),
        };
        let Outcome { next, effects } = match outcome {
            Ok(outcome) => outcome,
            Err(status) => return self.complete(origin, status),
        };
        let save = match effects.persist {
            Persist::Keep => return self.publish(Accepted { origin, next, effects }),
            Persist::Write => Save::Write(next.clone()),
            Persist::Remove => Save::Remove,
        };
        self.stage = Stage::Saving(Accepted { origin, next, effects });
        self.steps.push_back(Step::Save(save));
    }

    /// What the disk holds is not known: the state that holds is written again, as a new record. Also where PTPL is 0:
    /// a removal would not reach a record that the disk has and the running system does not see.
    fn undo(&mut self, origin: T, wish: Option<Wish>) {
        self.degraded = true;
        self.stage = Stage::Undoing { origin, wish };
        // Also where nothing is to survive: only a record that says so makes certain again what the disk holds.
        self.steps.push_back(Step::Save(Save::Write(self.state.clone())));
    }

    fn publish(&mut self, accepted: Accepted<T>) {
        let Accepted { origin, next, effects } = accepted;
        self.state = next;
        // A drain waits for commands that were admitted before everybody saw the new state, whatever their rights.
        if effects.rights_changed || !effects.drain.is_empty() {
            self.stage = Stage::Publishing { origin, effects };
            self.steps.push_back(Step::Publish);
        } else {
            self.finish(origin, effects.notices);
        }
    }

    fn finish(&mut self, origin: T, notices: Vec<Notice>) {
        if !notices.is_empty() {
            self.steps.push_back(Step::Notify(notices));
        }
        self.complete(origin, Status::SUCCESS);
    }

    fn complete(&mut self, origin: T, status: Status) {
        self.steps.push_back(Step::Complete(origin, status));
    }
}
