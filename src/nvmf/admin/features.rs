//! Get Features and Set Features (NVMe base 2.1, sections 5.1.11 and 5.1.25).

use zerocopy::{FromBytes, IntoBytes};

use crate::nvmf::admin::identify::write_cache;
use crate::nvmf::admin::{Context, Reply, protection, reservation};
use crate::nvmf::controller::Controller;
use crate::nvmf::controller::values::Values;
use crate::nvmf::namespace::NamespaceTable;
use crate::spec::NSID_ALL;
use crate::spec::feature::{
    Arbitration, AsyncEventConfiguration, Capabilities, ErrorRecovery, FeatureId, HostBehavior,
    HostIdentifier, NumberOfQueues, PowerManagement, Select, TemperatureThreshold, VolatileWriteCache,
    WriteAtomicity,
};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// FFFFh queues, 0-based, may not be asked for (section 5.1.25.2.1).
const QUEUES_RESERVED_Z: u16 = 0xffff;

/// TMPSEL Fh: all sensors; for setting only.
const TMPSEL_ALL: u8 = 0xf;

/// Section 5.1.11.
pub(super) fn read(controller: &Controller, context: &Context<'_>, sqe: &Sqe) -> Result<Reply, Status> {
    let request = sqe.get_features();
    let fid = FeatureId(request.fid());
    let capabilities = capabilities(fid, controller, context)?;
    match request.sel() {
        Select::CURRENT => value(fid, &controller.values, controller, context, sqe),
        // Nothing can be saved, so the saved value is the default; also of what survives a restart by itself.
        Select::DEFAULT | Select::SAVED if fid == FeatureId::RESERVATION_PERSISTENCE => {
            reservation::persistence(false, controller, context, sqe.nsid.get()).map(Reply::value)
        }
        Select::DEFAULT | Select::SAVED if fid == FeatureId::WRITE_PROTECTION => {
            protection::state(false, controller, context, sqe.nsid.get()).map(Reply::value)
        }
        // That of a keep alive timer is what Connect has asked for.
        Select::DEFAULT | Select::SAVED if fid == FeatureId::KEEP_ALIVE => {
            Ok(Reply::value(controller.keep_alive.kato_default()))
        }
        Select::DEFAULT | Select::SAVED => value(fid, &Values::default(), controller, context, sqe),
        Select::SUPPORTED => Ok(Reply::value(capabilities.into())),
        _ => Err(Status::INVALID_FIELD),
    }
}

/// What can be done with a feature.
///
/// Interrupts are not configured over fabrics; what is not named here does not exist on this controller.
pub(super) fn capabilities(
    fid: FeatureId,
    controller: &Controller,
    context: &Context<'_>,
) -> Result<Capabilities, Status> {
    let changeable = Capabilities::new().with_changeable(true);
    let Some((served, namespaces)) = context.served(controller) else {
        return match fid {
            FeatureId::KEEP_ALIVE | FeatureId::ASYNC_EVENT_CONFIGURATION => Ok(changeable),
            _ => Err(Status::INVALID_FIELD),
        };
    };
    match fid {
        FeatureId::ARBITRATION
        | FeatureId::POWER_MANAGEMENT
        | FeatureId::TEMPERATURE_THRESHOLD
        | FeatureId::NUMBER_OF_QUEUES
        | FeatureId::WRITE_ATOMICITY
        | FeatureId::ASYNC_EVENT_CONFIGURATION
        | FeatureId::KEEP_ALIVE
        | FeatureId::HOST_BEHAVIOR
        | FeatureId::COMMAND_SET_PROFILE => Ok(changeable),
        FeatureId::ERROR_RECOVERY => Ok(changeable.with_namespace_specific(true)),
        FeatureId::RESERVATION_NOTIFICATION_MASK | FeatureId::RESERVATION_PERSISTENCE
            if served.reservations.is_some() =>
        {
            Ok(changeable.with_namespace_specific(true))
        }
        FeatureId::WRITE_PROTECTION if served.protections.is_some() => {
            Ok(changeable.with_namespace_specific(true))
        }
        FeatureId::VOLATILE_WRITE_CACHE if write_cache(namespaces).present() => Ok(Capabilities::new()),
        FeatureId::HOST_IDENTIFIER => Ok(Capabilities::new()),
        _ => Err(Status::INVALID_FIELD),
    }
}

