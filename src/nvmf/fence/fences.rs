//! The fences of a target: a keeper for each namespace with reservations and write protection, the writer of their records, and the
//! snapshots of their subsystems. Lives on the management reactor.
//!
//! Invariants: a namespace has at most one order with the writer, and at most one grace that it waits for; what is
//! published is made of the states of all keepers of the subsystem.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use corelane_reactors::published::{Grace, Publisher, Subscriber};

use crate::nvmf::fence::keeper::{Keeper, Protection, Save, SaveFailure, Step, Wish};
use crate::nvmf::fence::recover::{Recovered, record_name};
use crate::nvmf::fence::{HostSlots, Rules, Snapshot};
use crate::persist::{Answer, Order, RecordName, Refused, Stage, Work, Writer};
use crate::reservation::{self, Identity, Notice, Options, Record, State};
use crate::spec::host::HostId;
use crate::spec::status::Status;

/// Which namespace of which subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceKey {
    /// Index of the subsystem in its target.
    pub subsystem: usize,
    /// NSID.
    pub nsid: u32,
}

/// Who waits for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A command of an I/O queue, under the number that the transport gave it.
    Io(u64),
    /// A Set Features command of an admin queue, under the number that the target gave it.
    Admin(u64),
    /// An operator, who needs no answer.
    Operator,
}

/// What somebody else has to do for the fences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FenceAction {
    /// Complete a command.
    Answer(Origin, Status),
    /// Bring every command of these hosts on the namespace to its end, but for the one that asks; then
    /// [`Fences::drained`].
    Drain {
        /// The namespace.
        key: NamespaceKey,
        /// The victims.
        hosts: Vec<HostId>,
    },
    /// Wait for the end of every command that changes the namespace, and make durable what its device has cached; then
    /// [`Fences::drained`], or [`Fences::not_settled`].
    Settle {
        /// The namespace.
        key: NamespaceKey,
    },
    /// Tell the controllers of these hosts.
    Notify {
        /// The namespace.
        key: NamespaceKey,
        /// Whom, and what.
        notices: Vec<Notice>,
    },
    /// PTPL of a namespace is now this.
    Persistence {
        /// The namespace.
        key: NamespaceKey,
        /// PTPL.
        ptpl: bool,
    },
    /// The write protection of a namespace is now this; it is so on every I/O reactor.
    Protection {
        /// The namespace.
        key: NamespaceKey,
        /// `None` where the namespace is out of service.
        protection: Option<Protection>,
    },
    /// Whether what a namespace has to keep is known, and the disk holds it.
    Health {
        /// The namespace.
        key: NamespaceKey,
        /// It is.
        sound: bool,
    },
}

#[derive(Debug)]
struct Kept {
    keeper: Keeper<Origin>,
    identity: Identity,
    name: RecordName,
    /// Number of the record that was ordered last.
    sequence: u64,
    grace: Option<Grace>,
}

impl Kept {
    fn new(identity: Identity, recovered: Recovered, options: Options) -> Self {
        let (keeper, sequence) = match recovered {
            Recovered::Sound { state, write_protected, sequence } => {
                (Keeper::new(state, write_protected, options), sequence)
            }
            Recovered::Fenced => (Keeper::fenced(options), 0),
        };
        let name = record_name(&identity);
        Self { keeper, identity, name, sequence, grace: None }
    }
}

#[derive(Debug)]
struct Fenced {
    publisher: Publisher<Arc<Snapshot>>,
    subscriber: Subscriber<Arc<Snapshot>>,
    slots: HostSlots,
    namespaces: BTreeMap<u32, Kept>,
}

/// The fences of a target.
#[derive(Default)]
pub struct Fences {
    /// By index of the subsystem; none where it has no reservations.
    subsystems: BTreeMap<usize, Fenced>,
    writer: Option<Writer>,
    actions: VecDeque<FenceAction>,
    /// Namespaces that wait for a grace.
    publishing: Vec<NamespaceKey>,
}

impl Fences {
    /// None yet. Records are written by `writer`.
    pub fn new(writer: Writer) -> Self {
        Self { writer: Some(writer), ..Self::default() }
    }

    /// Adds a subsystem, with what was recovered of its namespaces, and publishes its rules.
    pub fn add(
        &mut self,
        subsystem: usize,
        cell: (Publisher<Arc<Snapshot>>, Subscriber<Arc<Snapshot>>),
        namespaces: impl IntoIterator<Item = (Identity, Recovered, Options)>,
    ) {
        let namespaces = namespaces
            .into_iter()
            .map(|(identity, recovered, options)| (identity.nsid, Kept::new(identity, recovered, options)));
        let (publisher, subscriber) = cell;
        let fenced =
            Fenced { publisher, subscriber, slots: HostSlots::default(), namespaces: namespaces.collect() };
        let nsids: Vec<u32> = fenced.namespaces.keys().copied().collect();
        self.subsystems.insert(subsystem, fenced);
        nsids.into_iter().for_each(|nsid| self.tell(NamespaceKey { subsystem, nsid }));
        self.publish(subsystem);
    }

