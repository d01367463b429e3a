//! What a controller says of itself.

use zerocopy::FromBytes;

use super::memory::PAGE_BYTES;
use super::options::Options;
use super::prp::TRANSFER_MAX;
use crate::spec::identify::IDENTIFY_BYTES;
use crate::spec::identify::command_set::NvmController;
use crate::spec::identify::controller::{IdentifyController, Oacs, Oaes, Oncs, Sgls, Vwc};
use crate::spec::nvm::DATASET_RANGES_MAX;
use crate::spec::register::Vs;

/// A controller, as Identify shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// SN, without the spaces that fill it.
    pub serial: String,
    /// MN, without the spaces that fill it.
    pub model: String,
    /// FR, without the spaces that fill it.
    pub firmware: String,
    /// CNTLID.
    pub cntlid: u16,
    /// VER: the version that it complies with.
    pub version: Vs,
    /// MDTS in bytes; `None` for no limit.
    pub transfer_bytes_max: Option<usize>,
    /// ONCS: optional I/O commands.
    pub oncs: Oncs,
    /// OACS: optional admin commands.
    pub oacs: Oacs,
    /// OAES: optional asynchronous events.
    pub oaes: Oaes,
    /// VWC: the volatile write cache.
    pub vwc: Vwc,
    /// SGLS: scatter gather lists.
    pub sgls: Sgls,
    /// NN: the largest NSID.
    pub nn: u32,
    /// ACL widened: Abort commands at once.
    pub aborts_max: u16,
    /// AERL widened: Asynchronous Event Requests at once.
    pub events_max: u16,
    /// Limits of single commands.
    pub limits: CommandLimits,
}

/// Limits of single commands (NVM command set 1.0, section 4.1.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLimits {
    /// WZSL in bytes.
    pub zeroes_bytes: u64,
    /// VSL in bytes.
    pub verify_bytes: u64,
    /// The longest Write Uncorrectable, in bytes.
    pub uncorrectable_bytes: u64,
    /// DMRL: ranges of one Dataset Management.
    pub dataset_ranges: usize,
}

impl Default for CommandLimits {
    /// No limits but those of the commands' fields.
    fn default() -> Self {
        Self {
            zeroes_bytes: u64::MAX,
            verify_bytes: u64::MAX,
            uncorrectable_bytes: u64::MAX,
            dataset_ranges: DATASET_RANGES_MAX,
        }
    }
}

impl Identity {
    /// Reads Identify Controller, CNS 01h.
    pub(super) fn of(bytes: &[u8; IDENTIFY_BYTES]) -> Self {
        let (page, _) = IdentifyController::ref_from_prefix(bytes).expect("the structure has this size");
        Self {
            serial: text(&page.sn),
            model: text(&page.mn),
            firmware: text(&page.fr),
            cntlid: page.cntlid.get(),
            version: Vs::from_bits(page.ver.get()),
            transfer_bytes_max: (page.mdts != 0).then(|| pages(page.mdts)),
            oncs: Oncs::from_bits(page.oncs.get()),
            oacs: Oacs::from_bits(page.oacs.get()),
            oaes: Oaes::from_bits(page.oaes.get()),
            vwc: Vwc::from_bits(page.vwc),
            sgls: Sgls::from_bits(page.sgls.get()),
            nn: page.nn.get(),
            aborts_max: u16::from(page.acl_z) + 1,
            events_max: u16::from(page.aerl_z) + 1,
            limits: CommandLimits::default(),
        }
    }

    /// The most data of one command: MDTS, and what a list of one page names.
    pub(super) fn transfer_bytes(&self) -> usize {
        self.transfer_bytes_max.unwrap_or(TRANSFER_MAX).min(TRANSFER_MAX)
    }

    /// Whether SGLs are used, and whether they demand alignment to 4.
    pub(super) fn sgl_aligned(&self, options: &Options) -> Option<bool> {
        match self.sgls.support() {
            Sgls::UNALIGNED if options.sgls => Some(false),
            Sgls::DWORD_ALIGNED if options.sgls => Some(true),
            _ => None,
        }
    }
}

impl CommandLimits {
    /// Reads the I/O Command Set specific Identify Controller, CNS 06h.
    pub(super) fn of(bytes: &[u8; IDENTIFY_BYTES]) -> Self {
        let (page, _) = NvmController::ref_from_prefix(bytes).expect("the structure has this size");
        let bytes = |exponent: u8| if exponent == 0 { u64::MAX } else { pages(exponent) as u64 };
        Self {
            zeroes_bytes: bytes(page.wzsl),
            verify_bytes: bytes(page.vsl),
            uncorrectable_bytes: bytes(page.wusl),
            dataset_ranges: if page.dmrl == 0 { DATASET_RANGES_MAX } else { page.dmrl.into() },
        }
    }
}

/// 2^exponent pages of CAP.MPSMIN, which is 0 here; saturates.
fn pages(exponent: u8) -> usize {
    PAGE_BYTES.checked_shl(exponent.into()).filter(|bytes| *bytes >= PAGE_BYTES).unwrap_or(usize::MAX >> 1)
}

/// An ASCII field without its filling; what is not printable becomes `?`.
fn text(field: &[u8]) -> String {
    let printable = |&byte: &u8| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '?' };
    let text: String = field.iter().map(printable).collect();
    text.trim_matches(|character| character == ' ').to_owned()
}
