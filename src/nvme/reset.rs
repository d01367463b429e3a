//! The way down and up again: what is done about a controller that fails, and in which order queue pairs hear of it.
//!
//! Escalation: a command is overdue: Abort, asked for by its queue pair. The Abort does not help: the queues of that pair
//! are deleted and created anew. They cannot be deleted, an admin command is overdue, CSTS.CFS, RDY became 0: the
//! controller is disabled, which ends everything that is in flight, and enabled again. It does not become not-ready: its
//! function is reset. Nothing helps, or too often: it is cut off from memory.

use std::io;

use corelane_reactors::clock::Time;

use super::controller::{Controller, Purpose, State};
use super::enable::{Act, EnableError, Stage};
use super::events::Event;
use super::seat::{QueueStep, Seat, Todo};
use super::{AdminData, Device, ResetError, StartError};
use crate::spec::abort::Abort;
use crate::spec::cqe::Cqe;
use crate::spec::opcode::AdminOpcode;
use crate::spec::register::Csts;
use crate::spec::sqe::Sqe;

/// Abort commands that are outstanding at once, if the controller takes so many.
const ABORTS_MAX: usize = 4;
/// Admin slots that stay free when queues are created and deleted: for a log page and a scan.
const SPARE: usize = 3;
/// Resets in a row before a controller is given up.
const ATTEMPTS_MAX: u32 = 3;

impl<D: Device> Controller<D> {
    /// Resets a controller that works; nothing happens to another one, which is being reset already or was given up. What
    /// is in flight ends, or is sent again: see [`super::Options::replay`].
    pub fn reset(&mut self, now: Time) {
        // One that is gone is found out by the next poll.
        if matches!(self.state, State::Ready)
            && let Ok(csts) = self.registers.csts()
        {
            self.report(Event::Resetting);
            self.go_down(csts, false, now);
        }
    }

    /// Begins to disable the controller. Queue pairs ring no more.
    pub(super) fn go_down(&mut self, csts: Csts, ending: bool, now: Time) {
        self.seats.iter_mut().for_each(Seat::halt);
        self.scan = None;
        self.function_was_reset = false;
        let cc = self.registers.cc();
        let (stage, act) = Stage::stop(cc.en(), csts, &self.limits, now);
        self.act(act);
        self.state = State::Enabling { stage, ending };
    }

    /// A step of disabling and enabling.
    pub(super) fn enabling(
        &mut self,
        stage: Stage,
        ending: bool,
        csts: Csts,
        now: Time,
    ) -> Result<(), StartError> {
        let (stage, act) = match stage.step(csts, &self.limits, now) {
            Ok(step) => step,
            Err(EnableError::NeverStopped) => return self.reset_function(ending, now),
            Err(error) => return Err(self.enable_error(error)),
        };
        self.act(act);
        self.state = State::Enabling { stage, ending };
        match stage {
            Stage::Stopped if ending => Err(StartError::ShutDown),
            Stage::Stopped => {
                self.come_up(now);
                Ok(())
            }
            Stage::Ready if ending => {
                self.go_down(csts, true, now);
                Ok(())
            }
            Stage::Ready => {
                self.state = State::Setup;
                self.begin_setup(now)
            }
            Stage::Settling { .. } | Stage::Stopping { .. } | Stage::Starting { .. } => Ok(()),
        }
    }

    fn act(&self, act: Act) {
        match act {
            Act::Wait => {}
            Act::ClearEnable => self.registers.set_cc(self.registers.cc().with_en(false)),
        }
    }

    /// The controller is disabled: it holds no command and touches no memory. Everybody is told, and it is enabled again.
    fn come_up(&mut self, now: Time) {
        let asked = self.admin.clear();
        self.refuse(asked);
        self.seats.iter_mut().for_each(|seat| seat.end(self.options.replay));
        self.shadowed = false;
        for part in &self.shadow {
            // Words of the admin queue, and of queues that nobody follows up on.
            crate::mem::zero(part.words.segment_mut());
        }
        let (entries, submission, completion) = self.admin.place();
        self.registers.set_admin_queues(entries, submission, completion);
        self.registers.set_cc(self.enabled_cc());
        self.state = State::Enabling { stage: Stage::Stopped.start(&self.limits, now), ending: false };
    }

    /// The controller does not become not-ready: nothing proves that it touches no memory. Resets the function, which
    /// blocks for as long as the bus demands.
    fn reset_function(&mut self, ending: bool, now: Time) -> Result<(), StartError> {
        let never = |reason| StartError::NeverStopped(self.limits.stop, reason);
        if self.function_was_reset {
            return Err(never(ResetError::Failed(io::ErrorKind::TimedOut.into())));
        }
        tracing::warn!(
            device = self.registers.device().name(),
            "does not become not-ready: resetting its function"
        );
        self.registers.device().reset().map_err(|error| match error {
            ResetError::Gone => StartError::Gone,
            error => never(error),
        })?;
        self.function_was_reset = true;
        let stage = Stage::Stopping { until: now + self.limits.stop };
        self.state = State::Enabling { stage, ending };
        Ok(())
    }

