//! Reservation Report: the extended data structure (NVMe base 2.1, section 7.8).

use zerocopy::{FromZeros, IntoBytes};

use crate::reservation::state::State;
use crate::spec::host::HostId;
use crate::spec::opcode::NvmOpcode;
use crate::spec::reservation::{RegistrantStatus, ReportEntry, ReportHeader, ReservationType};
use crate::spec::sqe::Sqe;
use crate::spec::status::Status;

/// How many bytes a Reservation Report asks for, at most: 4 to 16 GiB, in steps of 4.
///
/// # Errors
/// Host Identifier Inconsistent Format, with DNR, where the extended data structure is not asked for: on fabrics host
/// identifiers have 128 bits. Invalid Command Opcode for other commands.
pub fn decode(sqe: &Sqe) -> Result<u64, Status> {
    if sqe.nvm_opcode() != NvmOpcode::RESERVATION_REPORT {
        return Err(Status::INVALID_OPCODE.with_dnr());
    }
    if !sqe.reservation_report().eds() {
        return Err(Status::HOST_ID_INCONSISTENT.with_dnr());
    }
    Ok(sqe.reservation_report_bytes())
}

/// The first `bytes_max` bytes of the report, or all of it where it is shorter. `controller` gives the lowest CNTLID
/// of the connected controllers of a host; it is asked only for registrants that are in those bytes.
pub fn encode(state: &State, bytes_max: u64, controller: impl Fn(HostId) -> Option<u16>) -> Vec<u8> {
    let registrants = state.registrants();
    let whole = size_of::<ReportHeader>() + registrants.len() * size_of::<ReportEntry>();
    let bytes = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(whole);
    let mut report = Vec::with_capacity(bytes.next_multiple_of(size_of::<ReportEntry>()));
    report.extend_from_slice(header(state).as_bytes());
    for (host, registrant) in registrants {
        if report.len() >= bytes {
            break;
        }
        let mut entry = ReportEntry::new_zeroed();
        entry.cntlid.set(controller(host).unwrap_or(ReportEntry::NO_CONTROLLER));
        entry.rcsts = RegistrantStatus::new().with_holder(state.is_holder(host));
        entry.rkey.set(registrant.key.0);
        entry.hostid = host;
        report.extend_from_slice(entry.as_bytes());
    }
    report.truncate(bytes);
    report
}

fn header(state: &State) -> ReportHeader {
    let mut header = ReportHeader::new_zeroed();
    header.generation.set(state.generation());
    header.rtype = state.kind().map_or(ReservationType::NONE, |kind| kind.to_wire());
    header.regstrnt.set(u16::try_from(state.registrants().len()).expect("REGISTRANTS_MAX fits 16 bits"));
    header.ptpls = u8::from(state.ptpl());
    header
}
