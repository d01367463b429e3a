//! Reservations of one namespace, as far as one host can see them: its own registration, and one host more that a test
//! may put beside it (NVMe base 2.1, section 8.1.22).
//!
//! Invariant: a reservation has a type other than 0, and its holder is a registrant.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use crate::spec::host::HostId;
use crate::spec::opcode::NvmOpcode;
use crate::spec::reservation::{
    AcquireAction, AcquireData, AcquireDword, PersistChange, RegisterAction, RegisterData, RegisterDword,
    RegistrantStatus, ReleaseAction, ReleaseData, ReleaseDword, ReportEntry, ReportHeader, ReservationType,
};
use crate::spec::status::Status;

/// Registrants of one namespace.
const REGISTRANTS_MAX: usize = 8;

#[derive(Clone, Copy)]
struct Registrant {
    host: HostId,
    key: u64,
}

#[derive(Default)]
pub(super) struct Reservations {
    registrants: Vec<Registrant>,
    held: Option<(HostId, ReservationType)>,
    generation: u32,
    persists: bool,
}

impl Reservations {
    /// Reservation Register (section 7.6).
    pub(super) fn register(
        &mut self,
        host: HostId,
        dword: RegisterDword,
        data: &RegisterData,
    ) -> Result<(), Status> {
        let (crkey, nrkey) = (data.crkey.get(), data.nrkey.get());
        let own = self.registrants.iter().position(|registrant| registrant.host == host);
        let fits = |at: usize| dword.iekey() || self.registrants[at].key == crkey;
        match (dword.rrega(), own) {
            (RegisterAction::REGISTER, Some(at)) if self.registrants[at].key != nrkey => {
                return Err(Status::RESERVATION_CONFLICT);
            }
            (RegisterAction::REGISTER, Some(_)) => {}
            (RegisterAction::REGISTER, None) => self.add(host, nrkey)?,
            (RegisterAction::UNREGISTER, Some(at)) if fits(at) => self.remove(at),
            (RegisterAction::REPLACE, Some(at)) if fits(at) => {
                self.registrants[at].key = nrkey;
                self.generation = self.generation.wrapping_add(1);
            }
            (RegisterAction::UNREGISTER | RegisterAction::REPLACE, _) => {
                return Err(Status::RESERVATION_CONFLICT);
            }
            _ => return Err(Status::INVALID_FIELD.with_dnr()),
        }
        match dword.cptpl() {
            PersistChange::SET => self.persists = true,
            PersistChange::CLEAR => self.persists = false,
            _ => {}
        }
        Ok(())
    }

    /// Reservation Acquire (section 7.5).
    pub(super) fn acquire(
        &mut self,
        host: HostId,
        dword: AcquireDword,
        data: &AcquireData,
    ) -> Result<(), Status> {
        if dword.iekey() || !(1..=6).contains(&dword.rtype().0) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.must_have(host, data.crkey.get())?;
        let holds = self.held.is_some_and(|(_, rtype)| self.is_holder(host) && rtype == dword.rtype());
        match dword.racqa() {
            AcquireAction::ACQUIRE if self.held.is_none() => self.held = Some((host, dword.rtype())),
            AcquireAction::ACQUIRE if holds => {}
            AcquireAction::ACQUIRE => return Err(Status::RESERVATION_CONFLICT),
            AcquireAction::PREEMPT | AcquireAction::PREEMPT_AND_ABORT => {
                self.preempt(host, dword.rtype(), data.prkey.get())?;
            }
            _ => return Err(Status::INVALID_FIELD.with_dnr()),
        }
        Ok(())
    }

