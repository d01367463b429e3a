//! The commands that follow once a controller is ready, one after the other, and the scan of its namespaces.
//!
//! ```text
//!  Controller ─▶ (CommandLimits) ─▶ Queues ─▶ (Events) ─▶ scan ─▶ (Doorbells) ─▶ ready: queues are created
//!                                                          │ List ─▶ Namespace ─▶ Descriptors ─┐
//!                                                          │             ▲─── next ────────────┘
//! ```
//!
//! What stands in brackets is left out where the controller does not offer it.

use corelane_reactors::clock::Time;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::admin::AdminData;
use super::controller::{Controller, Purpose, State};
use super::events::Event;
use super::identity::CommandLimits;
use super::namespace::NAMESPACES_MAX;
use super::seat::SeatState;
use super::{Device, Identity, NamespaceInfo, StartError};
use crate::spec::cqe::Cqe;
use crate::spec::feature::{AsyncEventConfiguration, FeatureId, NumberOfQueues, SetFeatures};
use crate::spec::identify::{Cns, IDENTIFY_BYTES, Identify};
use crate::spec::opcode::AdminOpcode;
use crate::spec::prp::PrpPair;
use crate::spec::register::Vs;
use crate::spec::sqe::Sqe;

/// What a command of the setup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Identify Controller.
    Controller,
    /// The limits of single commands.
    CommandLimits,
    /// Number of Queues.
    Queues,
    /// Asynchronous Event Configuration.
    Events,
    /// Doorbell Buffer Config.
    Doorbells,
}

/// What a command of a scan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanStep {
    /// The active namespaces.
    List,
    /// Identify Namespace.
    Namespace,
    /// Namespace Identification Descriptors.
    Descriptors,
}

/// A scan of the namespaces, under way.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Active namespaces that were not looked at yet, the next one last.
    ids: Vec<u32>,
    found: Vec<NamespaceInfo>,
    /// Namespaces have changed since it began.
    again: bool,
}

const IDENTIFY: &str = "Identify";
const SET_FEATURES: &str = "Set Features";

impl<D: Device> Controller<D> {
    pub(super) fn begin_setup(&mut self, now: Time) -> Result<(), StartError> {
        self.send_step(Step::Controller, now)
    }

    fn send_step(&mut self, step: Step, now: Time) -> Result<(), StartError> {
        let (name, sqe, data) = match step {
            Step::Controller => (IDENTIFY, identify(Cns::CONTROLLER, 0), AdminData::In),
            Step::CommandLimits => (IDENTIFY, identify(Cns::COMMAND_SET_CONTROLLER, 0), AdminData::In),
            Step::Queues => {
                let wanted_z = self.options.io_queue_pairs - 1;
                let wanted = NumberOfQueues::new().with_submission_z(wanted_z).with_completion_z(wanted_z);
                (SET_FEATURES, set_feature(FeatureId::NUMBER_OF_QUEUES, wanted.into_bits()), AdminData::None)
            }
            Step::Events => {
                let events = AsyncEventConfiguration::new().with_smart(SMART_EVENTS);
                let offered = self.identity.as_ref().is_some_and(|it| it.oaes.namespace_attributes());
                let events = events.with_namespace_attributes(offered);
                (
                    SET_FEATURES,
                    set_feature(FeatureId::ASYNC_EVENT_CONFIGURATION, events.into_bits()),
                    AdminData::None,
                )
            }
            Step::Doorbells => {
                let [values, events] = &self.shadow;
                let pair = PrpPair::of(values.iova.0, events.iova.0);
                let sqe = Sqe::with_prps(AdminOpcode::DOORBELL_BUFFER_CONFIG.0, 0, 0);
                ("Doorbell Buffer Config", sqe, AdminData::At(pair))
            }
        };
        self.send(name, sqe, data, Purpose::Setup(step), now)
    }

    pub(super) fn setup_answered(
        &mut self,
        step: Step,
        cqe: &Cqe,
        page: usize,
        now: Time,
    ) -> Result<(), StartError> {
        let status = cqe.status();
        let must =
            |command| if status.is_success() { Ok(()) } else { Err(StartError::Refused { command, status }) };
        match step {
            Step::Controller => {
                must("Identify Controller")?;
                let identity = Identity::of(&self.admin.page(page));
                // The limits came with version 2.0.
                let has_limits = identity.version.mjr() >= Vs::new().with_mjr(2).mjr();
                self.identity = Some(identity);
                self.send_step(if has_limits { Step::CommandLimits } else { Step::Queues }, now)
            }
            Step::CommandLimits => {
                if let (true, Some(identity)) = (status.is_success(), &mut self.identity) {
                    identity.limits = CommandLimits::of(&self.admin.page(page));
                }
                self.send_step(Step::Queues, now)
            }
            Step::Queues => {
                must("Set Features, Number of Queues")?;
                self.grant(NumberOfQueues::from_bits(cqe.dw0.get()));
                self.send_step(Step::Events, now)
            }
            // Without events there are none; nothing else is lost.
            Step::Events => self.begin_scan(now),
            Step::Doorbells => {
                self.shadowed = status.is_success();
                self.finish_setup(now)
            }
        }
    }

