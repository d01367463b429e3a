//! The device side: enables and disables, fetches commands, answers them.
//!
//! ```text
//! Disabled --EN=1--> Enabling --> Ready --EN=0--> Disabling --> Disabled
//!                       \___________ Fatal (CSTS.CFS) _____/
//! ```
//!
//! Invariants: `submissions` and `completions` begin with the admin queues, or are empty; a command in `held` is
//! outstanding in its queue; memory is touched only while the state is not `Disabled`. Nothing is allocated for an I/O
//! command that no fault meets.

use std::sync::atomic::Ordering;

use zerocopy::little_endian::{U16, U32};

use super::admin::Admin;
use super::data::{Data, Rules};
use super::faults::{Fault, Faults};
use super::memory::{Memory, Violation};
use super::namespace::Namespace;
use super::options::{Options, ShadowDoorbells};
use super::queues::{Completion, Submission};
use super::random::Random;
use super::registers::Registers;
use crate::mem::{ExtentError, Shared};
use crate::spec::cqe::Cqe;
use crate::spec::opcode::NvmOpcode;
use crate::spec::register::{
    Aqa, Cc, Csts, Property, Shutdown, ShutdownStatus, completion_doorbell, submission_doorbell,
};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// Bytes of a page where MPS is 0.
const PAGE: usize = 4096;

/// Time at which something never happens.
pub(super) const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Disabled,
    Enabling { ready_at: u64 },
    Ready,
    Disabling { done_at: u64 },
    Fatal,
}

/// What a command is answered with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) dw0: u32,
}

impl Answer {
    pub(super) const SUCCESS: Self = Self::of(Status::SUCCESS);

    pub(super) const fn of(status: Status) -> Self {
        Self { status, dw0: 0 }
    }
}

/// A command whose answer is late, or never comes.
pub(super) struct Held {
    pub(super) sqid: u16,
    pub(super) sqe: Sqe,
    pub(super) due: u64,
}

/// Doorbells in memory: tails and heads, and how far each may go before the real one must be rung.
pub(super) struct Shadow {
    pub(super) doorbells: Shared,
    pub(super) events: Shared,
}

pub(super) struct Controller {
    pub(super) options: Options,
    pub(super) memory: Memory,
    pub(super) faults: Faults,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) admin: Admin,
    pub(super) submissions: Vec<Submission>,
    pub(super) completions: Vec<Completion>,
    pub(super) held: Vec<Held>,
    pub(super) shadow: Option<Shadow>,
    pub(super) data: Data,
    pub(super) now: u64,
    /// I/O commands answered with success or not.
    pub(super) answered: u64,
    pub(super) random: Random,
    state: State,
    shutdown_at: u64,
}

impl Controller {
    pub(super) fn new(options: &Options) -> Result<Self, ExtentError> {
        let namespaces = (1..).zip(&options.namespaces);
        let namespaces = namespaces.map(|(nsid, namespace)| Namespace::new(nsid, namespace, options));
        Ok(Self {
            options: options.clone(),
            memory: Memory::new(),
            faults: Faults::default(),
            namespaces: namespaces.collect::<Result<_, _>>()?,
            admin: Admin::new(options),
            submissions: Vec::new(),
            completions: Vec::new(),
            held: Vec::new(),
            shadow: None,
            data: Data::default(),
            now: 0,
            answered: 0,
            random: Random::new(0),
            state: State::Disabled,
            shutdown_at: NEVER,
        })
    }

    /// One step of device time; returns how many commands were fetched or answered.
    pub(super) fn step(&mut self, registers: &Registers) -> usize {
        self.now += 1;
        self.progress(registers);
        match self.state {
            State::Disabled | State::Enabling { .. } => 0,
            State::Fatal => {
                self.haunt();
                0
            }
            State::Ready => self.work(registers),
            State::Disabling { .. } if self.faults.never_unready => self.work(registers),
            State::Disabling { .. } => self.late(registers),
        }
    }

    /// CC was written.
    pub(super) fn configure(&mut self, registers: &Registers, before: Cc, cc: Cc) {
        let offset = Property::CC.0 as usize;
        if cc.shn() != before.shn() && cc.shn() != Shutdown::NONE {
            self.shutdown_at = self.now + u64::from(self.options.ready_steps);
            registers.set_csts(registers.csts().with_shst(ShutdownStatus::OCCURRING));
        }
        match (before.en(), cc.en(), self.state) {
            (false, true, State::Disabled) => {
                registers.set_csts(Csts::new());
                self.shutdown_at = NEVER;
                self.enable(registers, cc);
            }
            (false, true, _) => {
                self.memory.violate(Violation::Register { offset, reason: "EN is set before RDY is clear" });
            }
            (true, false, State::Disabled | State::Disabling { .. }) => {}
            // RDY is clear already, so the host need not wait (section 3.5.3).
            (true, false, _) if !registers.csts().rdy() => self.reset(registers, false),
            (true, false, _) => {
                let done_at = self.now + u64::from(self.options.ready_steps);
                self.state = State::Disabling { done_at };
            }
            _ => {}
        }
    }