/// The value of a feature out of `values`.
fn value(
    fid: FeatureId,
    values: &Values,
    controller: &Controller,
    context: &Context<'_>,
    sqe: &Sqe,
) -> Result<Reply, Status> {
    let dword = match fid {
        FeatureId::ARBITRATION => values.arbitration.into_bits(),
        FeatureId::POWER_MANAGEMENT | FeatureId::COMMAND_SET_PROFILE => 0,
        FeatureId::TEMPERATURE_THRESHOLD => {
            let threshold = TemperatureThreshold::from_bits(sqe.cdw11.get());
            let index = usize::from(threshold.thsel());
            let known = (threshold.tmpsel() == 0).then(|| values.temperature.get(index)).flatten();
            u32::from(*known.ok_or(Status::INVALID_FIELD)?)
        }
        FeatureId::ERROR_RECOVERY => {
            let (_, namespaces) = context.served(controller).ok_or(Status::INVALID_FIELD)?;
            let nsid = sqe.nsid.get();
            namespaces.find(nsid)?;
            reach(controller, context, nsid)?;
            values.error_recovery.get(&nsid).map_or(0, |value| value.into_bits())
        }
        FeatureId::VOLATILE_WRITE_CACHE => VolatileWriteCache::new().with_wce(true).into_bits(),
        FeatureId::NUMBER_OF_QUEUES => {
            let most_z = context.options.io_queues_max - 1;
            let most = NumberOfQueues::new().with_submission_z(most_z).with_completion_z(most_z);
            values.queues.unwrap_or(most).into_bits()
        }
        FeatureId::WRITE_ATOMICITY => values.write_atomicity.into_bits(),
        FeatureId::ASYNC_EVENT_CONFIGURATION => values.async_events.into_bits(),
        FeatureId::KEEP_ALIVE => controller.keep_alive.kato(),
        FeatureId::RESERVATION_NOTIFICATION_MASK => {
            reservation::mask(values, controller, context, sqe.nsid.get())?
        }
        FeatureId::RESERVATION_PERSISTENCE => {
            reservation::persistence(true, controller, context, sqe.nsid.get())?
        }
        FeatureId::WRITE_PROTECTION => protection::state(true, controller, context, sqe.nsid.get())?,
        FeatureId::HOST_BEHAVIOR => return Reply::to_host(sqe, values.host_behavior.as_bytes().to_vec()),
        FeatureId::HOST_IDENTIFIER => {
            if !HostIdentifier::from_bits(sqe.cdw11.get()).exhid() {
                return Err(Status::INVALID_FIELD);
            }
            return Reply::to_host(sqe, controller.host.id.0.to_vec());
        }
        _ => return Err(Status::INVALID_FIELD),
    };
    Ok(Reply::value(dword))
}

/// Section 5.1.25.
pub(super) fn write(
    controller: &mut Controller,
    context: &mut Context<'_>,
    sqe: &Sqe,
    data: &[u8],
) -> Result<Reply, Status> {
    let request = sqe.set_features();
    let fid = FeatureId(request.fid());
    let capabilities = capabilities(fid, controller, context)?;
    if request.sv() {
        return Err(Status::FEATURE_NOT_SAVEABLE);
    }
    let nsid = sqe.nsid.get();
    if !capabilities.namespace_specific() && nsid != 0 && nsid != NSID_ALL {
        return Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC);
    }
    let dword = sqe.cdw11.get();
    match fid {
        FeatureId::ARBITRATION => controller.values.arbitration = Arbitration::from_bits(dword),
        FeatureId::POWER_MANAGEMENT => only(PowerManagement::from_bits(dword).ps() == 0)?,
        FeatureId::COMMAND_SET_PROFILE => only(dword & 0x1ff == 0)?,
        FeatureId::TEMPERATURE_THRESHOLD => set_temperature(&mut controller.values, dword)?,
        FeatureId::ERROR_RECOVERY => {
            let (_, namespaces) = context.served(controller).ok_or(Status::INVALID_FIELD)?;
            let recovery = error_recovery(namespaces, nsid, dword)?;
            reach(controller, context, nsid)?;
            controller.values.error_recovery.extend(recovery);
        }
        FeatureId::VOLATILE_WRITE_CACHE => {
            // The devices have no switch for it.
            if !VolatileWriteCache::from_bits(dword).wce() {
                return Err(Status::FEATURE_NOT_CHANGEABLE);
            }
        }
        FeatureId::NUMBER_OF_QUEUES => return set_queues(controller, context, dword),
        FeatureId::WRITE_ATOMICITY => {
            controller.values.write_atomicity = WriteAtomicity::from_bits(dword & 1)
        }
        FeatureId::ASYNC_EVENT_CONFIGURATION => set_async_events(controller, context, dword)?,
        FeatureId::KEEP_ALIVE => controller.keep_alive.set(context.now, dword)?,
        FeatureId::HOST_BEHAVIOR => {
            controller.values.host_behavior = host_behavior(data)?;
            controller.update_in(context.subsystems, context.actions);
        }
        FeatureId::RESERVATION_NOTIFICATION_MASK => reservation::set_mask(controller, context, nsid, dword)?,
        FeatureId::RESERVATION_PERSISTENCE => return reservation::set_persistence(controller, context, sqe),
        FeatureId::WRITE_PROTECTION => return protection::set(controller, context, sqe),
        // Connect has set it (section 5.1.25.1.28.2).
        FeatureId::HOST_IDENTIFIER => return Err(Status::COMMAND_SEQUENCE_ERROR),
        _ => return Err(Status::INVALID_FIELD),
    }
    Ok(Reply::success())
}

