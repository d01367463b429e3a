//! What the checks share: the machine, the layout that is judged, and the items so far.

use crate::config::{Config, Topology};

use super::super::setup::{Machine, Trouble};
use super::interrupts::Source;
use super::{Cpu, Item, Usable, Verdict, list};

/// A look at a machine.
pub(super) struct Look<'a> {
    pub(super) machine: &'a Machine,
    pub(super) cpus: &'a [Cpu],
    pub(super) usable: &'a Usable,
    /// The cores that the process may use.
    pub(super) topology: &'a Topology,
    /// Whose layout is judged.
    pub(super) config: &'a Config,
    pub(super) sources: &'a [Source],
    pub(super) items: Vec<Item>,
}

/// Something could not be read, and that has been said: nothing else is to be said of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread;

/// One item under way: what is looked at.
pub(super) struct Entry<'l, 'a> {
    look: &'l mut Look<'a>,
    verdict: Verdict,
    topic: &'static str,
    state: String,
}

impl<'a> Look<'a> {
    /// The contents of a file; `None` if it is not there. Says when it could not be read.
    pub(super) fn text(&mut self, topic: &'static str, path: &str) -> Result<Option<String>, Unread> {
        let result = self.machine.text(path);
        self.take(topic, result)
    }

    /// Names in a folder; none if it is not there. Says when it could not be read.
    pub(super) fn names(&mut self, topic: &'static str, path: &str) -> Result<Vec<String>, Unread> {
        let result = self.machine.names(path);
        self.take(topic, result)
    }

    fn take<T>(&mut self, topic: &'static str, result: Result<T, Trouble>) -> Result<T, Unread> {
        result.map_err(|trouble| {
            self.unreadable(topic, &trouble);
            Unread
        })
    }

    /// Says what could not be read.
    pub(super) fn unreadable(&mut self, topic: &'static str, trouble: &Trouble) {
        self.unknown(topic, &trouble.to_string());
    }

    /// Says what is not known. Once, however often it is asked for.
    pub(super) fn unknown(&mut self, topic: &'static str, why: &str) {
        let item = Item {
            verdict: Verdict::Unknown,
            topic,
            state: "not known".to_owned(),
            reason: why.to_owned(),
            command: None,
        };
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }

    pub(super) fn helps(&mut self, topic: &'static str, state: impl Into<String>) -> Entry<'_, 'a> {
        Entry { look: self, verdict: Verdict::Helps, topic, state: state.into() }
    }

    pub(super) fn hurts(&mut self, topic: &'static str, state: impl Into<String>) -> Entry<'_, 'a> {
        Entry { look: self, verdict: Verdict::Hurts, topic, state: state.into() }
    }

    pub(super) fn note(&mut self, topic: &'static str, state: impl Into<String>) -> Entry<'_, 'a> {
        Entry { look: self, verdict: Verdict::Note, topic, state: state.into() }
    }

    /// The cores of I/O reactors, ascending.
    pub(super) fn io(&self) -> Vec<usize> {
        let mut io = self.config.reactors.io.clone();
        io.sort_unstable();
        io
    }

    /// Cores for what is no I/O, near the reactors: a list for a command.
    pub(super) fn elsewhere(&self) -> String {
        let io = self.io();
        let physical = |core: usize| self.cpus.iter().find(|cpu| cpu.core == core).map(|cpu| cpu.physical);
        let taken: Vec<usize> = io.iter().filter_map(|&core| physical(core)).collect();
        let free = self.cpus.iter().filter(|cpu| !io.contains(&cpu.core));
        let apart: Vec<usize> =
            free.clone().filter(|cpu| !taken.contains(&cpu.physical)).map(|cpu| cpu.core).collect();
        let cores = if apart.is_empty() { free.map(|cpu| cpu.core).collect() } else { apart };
        list::show(&cores)
    }
}

impl Entry<'_, '_> {
    /// Ends an item that needs no change.
    pub(super) fn because(self, reason: impl Into<String>) {
        self.end(reason.into(), None);
    }

    /// Ends an item with the command that changes it.
    pub(super) fn change(self, reason: impl Into<String>, command: impl Into<String>) {
        self.end(reason.into(), Some(command.into()));
    }

    fn end(self, reason: String, command: Option<String>) {
        let Self { look, verdict, topic, state } = self;
        look.items.push(Item { verdict, topic, state, reason, command });
    }
}
