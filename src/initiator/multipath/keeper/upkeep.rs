//! What is done on an association that is up: events are asked for, the namespace and the state of its group are looked
//! at, in the beginning and whenever they may have changed.
//!
//! Invariants: at most one task is under way, and one Asynchronous Event Request beside it; a namespace is gone, or another
//! one, only where the controller says so: a look that failed says nothing, and is taken again.

use std::time::Duration;

use corelane_reactors::clock::Time;

use crate::initiator::multipath::ana::{self, LOG_BYTES};
use crate::initiator::multipath::{Access, FormatError, Found, Identifiers, Space, lacks_descriptors};
use crate::initiator::{CommandError, Controller, End, Fault, QueueName, QueuePair, Transfer, command};
use crate::mem::{self, Buffer};
use crate::spec::ana::AnaState;
use crate::spec::cqe::Cqe;
use crate::spec::event::AsyncEvent;
use crate::spec::feature::AsyncEventConfiguration;
use crate::spec::identify::controller::{Cmic, Oaes};
use crate::spec::identify::{Cns, IDENTIFY_BYTES};
use crate::spec::log_page::LogPageId;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// How often a path is looked at that cannot be used: an event may have been missed, or there are none.
const AGAIN: Duration = Duration::from_secs(1);
const PAGE: u32 = 4096;
const _: () = assert!(PAGE as usize == IDENTIFY_BYTES);

/// Whose completion it is on an admin queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    Association,
    Task,
    Event,
}

impl Tags {
    pub(super) fn of(tag: u64) -> Self {
        match tag {
            1 => Self::Task,
            2 => Self::Event,
            _ => Self::Association,
        }
    }

    fn tag(self) -> u64 {
        match self {
            Self::Association => 0,
            Self::Task => 1,
            Self::Event => 2,
        }
    }
}

/// In the order in which they are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Set Features: the events that are wanted.
    Configure,
    /// The list of namespaces that changed: reading it makes room for the next event.
    ReadChanges,
    /// Identify Namespace.
    Identify,
    /// The descriptors of the namespace.
    Describe,
    /// The ANA log.
    ReadAna,
}

const TASKS: [Task; 5] = [Task::Configure, Task::ReadChanges, Task::Identify, Task::Describe, Task::ReadAna];

/// Why the namespace behind a path is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Misfit {
    #[error("the namespace is gone")]
    Gone,
    #[error(transparent)]
    Format(FormatError),
    #[error("the namespace has other identifiers: it is another one")]
    Other,
    #[error("the namespace has another block size")]
    BlockSize,
    #[error("the namespace has {now} blocks and had {before}")]
    Smaller { now: u64, before: u64 },
}

pub(super) struct Upkeep {
    /// Tasks that are to be done, by their place in [`TASKS`].
    todo: [bool; TASKS.len()],
    under_way: Option<(Task, Time)>,
    answer: Option<Result<Cqe, CommandError>>,
    event: Option<Result<Cqe, CommandError>>,
    /// An Asynchronous Event Request is to be sent.
    arm: bool,
    has_groups: bool,
    buffer: Buffer,
    timeout: Duration,
    identifiers: Identifiers,
    space: Option<Space>,
    fit: Result<(), Misfit>,
    /// The last look at the namespace failed.
    is_unsure: bool,
    ana: Option<AnaState>,
    access: Access,
    again: Time,
    /// Where it is, for messages.
    place: String,
}

impl Upkeep {
    /// For an association that is up; `buffer` has room for an Identify page.
    pub(super) fn new(controller: &Controller, timeout: Duration, place: String, buffer: Buffer) -> Self {
        let oaes = Oaes::from_bits(controller.identify.oaes.get());
        let events = oaes.namespace_attributes() || oaes.ana();
        let has_groups = Cmic::from_bits(controller.identify.cmic).anars();
        Self {
            todo: TASKS.map(|task| match task {
                Task::Configure => events,
                Task::ReadChanges => false,
                Task::Identify | Task::Describe => true,
                Task::ReadAna => has_groups,
            }),
            under_way: None,
            answer: None,
            event: None,
            arm: events,
            has_groups,
            buffer,
            timeout,
            identifiers: Identifiers::default(),
            space: None,
            fit: Ok(()),
            is_unsure: false,
            ana: None,
            access: Access::Down,
            again: Time::MAX,
            place,
        }
    }

