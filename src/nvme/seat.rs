//! The controller's side of one queue pair: its memory, whether its queues exist, who has it.
//!
//! ```text
//!  Waiting ──followed, or nobody has it──▶ Creating ──CQ, SQ created──▶ Live ──wish, dropped──▶ Deleting
//!     ▲                                       │                          │ controller stops        │
//!     └───────── controller stopped ──────────┴──────────────────────────┴── SQ, CQ deleted ───────┘
//! ```
//!
//! Waiting begins with an order of [`Phase::Ended`] once the device holds nothing of the queues; only when the queue pair
//! has followed it are queues created over its rings again.

use std::sync::Arc;

use super::line::{Line, Order, Phase};
use super::memory::Part;
use super::rings::{RingMemory, Rings};
use super::{Device, Iova};
use crate::spec::opcode::AdminOpcode;
use crate::spec::prp::PrpPair;
use crate::spec::queue::{CompletionQueue, CreateQueue, DeleteQueue, SubmissionQueue};
use crate::spec::sqe::Sqe;

/// A queue pair as the controller sees it.
pub(super) struct Seat {
    pub(super) qid: u16,
    pub(super) line: Arc<Line>,
    pub(super) rings: RingMemory,
    pub(super) pages: Part,
    pub(super) bounces: Part,
    pub(super) state: SeatState,
    /// The order in force.
    pub(super) order: Order,
    /// Times that queues were created.
    epoch: u32,
    /// Somebody has the queue pair.
    pub(super) taken: bool,
}

/// Whether the queues exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeatState {
    /// No; they are created once the order was followed.
    Waiting,
    /// Their commands are under way.
    Creating,
    /// Yes.
    Live,
    /// They are being deleted; with `force` nothing may be sent again.
    Deleting { force: bool },
    /// No, and they never will: the controller did not grant so many.
    Unused,
}

/// The commands that make and end queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueStep {
    CreateCompletion,
    CreateSubmission,
    DeleteSubmission,
    DeleteCompletion,
}

/// What a queue pair needs of its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    Nothing,
    /// The first of two commands.
    Begin(QueueStep),
    /// Abort what it asks for.
    Abort,
}

impl QueueStep {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CreateCompletion => "Create I/O Completion Queue",
            Self::CreateSubmission => "Create I/O Submission Queue",
            Self::DeleteSubmission => "Delete I/O Submission Queue",
            Self::DeleteCompletion => "Delete I/O Completion Queue",
        }
    }
}

impl Seat {
    pub(super) fn new(qid: u16, rings: RingMemory, pages: Part, bounces: Part) -> Self {
        let line = Arc::new(Line::new(usize::from(rings.entries - 1)));
        let (state, order) = (SeatState::Waiting, Order::new());
        Self { qid, line, rings, pages, bounces, state, order, epoch: 0, taken: false }
    }

    /// The command of a step, and its queue's memory.
    pub(super) fn command(&self, step: QueueStep) -> (Sqe, Option<PrpPair>) {
        let entries_z = self.rings.entries - 1;
        let create = CreateQueue::new().with_qid(self.qid).with_qsize_z(entries_z).into_bits();
        let delete = DeleteQueue::new().with_qid(self.qid).into_bits();
        let submission = SubmissionQueue::new().with_pc(true).with_cqid(self.qid).into_bits();
        let completion = CompletionQueue::new().with_pc(true).into_bits();
        let at = |iova: Iova| Some(PrpPair::of(iova.0, 0));
        let (opcode, cdw10, cdw11, memory) = match step {
            QueueStep::CreateCompletion => {
                (AdminOpcode::CREATE_CQ, create, completion, at(self.rings.completion.iova))
            }
            QueueStep::CreateSubmission => {
                (AdminOpcode::CREATE_SQ, create, submission, at(self.rings.submission.iova))
            }
            QueueStep::DeleteSubmission => (AdminOpcode::DELETE_SQ, delete, 0, None),
            QueueStep::DeleteCompletion => (AdminOpcode::DELETE_CQ, delete, 0, None),
        };
        let mut sqe = Sqe::with_prps(opcode.0, 0, 0);
        sqe.cdw10.set(cdw10);
        sqe.cdw11.set(cdw11);
        (sqe, memory)
    }

