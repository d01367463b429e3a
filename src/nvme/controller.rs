//! One controller, owned by the management thread: brought up, watched, reset, shut down. Never blocks but where it says
//! so; time comes from outside.
//!
//! ```text
//!  new ──▶ Enabling ──RDY=1──▶ Setup ──queues created──▶ Ready
//!             ▲ fault, at most 3 in a row                  │ CFS, RDY=0, an admin command or a queue that does not answer
//!             └────────────────────────────────────────────┤
//!  any ──all ones, or no attempt left──▶ Failed            │ shutdown
//!                             ▲                            ▼
//!                             └──── RDY=0 ── Enabling ◀── Closing (CC.SHN)
//! ```
//!
//! Invariants: memory that was mapped stays so until Failed, where all of it is unmapped, so that a controller that
//! nobody could stop reaches none of it; queue pairs are told that they may end their commands only after RDY was read
//! as 0, their queue was deleted, the function was reset, or the memory was unmapped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use corelane_reactors::clock::{Clock, Time};
use corelane_reactors::poller::Wake;

use super::admin::{self, AdminQueue};
use super::commands::{AdminReply, AdminTag, Asked};
use super::enable::{Limits, Stage};
use super::events::Event;
use super::layout::{queue_bytes, rings, seat, shadow_bytes};
use super::memory::{PAGE_BYTES, Part, QueueMemory};
use super::namespace::Formats;
use super::queue_pair::{Parts, Terms};
use super::registers::{Doorbells, Gone, Registers};
use super::seat::{QueueStep, Seat, SeatState};
use super::setup::{Scan, ScanStep, Step};
use super::translation::Translations;
use super::{Device, Failure, Identity, MapError, NamespaceInfo, Options, QueuePair, StartError};
use crate::mem::Extent;
use crate::spec::cqe::Cqe;
use crate::spec::event::AsyncEvent;
use crate::spec::register::{Cap, Cc, Shutdown, ShutdownStatus};
use crate::spec::sqe::Sqe;

/// How often a controller that works is looked at: CSTS, overdue commands, requests of its queue pairs.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often while it is brought up or down.
const STEP_EVERY: Duration = Duration::from_millis(1);
/// Admin completions that one poll takes.
const ADMIN_COMPLETIONS_MAX: usize = 16;
/// How long a shutdown may take (NVMe base 2.1, section 3.6.1, where RTD3E says nothing).
const SHUTDOWN: Duration = Duration::from_secs(10);

/// One controller.
pub struct Controller<D: Device> {
    pub(super) registers: Registers<D>,
    pub(super) options: Options,
    pub(super) cap: Cap,
    pub(super) limits: Limits,
    pub(super) state: State,
    pub(super) admin: AdminQueue<D, Purpose>,
    pub(super) identity: Option<Identity>,
    pub(super) namespaces: Vec<NamespaceInfo>,
    pub(super) formats: Arc<Formats>,
    pub(super) seats: Vec<Seat>,
    pub(super) shadow: [Part; 2],
    /// The controller looks at shadow doorbells, since it was enabled.
    pub(super) shadowed: bool,
    pub(super) scan: Option<Scan>,
    pub(super) events: VecDeque<Event>,
    pub(super) events_lost: u64,
    pub(super) replies: VecDeque<(AdminTag, Result<AdminReply, Failure>)>,
    pub(super) tags: u64,
    translations: Translations,
    mapped: Vec<super::Iova>,
    pub(super) attempts: u32,
    pub(super) function_was_reset: bool,
    pub(super) was_ready: bool,
    ready_since: Time,
    look_next: Time,
}

/// How far the controller is.
#[derive(Debug)]
pub(super) enum State {
    /// It was not looked at.
    New,
    /// Between disabled and enabled; with `ending` it is not enabled again.
    Enabling { stage: Stage, ending: bool },
    /// Admin commands are under way that everything else rests on.
    Setup,
    /// Queue pairs are there, or are being made anew.
    Ready,
    /// It was told that it will be disabled.
    Closing { until: Time },
    /// It is cut off.
    Failed(StartError),
}