    pub(super) fn enable_error(&self, error: EnableError) -> StartError {
        match error {
            EnableError::NeverStopped => StartError::NeverStopped(self.limits.stop, ResetError::Unsupported),
            EnableError::NeverReady => StartError::NeverReady(self.limits.start),
            EnableError::Fatal => StartError::Fatal,
            EnableError::Lost => StartError::Lost,
        }
    }

    /// What is done about a fault: another attempt, if the controller has worked before and may still, or the end.
    pub(super) fn fault_found(&mut self, error: StartError, now: Time) {
        let device = self.registers.device().name();
        if self.has_proven_itself(now) {
            self.attempts = 0;
        }
        let hopeless =
            matches!(error, StartError::Gone | StartError::ShutDown | StartError::NeverStopped(..));
        let csts = if hopeless { None } else { self.registers.csts().ok() };
        let Some(csts) = csts.filter(|_| self.was_ready && self.attempts < ATTEMPTS_MAX) else {
            if !matches!(error, StartError::ShutDown) {
                tracing::error!(device, %error, "the controller is given up");
            }
            if !hopeless {
                self.registers.set_cc(self.registers.cc().with_en(false));
            }
            self.cut_off(error);
            return;
        };
        self.attempts += 1;
        tracing::warn!(device, %error, attempt = self.attempts, "resetting the controller");
        self.report(Event::Resetting);
        self.go_down(csts, false, now);
    }

    /// Looks after the queue pairs: queues are created, deleted where that was asked for, commands are aborted.
    pub(super) fn supervise(&mut self, now: Time) -> Result<(), StartError> {
        let may_create = matches!(self.state, State::Ready);
        for index in 0..self.seats.len() {
            if self.admin.free() < SPARE {
                // The rest has its turn when some of these are answered.
                return Ok(());
            }
            match self.seats[index].next(may_create, self.registers.device()) {
                Todo::Nothing => {}
                Todo::Begin(step) => self.send_queue_step(index, step, now)?,
                Todo::Abort => self.send_aborts(index, now),
            }
        }
        Ok(())
    }

    fn send_queue_step(&mut self, index: usize, step: QueueStep, now: Time) -> Result<(), StartError> {
        let (sqe, memory) = self.seats[index].command(step);
        let data = memory.map_or(AdminData::None, AdminData::At);
        self.send(step.name(), sqe, data, Purpose::Queue { seat: index, step }, now)
    }

    /// Sends a command that must not be left out: an admin queue that is full is one that does not answer.
    pub(super) fn send(
        &mut self,
        command: &'static str,
        sqe: Sqe,
        data: AdminData<'_>,
        purpose: Purpose,
        now: Time,
    ) -> Result<(), StartError> {
        let limit = self.admin.timeout();
        self.admin
            .submit(command, sqe, data, purpose, Some(now))
            .map_err(|_| StartError::Silent { command, limit })
    }

    pub(super) fn queue_answered(
        &mut self,
        index: usize,
        step: QueueStep,
        cqe: &Cqe,
        now: Time,
    ) -> Result<(), StartError> {
        let status = cqe.status();
        if !status.is_success() {
            return Err(StartError::Refused { command: step.name(), status });
        }
        let (shadow, replay) = (self.shadowed, self.options.replay);
        let seat = &mut self.seats[index];
        match step {
            QueueStep::CreateCompletion => self.send_queue_step(index, QueueStep::CreateSubmission, now),
            QueueStep::DeleteSubmission => self.send_queue_step(index, QueueStep::DeleteCompletion, now),
            QueueStep::CreateSubmission => {
                seat.go_live(shadow);
                Ok(())
            }
            QueueStep::DeleteCompletion => {
                seat.end(replay);
                Ok(())
            }
        }
    }

    /// Sends Abort commands that a queue pair asked for, as many as may be outstanding.
    fn send_aborts(&mut self, index: usize, now: Time) {
        let allowed =
            self.identity.as_ref().map_or(1, |identity| usize::from(identity.aborts_max)).min(ABORTS_MAX);
        let mut room = allowed.saturating_sub(self.admin.count(|purpose| matches!(purpose, Purpose::Abort)));
        let (admin, seat) = (&mut self.admin, &self.seats[index]);
        seat.line.take_aborts(|cid| {
            if room == 0 {
                return false;
            }
            room -= 1;
            let mut sqe = Sqe::with_prps(AdminOpcode::ABORT.0, 0, 0);
            sqe.cdw10.set(Abort::new().with_sqid(seat.qid).with_cid(cid).into_bits());
            admin.submit("Abort", sqe, AdminData::None, Purpose::Abort, Some(now)).is_ok()
        });
    }

    /// The setup is over: queues are created from now on.
    pub(super) fn finish_setup(&mut self, now: Time) -> Result<(), StartError> {
        self.now_ready(now);
        self.arm_events();
        self.supervise(now)
    }
}
