//! Get Log Page (NVMe base 2.1, section 5.1.12).

use corelane_reactors::clock::Time;
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use crate::nvmf::admin::identify::optional_commands;
use crate::nvmf::admin::{Context, Reply};
use crate::nvmf::controller::Controller;
use crate::nvmf::discovery::{Viewer, log_page};
use crate::nvmf::options::Options;
use crate::nvmf::subsystem::IoCounts;
use crate::spec::NSID_ALL;
use crate::spec::identify::controller::Oncs;
use crate::spec::log_page::{
    CommandEffect, CommandEffects, ErrorEntry, FirmwareSlots, LogPageId, Smart, SupportedLogPage,
};
use crate::spec::opcode::{AdminOpcode, NvmOpcode};
use crate::spec::reservation::NotificationPage;
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;
use crate::spec::text;

/// Pages of I/O controllers.
const IO_PAGES: [LogPageId; 5] = [
    LogPageId::SUPPORTED,
    LogPageId::ERROR,
    LogPageId::SMART,
    LogPageId::FIRMWARE_SLOT,
    LogPageId::COMMAND_EFFECTS,
];

/// Pages of discovery controllers.
const DISCOVERY_PAGES: [LogPageId; 2] = [LogPageId::SUPPORTED, LogPageId::DISCOVERY];

/// Admin commands of I/O controllers.
const ADMIN_COMMANDS: [AdminOpcode; 7] = [
    AdminOpcode::GET_LOG_PAGE,
    AdminOpcode::IDENTIFY,
    AdminOpcode::ABORT,
    AdminOpcode::SET_FEATURES,
    AdminOpcode::GET_FEATURES,
    AdminOpcode::ASYNC_EVENT_REQUEST,
    AdminOpcode::KEEP_ALIVE,
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
    if bytes > u64::from(sqe.dptr.length.get()) {
        return Err(Status::DATA_SGL_LENGTH_INVALID);
    }
    let offset = sqe.log_page_offset();
    let start = usize::try_from(offset).ok().filter(|start| start.is_multiple_of(4) && *start <= length);
    let bytes = usize::try_from(bytes).map_err(|_| Status::INVALID_FIELD)?;
    Ok((start.ok_or(Status::INVALID_FIELD)?, bytes))
}

fn page(
    lid: LogPageId,
    controller: &Controller,
    context: &Context<'_>,
    sqe: &Sqe,
) -> Result<Vec<u8>, Status> {
    let Some((served, _)) = context.served(controller) else {
        return match lid {
            LogPageId::SUPPORTED => Ok(supported(DISCOVERY_PAGES)),
            LogPageId::DISCOVERY => Ok(discovery(controller, context)),
            _ => Err(Status::INVALID_LOG_PAGE),
        };
    };
    match lid {
        LogPageId::SUPPORTED => {
            let reservation = served.reservations.is_some().then_some(LogPageId::RESERVATION);
            Ok(supported(IO_PAGES.into_iter().chain(reservation)))
        }
        // Nothing is entered: statuses tell hosts all there is to know.
        LogPageId::ERROR => Ok(ErrorEntry::new_zeroed().as_bytes().to_vec()),
        LogPageId::SMART => {
            // Health is that of the controller: LPA says so.
            if !matches!(sqe.nsid.get(), 0 | NSID_ALL) {
                return Err(Status::INVALID_FIELD);
            }
            Ok(smart(served.subsystem.counting.counts(), context.now).as_bytes().to_vec())
        }
        LogPageId::FIRMWARE_SLOT => Ok(firmware_slots(context.options).as_bytes().to_vec()),
        LogPageId::COMMAND_EFFECTS => Ok(command_effects(optional_commands(served)).as_bytes().to_vec()),
        _ => Err(Status::INVALID_LOG_PAGE),
    }
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
    log_page(&viewer, context.generation, context.subsystems)
}

/// What is known of the health: the counts of the I/O side, and how long the process has run. Nothing wears
/// out, so all the spare is there. Everything else is zero, which the specification reads as "not reported".
fn smart(counts: IoCounts, now: Time) -> Smart {
    const SECONDS_PER_HOUR: u64 = 3600;
    let units = |bytes: u64| u128::from(bytes.div_ceil(512_000));
    let mut page = Smart::new_zeroed();
    page.available_spare = 100;
    page.data_units_read.set(units(counts.read_bytes));
    page.data_units_written.set(units(counts.written_bytes));
    page.host_read_commands.set(counts.read_commands.into());
    page.host_write_commands.set(counts.write_commands.into());
    page.media_errors.set(counts.media_errors.into());
    page.power_on_hours.set((now.since(Time::ORIGIN).as_secs() / SECONDS_PER_HOUR).into());
    page
}

fn firmware_slots(options: &Options) -> FirmwareSlots {
    let mut page = FirmwareSlots::new_zeroed();
    page.afi = 1;
    page.revisions[0] = text::space_padded(&options.firmware);
    page
}

fn command_effects(optional: Oncs) -> CommandEffects {
    let reservations = optional.reservations();
    // Whether the command is there, its opcode, and whether it changes blocks.
    let io = [
        (true, NvmOpcode::FLUSH, false),
        (true, NvmOpcode::WRITE, true),
        (true, NvmOpcode::READ, false),
        (optional.compare(), NvmOpcode::COMPARE, false),
        (optional.write_zeroes(), NvmOpcode::WRITE_ZEROES, true),
        (optional.dataset_management(), NvmOpcode::DATASET_MANAGEMENT, true),
        (reservations, NvmOpcode::RESERVATION_REGISTER, false),
        (reservations, NvmOpcode::RESERVATION_REPORT, false),
        (reservations, NvmOpcode::RESERVATION_ACQUIRE, false),
        (reservations, NvmOpcode::RESERVATION_RELEASE, false),
    ];
    let effect = CommandEffect::new().with_csupp(true);
    let mut page = CommandEffects::new_zeroed();
    for opcode in ADMIN_COMMANDS {
        page.admin[usize::from(opcode.0)].set(effect.into());
    }
    for (_, opcode, changes) in io.iter().filter(|(supported, ..)| *supported) {
        page.io[usize::from(opcode.0)].set(effect.with_lbcc(*changes).into());
    }
    page
}
