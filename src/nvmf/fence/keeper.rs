//! One namespace's reservations and its write protection, and the steps by which a command changes them. Does no step
//! itself: it says which is next, and is told how it went.
//!
//! ```text
//!            +--------------------------------------------------------------------------------+
//!            v                                                                                |
//!   Idle --submit--> Saving --ok--> Publishing --observed--> [Draining --drained-->] --> (notify, complete)
//!     |                |  \--failed before the rename--> (complete: refused, the old state stays)
//!     |                \--failed, and the disk may hold the new state--> Undoing --ok--> (complete: refused)
//!     |                                                                     \--failed--> (complete: refused) Degraded
//!     +--submit while Degraded--> Undoing --ok--> the command goes on; --failed--> (complete: refused) Degraded
//!
//!   Draining --not settled--> Publishing (the old protection) --observed--> Undoing
//! ```
//!
//! A namespace becomes write protected in the same order: nobody is told before the record says so, and the command is
//! complete when every write that was begun before is over and what devices have cached of it is durable. Where that
//! fails, hosts may write again before the record says so: the command was not answered.
//!
//! An operator's protection is in the configuration, and not in the record. It needs no disk, so nothing refuses it.
//!
//! Invariants: `state` is durable where it says that it survives power loss, and so is that hosts protect the namespace;
//! both were published last or are being published; one command is under way at a time, the others wait in order; each
//! command is completed once.

use std::collections::VecDeque;

use crate::reservation::{self, Effects, Notice, Options, Outcome, Persist, Request, State};
use crate::spec::host::{Host, HostId};
use crate::spec::status::Status;

/// Commands that may wait on one namespace; more are answered Command Interrupted, to be tried again.
pub const WAITING_MAX: usize = 1024;

/// What is to be done to the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Save {
    /// Write this.
    Write {
        /// The reservations.
        state: State,
        /// Hosts protect the namespace.
        write_protected: bool,
    },
    /// Remove it: nothing survives power loss.
    Remove,
}

/// Who protects a namespace from writes: it may be written where nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// A host, by feature 84h. Survives power loss.
    pub hosts: bool,
    /// An operator, by the configuration.
    pub operator: bool,
}

impl Protection {
    /// Nothing may be written.
    pub fn is_on(self) -> bool {
        self.hosts || self.operator
    }
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
    /// Wait until no write is left on the namespace that was begun before, and make durable what devices have cached; call
    /// [`Keeper::drained`] then, or [`Keeper::not_settled`] where it cannot be made durable.
    Settle,
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
    /// Feature 84h: the namespace is write protected.
    Protection(bool),
    /// As the operator wants it from now on.
    Operator(bool),
}

#[derive(Debug)]
struct Accepted<T> {
    origin: T,
    next: Next,
}

/// What is to hold.
#[derive(Debug)]
enum Next {
    Reservations(State, Effects),
    Protection(Protection),
}

/// What comes when every reactor has observed what was published.
#[derive(Debug)]
enum Then {
    Effects(Effects),
    /// Writes end; this protection comes back where they leave something that cannot be made durable, if it may.
    Settle(Option<Protection>),
    /// The record is written again.
    Undo,
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
        then: Then,
    },
    Draining {
        origin: T,
        notices: Vec<Notice>,
        /// What comes back where it fails, if anything does.
        before: Option<Protection>,
    },
}