/// What a controller is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is brought up for the first time.
    Starting,
    /// It works.
    Ready,
    /// It is being reset.
    Resetting,
    /// It is being shut down.
    Closing,
    /// It was given up, is gone, or was shut down: [`Controller::fault`] says which.
    Failed,
}

/// Why an admin command was sent.
#[derive(Debug)]
pub(super) enum Purpose {
    Setup(Step),
    Scan(ScanStep),
    Queue {
        seat: usize,
        step: QueueStep,
    },
    Abort,
    /// Asynchronous Event Request.
    Event,
    /// Get Log Page, which lets the controller report events of this type again.
    Acknowledge(AsyncEvent),
    User(AdminTag, Asked),
}

impl<D: Device> Controller<D> {
    /// Looks at CAP, takes memory for the queues, and gives it to the device. Changes nothing on the controller.
    ///
    /// # Errors
    ///
    /// [`StartError`]: it is no controller that this driver can use, or there is no memory.
    pub fn new(device: Arc<D>, options: &Options) -> Result<Self, StartError> {
        let mut options = options.clipped();
        let registers = Registers::new(Arc::clone(&device));
        let cap = registers.cap().map_err(|Gone| StartError::Gone)?;
        check(cap)?;
        let entries_max = u16::try_from(cap.queue_entries_max()).unwrap_or(u16::MAX);
        options.entries = options.entries.min(entries_max);
        let wanted = Doorbells::of(options.io_queue_pairs, cap.dstrd()).end();
        if wanted > device.register_bytes() {
            return Err(StartError::Registers { wanted, bytes: device.register_bytes() });
        }
        let limits = Limits::of(cap, if cap.crwms() { registers.crto() } else { Default::default() });
        let mut memory = QueueMemory::map(&*device, Extent::best(queue_bytes(&options, cap))?)?;
        let shadow_bytes = shadow_bytes(&options, cap);
        let shadow = [memory.take(shadow_bytes), memory.take(shadow_bytes)];
        let admin_rings = rings(&mut memory, 0, options.admin_entries, cap, &shadow);
        let pages = memory.take(admin::slots(options.admin_entries) * PAGE_BYTES);
        let seats = (1..=options.io_queue_pairs).map(|qid| seat(&mut memory, qid, &options, cap, &shadow));
        Ok(Self {
            seats: seats.collect(),
            admin: AdminQueue::new(device, admin_rings, pages, options.timeout),
            registers,
            options,
            cap,
            limits,
            state: State::New,
            identity: None,
            namespaces: Vec::new(),
            formats: Arc::new(Formats::new()),
            shadow,
            shadowed: false,
            scan: None,
            events: VecDeque::new(),
            events_lost: 0,
            replies: VecDeque::new(),
            tags: 0,
            translations: Translations::default(),
            mapped: vec![memory.iova()],
            attempts: 0,
            function_was_reset: false,
            was_ready: false,
            ready_since: Time::ORIGIN,
            look_next: Time::ORIGIN,
        })
    }

    /// Lets queue pairs use `extent` for data. Only queue pairs that are taken later know it.
    ///
    /// # Errors
    ///
    /// [`MapError`], also when there are too many extents: nothing has changed.
    pub fn map(&mut self, extent: &Arc<Extent>) -> Result<(), MapError> {
        if matches!(self.state, State::Failed(_)) {
            return Err(MapError::Gone);
        }
        if self.translations.is_full() {
            return Err(MapError::NoRoom { bytes: extent.len() });
        }
        let iova = self.registers.device().map(extent)?;
        self.mapped.push(iova);
        self.translations.add(extent.address(), extent.len(), iova);
        Ok(())
    }

