//! Admin commands, carried out, and the asynchronous events (NVMe base 2.1, sections 5.1 and 5.2).

use std::collections::{BTreeSet, VecDeque};

use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromZeros, IntoBytes};

use super::controller::{Answer, Controller, NEVER, Shadow};
use super::errors::Errors;
use super::options::{Options, ShadowDoorbells};
use super::queues::{Completion, Submission};
use super::registers::Registers;
use crate::spec::abort::AbortResult;
use crate::spec::event::AsyncEvent;
use crate::spec::feature::{AsyncEventConfiguration, FeatureId, HostIdentifier, NumberOfQueues};
use crate::spec::host::HostId;
use crate::spec::log_page::{LogPageId, Smart};
use crate::spec::opcode::AdminOpcode;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// Asynchronous Event Requests that may be outstanding.
pub(super) const EVENT_REQUESTS_MAX: usize = 4;

/// Events that wait; more are not reported.
const EVENTS_MAX: usize = 64;

const CNTLID: u16 = 7;

/// Bytes of the largest log page.
const LOG_PAGE_BYTES: usize = 4096;

/// Features, events and logs: what a controller reset forgets.
pub(super) struct Admin {
    /// The Host Identifier feature; zero where no host has set one.
    pub(super) host: HostId,
    /// Identifiers of the outstanding Asynchronous Event Requests.
    requests: VecDeque<u16>,
    events: VecDeque<AsyncEvent>,
    /// Types that are not reported until the page of their last event was read.
    masked: BTreeSet<u8>,
    pub(super) changed: BTreeSet<u32>,
    notices: AsyncEventConfiguration,
    pub(super) write_cache: bool,
    pub(super) warning: u8,
    pub(super) errors: Errors,
    has_cache: bool,
}

impl Admin {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            host: HostId([0; 16]),
            requests: VecDeque::with_capacity(EVENT_REQUESTS_MAX),
            events: VecDeque::new(),
            masked: BTreeSet::new(),
            changed: BTreeSet::new(),
            notices: AsyncEventConfiguration::new(),
            write_cache: options.volatile_write_cache,
            warning: 0,
            errors: Errors::default(),
            has_cache: options.volatile_write_cache,
        }
    }

    pub(super) fn reset(&mut self) {
        let (warning, has_cache) = (self.warning, self.has_cache);
        *self = Self {
            warning,
            has_cache,
            ..Self::new(&Options { namespaces: Vec::new(), ..Options::default() })
        };
        self.write_cache = has_cache;
    }

    pub(super) fn cntlid(&self) -> u16 {
        CNTLID
    }

    /// Notes an event, if the host asked for its kind.
    pub(super) fn report(&mut self, event: AsyncEvent) {
        let wanted = event != AsyncEvent::NAMESPACE_CHANGED || self.notices.namespace_attributes();
        if wanted && self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        }
    }
}

impl Controller {
    /// Carries out an admin command; `None` for those that are answered later.
    pub(super) fn admin(&mut self, registers: &Registers, sqe: &Sqe) -> Option<Answer> {
        if sqe.admin_opcode() == AdminOpcode::ASYNC_EVENT_REQUEST {
            if self.admin.requests.len() == EVENT_REQUESTS_MAX {
                return Some(Answer::of(Status::ASYNC_EVENT_LIMIT_EXCEEDED));
            }
            self.admin.requests.push_back(sqe.cid.get());
            return None;
        }
        let carried_out = match sqe.admin_opcode() {
            AdminOpcode::IDENTIFY => self.identify(registers, sqe),
            AdminOpcode::CREATE_CQ => self.create_completion_queue(registers, sqe),
            AdminOpcode::CREATE_SQ => self.create_submission_queue(registers, sqe),
            AdminOpcode::DELETE_CQ => self.delete_completion_queue(sqe),
            AdminOpcode::DELETE_SQ => self.delete_submission_queue(registers, sqe),
            AdminOpcode::GET_FEATURES => self.get_features(sqe),
            AdminOpcode::SET_FEATURES => self.set_features(sqe),
            AdminOpcode::GET_LOG_PAGE => self.log_page(sqe),
            AdminOpcode::ABORT => Ok(self.abort(registers, sqe)),
            AdminOpcode::DOORBELL_BUFFER_CONFIG => self.configure_doorbells(sqe),
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        };
        Some(match carried_out {
            Ok(dw0) => Answer { dw0, ..Answer::SUCCESS },
            Err(status) => {
                self.admin.errors.note(0, sqe, status);
                Answer::of(status)
            }
        })
    }

