//! Random commands of several hosts over a disk that fails in every stage, against what the steps promise.

use std::collections::VecDeque;

use super::{PERSISTENT, acquire, host, key, preempt};
use crate::nvmf::fence::keeper::{Keeper, Protection, Save, SaveFailure, Step, Wish};
use crate::persist::power_cut::Random;
use crate::reservation::{
    Acquire, Effects, Kind, Notice, Outcome, Register, Release, Request, State, set_persistence, transition,
};
use crate::spec::host::HostId;
use crate::spec::status::Status;

const SEEDS: u64 = 600;
const EVENTS: usize = 250;
const HOSTS: usize = 5;

/// What a power cut may leave of the record, and whether a removal would reach it.
struct Disk {
    /// The reservations, and whether hosts protect the namespace.
    outcomes: Vec<Option<(State, bool)>>,
    removable: bool,
}

/// What the keeper waits for.
#[derive(Debug)]
enum Pending {
    Save(Save),
    Publish,
    Drain,
    Settle,
}

/// What happened to the command that is under way.
#[derive(Default)]
struct Deeds {
    failures: usize,
    published: bool,
    settled: bool,
    /// What was to be settled could not be made durable.
    unsettled: bool,
    drained: Vec<HostId>,
    notices: Vec<Notice>,
}

struct Model {
    random: Random,
    keeper: Keeper<usize>,
    disk: Disk,
    /// The state after the last command that was completed.
    state: State,
    protection: Protection,
    waiting: VecDeque<(usize, Wish)>,
    submitted: usize,
    completed: usize,
    pending: Option<Pending>,
    deeds: Deeds,
}

impl Disk {
    /// Carries out a save; whether and how it failed.
    fn save(&mut self, save: Save, random: &mut Random, works: bool) -> Result<(), SaveFailure> {
        let removes = save == Save::Remove;
        let after = match save {
            Save::Write { state, write_protected } => Some((state, write_protected)),
            Save::Remove => None,
        };
        let unreachable = removes && !self.removable;
        match if works { 5 } else { random.below(6) } {
            0 => Err(SaveFailure::Before),
            _ if unreachable => Err(SaveFailure::Unknown),
            1 => {
                self.outcomes.push(after);
                self.removable = random.below(2) == 0;
                Err(SaveFailure::Unknown)
            }
            _ => {
                (self.outcomes, self.removable) = (vec![after], true);
                Ok(())
            }
        }
    }

    /// A restart at any moment finds what `state` says, and hosts' protection.
    fn holds(&self, state: &State, protection: Protection) -> bool {
        let expected = (state.clone().after_power_loss(), protection.hosts);
        self.outcomes.iter().all(|found| {
            let (state, write_protected) = found.clone().unwrap_or_default();
            (state.after_power_loss(), write_protected) == expected
        })
    }
}

