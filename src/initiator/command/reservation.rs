//! Reservation commands with the data that they bring, and the report that comes back (NVMe base 2.1, sections 7.5 to
//! 7.8). What a host is told is believed as it stands, but for its length.

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::spec::opcode::NvmOpcode;
use crate::spec::reservation::{
    AcquireAction, AcquireData, AcquireDword, PersistChange, RegisterAction, RegisterData, RegisterDword,
    ReleaseAction, ReleaseData, ReleaseDword, ReportDword, ReportEntry, ReportHeader, ReservationType,
};
use crate::spec::sqe::Sqe;

/// Reservation Register that makes `new` the host's key in the place of `current`; both may be 0 where the action does
/// not use them.
pub fn register(
    nsid: u32,
    action: RegisterAction,
    persist: PersistChange,
    current: u64,
    new: u64,
) -> (Sqe, RegisterData) {
    let dword = RegisterDword::new().with_rrega(action).with_cptpl(persist);
    let data = RegisterData { crkey: current.into(), nrkey: new.into() };
    (command(NvmOpcode::RESERVATION_REGISTER, nsid, dword.into_bits()), data)
}

/// Reservation Acquire of a host whose key is `current`; `victim` is the key that is preempted, 0 where none is.
pub fn acquire(
    nsid: u32,
    action: AcquireAction,
    rtype: ReservationType,
    current: u64,
    victim: u64,
) -> (Sqe, AcquireData) {
    let dword = AcquireDword::new().with_racqa(action).with_rtype(rtype);
    let data = AcquireData { crkey: current.into(), prkey: victim.into() };
    (command(NvmOpcode::RESERVATION_ACQUIRE, nsid, dword.into_bits()), data)
}

/// Reservation Release of a host whose key is `current`.
pub fn release(nsid: u32, action: ReleaseAction, rtype: ReservationType, current: u64) -> (Sqe, ReleaseData) {
    let dword = ReleaseDword::new().with_rrela(action).with_rtype(rtype);
    (command(NvmOpcode::RESERVATION_RELEASE, nsid, dword.into_bits()), ReleaseData { crkey: current.into() })
}

/// Reservation Report with the extended data structure; `bytes` of it go to the host.
///
/// # Panics
/// If `bytes` is 0 or not a multiple of 4.
pub fn report(nsid: u32, bytes: u32) -> Sqe {
    assert!(bytes > 0);
    assert!(bytes.is_multiple_of(4));
    let mut sqe = command(NvmOpcode::RESERVATION_REPORT, nsid, bytes / 4 - 1);
    sqe.cdw11 = U32::new(ReportDword::new().with_eds(true).into_bits());
    sqe
}

/// What Reservation Report brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Generation, type, PTPLS, and the number of registrants, which may be more than there are entries here.
    pub header: ReportHeader,
    /// Registrants, as many as there was room for.
    pub registrants: Vec<ReportEntry>,
}

impl Report {
    /// The report in these bytes; `None` if they are shorter than its header.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = ReportHeader::read_from_prefix(bytes).ok()?;
        let entries = rest.chunks_exact(size_of::<ReportEntry>()).take(usize::from(header.regstrnt.get()));
        let registrants = entries.map_while(|entry| ReportEntry::read_from_bytes(entry).ok()).collect();
        Some(Self { header, registrants })
    }
}

fn command(opcode: NvmOpcode, nsid: u32, cdw10: u32) -> Sqe {
    let mut sqe = Sqe::of(opcode.0, 0, nsid);
    sqe.cdw10 = U32::new(cdw10);
    sqe
}
