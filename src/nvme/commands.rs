//! Admin commands for the user of a controller: sent now, answered in a later poll.

use zerocopy::FromBytes;

use corelane_reactors::clock::Time;

use super::admin::{ADMIN_DATA_BYTES, AdminData};
use super::controller::{Controller, Purpose, State};
use super::{Device, Failure};
use crate::spec::NSID_ALL;
use crate::spec::cqe::Cqe;
use crate::spec::feature::{FeatureId, GetFeatures, HostIdentifier, Select, SetFeatures};
use crate::spec::host::HostId;
use crate::spec::log_page::{ErrorEntry, LogPage, LogPageId, LogPageUpper, Smart};
use crate::spec::opcode::AdminOpcode;
use crate::spec::sqe::Sqe;

/// Names an admin command until its reply is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdminTag(u64);

/// An admin command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// SMART / Health Information of the controller.
    Smart,
    /// The newest entries of the error log, 1 to 64 of them.
    Errors {
        /// How many.
        entries: usize,
    },
    /// The beginning of a log page.
    LogPage {
        /// Which.
        lid: LogPageId,
        /// How much, in bytes: a multiple of 4, up to 4,096.
        bytes: usize,
        /// Of which namespace; FFFFFFFFh for the controller.
        nsid: u32,
    },
    /// Get Features, for features whose value is in DW0.
    GetFeature {
        /// Which.
        fid: FeatureId,
        /// Which of its values.
        select: Select,
        /// Of which namespace; 0 for the controller.
        nsid: u32,
    },
    /// Set Features, for features whose value is in CDW11.
    SetFeature {
        /// Which.
        fid: FeatureId,
        /// CDW11.
        value: u32,
        /// Of which namespace; 0 for the controller.
        nsid: u32,
        /// SV: keep it across resets and power cycles.
        save: bool,
    },
    /// Set Features, Host Identifier, with 128 bits: who reservations of this host belong to. It must be set anew after
    /// each reset of the controller: [`super::Event::Resetting`].
    SetHostIdentifier(HostId),
}

/// The reply to an admin command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminReply {
    /// SMART / Health Information.
    Smart(Box<Smart>),
    /// Entries of the error log, without unused ones.
    Errors(Vec<ErrorEntry>),
    /// The beginning of a log page.
    Page(Vec<u8>),
    /// DW0.
    Value(u32),
}

/// Why an admin command was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The controller is not ready, or no longer.
    #[error("the controller is not ready")]
    NotReady,
    /// As many admin commands are outstanding as can be.
    #[error("the admin queue is full")]
    Full,
    /// A length is out of range.
    #[error("the length is out of range")]
    Length,
}

/// What a reply is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Smart,
    Errors(usize),
    Page(usize),
    Value,
}

/// Admin slots that users leave to the driver: aborts, queue commands, scans.
const RESERVED: usize = 4;