    /// Everything but medium and mappings as after power-up.
    pub(super) fn reset(&mut self, registers: &Registers, all: bool) {
        self.state = State::Disabled;
        self.shutdown_at = NEVER;
        self.submissions.clear();
        self.completions.clear();
        self.held.clear();
        self.shadow = None;
        self.admin.reset();
        registers.reset(all);
    }

    /// CSTS.CFS: nothing works until the controller is reset.
    pub(super) fn fail(&mut self, registers: &Registers) {
        if self.state != State::Disabled {
            self.state = State::Fatal;
        }
        registers.set_csts(registers.csts().with_cfs(true));
    }

    pub(super) fn rules(&self) -> Rules {
        let max = if self.options.mdts == 0 { usize::MAX } else { self.page() << self.options.mdts };
        Rules { page: self.page(), sgls: self.options.sgls, max }
    }

    /// Bytes of a memory page.
    pub(super) fn page(&self) -> usize {
        PAGE << self.options.page_shift
    }

    pub(super) fn namespace(&mut self, nsid: u32) -> Result<&mut Namespace, Status> {
        let namespace = self.namespaces.iter_mut().find(|namespace| namespace.nsid == nsid);
        namespace.filter(|namespace| namespace.attached).ok_or(Status::INVALID_NAMESPACE.with_dnr())
    }

    /// Puts an answer into the queue that the command's submission queue names, unless there is no room for it.
    pub(super) fn answer(
        &mut self,
        registers: &Registers,
        sqid: u16,
        cid: u16,
        answer: Answer,
        twist: Option<Fault>,
    ) {
        let Some(queue) = self.submissions.iter_mut().find(|queue| queue.qid == sqid) else { return };
        let named = match twist {
            Some(Fault::WrongCid) => queue.free_cid(),
            Some(Fault::StaleCid) => queue.answered.unwrap_or_else(|| queue.free_cid()),
            _ => cid,
        };
        if !matches!(twist, Some(Fault::WrongCid | Fault::StaleCid | Fault::StuckPhase)) {
            queue.end(cid);
        }
        let mut cqe = Cqe::of(named, answer.status);
        cqe.dw0 = U32::new(answer.dw0);
        cqe.sqhd = U16::new(queue.head());
        cqe.sqid = U16::new(if twist == Some(Fault::WrongSqid) { sqid ^ 0x40 } else { sqid });
        let cqid = queue.cqid;
        let times = if twist == Some(Fault::Twice) { 2 } else { 1 };
        for _ in 0..times {
            let head = self.head(registers, cqid);
            let Some(queue) = self.completions.iter_mut().find(|queue| queue.qid == cqid) else { return };
            if queue.room(head) > 0 {
                queue.post(&mut self.memory, cqe, twist == Some(Fault::StuckPhase));
            }
        }
        self.answered += u64::from(sqid > 0);
    }

    /// Advances what takes time.
    fn progress(&mut self, registers: &Registers) {
        match self.state {
            State::Enabling { ready_at } if self.now >= ready_at && !self.faults.never_ready => {
                self.state = State::Ready;
                registers.set_csts(registers.csts().with_rdy(true));
            }
            State::Disabling { done_at } if self.now >= done_at && !self.faults.never_unready => {
                let shutdown = registers.csts().shst();
                self.reset(registers, false);
                registers.set_csts(Csts::new().with_shst(shutdown));
            }
            _ => {}
        }
        if self.now >= self.shutdown_at {
            self.shutdown_at = NEVER;
            self.namespaces.iter_mut().for_each(|namespace| namespace.medium.flush());
            registers.set_csts(registers.csts().with_shst(ShutdownStatus::COMPLETE));
        }
    }

    /// Makes the admin queues, as the registers say (NVMe base 2.1, section 3.5.1).
    fn enable(&mut self, registers: &Registers, cc: Cc) {
        let aqa = Aqa::from_bits(registers.aqa.load(Ordering::Acquire));
        let (asq, acq) = (registers.asq.load(Ordering::Acquire), registers.acq.load(Ordering::Acquire));
        let page = u64::try_from(self.page()).expect("a page is small");
        let reason = if cc.mps() != self.options.page_shift {
            Some("MPS is not supported")
        } else if cc.css() != Cc::CSS_NVM || cc.ams() != 0 {
            Some("CSS or AMS is not supported")
        } else if cc.iosqes() != 6 || cc.iocqes() != 4 {
            Some("the sizes of queue entries are not those of the NVM command set")
        } else if aqa.asqs_z() == 0 || aqa.acqs_z() == 0 {
            Some("an admin queue has fewer than two entries")
        } else if !asq.is_multiple_of(page) || !acq.is_multiple_of(page) {
            Some("an admin queue is not at a page boundary")
        } else {
            None
        };
        if let Some(reason) = reason {
            self.memory.violate(Violation::Register { offset: Property::CC.0 as usize, reason });
            return self.fail(registers);
        }
        let submission = Submission::new(&mut self.memory, 0, 0, asq, u32::from(aqa.asqs_z()) + 1);
        let completion = Completion::new(&mut self.memory, 0, acq, u32::from(aqa.acqs_z()) + 1);
        self.submissions.extend(submission);
        self.completions.extend(completion);
        if self.submissions.is_empty() || self.completions.is_empty() {
            return self.fail(registers);
        }
        self.state = State::Enabling { ready_at: self.now + u64::from(self.options.ready_steps) };
    }