    /// Does what there is to do: one step of bringing the controller up or down, a batch of admin completions, requests
    /// of queue pairs, overdue commands. Returns when to call again at the latest.
    ///
    /// Never blocks, but for one case: a controller that does not become not-ready has its function reset, which takes
    /// as long as [`Device::reset`] does.
    pub fn poll(&mut self, now: Time) -> Wake {
        if matches!(self.state, State::Failed(_)) {
            return Wake::Never;
        }
        let busy = match self.turn(now) {
            Ok(busy) => busy,
            Err(error) => {
                self.fault_found(error, now);
                true
            }
        };
        match self.state {
            State::Failed(_) => Wake::Never,
            _ if busy => Wake::Soon,
            State::Ready if self.is_settled() => Wake::At(self.look_next),
            _ => Wake::At(now + STEP_EVERY),
        }
    }

    fn turn(&mut self, now: Time) -> Result<bool, StartError> {
        let busy = self.take_answers(now)?;
        if now < self.look_next && self.is_settled() {
            return Ok(busy);
        }
        self.look_next = now + LOOK_EVERY;
        let csts = self.registers.csts().map_err(|Gone| StartError::Gone)?;
        match self.state {
            State::New => self.go_down(csts, false, now),
            State::Enabling { stage, ending } => self.enabling(stage, ending, csts, now)?,
            State::Setup | State::Ready => {
                Stage::Ready.step(csts, &self.limits, now).map_err(|error| self.enable_error(error))?;
                if let Some(command) = self.admin.overdue(now) {
                    return Err(StartError::Silent { command, limit: self.admin.timeout() });
                }
                self.supervise(now)?;
            }
            State::Closing { until } => {
                if csts.shst() == ShutdownStatus::COMPLETE || csts.cfs() || now >= until {
                    self.go_down(csts, true, now);
                }
            }
            State::Failed(_) => {}
        }
        Ok(busy)
    }

    fn take_answers(&mut self, now: Time) -> Result<bool, StartError> {
        if !matches!(self.state, State::Setup | State::Ready) {
            return Ok(false);
        }
        for taken in 0..ADMIN_COMPLETIONS_MAX {
            let Some(answer) = self.admin.take() else { return Ok(taken > 0) };
            self.answered(answer.purpose, &answer.cqe, answer.page, now)?;
        }
        Ok(true)
    }

    fn answered(&mut self, purpose: Purpose, cqe: &Cqe, page: usize, now: Time) -> Result<(), StartError> {
        match purpose {
            Purpose::Setup(step) => self.setup_answered(step, cqe, page, now),
            Purpose::Scan(step) => self.scan_answered(step, cqe, page, now),
            Purpose::Queue { seat, step } => self.queue_answered(seat, step, cqe, now),
            // The command itself completes, or does not: its queue pair sees to both.
            Purpose::Abort => Ok(()),
            Purpose::Event => self.event_came(cqe, now),
            Purpose::Acknowledge(event) => self.event_acknowledged(event, now),
            Purpose::User(tag, asked) => {
                let reply = self.reply(asked, cqe, page);
                self.replies.push_back((tag, reply));
                Ok(())
            }
        }
    }

    /// Ready, and every queue pair that was granted has its queues.
    fn is_settled(&self) -> bool {
        let settled = |seat: &Seat| matches!(seat.state, SeatState::Live | SeatState::Unused);
        matches!(self.state, State::Ready) && self.seats.iter().all(settled)
    }

    /// Whether the controller works and its queue pairs are there.
    pub fn is_ready(&self) -> bool {
        self.is_settled()
    }

    /// What the controller is good for now.
    pub fn condition(&self) -> Condition {
        match self.state {
            State::Ready if self.was_ready => Condition::Ready,
            State::Failed(_) => Condition::Failed,
            State::Closing { .. } | State::Enabling { ending: true, .. } => Condition::Closing,
            _ if self.was_ready => Condition::Resetting,
            _ => Condition::Starting,
        }
    }

    /// Why the controller was given up; `None` as long as it was not.
    pub fn fault(&self) -> Option<&StartError> {
        match &self.state {
            State::Failed(error) => Some(error),
            State::New | State::Enabling { .. } | State::Setup | State::Ready | State::Closing { .. } => None,
        }
    }

