//! Ever harsher means against commands of preempted hosts that do not end: the preempting command waits for them. So does
//! the command that protects a namespace for writes that were begun before, which nobody asks to end before T1.
//!
//! ```text
//!   asked to end at once --T1--> asked again --T2--> channel reset --T3--> bdev retired --PROOF--> told to the operator
//! ```
//!
//! Each time counts from the order, and each means is used once, where commands are left. Aborting at once costs nothing,
//! so that a healthy device never sees T1; a command that could not be aborted then perhaps can be now. A reset ends the
//! commands of all hosts on this reactor's channel of the device; retiring ends the device for everybody.
//!
//! Invariant: no means is proof. A command counts until its bdev has completed it, for ever if need be.

use std::time::Duration;

use corelane_reactors::clock::Time;
use corelane_reactors::poll_group::SocketId;

use crate::nvmf::fence::NamespaceKey;
use crate::nvmf::io::{Attached, Channels};
use crate::trace::What;
use crate::transport::Settings;
use crate::transport::command::{Stage, tag};
use crate::transport::queues::{Queue, Queues, Role};

/// How long a device that is being retired has to prove that it touches nothing any more, before the operator is told.
const PROOF: Duration = Duration::from_secs(30);

/// What is done next about commands that do not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Abort,
    Reset,
    Retire,
    Tell,
}

/// How far an order has gone.
#[derive(Debug)]
pub(super) struct Escalation {
    began: Time,
    /// None when there is nothing harsher.
    next: Option<Means>,
}

impl Means {
    fn after(self, settings: &Settings) -> Duration {
        match self {
            Self::Abort => settings.abort_after,
            Self::Reset => settings.reset_after,
            Self::Retire => settings.retire_after,
            Self::Tell => settings.retire_after + PROOF,
        }
    }

    fn harsher(self) -> Option<Self> {
        match self {
            Self::Abort => Some(Self::Reset),
            Self::Reset => Some(Self::Retire),
            Self::Retire => Some(Self::Tell),
            Self::Tell => None,
        }
    }
}

impl Escalation {
    /// Of an order that came at this time, and for which every command was asked to end.
    pub(super) fn from(began: Time) -> Self {
        Self { began, next: Some(Means::Abort) }
    }

    /// When the next means is due.
    pub(super) fn due(&self, settings: &Settings) -> Option<Time> {
        self.next.map(|means| self.began + means.after(settings))
    }

    /// The means that is due now; it is used up.
    fn take(&mut self, now: Time, settings: &Settings) -> Option<Means> {
        let means = self.next.filter(|means| self.began + means.after(settings) <= now)?;
        self.next = means.harsher();
        Some(means)
    }
}

/// Whose commands do not end.
const OF_HOSTS: &str = "commands of preempted hosts";
const OF_WRITERS: &str = "writes to a namespace that is to be write protected";

impl Queues {
    /// Uses the means that are due against commands that are left. Returns how many those were.
    pub(super) fn escalate(&mut self) -> usize {
        let mut used = 0;
        for index in 0..self.services.fences.len() {
            let (now, settings) = (self.services.now, &self.services.settings);
            let wait = &mut self.services.fences[index];
            if wait.pending == 0 {
                continue;
            }
            // One at a time: what it ends is seen before a harsher one is tried.
            let key = wait.key();
            if let Some(means) = wait.escalation.take(now, settings) {
                let values = [key.subsystem as u64, key.nsid.into(), means as u64];
                self.services.note(What::FenceEscalated, values);
                self.force(&self.left(key), means, OF_HOSTS);
                used += 1;
            }
        }
        for index in 0..self.services.settles.len() {
            let (now, settings) = (self.services.now, &self.services.settings);
            let settle = &mut self.services.settles[index];
            let key = settle.key();
            let means = if settle.is_writing() { settle.escalation.take(now, settings) } else { None };
            let Some(means) = means else { continue };
            let values = [key.subsystem as u64, key.nsid.into(), means as u64];
            self.services.note(What::FenceEscalated, values);
            self.force(&self.writes(key), means, OF_WRITERS);
            used += 1;
        }
        used
    }

    fn force(&mut self, left: &[(Attached, SocketId, u16)], means: Means, whose: &str) {
        let channels = &mut self.services.channels;
        let mut seen: Vec<Attached> = Vec::new();
        for (namespace, socket, slot) in left {
            if means == Means::Abort {
                channels.abort(namespace, tag(*socket, *slot));
            }
            if !seen.iter().any(|other| other.shares_channel(namespace)) {
                seen.push(*namespace);
                means.apply(channels, namespace, left.len(), whose);
            }
        }
    }

    /// The commands of preempted hosts that bdevs still have.
    fn left(&self, key: NamespaceKey) -> Vec<(Attached, SocketId, u16)> {
        let mut left = Vec::new();
        for queue in self.table.iter().flatten() {
            let Queue { link, role: Role::Io(io, _) } = &**queue else { continue };
            if io.fence.is_none_or(|fence| fence.subsystem != key.subsystem) {
                continue;
            }
            let counted = io.slots.iter().filter(|(_, command)| {
                let executes = matches!(command.stage, Stage::Executing { .. });
                command.fenced && executes && command.request.namespace.nsid == key.nsid
            });
            left.extend(counted.map(|(slot, command)| (command.request.namespace, link.socket, slot)));
        }
        left
    }
}

impl Means {
    /// Uses it on the bdev of a namespace, and says so; commands have been aborted one by one.
    fn apply(self, channels: &mut Channels, namespace: &Attached, left: usize, whose: &str) {
        let followed = match self {
            Self::Abort | Self::Tell => true,
            Self::Reset => channels.reset(namespace),
            Self::Retire => channels.retire(namespace),
        };
        let (bdev, nsid) = (channels.name(namespace), namespace.nsid);
        match (self, followed) {
            (Self::Abort, _) => {
                tracing::warn!(bdev, nsid, left, "{whose} do not end: aborted once more");
            }
            (Self::Reset, true) => tracing::warn!(
                bdev,
                nsid,
                left,
                "{whose} do not end: the device's queue is reset, and other hosts try again"
            ),
            (Self::Reset, false) => {
                tracing::warn!(bdev, nsid, left, "{whose} do not end, and the device cannot be reset");
            }
            (Self::Retire, true) => tracing::error!(
                bdev,
                nsid,
                left,
                "{whose} do not end: the device is taken out of service until the next start"
            ),
            (Self::Retire, false) => tracing::error!(
                bdev,
                nsid,
                left,
                "{whose} do not end, and the device cannot be taken out of service"
            ),
            (Self::Tell, _) => tracing::error!(
                bdev,
                nsid,
                left,
                "nothing proves that {whose} will not reach the medium, so the command that \
                 waits for them stays unanswered: cut the device off (power it down, or pull it), and then restart this target"
            ),
        }
    }
}