    /// Goes by the number of queue pairs that the controller allocated.
    fn grant(&mut self, granted: NumberOfQueues) {
        let granted = u32::from(granted.submission_z().min(granted.completion_z())) + 1;
        for seat in self.seats.iter_mut().filter(|seat| u32::from(seat.qid) > granted) {
            if seat.state != SeatState::Unused {
                let device = self.registers.device().name();
                tracing::warn!(device, qid = seat.qid, granted, "the controller grants fewer queue pairs");
                seat.give_up();
            }
        }
    }

    /// Looks at the namespaces anew; a scan that is under way is followed by another one.
    pub(super) fn begin_scan(&mut self, now: Time) -> Result<(), StartError> {
        if let Some(scan) = &mut self.scan {
            scan.again = true;
            return Ok(());
        }
        self.scan = Some(Scan::default());
        self.send(
            IDENTIFY,
            identify(Cns::ACTIVE_NAMESPACES, 0),
            AdminData::In,
            Purpose::Scan(ScanStep::List),
            now,
        )
    }

    pub(super) fn scan_answered(
        &mut self,
        step: ScanStep,
        cqe: &Cqe,
        page: usize,
        now: Time,
    ) -> Result<(), StartError> {
        let succeeded = cqe.status().is_success();
        let bytes = self.admin.page(page);
        let nn = self.identity.as_ref().map_or(0, |identity| identity.nn);
        let Some(scan) = &mut self.scan else { return Ok(()) };
        let next = match step {
            ScanStep::List => {
                // Controllers of version 1.0 have no list: every NSID is tried.
                scan.ids = if succeeded { active(&bytes) } else { (1..=nn).take(NAMESPACES_MAX).collect() };
                scan.ids.reverse();
                ScanStep::Namespace
            }
            ScanStep::Namespace => {
                let nsid = scan.ids.last().copied().unwrap_or(0);
                let info = NamespaceInfo::of(nsid, &bytes);
                if succeeded && bytes.iter().any(|&byte| byte != 0) {
                    scan.found.push(info);
                    ScanStep::Descriptors
                } else {
                    scan.ids.pop();
                    ScanStep::Namespace
                }
            }
            ScanStep::Descriptors => {
                if let (true, Some(info)) = (succeeded, scan.found.last_mut()) {
                    info.add_descriptors(&bytes);
                }
                scan.ids.pop();
                ScanStep::Namespace
            }
        };
        let Some(&nsid) = scan.ids.last() else { return self.finish_scan(now) };
        let cns = if next == ScanStep::Namespace { Cns::NAMESPACE } else { Cns::NAMESPACE_DESCRIPTORS };
        self.send(IDENTIFY, identify(cns, nsid), AdminData::In, Purpose::Scan(next), now)
    }

    fn finish_scan(&mut self, now: Time) -> Result<(), StartError> {
        let scan = self.scan.take().unwrap_or_default();
        if scan.again {
            return self.begin_scan(now);
        }
        self.formats.set(&scan.found);
        let before = std::mem::replace(&mut self.namespaces, scan.found);
        if !matches!(self.state, State::Setup) {
            self.report_changes(&before);
            return Ok(());
        }
        if self.namespaces.is_empty() && !self.was_ready {
            return Err(StartError::NoNamespaces);
        }
        if self.was_ready {
            self.report_changes(&before);
        }
        let offered = self.identity.as_ref().is_some_and(|identity| identity.oacs.doorbell_buffer());
        if offered && self.options.shadow_doorbells && self.cap.dstrd() == 0 {
            return self.send_step(Step::Doorbells, now);
        }
        self.finish_setup(now)
    }

    fn report_changes(&mut self, before: &[NamespaceInfo]) {
        let find = |list: &[NamespaceInfo], nsid| list.iter().find(|info| info.nsid == nsid).copied();
        let after = self.namespaces.clone();
        for info in before.iter().filter(|info| find(&after, info.nsid).is_none()) {
            self.report(Event::NamespaceRemoved(info.nsid));
        }
        for info in &after {
            match find(before, info.nsid) {
                None => self.report(Event::NamespaceAdded(info.nsid)),
                Some(old) if old != *info => {
                    self.report(Event::NamespaceChanged { before: old, after: *info })
                }
                Some(_) => {}
            }
        }
    }
}

/// Every critical warning of SMART.
const SMART_EVENTS: u8 = 0xff;

fn identify(cns: Cns, nsid: u32) -> Sqe {
    let mut sqe = Sqe::with_prps(AdminOpcode::IDENTIFY.0, 0, nsid);
    sqe.cdw10.set(Identify::new().with_cns(cns.0).into_bits());
    sqe
}

fn set_feature(fid: FeatureId, value: u32) -> Sqe {
    let mut sqe = Sqe::with_prps(AdminOpcode::SET_FEATURES.0, 0, 0);
    sqe.cdw10.set(SetFeatures::new().with_fid(fid.0).into_bits());
    sqe.cdw11.set(value);
    sqe
}

/// The entries of an Active Namespace ID list, in order, as many as this driver looks at.
fn active(bytes: &[u8; IDENTIFY_BYTES]) -> Vec<u32> {
    let ids = <[U32]>::ref_from_bytes(bytes).unwrap_or_default();
    ids.iter().map(|id| id.get()).take_while(|&id| id != 0).take(NAMESPACES_MAX).collect()
}