    /// Answers Asynchronous Event Requests for what happened.
    pub(super) fn report_events(&mut self, registers: &Registers) -> usize {
        let mut reported = 0;
        while let Some(&cid) = self.admin.requests.front() {
            let event = if self.faults.event_flood > 0 {
                self.faults.event_flood -= 1;
                AsyncEvent::new().with_kind(AsyncEvent::SMART).with_info(1).with_lid(LogPageId::SMART.0)
            } else {
                let masked = &self.admin.masked;
                let Some(at) = self.admin.events.iter().position(|event| !masked.contains(&event.kind()))
                else {
                    break;
                };
                let event = self.admin.events.remove(at).expect("just found");
                self.admin.masked.insert(event.kind());
                event
            };
            self.admin.requests.pop_front();
            let answer = Answer { dw0: event.into_bits(), ..Answer::SUCCESS };
            self.answer(registers, 0, cid, answer, None);
            reported += 1;
        }
        reported
    }

    /// Sends a page of an admin command to the host. SGLs are not for admin commands on PCIe (section 4.3).
    pub(super) fn send(&mut self, sqe: &Sqe, page: &[u8]) -> Result<u32, Status> {
        let mut rules = self.rules();
        rules.sgls = false;
        self.data.locate(&mut self.memory, rules, (0, sqe), page.len())?;
        self.data.put(&mut self.memory, page);
        Ok(0)
    }

    fn create_completion_queue(&mut self, registers: &Registers, sqe: &Sqe) -> Result<u32, Status> {
        let (qid, entries) = self.new_queue(sqe, sqe.completion_queue().pc())?;
        if self.completions.iter().any(|queue| queue.qid == qid) {
            return Err(Status::INVALID_QUEUE.with_dnr());
        }
        let queue = Completion::new(&mut self.memory, qid, sqe.prps().prp1.get(), entries);
        registers.clear_head(qid);
        self.completions.push(queue.ok_or(Status::DATA_TRANSFER_ERROR)?);
        Ok(0)
    }

    fn create_submission_queue(&mut self, registers: &Registers, sqe: &Sqe) -> Result<u32, Status> {
        let (qid, entries) = self.new_queue(sqe, sqe.submission_queue().pc())?;
        let cqid = sqe.submission_queue().cqid();
        if cqid == 0 || self.completions.iter().all(|queue| queue.qid != cqid) {
            return Err(Status::INVALID_COMPLETION_QUEUE.with_dnr());
        }
        if self.submissions.iter().any(|queue| queue.qid == qid) {
            return Err(Status::INVALID_QUEUE.with_dnr());
        }
        let queue = Submission::new(&mut self.memory, qid, cqid, sqe.prps().prp1.get(), entries);
        registers.clear_tail(qid);
        self.submissions.push(queue.ok_or(Status::DATA_TRANSFER_ERROR)?);
        Ok(0)
    }