impl Model {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            keeper: Keeper::new(State::new(), false, PERSISTENT),
            disk: Disk { outcomes: vec![None], removable: true },
            state: State::new(),
            protection: Protection::default(),
            waiting: VecDeque::new(),
            submitted: 0,
            completed: 0,
            pending: None,
            deeds: Deeds::default(),
        }
    }

    fn wish(&mut self) -> Wish {
        let number = |random: &mut Random| u8::try_from(1 + random.below(HOSTS)).unwrap();
        let (issuer, other) = (number(&mut self.random), number(&mut self.random));
        let kind = Kind::ALL[self.random.below(6)];
        let ptpl = [None, None, None, Some(true), Some(true), Some(false)][self.random.below(6)];
        let request = match self.random.below(14) {
            0..4 => Request::Register { action: Register::Register { new: key(issuer) }, ptpl },
            4 => Request::Register { action: Register::Unregister { current: Some(key(issuer)) }, ptpl },
            5 => Request::Register { action: Register::Replace { current: None, new: key(other) }, ptpl },
            6 | 7 => acquire(issuer, kind),
            8 | 9 => preempt(issuer, other, kind, self.random.below(2) == 0),
            10 if self.random.below(2) == 0 => {
                Request::Release { current: key(issuer), action: Release::Clear }
            }
            10 => Request::Release {
                current: key(issuer),
                action: Release::Release { rtype: self.state.kind().unwrap_or(kind).to_wire() },
            },
            11 => return Wish::Persistence(self.random.below(2) == 0),
            12 => return Wish::Protection(self.random.below(2) == 0),
            _ => return Wish::Operator(self.random.below(3) == 0),
        };
        Wish::Request(host(issuer), request)
    }

    fn submit(&mut self, wish: Wish) {
        self.waiting.push_back((self.submitted, wish.clone()));
        self.keeper.submit(self.submitted, wish);
        self.submitted += 1;
        self.walk();
    }

    /// What the command under way is waiting for happens.
    fn advance(&mut self, works: bool) {
        let Some(pending) = self.pending.take() else { return };
        match pending {
            Pending::Save(save) => {
                let result = self.disk.save(save, &mut self.random, works);
                self.deeds.failures += usize::from(result.is_err());
                self.keeper.saved(result);
            }
            Pending::Publish => self.keeper.observed(),
            Pending::Settle if !works && self.random.below(3) == 0 => {
                self.deeds.unsettled = true;
                self.keeper.not_settled();
            }
            Pending::Drain | Pending::Settle => self.keeper.drained(),
        }
        self.walk();
    }

    fn walk(&mut self) {
        while let Some(step) = self.keeper.next_step() {
            assert!(self.pending.is_none(), "{step:?} while {:?}", self.pending);
            match step {
                Step::Save(save) => self.pending = Some(Pending::Save(save)),
                Step::Publish => {
                    // Hosts may write again before the disk says so: nobody was told that they may not.
                    let durable = self.disk.holds(self.keeper.state(), self.keeper.protection());
                    assert!(
                        durable || self.keeper.is_degraded() || self.deeds.unsettled,
                        "seen before it is durable"
                    );
                    self.deeds.published = true;
                    self.pending = Some(Pending::Publish);
                }
                Step::Drain(hosts) => {
                    assert!(self.deeds.published, "a drain before everybody sees the new state");
                    self.deeds.drained = hosts;
                    self.pending = Some(Pending::Drain);
                }
                Step::Settle => {
                    assert!(
                        self.deeds.published,
                        "writes are waited for before everybody sees that none may come"
                    );
                    self.deeds.settled = true;
                    self.pending = Some(Pending::Settle);
                }
                Step::Notify(notices) => self.deeds.notices = notices,
                Step::Complete(origin, status) => self.complete(origin, status),
            }
        }
    }

    fn complete(&mut self, origin: usize, status: Status) {
        let (first, wish) = self.waiting.pop_front().expect("a command that was not completed");
        assert_eq!(origin, first, "commands are completed in their order, once");
        self.completed += 1;
        let deeds = std::mem::take(&mut self.deeds);
        let outcome = match &wish {
            Wish::Request(host, request) => transition(&self.state, host, request, PERSISTENT),
            Wish::Persistence(ptpl) => set_persistence(&self.state, *ptpl, PERSISTENT),
            Wish::Protection(hosts) => {
                return self.protected(status, &deeds, Protection { hosts: *hosts, ..self.protection });
            }
            Wish::Operator(operator) => {
                assert!(status.is_success(), "an operator needs no disk");
                return self.protected(status, &deeds, Protection { operator: *operator, ..self.protection });
            }
        };
        match outcome {
            Ok(Outcome { next, effects }) if status.is_success() => {
                let Effects { rights_changed, drain, notices, .. } = effects;
                assert_eq!(deeds.published, rights_changed || !drain.is_empty());
                assert_eq!((deeds.drained, deeds.notices), (drain, notices));
                self.state = next;
                assert!(self.disk.holds(&self.state, self.protection), "answered before it is durable");
            }
            refused => {
                assert!(!deeds.published && deeds.drained.is_empty() && deeds.notices.is_empty());
                if deeds.failures == 0 {
                    assert_eq!(refused.map(|_| Status::SUCCESS), Err(status));
                } else {
                    let expected = refused.map_or_else(|status| status, |_| Status::INTERNAL_ERROR);
                    assert!(status == Status::INTERNAL_ERROR || status == expected, "{status:?}");
                }
                if !self.keeper.is_degraded() {
                    assert!(
                        self.disk.holds(&self.state, self.protection),
                        "a refused command changed the disk"
                    );
                }
            }
        }
    }
}

