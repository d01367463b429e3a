//! Dwords of the Abort command (NVMe base 2.1, section 5.1.1).

use bitfield_struct::bitfield;

use super::sqe::Sqe;

/// CDW10 of Abort: which command to abort.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Abort {
    /// SQID of the command.
    pub sqid: u16,
    /// CID of the command.
    pub cid: u16,
}

/// DW0 of a completed Abort (section 5.1.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AbortResult {
    /// IANP: the command was not aborted.
    pub not_aborted: bool,
    #[bits(31)]
    __: u32,
}

impl Sqe {
    /// CDW10 of Abort.
    pub fn abort(&self) -> Abort {
        Abort::from_bits(self.cdw10.get())
    }
}
