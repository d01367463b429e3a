//! Get Log Page (NVMe base 2.1, section 5.1.12).

use corelane_reactors::clock::Time;
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use crate::nvmf::admin::identify::optional_commands;
use crate::nvmf::admin::{Context, Reply, ana, check_room, effects};
use crate::nvmf::controller::Controller;
use crate::nvmf::discovery::{Viewer, log_page};
use crate::nvmf::options::Options;
use crate::nvmf::subsystem::IoCounts;
use crate::spec::NSID_ALL;
use crate::spec::ana::GROUPS_ONLY;
use crate::spec::identify::Csi;
use crate::spec::log_page::{
    CHANGED_NAMESPACES_MAX, EFFECTS_BYTES, FirmwareSlots, LogPageId, Smart, SupportedLogPage,
    WARNING_RELIABILITY,
};
use crate::spec::reservation::NotificationPage;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::text;

/// Pages of every I/O controller.
const IO_PAGES: [LogPageId; 8] = [
    LogPageId::SUPPORTED,
    LogPageId::ERROR,
    LogPageId::SMART,
    LogPageId::FIRMWARE_SLOT,
    LogPageId::CHANGED_NAMESPACES,
    LogPageId::COMMAND_EFFECTS,
    LogPageId::FEATURE_EFFECTS,
    LogPageId::MANAGEMENT_EFFECTS,
];

/// Pages of discovery controllers.
const DISCOVERY_PAGES: [LogPageId; 5] = [
    LogPageId::SUPPORTED,
    LogPageId::ERROR,
    LogPageId::COMMAND_EFFECTS,
    LogPageId::FEATURE_EFFECTS,
    LogPageId::DISCOVERY,
];

/// Section 5.1.12: the part of a page that is asked for, filled up with zeros behind the page's end.
pub(super) fn execute(
    controller: &mut Controller,
    context: &Context<'_>,
    sqe: &Sqe,
) -> Result<Reply, Status> {
    let lid = LogPageId(sqe.log_page().lid());
    let page = if lid == LogPageId::RESERVATION && has_reservations(controller, context) {
        // Reading takes the page away, whatever part of it that is (section 5.1.12.1.32): not before it is known
        // that it can be sent.
        asked(size_of::<NotificationPage>(), sqe, context.options)?;
        controller.values.notices.read().as_bytes().to_vec()
    } else {
        page(lid, controller, context, sqe)?
    };
    let part = part(&page, sqe, context.options)?;
    let reply = Reply::to_host(sqe, part)?;
    if !sqe.log_page().rae() {
        controller.log_page_read(lid);
    }
    Ok(reply)
}

fn has_reservations(controller: &Controller, context: &Context<'_>) -> bool {
    context.served(controller).is_some_and(|(served, _)| served.reservations.is_some())
}

/// Cuts the asked part out of a page.
fn part(page: &[u8], sqe: &Sqe, options: &Options) -> Result<Vec<u8>, Status> {
    let (start, bytes) = asked(page.len(), sqe, options)?;
    let rest = &page[start..];
    let mut part = rest[..rest.len().min(bytes)].to_vec();
    part.resize(bytes, 0);
    Ok(part)
}

/// Where the asked part of a page of `length` bytes begins, at most at its end, and its bytes, which the host has room
/// for.
fn asked(length: usize, sqe: &Sqe, options: &Options) -> Result<(usize, usize), Status> {
    let bytes = sqe.log_page_bytes();
    if options.transfer_bytes_max().is_some_and(|most| bytes > most) || sqe.log_page_options().ot() {
        return Err(Status::INVALID_FIELD);
    }
    // The host's room bounds what is made up here, whatever MDTS says.
    check_room(sqe, bytes)?;
    let offset = sqe.log_page_offset();
    let start = usize::try_from(offset).ok().filter(|start| start.is_multiple_of(4) && *start <= length);
    let bytes = usize::try_from(bytes).map_err(|_| Status::INVALID_FIELD)?;
    Ok((start.ok_or(Status::INVALID_FIELD)?, bytes))
}

fn page(
    lid: LogPageId,
    controller: &mut Controller,
    context: &Context<'_>,
    sqe: &Sqe,
) -> Result<Vec<u8>, Status> {
    if !pages(controller, context).any(|known| known == lid) {
        return Err(Status::INVALID_LOG_PAGE);
    }
    // Commands and features are those of the one command set that there is.
    let of_command_set = matches!(lid, LogPageId::COMMAND_EFFECTS | LogPageId::FEATURE_EFFECTS);
    if of_command_set && Csi(sqe.log_page_options().csi()) != Csi::NVM {
        return Err(Status::INVALID_FIELD);
    }
    match lid {
        LogPageId::SUPPORTED => Ok(supported(pages(controller, context))),
        LogPageId::ERROR => Ok(controller.errors.page()),
        LogPageId::FEATURE_EFFECTS => Ok(effects::features(controller, context)),
        LogPageId::MANAGEMENT_EFFECTS => Ok(vec![0; EFFECTS_BYTES]),
        LogPageId::DISCOVERY => Ok(discovery(controller, context)),
        _ => Ok(io_page(lid, controller, context, sqe)?),
    }
}