    pub(super) fn completed(&mut self, kind: Tags, outcome: Result<Cqe, CommandError>) {
        match kind {
            Tags::Association => {}
            Tags::Task => self.answer = Some(outcome),
            Tags::Event => self.event = Some(outcome),
        }
    }

    /// A command came back because of the path: look at it.
    pub(super) fn suspect(&mut self) {
        self.want(&[Task::Identify, Task::Describe]);
        if self.has_groups {
            self.want(&[Task::ReadAna]);
        }
    }

    /// Does the next step. Some: what the path is good for was found out.
    pub(super) fn advance(
        &mut self,
        now: Time,
        pair: &mut QueuePair,
        found: &Found,
    ) -> Result<Option<Access>, Fault> {
        if let Some(event) = self.event.take() {
            self.happened(event);
        }
        if let Some((task, deadline)) = self.under_way {
            let Some(answer) = self.answer.take() else {
                if now >= deadline {
                    return Err(Fault::CommandTimedOut { queue: QueueName(0), after: self.timeout });
                }
                return Ok(None);
            };
            self.under_way = None;
            self.learn(task, answer, found)?;
        }
        if now >= self.again {
            self.again = Time::MAX;
            self.suspect();
        }
        if self.arm {
            self.arm = false;
            self.submit(&command::async_event_request(), Tags::Event, 0, pair)?;
        }
        let next = TASKS.iter().zip(&mut self.todo).find(|(_, todo)| **todo);
        let Some((&task, todo)) = next else { return Ok(self.judge(now)) };
        *todo = false;
        let (sqe, bytes) = match task {
            Task::Configure => {
                let events = AsyncEventConfiguration::new().with_namespace_attributes(true);
                (command::event_configuration(events.with_ana(self.has_groups)), 0)
            }
            Task::ReadChanges => (command::log_page(LogPageId::CHANGED_NAMESPACES, 0, PAGE), IDENTIFY_BYTES),
            Task::Identify => (command::identify(Cns::NAMESPACE, found.nsid), IDENTIFY_BYTES),
            Task::Describe => (command::identify(Cns::NAMESPACE_DESCRIPTORS, found.nsid), IDENTIFY_BYTES),
            Task::ReadAna => {
                let bytes = u32::try_from(LOG_BYTES).expect("less than a page");
                (command::ana_log(bytes), LOG_BYTES)
            }
        };
        self.under_way = Some((task, now + self.timeout));
        self.submit(&sqe, Tags::Task, bytes, pair)?;
        Ok(None)
    }

    fn submit(&self, sqe: &Sqe, kind: Tags, bytes: usize, pair: &mut QueuePair) -> Result<(), Fault> {
        let transfer = match bytes {
            0 => Transfer::None,
            bytes => Transfer::ToHost(self.buffer.segment_mut(0..bytes)),
        };
        // Three commands at most are on a queue of 31: it has ended.
        let ended = |pair: &QueuePair| Fault::Ended {
            queue: QueueName(0),
            end: pair.end().unwrap_or(End::ClosedByPeer),
        };
        pair.submit(sqe, transfer, kind.tag()).map(drop).map_err(|_| ended(pair))
    }

    fn want(&mut self, tasks: &[Task]) {
        for (task, todo) in TASKS.iter().zip(&mut self.todo) {
            *todo |= tasks.contains(task);
        }
    }