impl Model {
    /// A command is done that was to make the protection `next`.
    fn protected(&mut self, status: Status, deeds: &Deeds, next: Protection) {
        let before = self.protection;
        if status.is_success() {
            assert_eq!(deeds.published, before.is_on() != next.is_on());
            assert_eq!(deeds.settled, !before.is_on() && next.is_on(), "writes are over, or were none");
            assert!(!deeds.unsettled || next.hosts == before.hosts, "hosts were told what is not durable");
            self.protection = next;
        } else {
            assert_eq!(status, Status::INTERNAL_ERROR);
            assert!(deeds.unsettled || deeds.failures > 0 && !deeds.published);
        }
        assert_eq!(self.keeper.protection(), self.protection);
        assert!(self.keeper.is_degraded() || self.disk.holds(&self.state, self.protection));
    }
}

#[test]
fn commands_take_effect_in_order_and_durably_whatever_the_disk_does() {
    let (mut failures, mut degraded, mut protected, mut unsettled) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut model = Model::new(seed);
        for _ in 0..EVENTS {
            if model.random.below(3) == 0 {
                let wish = model.wish();
                model.submit(wish);
            } else {
                // What is seen while nothing changes is what the last completed command made.
                if matches!(model.pending, None | Some(Pending::Save(_))) {
                    assert_eq!(model.keeper.state(), &model.state);
                    assert_eq!(model.keeper.protection(), model.protection);
                }
                model.advance(seed % 7 == 0);
            }
            failures += model.deeds.failures;
            degraded += usize::from(model.keeper.is_degraded());
            protected += usize::from(model.protection.hosts && model.state.ptpl());
            unsettled += usize::from(model.deeds.unsettled);
        }
        while model.pending.is_some() {
            model.advance(true);
        }
        let last = Wish::Request(
            host(1),
            Request::Register { action: Register::Replace { current: None, new: key(1) }, ptpl: Some(true) },
        );
        model.submit(last);
        let before = model.completed;
        while model.pending.is_some() {
            model.advance(true);
        }
        assert_eq!((model.completed, model.submitted), (before + 1, before + 1));
        assert!(!model.keeper.is_degraded() && model.state.is_registrant(host(1).id));
        assert_eq!(model.disk.outcomes, [Some((model.state.clone(), model.protection.hosts))]);
    }
    assert!(failures > 100 && degraded > 100, "the disk fails often enough to matter");
    assert!(protected > 100 && unsettled > 100, "namespaces are protected often enough to matter");
}

#[test]
fn a_namespace_recovers_with_the_next_command_when_the_disk_does() {
    for (ptpl, removable) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut model = Model::new(1);
        if ptpl {
            model.submit(Wish::Persistence(true));
            model.advance(true);
        }
        let state = model.state.clone();
        model.submit(Wish::Request(host(2), super::register(2, Some(true))));
        // The record was renamed, and then the disk failed; so does the way back.
        for _ in 0..2 {
            let Some(Pending::Save(save)) = model.pending.take() else { panic!("a save is under way") };
            let after = if let Save::Write { state, .. } = save { Some((state, false)) } else { None };
            model.disk.outcomes.push(after);
            model.disk.removable = removable;
            model.deeds.failures += 1;
            model.keeper.saved(Err(SaveFailure::Unknown));
            model.walk();
        }
        assert!(model.keeper.is_degraded());
        assert_eq!((model.keeper.state(), &model.state), (&state, &state));
        let acquire = Acquire::Acquire { kind: Kind::WriteExclusive };
        model.submit(Wish::Request(host(3), Request::Acquire { current: key(3), action: acquire }));
        model.advance(true);
        assert!(!model.keeper.is_degraded() && model.disk.holds(&state, Protection::default()));
        model.submit(Wish::Request(host(2), super::register(2, Some(true))));
        model.advance(true);
        assert!(model.state.is_registrant(host(2).id) && model.state.ptpl());
    }
}