fn only(acceptable: bool) -> Result<(), Status> {
    if acceptable { Ok(()) } else { Err(Status::INVALID_FIELD) }
}

/// There is one temperature, which nothing measures: its thresholds are kept and never crossed.
fn set_temperature(values: &mut Values, dword: u32) -> Result<(), Status> {
    let threshold = TemperatureThreshold::from_bits(dword);
    only(matches!(threshold.tmpsel(), 0 | TMPSEL_ALL))?;
    let slot = values.temperature.get_mut(usize::from(threshold.thsel())).ok_or(Status::INVALID_FIELD)?;
    *slot = threshold.tmpth();
    Ok(())
}

/// The new values, by NSID. Errors of deallocated blocks (DULBE) are not supported, as Identify says.
fn error_recovery(
    namespaces: &NamespaceTable,
    nsid: u32,
    dword: u32,
) -> Result<Vec<(u32, ErrorRecovery)>, Status> {
    let value = ErrorRecovery::from_bits(dword);
    only(!value.dulbe())?;
    if nsid == NSID_ALL {
        return Ok(namespaces.iter().map(|namespace| (namespace.nsid, value)).collect());
    }
    Ok(vec![(namespaces.find(nsid)?.nsid, value)])
}

/// Grants what is asked for, up to the limit. Not once there are I/O queues (section 5.1.25.2.1).
fn set_queues(controller: &mut Controller, context: &Context<'_>, dword: u32) -> Result<Reply, Status> {
    let asked = NumberOfQueues::from_bits(dword);
    only(asked.submission_z() != QUEUES_RESERVED_Z && asked.completion_z() != QUEUES_RESERVED_Z)?;
    if controller.has_queues() {
        return Err(Status::COMMAND_SEQUENCE_ERROR);
    }
    let most_z = context.options.io_queues_max - 1;
    let granted = NumberOfQueues::new()
        .with_submission_z(asked.submission_z().min(most_z))
        .with_completion_z(asked.completion_z().min(most_z));
    controller.values.queues = Some(granted);
    Ok(Reply::value(granted.into()))
}

/// Only events that Identify says are supported can be enabled; critical warnings always are.
/// Refuses a feature of a namespace, or of all, that the controller does not reach now (section 8.1.1.10).
pub(super) fn reach(controller: &Controller, context: &Context<'_>, nsid: u32) -> Result<(), Status> {
    let Some((served, namespaces)) = context.served(controller) else { return Ok(()) };
    let mut meant = namespaces.iter().filter(|namespace| matches!(nsid, NSID_ALL) || namespace.nsid == nsid);
    meant.try_for_each(|namespace| controller.reaches(served, namespace.nsid))
}

fn set_async_events(
    controller: &mut Controller,
    context: &mut Context<'_>,
    dword: u32,
) -> Result<(), Status> {
    let supported = match context.served(controller) {
        None => AsyncEventConfiguration::new().with_discovery(true),
        Some((served, _)) => AsyncEventConfiguration::new()
            .with_smart(0x3f)
            .with_namespace_attributes(true)
            .with_ana(served.subsystem.policy.ana.is_some()),
    };
    only(dword & !supported.into_bits() == 0)?;
    controller.values.async_events = AsyncEventConfiguration::from_bits(dword);
    // A warning that is there already is told to whoever begins to listen.
    if context.served(controller).is_some_and(|(served, _)| !served.unsound.is_empty()) {
        controller.warn(context.actions);
    }
    Ok(())
}

fn host_behavior(data: &[u8]) -> Result<HostBehavior, Status> {
    let (behavior, _) = HostBehavior::read_from_prefix(data).map_err(|_| Status::DATA_SGL_LENGTH_INVALID)?;
    let switches = [behavior.acre, behavior.etdas, behavior.lbafee, behavior.hdisns];
    only(switches.iter().all(|switch| *switch <= 1))?;
    // No Copy descriptor formats are offered that a host could enable (CDFS of Identify).
    only(behavior.cdfe == [0; 2])?;
    Ok(behavior)
}