    /// Identifier and entries of a queue to be made.
    fn new_queue(&mut self, sqe: &Sqe, contiguous: bool) -> Result<(u16, u32), Status> {
        let (qid, entries) = (sqe.create_queue().qid(), u32::from(sqe.create_queue().qsize_z()) + 1);
        let page = u64::try_from(self.page()).expect("a page is small");
        if let Some((first, status)) = self.faults.refused_queue
            && qid >= first
        {
            return Err(status);
        }
        if qid == 0 || qid > self.granted() {
            return Err(Status::INVALID_QUEUE.with_dnr());
        }
        if entries < 2 || entries > self.options.queue_entries_max {
            return Err(Status::INVALID_QUEUE_SIZE.with_dnr());
        }
        if !sqe.prps().prp1.get().is_multiple_of(page) {
            return Err(Status::PRP_OFFSET_INVALID.with_dnr());
        }
        contiguous.then_some((qid, entries)).ok_or(Status::INVALID_FIELD.with_dnr())
    }

    fn delete_completion_queue(&mut self, sqe: &Sqe) -> Result<u32, Status> {
        let qid = sqe.delete_queue().qid();
        if qid == 0 || self.completions.iter().all(|queue| queue.qid != qid) {
            return Err(Status::INVALID_QUEUE.with_dnr());
        }
        if self.submissions.iter().any(|queue| queue.cqid == qid) {
            return Err(Status::INVALID_QUEUE_DELETION.with_dnr());
        }
        self.completions.retain(|queue| queue.qid != qid);
        Ok(0)
    }

    /// What the queue still held is aborted first (section 5.2.4).
    fn delete_submission_queue(&mut self, registers: &Registers, sqe: &Sqe) -> Result<u32, Status> {
        let qid = sqe.delete_queue().qid();
        if qid == 0 || self.submissions.iter().all(|queue| queue.qid != qid) {
            return Err(Status::INVALID_QUEUE.with_dnr());
        }
        while let Some(at) = self.held.iter().position(|held| held.sqid == qid) {
            let held = self.held.remove(at);
            if held.due != NEVER {
                let answer = Answer::of(Status::ABORTED_SQ_DELETION);
                self.answer(registers, qid, held.sqe.cid.get(), answer, None);
            }
        }
        self.submissions.retain(|queue| queue.qid != qid);
        Ok(0)
    }

    fn abort(&mut self, registers: &Registers, sqe: &Sqe) -> u32 {
        let (sqid, cid) = (sqe.abort().sqid(), sqe.abort().cid());
        let found = self
            .held
            .iter()
            .position(|held| held.sqid == sqid && held.sqe.cid.get() == cid && held.due != NEVER);
        if let Some(at) = found {
            self.held.remove(at);
            self.answer(registers, sqid, cid, Answer::of(Status::ABORT_REQUESTED), None);
        }
        AbortResult::new().with_not_aborted(found.is_none()).into_bits()
    }

    fn get_features(&mut self, sqe: &Sqe) -> Result<u32, Status> {
        match FeatureId(sqe.get_features().fid()) {
            FeatureId::NUMBER_OF_QUEUES => {
                let last = self.granted() - 1;
                Ok(NumberOfQueues::new().with_submission_z(last).with_completion_z(last).into_bits())
            }
            FeatureId::VOLATILE_WRITE_CACHE if self.options.volatile_write_cache => {
                Ok(u32::from(self.admin.write_cache))
            }
            FeatureId::ASYNC_EVENT_CONFIGURATION => Ok(self.admin.notices.into_bits()),
            FeatureId::HOST_IDENTIFIER => {
                let host = self.admin.host;
                self.send(sqe, &host.0)
            }
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        }
    }

    fn set_features(&mut self, sqe: &Sqe) -> Result<u32, Status> {
        let dword = sqe.cdw11.get();
        match FeatureId(sqe.set_features().fid()) {
            FeatureId::NUMBER_OF_QUEUES if self.submissions.len() > 1 || self.completions.len() > 1 => {
                Err(Status::COMMAND_SEQUENCE_ERROR.with_dnr())
            }
            FeatureId::NUMBER_OF_QUEUES => {
                let asked = NumberOfQueues::from_bits(dword);
                if asked.submission_z() == u16::MAX || asked.completion_z() == u16::MAX {
                    return Err(Status::INVALID_FIELD.with_dnr());
                }
                self.get_features(sqe)
            }
            FeatureId::VOLATILE_WRITE_CACHE if self.options.volatile_write_cache => {
                self.admin.write_cache = dword & 1 == 1;
                Ok(0)
            }
            FeatureId::ASYNC_EVENT_CONFIGURATION => {
                self.admin.notices = AsyncEventConfiguration::from_bits(dword);
                Ok(0)
            }
            FeatureId::HOST_IDENTIFIER => self.set_host(sqe),
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        }
    }