    /// Reservation Release (section 7.7).
    pub(super) fn release(
        &mut self,
        host: HostId,
        dword: ReleaseDword,
        data: &ReleaseData,
    ) -> Result<(), Status> {
        if dword.iekey() {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.must_have(host, data.crkey.get())?;
        match (dword.rrela(), self.held) {
            (ReleaseAction::CLEAR, _) => {
                self.registrants.clear();
                self.held = None;
                self.generation = self.generation.wrapping_add(1);
            }
            (ReleaseAction::RELEASE, Some((_, rtype))) if self.is_holder(host) => {
                if rtype != dword.rtype() {
                    return Err(Status::INVALID_FIELD.with_dnr());
                }
                self.held = None;
            }
            (ReleaseAction::RELEASE, _) => {}
            _ => return Err(Status::INVALID_FIELD.with_dnr()),
        }
        Ok(())
    }

    /// The extended report (section 7.8).
    pub(super) fn report(&self, cntlid: u16) -> Vec<u8> {
        let mut header = ReportHeader::new_zeroed();
        header.generation = U32::new(self.generation);
        header.rtype = self.held.map_or(ReservationType::NONE, |(_, rtype)| rtype);
        header.regstrnt = U16::new(u16::try_from(self.registrants.len()).expect("few registrants"));
        header.ptpls = u8::from(self.persists);
        let mut report = header.as_bytes().to_vec();
        for registrant in &self.registrants {
            let mut entry = ReportEntry::new_zeroed();
            entry.cntlid = U16::new(cntlid);
            entry.rcsts = RegistrantStatus::new().with_holder(self.is_holder(registrant.host));
            entry.rkey = U64::new(registrant.key);
            entry.hostid = registrant.host;
            report.extend_from_slice(entry.as_bytes());
        }
        report
    }

    /// Whether a host may carry out an I/O command now (section 8.1.22, "Command Behavior in the Presence of a
    /// Reservation").
    pub(super) fn allows(&self, host: HostId, opcode: NvmOpcode) -> bool {
        let Some((_, rtype)) = self.held else { return true };
        let registered = self.registrants.iter().any(|registrant| registrant.host == host);
        let exclusive_write = rtype == ReservationType::WRITE_EXCLUSIVE;
        let exclusive = exclusive_write || rtype == ReservationType::EXCLUSIVE_ACCESS;
        if self.is_holder(host) || (registered && !exclusive) {
            return true;
        }
        let reads_stay = exclusive_write
            || rtype == ReservationType::WRITE_EXCLUSIVE_REGISTRANTS_ONLY
            || rtype == ReservationType::WRITE_EXCLUSIVE_ALL_REGISTRANTS;
        reads_stay && [NvmOpcode::READ, NvmOpcode::COMPARE, NvmOpcode::VERIFY].contains(&opcode)
    }

    /// Another host registers this key and, if the type is not 0, takes a reservation.
    pub(super) fn intrude(&mut self, host: HostId, key: u64, rtype: ReservationType) {
        self.registrants.retain(|registrant| registrant.host != host);
        self.registrants.push(Registrant { host, key });
        self.generation = self.generation.wrapping_add(1);
        if rtype != ReservationType::NONE {
            self.held = Some((host, rtype));
        }
    }

    /// What is left after a loss of power.
    pub(super) fn lose(&mut self) {
        if !self.persists {
            *self = Self { generation: 0, ..Self::default() };
        }
    }

    fn must_have(&self, host: HostId, key: u64) -> Result<(), Status> {
        let known =
            self.registrants.iter().any(|registrant| registrant.host == host && registrant.key == key);
        known.then_some(()).ok_or(Status::RESERVATION_CONFLICT)
    }

    fn is_holder(&self, host: HostId) -> bool {
        self.held.is_some_and(|(holder, rtype)| holder == host || is_for_all(rtype))
            && self.registrants.iter().any(|registrant| registrant.host == host)
    }

    fn add(&mut self, host: HostId, key: u64) -> Result<(), Status> {
        if key == 0 || self.registrants.len() == REGISTRANTS_MAX {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.registrants.push(Registrant { host, key });
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        let gone = self.registrants.remove(at);
        self.generation = self.generation.wrapping_add(1);
        if let Some((holder, rtype)) = self.held
            && (self.registrants.is_empty() || (holder == gone.host && !is_for_all(rtype)))
        {
            self.held = None;
        }
    }

    fn preempt(&mut self, host: HostId, rtype: ReservationType, prkey: u64) -> Result<(), Status> {
        let key_of = |host| self.registrants.iter().find(|other| other.host == host).map(|other| other.key);
        let takes = match self.held {
            None => false,
            Some((_, held)) if is_for_all(held) => prkey == 0,
            Some((holder, _)) => key_of(holder) == Some(prkey),
        };
        let before = self.registrants.len();
        self.registrants.retain(|other| other.host == host || (other.key != prkey && !(takes && prkey == 0)));
        if before == self.registrants.len() && !takes {
            return Err(Status::RESERVATION_CONFLICT);
        }
        self.generation = self.generation.wrapping_add(1);
        if takes {
            self.held = Some((host, rtype));
        }
        Ok(())
    }
}

fn is_for_all(rtype: ReservationType) -> bool {
    rtype == ReservationType::WRITE_EXCLUSIVE_ALL_REGISTRANTS
        || rtype == ReservationType::EXCLUSIVE_ACCESS_ALL_REGISTRANTS
}