    /// The device under it.
    pub fn device(&self) -> &Arc<D> {
        self.registers.device()
    }

    /// What the controller says of itself.
    ///
    /// # Panics
    /// Before it has become ready once.
    pub fn identity(&self) -> &Identity {
        self.identity.as_ref().expect("a controller that was ready has been identified")
    }

    /// The active namespaces, in the order of their NSIDs: also those whose format is refused.
    pub fn namespaces(&self) -> &[NamespaceInfo] {
        &self.namespaces
    }

    /// Queue pairs that the controller granted; at most as many as were asked for.
    pub fn queue_pairs(&self) -> usize {
        self.seats.iter().filter(|seat| seat.state != SeatState::Unused).count()
    }

    /// Hands out a queue pair; `None` when every one that was granted has an owner, or before the controller is ready.
    /// It moves to the reactor that is to use it. A queue pair that was dropped can be taken again, after its queues
    /// were made anew.
    pub fn take_queue_pair(&mut self) -> Option<QueuePair<D>> {
        let identity = self.identity.as_ref().filter(|_| self.was_ready)?;
        let seat = self.seats.iter_mut().find(|seat| !seat.taken && seat.state == SeatState::Live)?;
        seat.taken = true;
        Some(QueuePair::new(Parts {
            qid: seat.qid,
            device: Arc::clone(self.registers.device()),
            line: Arc::clone(&seat.line),
            rings: seat.rings.clone(),
            pages: seat.pages.clone(),
            bounces: seat.bounces.clone(),
            bounce_bytes: self.options.bounce_bytes,
            terms: Terms {
                transfer_bytes: identity.transfer_bytes(),
                sgl_aligned: identity.sgl_aligned(&self.options),
                oncs: identity.oncs,
                zeroes_bytes: identity.limits.zeroes_bytes,
                verify_bytes: identity.limits.verify_bytes,
                uncorrectable_bytes: identity.limits.uncorrectable_bytes,
                dataset_ranges: identity.limits.dataset_ranges,
                timeout: self.options.timeout,
                replay: self.options.replay,
            },
            formats: Arc::clone(&self.formats),
            translations: self.translations.clone(),
        }))
    }

    /// Brings the controller up, and waits for it: for assembly, examples and tools. Blocks, at most for as long as the
    /// controller says that it may take, and the time-out of a command for each that it does not answer.
    ///
    /// # Errors
    ///
    /// [`StartError`]; the controller is cut off.
    ///
    /// # Panics
    /// If the clock is simulated: nobody would move it.
    pub fn start(&mut self, clock: &Clock) -> Result<(), StartError> {
        assert!(!clock.is_simulated());
        self.wait(clock, |controller| controller.is_settled());
        self.outcome()
    }

    /// Shuts the controller down, and waits for it: as [`Controller::shutdown`], for assembly, examples and tools.
    ///
    /// # Panics
    /// If the clock is simulated: nobody would move it.
    pub fn stop(&mut self, clock: &Clock) {
        assert!(!clock.is_simulated());
        self.shutdown(clock.now());
        self.wait(clock, |_| false);
    }

    fn wait(&mut self, clock: &Clock, done: impl Fn(&Self) -> bool) {
        while !matches!(self.state, State::Failed(_)) && !done(self) {
            if self.poll(clock.now()) != Wake::Soon {
                std::thread::park_timeout(Duration::from_micros(100));
            }
        }
    }

    fn outcome(&mut self) -> Result<(), StartError> {
        match &mut self.state {
            // The error goes to the caller; what stays is as final.
            State::Failed(error) => Err(std::mem::replace(error, StartError::Gone)),
            _ => Ok(()),
        }
    }