    fn work(&mut self, registers: &Registers) -> usize {
        self.haunt();
        let mut done = self.late(registers) + self.report_events(registers);
        let mut index = 0;
        while index < self.submissions.len() {
            let mut left = self.options.burst;
            while left > 0 && index < self.submissions.len() && self.fetch(registers, index) {
                left -= 1;
                done += 1;
            }
            index += 1;
        }
        done
    }

    /// Fetches one command of a queue and carries it out; false when there is none, or no room for its answer.
    fn fetch(&mut self, registers: &Registers, index: usize) -> bool {
        if self.state == State::Fatal {
            return false;
        }
        let (qid, cqid, entries) = {
            let queue = &self.submissions[index];
            (queue.qid, queue.cqid, queue.entries)
        };
        let head = self.head(registers, cqid);
        let held = self.held.iter().filter(|held| held.sqid == qid && held.due != NEVER).count();
        let room =
            self.completions.iter().find(|queue| queue.qid == cqid).map_or(0, |queue| queue.room(head));
        if (room as usize) <= held {
            return false;
        }
        let tail = self.tail(registers, qid);
        if tail >= entries {
            self.memory.violate(Violation::Doorbell { qid, value: tail });
            return false;
        }
        let queue = &mut self.submissions[index];
        let Some(sqe) = queue.fetch(&mut self.memory, tail) else { return false };
        let cid = sqe.cid.get();
        if !queue.begin(cid) {
            self.memory.violate(Violation::CidInUse { sqid: qid, cid });
        }
        self.meet(registers, qid, &sqe);
        true
    }

    /// Carries a command out, as its fault lets it.
    fn meet(&mut self, registers: &Registers, sqid: u16, sqe: &Sqe) {
        let fault = if sqid == 0 { self.faults.of_admin(sqe.admin_opcode()) } else { self.faults.of_io() };
        match fault {
            Some(Fault::Late(steps)) => {
                self.held.push(Held { sqid, sqe: *sqe, due: self.now + u64::from(steps) });
            }
            Some(Fault::Lost) => self.held.push(Held { sqid, sqe: *sqe, due: NEVER }),
            Some(Fault::Fails(status)) => {
                self.answer(registers, sqid, sqe.cid.get(), Answer::of(status), None);
            }
            Some(Fault::Fatal) => self.fail(registers),
            twist => self.execute(registers, sqid, sqe, twist),
        }
    }

    fn execute(&mut self, registers: &Registers, sqid: u16, sqe: &Sqe, twist: Option<Fault>) {
        let answer = if sqid == 0 { self.admin(registers, sqe) } else { Some(self.io(sqid, sqe)) };
        if let Some(answer) = answer {
            self.answer(registers, sqid, sqe.cid.get(), answer, twist);
        }
    }

    /// Carries out and answers what is late and now due.
    fn late(&mut self, registers: &Registers) -> usize {
        let mut done = 0;
        while let Some(at) = self.held.iter().position(|held| held.due <= self.now) {
            let held = self.held.remove(at);
            self.execute(registers, held.sqid, &held.sqe, None);
            done += 1;
        }
        done
    }

    /// Goes on reading and writing the memory of I/O commands that are never answered.
    fn haunt(&mut self) {
        for at in 0..self.held.len() {
            let Held { sqid, sqe, due } = self.held[at];
            let moves = [NvmOpcode::READ, NvmOpcode::WRITE].contains(&sqe.nvm_opcode());
            if due == NEVER && sqid > 0 && moves {
                self.io(sqid, &sqe);
            }
        }
    }

    fn tail(&self, registers: &Registers, qid: u16) -> u32 {
        match &self.shadow {
            Some(shadow) if qid > 0 => {
                let at = submission_doorbell(qid, self.options.dstrd);
                self.shadowed(shadow, at)
            }
            _ => registers.tail(qid),
        }
    }

    fn head(&self, registers: &Registers, qid: u16) -> u32 {
        match &self.shadow {
            Some(shadow) if qid > 0 => {
                let at = completion_doorbell(qid, self.options.dstrd);
                self.shadowed(shadow, at)
            }
            _ => registers.head(qid),
        }
    }

    /// A doorbell in memory. The event index says from where on the real one must be rung: at once, or so far ahead that
    /// it never is (NVMe base 2.1, annex B.5).
    fn shadowed(&self, shadow: &Shadow, at: usize) -> u32 {
        let value = shadow.doorbells.load_u32(at);
        let event = match self.options.shadow_doorbells {
            ShadowDoorbells::Polled => value.wrapping_sub(1) & 0xffff,
            ShadowDoorbells::None | ShadowDoorbells::Rung => value,
        };
        shadow.events.store_u32(at, event);
        value
    }
}
