//! What Identify says about the namespace, as far as it matters here.

use zerocopy::FromBytes;

use crate::spec::identify::descriptor::{DescriptorHead, IdentifierType};
use crate::spec::identify::namespace::{Dlfeat, Dps, Flbas, IdentifyNamespace, NSATTR_WRITE_PROTECTED};
use crate::spec::identify::{Csi, IDENTIFY_BYTES};
use crate::spec::status::Status;

/// Blocks of 512 bytes to 64 KiB.
const SHIFTS: std::ops::RangeInclusive<u8> = 9..=16;

/// Size and ways of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of a block: a power of two from 512 to 65,536.
    pub block_size: u32,
    /// Number of blocks, at least 1.
    pub blocks: u64,
    /// Write Zeroes may deallocate.
    pub write_zeroes_deallocates: bool,
    /// It may not be written.
    pub write_protected: bool,
    /// ANAGRPID; 0 where there are no groups.
    pub group: u32,
    /// MSSRL, MCL, and MSRC widened: what one Copy may ask for; zeros where there is none.
    pub copy: Copies,
}

/// What one Copy may ask for (NVM command set 1.0, section 4.1.5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// MSSRL: blocks of one source range.
    pub range_blocks: u16,
    /// MCL: blocks of all source ranges together.
    pub blocks: u32,
    /// MSRC widened: source ranges, 1 to 256.
    pub ranges: u16,
}

/// Why a namespace cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It has no blocks: inactive, or not there.
    #[error("it has no blocks, or is not there")]
    Empty,
    /// Blocks have a size that nobody uses.
    #[error("its blocks of 2^{shift} bytes are not supported; 512 to 65536 bytes are")]
    BlockSize {
        /// LBADS.
        shift: u8,
    },
    /// Blocks carry metadata.
    #[error("its blocks carry {bytes} bytes of metadata, which is not supported")]
    Metadata {
        /// Bytes for each block.
        bytes: u16,
    },
    /// Blocks are protected end to end.
    #[error("its protection information of type {kind} is not supported")]
    Protection {
        /// PIT.
        kind: u8,
    },
    /// It is not one of the NVM command set.
    #[error("it belongs to command set {csi}, not to the NVM command set")]
    CommandSet {
        /// CSI.
        csi: u8,
    },
}

impl Space {
    /// Reads Identify Namespace, CNS 00h.
    pub(in crate::initiator) fn of(bytes: &[u8; IDENTIFY_BYTES]) -> Result<Self, FormatError> {
        let (page, _) = IdentifyNamespace::ref_from_prefix(bytes).expect("the structure has this size");
        let blocks = page.nsze.get();
        if blocks == 0 {
            return Err(FormatError::Empty);
        }
        let formats = page.nlbaf_z.saturating_add(1);
        // 0 to 63, and there are 64 formats.
        let format = page.lbaf[Flbas::from_bits(page.flbas).format(formats)];
        let shift = format.lbads;
        if !SHIFTS.contains(&shift) || blocks > u64::MAX >> shift {
            return Err(FormatError::BlockSize { shift });
        }
        if format.ms.get() != 0 {
            return Err(FormatError::Metadata { bytes: format.ms.get() });
        }
        let kind = Dps::from_bits(page.dps).pit();
        if kind != 0 {
            return Err(FormatError::Protection { kind });
        }
        Ok(Self {
            block_size: 1 << shift,
            blocks,
            write_zeroes_deallocates: Dlfeat::from_bits(page.dlfeat).write_zeroes_deallocates(),
            write_protected: page.nsattr & NSATTR_WRITE_PROTECTED != 0,
            group: page.anagrpid.get(),
            copy: Copies {
                range_blocks: page.mssrl.get(),
                blocks: page.mcl.get(),
                ranges: u16::from(page.msrc_z) + 1,
            },
        })
    }
}

/// The controller has no Namespace Identification Descriptors: so do those of revision 1.2 and before answer.
pub fn lacks_descriptors(status: Status) -> bool {
    status.is(Status::INVALID_FIELD) || status.is(Status::INVALID_OPCODE)
}

/// What tells a namespace from all others. Zeros where it has none of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identifiers {
    /// EUI-64.
    pub eui64: [u8; 8],
    /// NGUID.
    pub nguid: [u8; 16],
    /// UUID.
    pub uuid: [u8; 16],
}

impl Identifiers {
    /// Of Identify Namespace, CNS 00h.
    pub(super) fn of(bytes: &[u8; IDENTIFY_BYTES]) -> Self {
        let (page, _) = IdentifyNamespace::ref_from_prefix(bytes).expect("the structure has this size");
        Self { eui64: page.eui64, nguid: page.nguid, uuid: [0; 16] }
    }

    /// Adds what the Namespace Identification Descriptor list, CNS 03h, says. What is malformed is passed over.
    ///
    /// # Errors
    /// [`FormatError::CommandSet`].
    pub(super) fn add(&mut self, bytes: &[u8; IDENTIFY_BYTES]) -> Result<(), FormatError> {
        let mut rest = bytes.as_slice();
        while let Ok((head, tail)) = DescriptorHead::read_from_prefix(rest) {
            let length = usize::from(head.nidl);
            let Some((identifier, next)) = tail.split_at_checked(length) else { break };
            if length == 0 {
                break;
            }
            match (head.nidt, identifier) {
                (IdentifierType::EUI64, id) => self.eui64 = id.try_into().unwrap_or(self.eui64),
                (IdentifierType::NGUID, id) => self.nguid = id.try_into().unwrap_or(self.nguid),
                (IdentifierType::UUID, id) => self.uuid = id.try_into().unwrap_or(self.uuid),
                (IdentifierType::CSI, &[csi]) if csi != Csi::NVM.0 => {
                    return Err(FormatError::CommandSet { csi });
                }
                _ => {}
            }
            rest = next;
        }
        Ok(())
    }
}