    /// What is known of a namespace now, for whoever answers questions of hosts.
    fn tell(&mut self, key: NamespaceKey) {
        let Some(keeper) = self.kept(key).map(|kept| &kept.keeper) else { return };
        let ptpl = keeper.state().ptpl();
        let protection = (!keeper.is_fenced()).then(|| keeper.protection());
        let sound = !keeper.is_fenced() && !keeper.is_degraded();
        self.actions.push_back(FenceAction::Persistence { key, ptpl });
        self.actions.push_back(FenceAction::Protection { key, protection });
        self.actions.push_back(FenceAction::Health { key, sound });
    }

    /// An operator wants a namespace to be write protected from now on, or to be as hosts want it.
    pub fn operate(&mut self, key: NamespaceKey, protected: bool) {
        let unused = self.subsystems.get(&key.subsystem).is_some_and(|it| it.slots.hosts().is_empty());
        match self.kept(key) {
            None => {}
            // What waits may be another wish of the operator.
            Some(kept) if kept.keeper.is_idle() && kept.keeper.protection().operator == protected => {}
            Some(kept) if unused && kept.keeper.is_idle() => {
                kept.keeper.begin_protected(protected);
                self.tell(key);
                self.publish(key.subsystem);
            }
            Some(_) => self.submit(key, Origin::Operator, Wish::Operator(protected)),
        }
    }

    /// Adds a namespace to a subsystem, with what was recovered of it, and publishes its rules: before any I/O reactor hears
    /// of it, so that none judges a command by the lack of rules.
    ///
    /// # Panics
    /// When the subsystem was not added, or has the namespace.
    pub fn add_namespace(
        &mut self,
        subsystem: usize,
        identity: Identity,
        recovered: Recovered,
        options: Options,
    ) {
        let nsid = identity.nsid;
        let kept = Kept::new(identity, recovered, options);
        let before = self.subsystems.get_mut(&subsystem).map(|fenced| fenced.namespaces.insert(nsid, kept));
        assert!(matches!(before, Some(None)), "a subsystem with reservations gets a new namespace");
        self.tell(NamespaceKey { subsystem, nsid });
        self.publish(subsystem);
    }

    /// Whether a subsystem has reservations.
    pub fn has(&self, subsystem: usize) -> bool {
        self.subsystems.contains_key(&subsystem)
    }

    /// What a queue of `host` needs: where its rules are published, and its slot in them. The rules that hold for the
    /// slot are published before this returns. When the queue is closed, [`Fences::leave`] must be told.
    pub fn admit(&mut self, subsystem: usize, host: HostId) -> Option<(Subscriber<Arc<Snapshot>>, u32)> {
        let fenced = self.subsystems.get_mut(&subsystem)?;
        let (slot, is_new) = fenced.slots.take(host);
        let subscriber = fenced.subscriber.clone();
        if is_new {
            self.publish(subsystem);
        }
        Some((subscriber, slot))
    }

    /// A queue of `host` that was admitted is closed, and none of its commands is left.
    pub fn leave(&mut self, subsystem: usize, host: HostId) {
        if let Some(fenced) = self.subsystems.get_mut(&subsystem) {
            fenced.slots.give_back(host);
        }
    }

    /// A command arrives.
    pub fn submit(&mut self, key: NamespaceKey, origin: Origin, wish: Wish) {
        match self.kept(key) {
            None => self.actions.push_back(FenceAction::Answer(origin, Status::INVALID_FIELD.with_dnr())),
            Some(kept) => {
                kept.keeper.submit(origin, wish);
                self.walk(key);
            }
        }
    }

    /// The report of a namespace: its first `bytes_max` bytes.
    ///
    /// # Errors
    /// Invalid Field where there is no such namespace, Internal Error where it is out of service.
    pub fn report(
        &self,
        key: NamespaceKey,
        bytes_max: u64,
        controller: impl Fn(HostId) -> Option<u16>,
    ) -> Result<Vec<u8>, Status> {
        let kept = self.subsystems.get(&key.subsystem).and_then(|fenced| fenced.namespaces.get(&key.nsid));
        let kept = kept.ok_or(Status::INVALID_FIELD.with_dnr())?;
        if kept.keeper.is_fenced() {
            return Err(Status::INTERNAL_ERROR.with_dnr());
        }
        Ok(reservation::report::encode(kept.keeper.state(), bytes_max, controller))
    }

    /// The reservations of a namespace that is in service.
    pub fn state(&self, key: NamespaceKey) -> Option<&State> {
        let kept = self.subsystems.get(&key.subsystem)?.namespaces.get(&key.nsid)?;
        (!kept.keeper.is_fenced()).then(|| kept.keeper.state())
    }

    /// What was published last of a namespace.
    #[cfg(test)]
    pub(super) fn published(&self, key: NamespaceKey) -> &Rules {
        let published = self.subsystems[&key.subsystem].publisher.current();
        published.rules(key.nsid).expect("a namespace")
    }