    /// The queues were created.
    pub(super) fn go_live(&mut self, shadow: bool) {
        // 27 bits are looked at; wrapping is harmless after 134 million resets.
        self.epoch = self.epoch.wrapping_add(1) % (1 << 27);
        self.state = SeatState::Live;
        self.give(Order::new().with_phase(Phase::Live).with_shadow(shadow).with_epoch(self.epoch));
    }

    /// The queues are about to be taken away.
    pub(super) fn halt(&mut self) {
        if self.state == SeatState::Live {
            self.give(self.order.with_phase(Phase::Halted));
            self.state = SeatState::Deleting { force: false };
        }
    }

    /// The device holds nothing of the queues any more; `replay` as in the options.
    pub(super) fn end(&mut self, replay: bool) {
        match self.state {
            SeatState::Live | SeatState::Deleting { .. } => {
                let forced = matches!(self.state, SeatState::Deleting { force: true });
                self.give(self.order.with_phase(Phase::Ended).with_keep(replay && !forced));
                self.state = SeatState::Waiting;
            }
            SeatState::Creating => self.state = SeatState::Waiting,
            SeatState::Waiting | SeatState::Unused => {}
        }
    }

    /// What is to be done about the queue pair now; the state is already the one of what is begun. Queues are created only
    /// while the controller `may_create`.
    pub(super) fn next<D: Device>(&mut self, may_create: bool, device: &Arc<D>) -> Todo {
        match self.state {
            SeatState::Waiting if may_create => {
                if !self.is_followed(device) {
                    return Todo::Nothing;
                }
                self.state = SeatState::Creating;
                Todo::Begin(QueueStep::CreateCompletion)
            }
            SeatState::Live => {
                if self.taken && self.line.is_dropped() {
                    self.halt();
                    self.state = SeatState::Deleting { force: true };
                    Todo::Begin(QueueStep::DeleteSubmission)
                } else if self.is_wished_away() {
                    Todo::Begin(QueueStep::DeleteSubmission)
                } else {
                    Todo::Abort
                }
            }
            SeatState::Deleting { .. } => {
                self.is_wished_away();
                Todo::Nothing
            }
            SeatState::Waiting | SeatState::Creating | SeatState::Unused => Todo::Nothing,
        }
    }

    /// Looks for a wish of the queue pair that is about the present queues; `force` is remembered.
    fn is_wished_away(&mut self) -> bool {
        let Some(wish) = self.line.take_wish().filter(|wish| wish.epoch() == self.epoch) else {
            return false;
        };
        if let SeatState::Deleting { force } = &mut self.state {
            *force |= wish.force();
            return false;
        }
        self.state == SeatState::Live && {
            self.halt();
            self.state = SeatState::Deleting { force: wish.force() };
            true
        }
    }

    /// Nothing will be done with the queues ever again.
    pub(super) fn give_up(&mut self) {
        self.state = SeatState::Unused;
        self.give(self.order.with_phase(Phase::Gone));
    }

    /// Whether queues can be created over the rings.
    fn is_followed<D: Device>(&mut self, device: &Arc<D>) -> bool {
        if self.taken && self.line.is_dropped() {
            // The device holds nothing of the queues, and nobody else does.
            Rings::new(Arc::clone(device), self.rings.clone()).clear();
            self.line = Arc::new(Line::new(usize::from(self.rings.entries - 1)));
            self.order = Order::new();
            self.taken = false;
        }
        !self.taken || self.line.has_followed(self.order)
    }

    fn give(&mut self, order: Order) {
        self.order = order;
        self.line.give(order);
    }
}