impl<D: Device> Controller<D> {
    /// Sends an admin command; its reply is taken with [`Controller::take_reply`] after a later poll.
    ///
    /// # Errors
    ///
    /// [`AdminError`]: nothing was sent.
    pub fn submit_admin(&mut self, command: &AdminCommand, now: Time) -> Result<AdminTag, AdminError> {
        if !matches!(self.state, State::Ready) {
            return Err(AdminError::NotReady);
        }
        let users = self.admin.count(|purpose| matches!(purpose, Purpose::User(..)));
        if users + RESERVED >= usize::from(self.options.admin_entries) / 2 {
            return Err(AdminError::Full);
        }
        let hostid;
        let (name, sqe, data, asked) = match *command {
            AdminCommand::Smart => {
                let bytes = size_of::<Smart>();
                ("Get Log Page", log_page(LogPageId::SMART, bytes, NSID_ALL), AdminData::In, Asked::Smart)
            }
            AdminCommand::Errors { entries } => {
                let bytes = checked(entries.saturating_mul(size_of::<ErrorEntry>()))?;
                let sqe = log_page(LogPageId::ERROR, bytes, NSID_ALL);
                ("Get Log Page", sqe, AdminData::In, Asked::Errors(entries))
            }
            AdminCommand::LogPage { lid, bytes, nsid } => {
                let sqe = log_page(lid, checked(bytes)?, nsid);
                ("Get Log Page", sqe, AdminData::In, Asked::Page(bytes))
            }
            AdminCommand::GetFeature { fid, select, nsid } => {
                let mut sqe = Sqe::with_prps(AdminOpcode::GET_FEATURES.0, 0, nsid);
                sqe.cdw10.set(GetFeatures::new().with_fid(fid.0).with_sel(select).into_bits());
                // Features that have data put it there.
                ("Get Features", sqe, AdminData::In, Asked::Value)
            }
            AdminCommand::SetFeature { fid, value, nsid, save } => {
                let mut sqe = Sqe::with_prps(AdminOpcode::SET_FEATURES.0, 0, nsid);
                sqe.cdw10.set(SetFeatures::new().with_fid(fid.0).with_sv(save).into_bits());
                sqe.cdw11.set(value);
                ("Set Features", sqe, AdminData::None, Asked::Value)
            }
            AdminCommand::SetHostIdentifier(id) => {
                let mut sqe = Sqe::with_prps(AdminOpcode::SET_FEATURES.0, 0, 0);
                sqe.cdw10.set(SetFeatures::new().with_fid(FeatureId::HOST_IDENTIFIER.0).into_bits());
                sqe.cdw11.set(HostIdentifier::new().with_exhid(true).into_bits());
                hostid = id.0;
                ("Set Features, Host Identifier", sqe, AdminData::Out(&hostid), Asked::Value)
            }
        };
        let tag = AdminTag(self.tags);
        let sent = self.admin.submit(name, sqe, data, Purpose::User(tag, asked), Some(now));
        sent.map_err(|_| AdminError::Full)?;
        self.tags += 1;
        Ok(tag)
    }

    /// Takes the oldest reply that nobody has taken.
    pub fn take_reply(&mut self) -> Option<(AdminTag, Result<AdminReply, Failure>)> {
        self.replies.pop_front()
    }

    pub(super) fn reply(&self, asked: Asked, cqe: &Cqe, page: usize) -> Result<AdminReply, Failure> {
        if !cqe.status().is_success() {
            return Err(Failure::Status(cqe.status()));
        }
        let bytes = self.admin.page(page);
        Ok(match asked {
            Asked::Smart => {
                let (smart, _) = Smart::read_from_prefix(bytes.as_slice()).expect("a page holds it");
                AdminReply::Smart(Box::new(smart))
            }
            Asked::Errors(entries) => {
                let (all, _) = bytes.as_chunks::<{ size_of::<ErrorEntry>() }>();
                let entries =
                    all.iter().take(entries).filter_map(|entry| ErrorEntry::read_from_bytes(entry).ok());
                AdminReply::Errors(entries.filter(|entry| entry.error_count.get() != 0).collect())
            }
            Asked::Page(len) => AdminReply::Page(bytes.iter().copied().take(len).collect()),
            Asked::Value => AdminReply::Value(cqe.dw0.get()),
        })
    }

    /// Answers users' commands that a reset, or the end of the controller, has ended.
    pub(super) fn refuse(&mut self, purposes: Vec<Purpose>) {
        for purpose in purposes {
            if let Purpose::User(tag, _) = purpose {
                self.replies.push_back((tag, Err(Failure::Aborted)));
            }
        }
    }
}

fn checked(bytes: usize) -> Result<usize, AdminError> {
    let is_right = (4..=ADMIN_DATA_BYTES).contains(&bytes) && bytes.is_multiple_of(4);
    if is_right { Ok(bytes) } else { Err(AdminError::Length) }
}

/// Get Log Page of `bytes` bytes, a page at most, which lets events of its type come again.
pub(super) fn log_page(lid: LogPageId, bytes: usize, nsid: u32) -> Sqe {
    let dwords_z = u16::try_from(bytes / 4 - 1).expect("a page has 1,024 dwords");
    let mut sqe = Sqe::with_prps(AdminOpcode::GET_LOG_PAGE.0, 0, nsid);
    sqe.cdw10.set(LogPage::new().with_lid(lid.0).with_numdl(dwords_z).into_bits());
    sqe.cdw11.set(LogPageUpper::new().into_bits());
    sqe
}