    /// The writer has answered.
    pub fn saved(&mut self, answer: Answer) {
        let key = key_of(answer.ticket);
        let result = match answer.result {
            Ok(()) => Ok(()),
            Err(error) => {
                let (subsystem, nsid) = (key.subsystem, key.nsid);
                tracing::error!(subsystem, nsid, %error, "cannot save reservations");
                Err(if error.stage == Stage::Before { SaveFailure::Before } else { SaveFailure::Unknown })
            }
        };
        if let Some(kept) = self.kept(key) {
            kept.keeper.saved(result);
            self.walk(key);
        }
    }

    /// It is proven that no command is left on the namespace that was to end.
    pub fn drained(&mut self, key: NamespaceKey) {
        if let Some(kept) = self.kept(key) {
            kept.keeper.drained();
            self.walk(key);
        }
    }

    /// No write is left on the namespace, and what its device has cached cannot be made durable.
    pub fn not_settled(&mut self, key: NamespaceKey) {
        let (subsystem, nsid) = (key.subsystem, key.nsid);
        tracing::error!(
            subsystem,
            nsid,
            "what was written to a namespace that is to be write protected cannot be made durable"
        );
        if let Some(kept) = self.kept(key) {
            kept.keeper.not_settled();
            self.walk(key);
        }
    }

    /// Looks whether reactors have observed what was published. True while something is still waited for: nothing wakes
    /// the one who waits.
    pub fn look(&mut self) -> bool {
        for key in std::mem::take(&mut self.publishing) {
            let Some(kept) = self.kept(key) else { continue };
            if kept.grace.as_ref().is_some_and(Grace::passed) {
                kept.grace = None;
                kept.keeper.observed();
                self.walk(key);
            } else {
                self.publishing.push(key);
            }
        }
        !self.publishing.is_empty()
    }

    /// What somebody else has to do next.
    pub fn next_action(&mut self) -> Option<FenceAction> {
        self.actions.pop_front()
    }

    fn kept(&mut self, key: NamespaceKey) -> Option<&mut Kept> {
        self.subsystems.get_mut(&key.subsystem)?.namespaces.get_mut(&key.nsid)
    }

    /// Takes the steps that the keeper of a namespace asks for.
    fn walk(&mut self, key: NamespaceKey) {
        while let Some(step) = self.kept(key).and_then(|kept| kept.keeper.next_step()) {
            match step {
                Step::Save(save) => self.order(key, save),
                Step::Publish => {
                    let grace = self.publish(key.subsystem);
                    if let Some(kept) = self.kept(key) {
                        kept.grace = grace;
                        self.publishing.push(key);
                    }
                }
                Step::Drain(hosts) => self.actions.push_back(FenceAction::Drain { key, hosts }),
                Step::Settle => self.actions.push_back(FenceAction::Settle { key }),
                Step::Notify(notices) => self.actions.push_back(FenceAction::Notify { key, notices }),
                Step::Complete(origin, status) => {
                    self.tell(key);
                    self.actions.push_back(FenceAction::Answer(origin, status));
                }
            }
        }
    }

    fn publish(&mut self, subsystem: usize) -> Option<Grace> {
        let fenced = self.subsystems.get_mut(&subsystem)?;
        let hosts = fenced.slots.hosts();
        let rules = fenced.namespaces.iter().map(|(nsid, kept)| {
            let (keeper, protected) = (&kept.keeper, kept.keeper.protection().is_on());
            let rules = || Rules::of(keeper.state(), protected, hosts);
            (*nsid, if keeper.is_fenced() { Rules::fenced() } else { rules() })
        });
        let snapshot = Snapshot::new(rules);
        Some(fenced.publisher.publish(Arc::new(snapshot)))
    }

    fn order(&mut self, key: NamespaceKey, save: Save) {
        let Some(kept) =
            self.subsystems.get_mut(&key.subsystem).and_then(|it| it.namespaces.get_mut(&key.nsid))
        else {
            return;
        };
        let work = match save {
            Save::Remove => Work::Remove,
            Save::Write { state, write_protected } => {
                kept.sequence += 1;
                let (identity, sequence) = (kept.identity.clone(), kept.sequence);
                let record = Record { identity, sequence, write_protected, state };
                Work::Save(record.encode())
            }
        };
        let order = Order { ticket: ticket_of(key), name: kept.name.clone(), work };
        let accepted = match &self.writer {
            Some(writer) => writer.submit(order),
            None => return self.refused(key),
        };
        if let Err(Refused::Full(_) | Refused::Ended(_)) = accepted {
            tracing::error!(
                subsystem = key.subsystem,
                nsid = key.nsid,
                "the writer of records takes no order"
            );
            self.refused(key);
        }
    }

    /// The writer did nothing.
    fn refused(&mut self, key: NamespaceKey) {
        if let Some(kept) = self.kept(key) {
            kept.keeper.saved(Err(SaveFailure::Before));
        }
    }
}

/// One order a namespace at a time, so its name is ticket enough.
fn ticket_of(key: NamespaceKey) -> u64 {
    (key.subsystem as u64) << 32 | u64::from(key.nsid)
}

fn key_of(ticket: u64) -> NamespaceKey {
    let nsid = u32::try_from(ticket & u64::from(u32::MAX)).expect("the lower half");
    NamespaceKey { subsystem: usize::try_from(ticket >> 32).expect("made of a usize"), nsid }
}