/// A page that says something of the subsystem or its namespaces.
fn io_page(
    lid: LogPageId,
    controller: &mut Controller,
    context: &Context<'_>,
    sqe: &Sqe,
) -> Result<Vec<u8>, Status> {
    let optional = context.served(controller).map(|(served, _)| optional_commands(served));
    if lid == LogPageId::COMMAND_EFFECTS {
        return Ok(effects::commands(optional).as_bytes().to_vec());
    }
    let errors = controller.errors.count();
    let (served, _) = context.served(controller).ok_or(Status::INVALID_LOG_PAGE)?;
    match (lid, &controller.paths) {
        (LogPageId::SMART, _) => {
            // Health is that of the controller: LPA says so.
            if !matches!(sqe.nsid.get(), 0 | NSID_ALL) {
                return Err(Status::INVALID_FIELD);
            }
            let counts = served.subsystem.counting.counts();
            let mut page = smart(counts, errors, context.now);
            page.critical_warning = if served.unsound.is_empty() { 0 } else { WARNING_RELIABILITY };
            Ok(page.as_bytes().to_vec())
        }
        (LogPageId::FIRMWARE_SLOT, _) => Ok(firmware_slots(context.options).as_bytes().to_vec()),
        (LogPageId::CHANGED_NAMESPACES, Some(paths)) => Ok(changed_namespaces(paths.changed())),
        (LogPageId::ANA, Some(paths)) => {
            let groups_only = sqe.log_page().lsp() & GROUPS_ONLY != 0;
            Ok(ana::page(paths, groups_only, served.namespaces.nsid_max()))
        }
        _ => Err(Status::INVALID_LOG_PAGE),
    }
}

/// The pages of a controller.
fn pages(controller: &Controller, context: &Context<'_>) -> impl Iterator<Item = LogPageId> {
    let served = context.served(controller).map(|(served, _)| served);
    let always: &'static [LogPageId] = if served.is_some() { &IO_PAGES } else { &DISCOVERY_PAGES };
    let ana = served.is_some_and(|served| served.subsystem.policy.ana.is_some());
    let reservations = served.is_some_and(|served| served.reservations.is_some());
    let optional = [(ana, LogPageId::ANA), (reservations, LogPageId::RESERVATION)];
    always.iter().copied().chain(optional.into_iter().filter_map(|(there, lid)| there.then_some(lid)))
}

/// Section 5.1.12.1.5: the changed namespaces, or that there are too many to tell.
fn changed_namespaces(changed: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut nsids: Vec<u32> = changed.take(CHANGED_NAMESPACES_MAX + 1).collect();
    if nsids.len() > CHANGED_NAMESPACES_MAX {
        nsids = vec![NSID_ALL];
    }
    nsids.resize(CHANGED_NAMESPACES_MAX, 0);
    nsids.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn supported(pages: impl IntoIterator<Item = LogPageId>) -> Vec<u8> {
    let mut page = [U32::new(0); 256];
    for lid in pages {
        page[usize::from(lid.0)].set(SupportedLogPage::new().with_lsupp(true).into());
    }
    page.as_bytes().to_vec()
}

fn discovery(controller: &Controller, context: &Context<'_>) -> Vec<u8> {
    let viewer = Viewer {
        hostnqn: &controller.host.nqn,
        local: controller.local,
        admin_entries_max: context.options.admin_entries_max,
    };
    log_page(&viewer, context.generation, context.subsystems, context.referrals)
}

/// What is known of the health: the counts of the I/O side, and how long the process has run. Nothing wears
/// out, so all the spare is there. Everything else is zero, which the specification reads as "not reported".
fn smart(counts: IoCounts, errors: u64, now: Time) -> Smart {
    const SECONDS_PER_HOUR: u64 = 3600;
    let units = |bytes: u64| u128::from(bytes.div_ceil(512_000));
    let mut page = Smart::new_zeroed();
    page.available_spare = 100;
    page.data_units_read.set(units(counts.read_bytes));
    page.data_units_written.set(units(counts.written_bytes));
    page.host_read_commands.set(counts.read_commands.into());
    page.host_write_commands.set(counts.write_commands.into());
    page.media_errors.set(counts.media_errors.into());
    page.error_log_entries.set(errors.into());
    page.power_on_hours.set((now.since(Time::ORIGIN).as_secs() / SECONDS_PER_HOUR).into());
    page
}

fn firmware_slots(options: &Options) -> FirmwareSlots {
    let mut page = FirmwareSlots::new_zeroed();
    page.afi = 1;
    page.revisions[0] = text::space_padded(&options.firmware);
    page
}