    /// An event; a controller that has none of them is not asked again.
    fn happened(&mut self, event: Result<Cqe, CommandError>) {
        let Ok(cqe) = event else { return };
        self.arm = true;
        let event = AsyncEvent::from_bits(cqe.dw0.get());
        if event == AsyncEvent::NAMESPACE_CHANGED {
            self.want(&[Task::ReadChanges, Task::Identify, Task::Describe]);
        } else if event == AsyncEvent::ANA_CHANGED {
            self.want(&[Task::ReadAna]);
        } else {
            tracing::debug!(place = self.place, ?event, "an event that nobody asked for");
        }
    }

    fn learn(&mut self, task: Task, answer: Result<Cqe, CommandError>, found: &Found) -> Result<(), Fault> {
        // What came damaged is asked for once more: it is looked at again, as everything that is of no use.
        let status = match answer {
            Ok(_) => Some(Status::SUCCESS),
            Err(CommandError::Status { status, .. }) => Some(status),
            Err(CommandError::Damaged) => None,
            Err(CommandError::Disconnected) => {
                return Err(Fault::Ended { queue: QueueName(0), end: End::ClosedByPeer });
            }
        };
        let is_good = status == Some(Status::SUCCESS);
        let mut page = [0; IDENTIFY_BYTES];
        mem::copy_out(self.buffer.segment(0..IDENTIFY_BYTES), &mut page);
        match task {
            Task::Configure | Task::ReadChanges => {}
            Task::Identify if is_good => {
                self.is_unsure = false;
                self.identifiers = Identifiers::of(&page);
                let space = Space::of(&page);
                self.fit = match space {
                    Ok(space) if space.block_size != found.space.block_size => Err(Misfit::BlockSize),
                    Ok(space) if space.blocks < found.space.blocks => {
                        Err(Misfit::Smaller { now: space.blocks, before: found.space.blocks })
                    }
                    Ok(_) => Ok(()),
                    Err(FormatError::Empty) => Err(Misfit::Gone),
                    Err(error) => Err(Misfit::Format(error)),
                };
                let before = self.space.unwrap_or(found.space);
                if let Ok(space) = space
                    && space.blocks > before.blocks
                {
                    tracing::info!(
                        place = self.place,
                        blocks = space.blocks,
                        before = before.blocks,
                        "the namespace has grown; the next start uses all of it"
                    );
                }
                self.space = space.ok();
            }
            // No NSID of this controller: it says so.
            Task::Identify if status.is_some_and(|status| status.is(Status::INVALID_NAMESPACE)) => {
                (self.fit, self.space, self.is_unsure) = (Err(Misfit::Gone), None, false);
            }
            Task::Identify => self.is_unsure = true,
            Task::Describe if self.is_unsure || self.fit.is_err() => {}
            Task::Describe if is_good || status.is_some_and(lacks_descriptors) => {
                let added = if is_good { self.identifiers.add(&page) } else { Ok(()) };
                self.fit = match added {
                    Err(error) => Err(Misfit::Format(error)),
                    Ok(()) if self.identifiers != found.identifiers => Err(Misfit::Other),
                    Ok(()) => Ok(()),
                };
            }
            Task::Describe => self.is_unsure = true,
            Task::ReadAna => {
                let group = self.space.map_or(0, |space| space.group);
                self.ana = if is_good { ana::state_of(group, &page[..LOG_BYTES]) } else { None };
            }
        }
        Ok(())
    }

    /// What the path is good for, where that is news.
    fn judge(&mut self, now: Time) -> Option<Access> {
        let access = match self.fit {
            Err(_) => Access::Lost,
            Ok(()) if self.is_unsure => Access::Blocked,
            Ok(()) if self.has_groups => ana::access_of(self.ana),
            Ok(()) => Access::Optimized,
        };
        if matches!(access, Access::Blocked | Access::Lost) && self.again == Time::MAX {
            self.again = now + AGAIN;
        }
        if access == self.access {
            return None;
        }
        self.access = access;
        if let Err(misfit) = self.fit {
            tracing::error!(place = self.place, %misfit, "a path cannot be used");
        } else if self.is_unsure {
            tracing::warn!(place = self.place, "a look at the namespace failed; it is taken again");
        }
        Some(access)
    }
}