    fn set_host(&mut self, sqe: &Sqe) -> Result<u32, Status> {
        let mut rules = self.rules();
        rules.sgls = false;
        let bytes = if HostIdentifier::from_bits(sqe.cdw11.get()).exhid() { 16 } else { 8 };
        self.data.locate(&mut self.memory, rules, (0, sqe), bytes)?;
        let mut host = [0; 16];
        self.data.get(&mut self.memory, &mut host[..bytes]);
        self.admin.host = HostId(host);
        Ok(0)
    }

    fn log_page(&mut self, sqe: &Sqe) -> Result<u32, Status> {
        let lid = LogPageId(sqe.log_page().lid());
        let mut page = match lid {
            LogPageId::ERROR => self.admin.errors.page(),
            LogPageId::SMART => self.smart().as_bytes().to_vec(),
            LogPageId::CHANGED_NAMESPACES => {
                self.admin.changed.iter().flat_map(|nsid| nsid.to_le_bytes()).collect()
            }
            _ => return Err(Status::INVALID_LOG_PAGE.with_dnr()),
        };
        page.resize(LOG_PAGE_BYTES, 0);
        let offset = usize::try_from(sqe.log_page_offset()).unwrap_or(usize::MAX);
        let bytes = usize::try_from(sqe.log_page_bytes()).unwrap_or(usize::MAX);
        let end = offset.checked_add(bytes).filter(|&end| end <= page.len());
        let end = end.ok_or(Status::INVALID_FIELD.with_dnr())?;
        self.send(sqe, &page[offset..end])?;
        if !sqe.log_page().rae() {
            let kind = match lid {
                LogPageId::CHANGED_NAMESPACES => {
                    self.admin.changed.clear();
                    AsyncEvent::NOTICE
                }
                LogPageId::SMART => AsyncEvent::SMART,
                _ => AsyncEvent::ERROR,
            };
            self.admin.masked.remove(&kind);
        }
        Ok(0)
    }

    fn smart(&self) -> Smart {
        let mut page = Smart::new_zeroed();
        page.critical_warning = self.admin.warning;
        page.composite_temperature = U16::new(310);
        page.available_spare = 100;
        page.available_spare_threshold = 10;
        page.host_read_commands = U128::new(u128::from(self.answered));
        page.warning_temperature_minutes = U32::new(0);
        page
    }

    fn configure_doorbells(&mut self, sqe: &Sqe) -> Result<u32, Status> {
        if self.options.shadow_doorbells == ShadowDoorbells::None {
            return Err(Status::INVALID_OPCODE.with_dnr());
        }
        let (page, prps) = (self.page(), sqe.prps());
        let aligned = |iova: u64| usize::try_from(iova).is_ok_and(|iova| iova.is_multiple_of(page));
        if !aligned(prps.prp1.get()) || !aligned(prps.prp2.get()) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let doorbells = self.memory.share(prps.prp1.get(), page).ok_or(Status::DATA_TRANSFER_ERROR)?;
        let events = self.memory.share(prps.prp2.get(), page).ok_or(Status::DATA_TRANSFER_ERROR)?;
        self.shadow = Some(Shadow { doorbells, events });
        Ok(0)
    }

    /// I/O queue pairs that exist for the host.
    fn granted(&self) -> u16 {
        self.faults.queue_pairs.unwrap_or(u16::MAX).clamp(1, self.options.queue_pairs_max)
    }
}
