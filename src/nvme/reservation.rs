//! What Reservation Report tells (NVMe base 2.1, section 7.8).

#[cfg(test)]
mod tests;

use zerocopy::FromBytes;

use crate::spec::host::HostId;
use crate::spec::reservation::{ReportEntry, ReportHeader, ReservationType};

/// The state of a namespace's reservation, as the extended data structure has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationReport {
    /// GEN: a wrapping count of changes.
    pub generation: u32,
    /// RTYPE: the type of the reservation; [`ReservationType::NONE`] for none.
    pub kind: ReservationType,
    /// PTPLS: registrations and reservations persist through power loss.
    pub persists: bool,
    /// Everybody who is registered, as far as the buffer had room.
    pub registrants: Vec<Registrant>,
    /// REGSTRNT: how many there are.
    pub registered: u16,
}

/// One registrant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// CNTLID; `None` for a host without a controller.
    pub cntlid: Option<u16>,
    /// It holds the reservation.
    pub holder: bool,
    /// RKEY.
    pub key: u64,
    /// HOSTID.
    pub host: HostId,
}

impl ReservationReport {
    /// Bytes that a report on `registrants` registrants takes.
    pub const fn bytes(registrants: usize) -> usize {
        size_of::<ReportHeader>() + registrants * size_of::<ReportEntry>()
    }

    /// Reads a report that was asked for with EDS; `None` when there is not even its header. Allocates.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, mut rest) = ReportHeader::ref_from_prefix(bytes).ok()?;
        let registered = header.regstrnt.get();
        let mut registrants = Vec::new();
        while registrants.len() < usize::from(registered)
            && let Ok((entry, tail)) = ReportEntry::ref_from_prefix(rest)
        {
            let cntlid = Some(entry.cntlid.get()).filter(|&id| id != ReportEntry::NO_CONTROLLER);
            let (holder, key) = (entry.rcsts.holder(), entry.rkey.get());
            registrants.push(Registrant { cntlid, holder, key, host: entry.hostid });
            rest = tail;
        }
        Some(Self {
            generation: header.generation.get(),
            kind: header.rtype,
            persists: header.ptpls == 1,
            registrants,
            registered,
        })
    }
}