    /// Announces a shutdown (NVMe base 2.1, section 3.6.1) and disables the controller afterwards, in later polls; then it
    /// is [`Condition::Failed`], with [`StartError::ShutDown`]. What is outstanding on queue pairs completes with
    /// [`super::Failure::Gone`] when the controller is disabled.
    pub fn shutdown(&mut self, now: Time) {
        match self.state {
            State::Setup | State::Ready => {
                self.seats.iter_mut().for_each(Seat::halt);
                let cc = self.registers.cc();
                self.registers.set_cc(cc.with_shn(Shutdown::NORMAL));
                self.state = State::Closing { until: now + SHUTDOWN };
            }
            State::New => self.cut_off(StartError::ShutDown),
            State::Enabling { stage, .. } => self.state = State::Enabling { stage, ending: true },
            State::Closing { .. } | State::Failed(_) => {}
        }
    }

    /// Takes the controller out of service without asking it: it is disabled, by a reset of its function if it must be, in
    /// later polls; then it is [`Condition::Failed`], with [`StartError::ShutDown`]. What is outstanding on queue pairs
    /// completes with [`super::Failure::Gone`] once it can touch neither memory nor media.
    pub fn retire(&mut self, now: Time) {
        match self.state {
            State::New => self.cut_off(StartError::ShutDown),
            State::Setup | State::Ready | State::Closing { .. } => match self.registers.csts() {
                Ok(csts) => self.go_down(csts, true, now),
                Err(Gone) => self.cut_off(StartError::Gone),
            },
            State::Enabling { stage, .. } => self.state = State::Enabling { stage, ending: true },
            State::Failed(_) => {}
        }
    }

    /// The first look at the controller after it became ready.
    pub(super) fn now_ready(&mut self, now: Time) {
        self.state = State::Ready;
        self.ready_since = now;
        self.was_ready = true;
    }

    /// Whether the controller has worked for so long that what was is forgotten.
    pub(super) fn has_proven_itself(&self, now: Time) -> bool {
        self.is_settled() && now.since(self.ready_since) >= self.options.timeout
    }

    /// CC of an enabled controller.
    pub(super) fn enabled_cc(&self) -> Cc {
        let cc = Cc::new().with_en(true).with_iosqes(SQE_SHIFT).with_iocqes(CQE_SHIFT);
        cc.with_css(if self.cap.css_nvm() { Cc::CSS_NVM } else { Cc::CSS_ALL })
    }

    /// Takes all memory away from the device, so that it reaches none of it whatever it does; what is outstanding ends.
    pub(super) fn cut_off(&mut self, error: StartError) {
        for iova in std::mem::take(&mut self.mapped) {
            self.registers.device().unmap(iova);
        }
        self.seats.iter_mut().for_each(Seat::give_up);
        let asked = self.admin.clear();
        self.refuse(asked);
        self.formats.set(&[]);
        self.report(Event::Failed);
        self.state = State::Failed(error);
    }
}

impl<D: Device> Drop for Controller<D> {
    /// Disables the controller if it was not shut down, and takes its memory away.
    fn drop(&mut self) {
        if !matches!(self.state, State::Failed(_)) {
            let cc = self.registers.cc();
            self.registers.set_cc(cc.with_en(false));
            self.cut_off(StartError::ShutDown);
        }
    }
}

/// Entries of I/O queues as powers of two (section 3.1.4.5).
const SQE_SHIFT: u8 = 6;
const CQE_SHIFT: u8 = 4;
const _: () = assert!(size_of::<Sqe>() == 1 << SQE_SHIFT && size_of::<Cqe>() == 1 << CQE_SHIFT);

/// Whether this driver can use a controller with this CAP.
fn check(cap: Cap) -> Result<(), StartError> {
    if cap.mqes_z() == 0 || !(cap.css_nvm() || cap.css_iocs()) {
        return Err(StartError::NotNvme { cap: cap.into_bits() });
    }
    if cap.mpsmin() != 0 {
        return Err(StartError::PageSize { bytes: (PAGE_BYTES as u64) << cap.mpsmin() });
    }
    Ok(())
}
