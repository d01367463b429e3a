//! Namespaces: what Identify says of them, and which formats are supported.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;
use zerocopy::FromBytes;

use crate::spec::identify::descriptor::{DescriptorHead, IdentifierType};
use crate::spec::identify::namespace::{
    Dlfeat, Dps, Flbas, IdentifyNamespace, NSATTR_WRITE_PROTECTED, Rescap,
};
use crate::spec::identify::{Csi, IDENTIFY_BYTES};

/// Namespaces of one controller that this driver looks at; a controller with more is served with the first ones.
pub const NAMESPACES_MAX: usize = 128;
/// Blocks of 512 bytes to 64 KiB.
const SHIFTS: std::ops::RangeInclusive<u8> = 9..=16;

/// An active namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// NSID.
    pub nsid: u32,
    /// NSZE: blocks.
    pub blocks: u64,
    /// Bytes of a block; 0 where the format says nothing sensible.
    pub block_size: u32,
    /// Why commands that name blocks are refused; `None` for a namespace that can be used.
    pub refused: Option<FormatError>,
    /// EUI-64; zeros for none.
    pub eui64: [u8; 8],
    /// NGUID; zeros for none.
    pub nguid: [u8; 16],
    /// UUID.
    pub uuid: Option<Uuid>,
    /// Which reservations it supports.
    pub rescap: Rescap,
    /// Deallocated blocks read as zeros.
    pub deallocated_reads_zeros: bool,
    /// Write Zeroes may deallocate.
    pub write_zeroes_deallocates: bool,
    /// NSATTR: it is write protected.
    pub write_protected: bool,
}

/// Why a namespace cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Blocks carry metadata.
    #[error(
        "namespace {nsid} has {bytes} bytes of metadata in each block, which is not supported: format it without \
         (nvme format --ms=0 erases it)"
    )]
    Metadata {
        /// The namespace.
        nsid: u32,
        /// Bytes for each block.
        bytes: u16,
    },
    /// Blocks are protected end to end.
    #[error(
        "namespace {nsid} has protection information of type {kind}, which is not supported: format it without \
         (nvme format --pi=0 erases it)"
    )]
    Protection {
        /// The namespace.
        nsid: u32,
        /// PIT.
        kind: u8,
    },
    /// Blocks have a size that nobody uses.
    #[error(
        "namespace {nsid} has blocks of 2^{shift} bytes, which is not supported: format it with 512 or 4096 bytes \
         (nvme format --block-size=4096 erases it)"
    )]
    BlockSize {
        /// The namespace.
        nsid: u32,
        /// LBADS.
        shift: u8,
    },
    /// The namespace has no blocks.
    #[error("namespace {nsid} has a size of 0 blocks")]
    Empty {
        /// The namespace.
        nsid: u32,
    },
    /// The namespace is not one of the NVM command set.
    #[error("namespace {nsid} belongs to command set {csi}, not to the NVM command set")]
    CommandSet {
        /// The namespace.
        nsid: u32,
        /// CSI.
        csi: u8,
    },
}