/// The reservations and the write protection of one namespace.
#[derive(Debug)]
pub struct Keeper<T> {
    state: State,
    protection: Protection,
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
    pub fn new(state: State, write_protected: bool, options: Options) -> Self {
        Self {
            state,
            protection: Protection { hosts: write_protected, operator: false },
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
        Self { fenced: true, ..Self::new(State::new(), false, options) }
    }

    /// What holds now, or is being published.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Who protects the namespace now, or is about to.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// No command is under way, and none waits.
    pub fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle) && self.waiting.is_empty() && self.steps.is_empty()
    }

    /// The operator's protection is so, before any host comes: there is nothing to wait for.
    ///
    /// # Panics
    /// When a command is under way.
    pub fn begin_protected(&mut self, operator: bool) {
        assert!(self.is_idle());
        self.protection.operator = operator;
    }

    /// The namespace is out of service.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// A save failed in a way that leaves open what the disk holds.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// The next step, if there is one. A command begins when all steps of the one before it were taken, so that what holds
    /// when it is completed is what it made.
    pub fn next_step(&mut self) -> Option<Step<T>> {
        if self.steps.is_empty() {
            self.go_on();
        }
        self.steps.pop_front()
    }

    /// A command arrives.
    pub fn submit(&mut self, origin: T, wish: Wish) {
        let operator = if let Wish::Operator(on) = wish { Some(on) } else { None };
        if self.fenced {
            self.protection.operator = operator.unwrap_or(self.protection.operator);
            return self.complete(origin, Status::INTERNAL_ERROR.with_dnr());
        }
        if self.waiting.len() >= WAITING_MAX && operator.is_none() {
            return self.complete(origin, Status::INTERRUPTED);
        }
        self.waiting.push_back((origin, wish));
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
    }

    /// Every reactor has observed what was published.
    pub fn observed(&mut self) {
        let Stage::Publishing { origin, then } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            unreachable!("nothing is being published");
        };
        match then {
            Then::Effects(Effects { drain, notices, .. }) if drain.is_empty() => self.finish(origin, notices),
            Then::Effects(Effects { drain, notices, .. }) => {
                self.stage = Stage::Draining { origin, notices, before: None };
                self.steps.push_back(Step::Drain(drain));
            }
            Then::Settle(before) => {
                self.stage = Stage::Draining { origin, notices: Vec::new(), before };
                self.steps.push_back(Step::Settle);
            }
            Then::Undo => self.undo(origin, None),
        }
    }

    /// It is proven that no command is left that was to end, and what there was to settle is durable.
    pub fn drained(&mut self) {
        let Stage::Draining { origin, notices, .. } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            unreachable!("nothing is being drained");
        };
        self.finish(origin, notices);
    }

    /// Writes are over, and what a device has cached of them cannot be made durable: a host's protection is taken back, an
    /// operator's stays.
    pub fn not_settled(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Draining { origin, before: Some(before), .. } => {
                self.protection = before;
                self.stage = Stage::Publishing { origin, then: Then::Undo };
                self.steps.push_back(Step::Publish);
            }
            stage => {
                self.stage = stage;
                self.drained();
            }
        }
    }

    /// Takes the next command that waits, if none is under way.
    fn go_on(&mut self) {
        while matches!(self.stage, Stage::Idle) && self.steps.is_empty() {
            let Some((origin, wish)) = self.waiting.pop_front() else { return };
            if self.degraded && !matches!(wish, Wish::Operator(_)) {
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
            Wish::Protection(hosts) => return self.begin_protection(origin, hosts),
            Wish::Operator(operator) => {
                let next = Next::Protection(Protection { operator, ..self.protection });
                return self.publish(Accepted { origin, next });
            }
        };
        let Outcome { next, effects } = match outcome {
            Ok(outcome) => outcome,
            Err(status) => return self.complete(origin, status),
        };
        let write_protected = self.protection.hosts;
        let save = match effects.persist {
            Persist::Keep => {
                return self.publish(Accepted { origin, next: Next::Reservations(next, effects) });
            }
            Persist::Write => Save::Write { state: next.clone(), write_protected },
            Persist::Remove if write_protected => {
                Save::Write { state: next.clone().after_power_loss(), write_protected }
            }
            Persist::Remove => Save::Remove,
        };
        self.save(Accepted { origin, next: Next::Reservations(next, effects) }, save);
    }

    fn begin_protection(&mut self, origin: T, hosts: bool) {
        if hosts == self.protection.hosts {
            return self.complete(origin, Status::SUCCESS);
        }
        let save = if hosts || self.state.ptpl() {
            Save::Write { state: self.state.clone().after_power_loss(), write_protected: hosts }
        } else {
            Save::Remove
        };
        let next = Next::Protection(Protection { hosts, ..self.protection });
        self.save(Accepted { origin, next }, save);
    }

    fn save(&mut self, accepted: Accepted<T>, save: Save) {
        self.stage = Stage::Saving(accepted);
        self.steps.push_back(Step::Save(save));
    }

    /// What the disk holds is not known: the state that holds is written again, as a new record. Also where PTPL is 0:
    /// a removal would not reach a record that the disk has and the running system does not see.
    fn undo(&mut self, origin: T, wish: Option<Wish>) {
        self.degraded = true;
        self.stage = Stage::Undoing { origin, wish };
        // Also where nothing is to survive: only a record that says so makes certain again what the disk holds.
        let (state, write_protected) = (self.state.clone(), self.protection.hosts);
        self.steps.push_back(Step::Save(Save::Write { state, write_protected }));
    }

    fn publish(&mut self, accepted: Accepted<T>) {
        let Accepted { origin, next } = accepted;
        let then = match next {
            Next::Reservations(state, effects) => {
                self.state = state;
                // A drain waits for commands that were admitted before everybody saw the new state, whatever their rights.
                if !effects.rights_changed && effects.drain.is_empty() {
                    return self.finish(origin, effects.notices);
                }
                Then::Effects(effects)
            }
            Next::Protection(protection) => {
                let before = std::mem::replace(&mut self.protection, protection);
                match (before.is_on(), protection.is_on()) {
                    (false, true) => Then::Settle((before.hosts != protection.hosts).then_some(before)),
                    (true, false) => Then::Effects(Effects::default()),
                    (true, true) | (false, false) => return self.finish(origin, Vec::new()),
                }
            }
        };
        self.stage = Stage::Publishing { origin, then };
        self.steps.push_back(Step::Publish);
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