impl NamespaceInfo {
    /// Reads Identify Namespace, CNS 00h.
    pub(super) fn of(nsid: u32, bytes: &[u8; IDENTIFY_BYTES]) -> Self {
        let (page, _) = IdentifyNamespace::ref_from_prefix(bytes).expect("the structure has this size");
        let formats = page.nlbaf_z.saturating_add(1);
        // 0 to 63, and there are 64 formats.
        let format = page.lbaf[Flbas::from_bits(page.flbas).format(formats)];
        let (metadata, shift) = (format.ms.get(), format.lbads);
        let kind = Dps::from_bits(page.dps).pit();
        let blocks = page.nsze.get();
        let fits = SHIFTS.contains(&shift) && blocks <= u64::MAX >> shift;
        let refused = if !fits {
            Some(FormatError::BlockSize { nsid, shift })
        } else if metadata != 0 {
            Some(FormatError::Metadata { nsid, bytes: metadata })
        } else if kind != 0 {
            Some(FormatError::Protection { nsid, kind })
        } else if blocks == 0 {
            Some(FormatError::Empty { nsid })
        } else {
            None
        };
        let dlfeat = Dlfeat::from_bits(page.dlfeat);
        Self {
            nsid,
            blocks,
            block_size: 1u32.checked_shl(shift.into()).unwrap_or(0),
            refused,
            eui64: page.eui64,
            nguid: page.nguid,
            uuid: None,
            rescap: Rescap::from_bits(page.rescap),
            deallocated_reads_zeros: dlfeat.reads() == Dlfeat::READS_ZEROS,
            write_zeroes_deallocates: dlfeat.write_zeroes_deallocates(),
            write_protected: page.nsattr & NSATTR_WRITE_PROTECTED != 0,
        }
    }

    /// Adds what the Namespace Identification Descriptor list, CNS 03h, says. What is malformed is passed over.
    pub(super) fn add_descriptors(&mut self, bytes: &[u8; IDENTIFY_BYTES]) {
        let mut rest = bytes.as_slice();
        while let Ok((head, tail)) = DescriptorHead::read_from_prefix(rest) {
            let len = usize::from(head.nidl);
            if len == 0 {
                break;
            }
            let Some((identifier, next)) = tail.split_at_checked(len) else { break };
            match (head.nidt, identifier) {
                (IdentifierType::EUI64, id) => self.eui64 = id.try_into().unwrap_or(self.eui64),
                (IdentifierType::NGUID, id) => self.nguid = id.try_into().unwrap_or(self.nguid),
                (IdentifierType::UUID, id) => self.uuid = Uuid::from_slice(id).ok().filter(|id| !id.is_nil()),
                (IdentifierType::CSI, &[csi]) if csi != Csi::NVM.0 => {
                    self.refused = Some(FormatError::CommandSet { nsid: self.nsid, csi });
                }
                _ => {}
            }
            rest = next;
        }
    }

    /// LBADS of a namespace that can be used.
    pub(super) fn shift(&self) -> Option<u8> {
        // The logarithm of 512 to 65,536: lossless.
        self.refused.is_none().then(|| self.block_size.ilog2().to_le_bytes()[0])
    }
}

/// The block size of each namespace that can be used, for the queue pairs.
///
/// The controller stores, when namespaces have changed; queue pairs load. Relaxed: a word is a whole entry, and nothing
/// else is published by it. A queue pair that looks while a namespace changes finds the old format or the new one, as the
/// device may for a command in flight.
pub(super) struct Formats([AtomicU64; NAMESPACES_MAX]);

impl Formats {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Replaces all entries.
    pub(super) fn set(&self, namespaces: &[NamespaceInfo]) {
        let usable = namespaces.iter().filter_map(|info| Some(Self::entry(info.nsid, info.shift()?)));
        for (word, entry) in self.0.iter().zip(usable.chain(std::iter::repeat(0))) {
            word.store(entry, Ordering::Relaxed);
        }
    }

    /// LBADS of the namespace; `hint` is the entry that was right last time.
    #[inline]
    pub(super) fn find(&self, hint: &mut usize, nsid: u32) -> Option<u8> {
        let shift = |word: &AtomicU64| {
            let word = word.load(Ordering::Relaxed);
            (word >> 32 == u64::from(nsid) && word != 0).then(|| word.to_le_bytes()[0])
        };
        if let Some(shift) = self.0.get(*hint).and_then(shift) {
            return Some(shift);
        }
        let (index, found) =
            self.0.iter().enumerate().find_map(|(index, word)| Some((index, shift(word)?)))?;
        *hint = index;
        Some(found)
    }

    fn entry(nsid: u32, shift: u8) -> u64 {
        u64::from(nsid) << 32 | u64::from(shift)
    }
}
